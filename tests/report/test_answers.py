"""Laws of the words on a page: they say no more than the numbers beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cem_bench.report import answers, pages

RING = {"first": "A", "second": "B", "p": 1e-3, "images": 9}


def test_models_are_told_apart_only_where_interval_and_p_agree() -> None:
    how = answers.COMPARED[0][1:]

    def said(low: float, high: float, p: float) -> str:
        return answers._compared({"estimate": (low + high) / 2, "low": low, "high": high, "p": p}, *how)

    assert said(0.1, 0.3, 0.01) == "PSNR of the ROI higher, +0.20 dB [+0.10, +0.30]"
    assert said(-0.3, -0.1, 0.01).startswith("PSNR of the ROI lower, -0.20 dB")
    for low, high, p in ((0.1, 0.3, 0.2), (-0.1, 0.3, 0.01), (np.nan, np.nan, 0.01)):
        assert "not told apart" in said(low, high, p)


def test_rings_are_told_apart_only_where_flips_and_band_agree() -> None:
    rings = pd.DataFrame(
        [
            RING | {"distance_px": 8.0, "p_ring": 0.01, "low": 0.1, "high": 0.2},
            RING | {"distance_px": 16.0, "p_ring": 0.01, "low": -0.1, "high": 0.2},
            RING | {"distance_px": 24.0, "p_ring": 1.0, "low": np.nan, "high": np.nan},
        ]
    )
    line = pages.decay_lines(rings)[0]
    assert "over 9 images: told apart at 8 px; at 16 px only sign flips say so" in line
    assert "24" not in line


@pytest.mark.parametrize("value", [0.0, 1.2345, -0.0307, 0.00018, -2.4e-5, np.nan])
def test_a_printed_number_keeps_its_sign_and_is_0_only_if_it_is(value: float) -> None:
    text = pages.signed(value)
    if np.isnan(value):
        assert text == pages.UNKNOWN
        return
    assert (float(text) == 0) == (value == 0)
    assert float(text) == pytest.approx(value, rel=0.3, abs=1e-9)


def test_rules_that_differ_in_one_number_are_said_once() -> None:
    rules = [f"uniform: {n} draws a block" for n in (20, 5, 5, 100)] + ["paper: 3 + 50"]
    assert pages.joined_rules(rules) == "uniform: 5, 20 or 100 draws a block; paper: 3 + 50"


def test_what_is_missing_is_listed_once_a_reason() -> None:
    plan = {
        "missing": {"model": {"A": "no weights", "B": "no weights", "C": "not in the zoo"}},
        "left_out": {"scene": ["one", "two", "three"]},
        "failed": ["D on one"],
    }
    assert pages.absent(plan, {"model": {"B"}, "scene": {"one"}}) == [
        "- model `A`: no weights",
        "- model `C`: not in the zoo",
        "- scenes `two`, `three`: could run here, left out of the last command; add `scene=two,three`",
        "- failed: D on one",
    ]


def test_rows_over_other_scenes_are_shown_with_what_can_be_compared() -> None:
    ends = {f"{name}_{end}": 0.0 for name in pages.COLUMNS for end in ("low", "high") if name[-3:] in ("_db", "_px")}
    row = dict.fromkeys(pages.COLUMNS, 1.0) | ends | {"task": "SR", "cells": 34}
    even = pd.DataFrame([row, row])
    assert pages.COLUMNS["psnr_gain_db"] not in pages.shown(even)
    assert pages.COLUMNS["psnr_gain_db"] in pages.shown(pd.DataFrame([row, row | {"cells": 17}]))
    assert pages.COLUMNS["psnr_gain_db"] not in pages.shown(pd.DataFrame([row, row | {"cells": 17, "task": "DN"}]))


def test_networks_are_ranked_only_where_all_of_them_were_measured() -> None:
    networks = [("A", 8.0), ("B", 16.0), ("C", 40.0)]
    seen = [(at, *network) for at in range(5) for network in networks] + [(9, "A", 99.0)]
    rows = [
        {"scene": f"s{at}", "image": f"i{at}", "model": model, "r90_px": radius, "psnr_roi_db": radius + at}
        | {"positive_mass_db": 1.0, "negative_mass_db": 1 / radius}
        for at, model, radius in seen
    ]
    said = answers.of_networks(pd.DataFrame(rows))
    assert "PSNR at Spearman's +1.00 [" in said
    assert "harms at -1.00 [" in said
    assert "over 5 images" in said
