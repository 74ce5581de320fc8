"""The root of the draws stands in pages, tables and figures, and a file that names another is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cem_bench.figures.saving import MOST_BYTES, save_figure
from cem_bench.report.latex import latex
from cem_bench.store.roots import NAMED, marked, other_roots, page_root, root_over, run_root, tables_root

ROOT = root_over({"a" * 64: "b" * 64})


def figure(pixels: int = 8) -> Figure:
    drawn = Figure()
    axes = drawn.subplots()
    axes.imshow(np.random.default_rng(0).integers(0, 255, (pixels, pixels, 3), dtype=np.uint8))
    return drawn


def test_the_root_is_the_same_before_and_after_the_archive() -> None:
    """The archive keeps no outcome that no entry is of."""
    rows = pd.DataFrame({"block": [0, 1], "k": [0, 0], "psnr": [1.0, 2.0], "psnr_untouched": [2.0, 2.0]})
    more = rows.assign(psnr_8bit=[1.1, 2.1], psnr_8bit_untouched=[2.1, 2.1])
    assert run_root(more, {"psnr"}) == run_root(rows, set()) != run_root(more, {"psnr_8bit"})
    assert run_root(rows.assign(psnr=[1.0, 2.5]), {"psnr"}) != run_root(rows, {"psnr"})


def test_every_format_carries_the_root_as_it_is(tmp_path: Path) -> None:
    paths = save_figure(figure(), tmp_path / "map", ("png", "svg", "pdf"), root=ROOT)
    large = save_figure(figure(600), tmp_path / "large", ("png",), root=ROOT)
    assert large[0].stat().st_size <= MOST_BYTES
    for path in (*paths, *large):
        assert NAMED.findall(path.read_bytes()) == [ROOT.encode()], path
    (plain,) = save_figure(figure(), tmp_path / "plain")
    assert not NAMED.search(plain.read_bytes())


def test_a_table_carries_its_head_in_the_caption() -> None:
    text = latex(pd.DataFrame({"model": ["A"], "x": [1]}), caption="Means.", label="t", wide=False, root=ROOT)
    assert text.startswith(f"% {marked(ROOT)}\n\\begin{{table}}")
    assert f"\\caption{{Means. Root of the draws: {ROOT[:16]}.}}" in text
    assert "root" not in latex(pd.DataFrame({"x": [1]}), caption="Means.", label="t", wide=False)


def test_pages_of_tables_alone_name_the_root_of_the_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    root = tables_root(tmp_path, ["a.csv"])
    (tmp_path / "README.md").write_text(f"From a.csv: `{marked(root)}`.")
    assert page_root(tmp_path) == root and page_root(tmp_path / "gone") == ""
    (tmp_path / "a.csv").write_text("x\n2\n")
    assert page_root(tmp_path) != tables_root(tmp_path, ["a.csv"])


@pytest.mark.parametrize("suffix", ["md", "tex", "png", "svg", "pdf"])
def test_a_file_of_other_draws_is_named(tmp_path: Path, suffix: str) -> None:
    save_figure(figure(), tmp_path / "map", ("png", "svg", "pdf"), root=ROOT)
    (tmp_path / "README.md").write_text(f"All draws of this page: `{marked(ROOT)}`.")
    (tmp_path / "map.tex").write_text(f"% {marked(ROOT)}\n")
    (tmp_path / "notes.md").write_text("names none, as pages of earlier versions do")
    assert other_roots(tmp_path, ROOT) == (5, [])
    path = next(path for path in tmp_path.glob(f"*.{suffix}") if path.name != "notes.md")
    path.write_bytes(path.read_bytes().replace(ROOT.encode(), b"0" * 64))
    named, damage = other_roots(tmp_path, ROOT)
    assert named == 4 and [item.path for item in damage] == [path]
    assert f"names the root {'0' * 16}..., the draws have {ROOT[:16]}" in damage[0].reason
    shutil.rmtree(tmp_path)
    assert other_roots(tmp_path, ROOT) == (0, [])
