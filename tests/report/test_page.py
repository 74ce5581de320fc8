"""Laws of a page: its tables are those of the files beside it, and nothing that a name holds breaks it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pytest

from cem_bench.report import page, printed, write_report
from cem_bench.report.columns import PRINTED, UNKNOWN, column, signed
from cem_bench.report.latex import latex
from cem_bench.report.render import Markdown, code_span, escaped, link_path, render, table
from tests.report.conftest import Make, live_blocks, maker

RING = {"first": "A", "second": "B", "p": 1e-3, "images": 9}
HOSTILE = "a|b <script>alert(1)</script> [x](y) `c` *d*\n# e & _f_"


def read_markdown(text: str, heading: str) -> pd.DataFrame:
    """Return the first table under a heading, cells as text."""
    lines = text.split(f"## {heading}\n", 1)[1].splitlines()
    end = next((at for at, line in enumerate(lines) if line.startswith("## ")), None)
    grid = "\n".join(line for line in lines[:end] if line.startswith("|"))
    found = pd.read_csv(io.StringIO(grid), sep=r"(?<!\\)\|", engine="python", dtype=str, skipinitialspace=True)
    found = found.iloc[1:, 1:-1].rename(columns=str.strip)
    return found.map(lambda cell: cell.strip() if isinstance(cell, str) else cell).reset_index(drop=True)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("reported"), np.random.default_rng(7)
    make = maker(folder)
    for image in ("coffee", "rocket", "chelsea", "astronaut"):
        for model, size in (("DnCNN", 0.3), ("FFDNet", 0.1)):
            effects = {block: rng.normal(size * (block < 3), 0.02, 6) for block in live_blocks()}
            make(effects, model=model, image=image, psnr=30 + size)
    write_report("denoise_ca", folder)
    return folder / "denoise_ca"


def test_every_number_of_the_page_is_that_of_its_table(reported: Path) -> None:
    text = (reported / "README.md").read_text()
    summary, shown = pd.read_csv(reported / "summary.csv"), read_markdown(text, "Table")
    assert list(shown["model"]) == list(summary["label"])
    for name in ("psnr_roi_db", "positive_mass_db", "negative_mass_db", "r90_px", "share_effect_paper"):
        numbers = [float(cell.split(" ")[0]) for cell in shown[column(name).title]]
        how = column(name)
        assert numbers == pytest.approx(list(summary[name] * how.factor), abs=0.51 * 10**-how.digits), name
    paired, differences = pd.read_csv(reported / "paired.csv"), read_markdown(text, "Paired differences")
    assert len(differences) == len(paired)
    for printed_cell, row in zip(differences["difference"], paired.to_dict("records"), strict=True):
        numbers = [float(number) for number in re.findall(r"[-+][\d.e-]+", printed_cell)]
        ends = [row[name] for name in ("estimate", "low", "high") if np.isfinite(row[name])]
        assert numbers == pytest.approx(ends, abs=5.1e-4, rel=0.5)


def test_every_figure_named_exists_and_every_figure_beside_is_named(reported: Path) -> None:
    named = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (reported / "README.md").read_text())
    assert sorted(named) == sorted(path.name for path in reported.glob("*.png"))


def test_tables_for_a_paper_are_floats_of_one_and_of_two_columns(reported: Path) -> None:
    wide, narrow, paired = ((reported / f"{stem}.tex").read_text() for stem in ("summary", "summary_column", "paired"))
    assert "\\begin{table*}" in wide and "\\begin{table*}" in paired
    assert "\\begin{table}" in narrow
    for text in (wide, narrow, paired):
        assert re.search(r"\\caption\{[^}]*95 \\%", text) and "\\toprule" in text
        rows = [line for line in text.splitlines() if line.endswith("\\\\")]
        assert len({line.count(" & ") for line in rows}) == 1
    assert narrow.count(" & ") <= wide.count(" & ") / 2


def test_latex_of_any_name_has_no_bare_command() -> None:
    text = latex(pd.DataFrame({"model": ["a_b & 50 %"], "x": [1]}), caption="of a_b, 95 %", label="t", wide=False)
    assert "a\\_b \\& 50 \\%" in text
    assert "of a\\_b, 95 \\%" in text


def test_no_name_breaks_a_table_or_becomes_markup() -> None:
    text = str(table(pd.DataFrame({"model": [HOSTILE, "plain_name"], "n": [1, 2]})))
    assert len(text.splitlines()) == 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()} == {3}
    assert "<" not in text and "[x](" not in text
    assert "plain_name" in text  # as it is: an underscore within a word is no emphasis
    assert str(escaped(HOSTILE)).count("\n") == 0
    assert str(escaped("_f_")) == "\\_f\\_"
    assert escaped(Markdown("[a](b)")) == Markdown("[a](b)")


def test_code_and_paths_of_any_name() -> None:
    assert str(code_span("a`b|c")) == "`` a`b\\|c ``"
    assert str(link_path("my net (v2).png")) == "my%20net%20%28v2%29.png"


def test_a_page_of_hostile_names_shows_them(make: Make, rng: np.random.Generator, tmp_path: Path) -> None:
    for image in ("coffee", "rocket"):
        make({block: rng.normal(0, 0.02, 6) for block in live_blocks()}, model="<b>x|y [a](b)", image=image)
    write_report("denoise_ca", tmp_path)
    text = (tmp_path / "denoise_ca" / "README.md").read_text()
    assert "&lt;b&gt;x\\|y \\[a\\](b)" in text
    assert "<b>" not in text


def test_a_template_that_asks_for_what_is_not_given_is_refused() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("not_measured", name="a", question="b?")


def test_rings_are_told_apart_only_where_flips_and_band_agree() -> None:
    rings = pd.DataFrame(
        [
            RING | {"distance_px": 8.0, "p_ring": 0.01, "low": 0.1, "high": 0.2},
            RING | {"distance_px": 16.0, "p_ring": 0.01, "low": -0.1, "high": 0.2},
            RING | {"distance_px": 24.0, "p_ring": 1.0, "low": np.nan, "high": np.nan},
        ]
    )
    row = printed.rings(rings).iloc[0]
    assert (str(row["told apart at"]), str(row["by p alone"]), row["images"]) == ("8", "16", 9)


@pytest.mark.parametrize("value", [0.0, 1.2345, -0.0307, 0.00018, -2.4e-5, np.nan])
def test_a_printed_number_keeps_its_sign_and_is_0_only_if_it_is(value: float) -> None:
    text = signed(value)
    if np.isnan(value):
        assert text == UNKNOWN
        return
    assert (float(text) == 0) == (value == 0)
    assert float(text) == pytest.approx(value, rel=0.3, abs=1e-9)


def test_rules_that_differ_in_one_number_are_listed_once() -> None:
    rules = [f"uniform: {n} draws a block" for n in (20, 5, 5, 100)] + ["paper: 3 + 50"]
    assert page.joined_rules(rules) == "uniform: 5, 20 or 100 draws a block; paper: 3 + 50"


def test_what_is_missing_is_listed_once_per_reason() -> None:
    plan = {
        "missing": {"model": {"A": "no weights", "B": "no weights", "C": "not in the <zoo>"}},
        "left_out": {"scene": ["one", "two", "three"]},
        "failed": ["D on one"],
    }
    assert [str(line) for line in page.absent(plan, {"model": {"B"}, "scene": {"one"}})] == [
        "model `A`: no weights",
        "model `C`: not in the &lt;zoo&gt;",
        "scenes `two`, `three`: could run here, left out of the last command; add `scene=two,three`",
        "failed: D on one",
    ]


def test_rows_over_other_scenes_are_shown_with_what_can_be_compared() -> None:
    ends = {f"{name}_{end}": 0.0 for name in PRINTED for end in ("low", "high") if name[-3:] in ("_db", "_px")}
    row = dict.fromkeys(PRINTED, 1.0) | ends | {"task": "SR", "cells": 34}
    gain = column("psnr_gain_db").title
    assert gain not in printed.summary(pd.DataFrame([row, row]), {})
    assert gain in printed.summary(pd.DataFrame([row, row | {"cells": 17}]), {})
    assert gain not in printed.summary(pd.DataFrame([row, row | {"cells": 17, "task": "DN"}]), {})


def test_networks_are_ranked_only_where_all_of_them_were_measured() -> None:
    networks = [("A", 8.0), ("B", 16.0), ("C", 40.0)]
    seen = [(at, *network) for at in range(5) for network in networks] + [(9, "A", 99.0)]
    rows = [
        {"scene": f"s{at}", "image": f"i{at}", "model": model, "r90_px": radius, "psnr_roi_db": radius + at}
        | {"positive_mass_db": 1.0, "negative_mass_db": 1 / radius}
        for at, model, radius in seen
    ]
    found = printed.ranks(pd.DataFrame(rows))
    assert [str(cell)[:5] for cell in found["Spearman's r"]] == ["+1.00", "-1.00"]
    assert set(found["images"]) == {5} and set(found["networks"]) == {3}
