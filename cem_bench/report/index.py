"""The page `results/README.md`: which pages there are, what their columns mean, where the images come from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cem_bench.report.columns import MEANING
from cem_bench.report.experiment import CONF, read_conf
from cem_bench.report.paper_comparisons import comparisons
from cem_bench.report.render import Markdown, code_span, prose, render
from cem_bench.store.draws import write_atomically

ATLASES = ("verdict_maps", "denoise_ca")  # that git holds


def pages(output: Path) -> list[dict[str, str]]:
    """Return name and heading of every page below a folder of results."""
    rows = []
    for page in sorted(page for page in output.glob("**/README.md") if page.parent != output):
        name = page.parent.relative_to(output).as_posix()
        heading = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").removeprefix(f"{name}: ")
        rows.append({"name": name, "heading": Markdown(heading)})
    return rows


def write_dictionary(output: Path) -> Path:
    """Write the page of pages, comparisons with the paper, columns and images.

    Args:
        output: folder of the results.
    """
    columns = [{"column": code_span(name), "meaning": prose(words)} for name, words in MEANING.items()]
    sources = read_conf("image_sources")
    table = pd.read_csv(CONF / "scene_table.csv", dtype={"image": str}).drop_duplicates("image")
    files = table["source"].str.replace(r"^\$\{[^}]*\}/", "", regex=True)
    path = output / "README.md"
    text = render(
        "results",
        pages=pages(output),
        atlases=ATLASES,
        comparisons=comparisons(output),
        columns=pd.DataFrame(columns),
        sources=pd.DataFrame([{"below CEM_DATA": code_span(name), **facts} for name, facts in sources.items()]),
        images=pd.DataFrame({"file": files, "sha256": table["sha256"]}),
    )
    write_atomically(path, text.encode())
    return path
