"""Laws of the claims: which of them get a word, on what evidence, and which are only shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cem_bench.report.claims import judge, judged, printed_claims, refused, write_claims
from cem_bench.report.experiment import read_conf
from cem_bench.report.tables import admission
from cem_bench.stats.claim_verdicts import EXCEEDS, NEGLIGIBLE, NOT_JUDGED, OPPOSITE, PRESENT, UNKNOWN

ROOT = Path(__file__).resolve().parents[2]
IMAGES = [f"image{number}" for number in range(17)]


def cells(rng: np.random.Generator, models: dict[str, dict[str, float]], observed: float = 20.0) -> pd.DataFrame:
    """Return a table of cells: one scene per image, every quantity around its mean, PSNR of 30 dB unless given."""
    rows = []
    for image in IMAGES:
        for model, means in models.items():
            head = {"model": model, "scene": f"{image}_1", "image": image, "variant": "", "task": "DN", "seed": 0}
            noise = {name: mean + rng.normal(0, 0.01) for name, mean in ({"psnr_roi_db": 30.0} | means).items()}
            rows.append(head | {"observed_psnr_roi_db": observed} | noise)
    return pd.DataFrame(rows)


def claim(**changes: Any) -> dict[str, Any]:
    base = {"id": "1a", "insight": 1, "says": "A reads farther.", "experiment": "denoise_ca", "quantity": "far_share"}
    return base | {"first": "A", "second": "B", "expected": "greater", "margin": 0.05} | changes


def word(table: pd.DataFrame, output: Path, **changes: Any) -> tuple[str, str, float]:
    (output / "denoise_ca").mkdir(exist_ok=True)
    table.to_csv(output / "denoise_ca" / "cells.csv", index=False)
    row = judge(claim(**changes), output, 0.95)
    return row["verdict"], row["why"], row["p"]


@pytest.mark.parametrize(
    ("first", "expected", "verdict"),
    [
        (0.40, "greater", EXCEEDS),
        (0.25, "greater", PRESENT),
        (0.205, "greater", NEGLIGIBLE),
        (0.12, "greater", OPPOSITE),
        (0.28, "less", OPPOSITE),
        (0.205, "equal", NEGLIGIBLE),
        (0.40, "equal", EXCEEDS),
    ],
)
def test_the_word_says_where_the_interval_lies(
    rng: np.random.Generator, tmp_path: Path, first: float, expected: str, verdict: str
) -> None:
    table = cells(rng, {"A": {"far_share": first}, "B": {"far_share": 0.2}})
    found, _, p = word(table, tmp_path, expected=expected)
    assert found == verdict
    assert np.isnan(p) == (expected == "equal")  # a test of 0 says nothing about an equivalence


def test_a_sum_is_shown_and_not_judged(rng: np.random.Generator, tmp_path: Path) -> None:
    table = cells(rng, {"A": {"far_mass_db": 3.0}, "B": {"far_mass_db": 0.2}})
    found, why, p = word(table, tmp_path, quantity="far_mass_db")
    assert found == NOT_JUDGED and "a sum" in why and np.isnan(p)


@pytest.mark.parametrize(("first", "second", "expected"), [(0.03, 0.2, "greater"), (0.02, 0.03, "equal")])
def test_a_margin_that_the_networks_cannot_reach_is_not_judged(
    rng: np.random.Generator, tmp_path: Path, first: float, second: float, expected: str
) -> None:
    table = cells(rng, {"A": {"far_share": first}, "B": {"far_share": second}})
    found, why, _ = word(table, tmp_path, expected=expected)
    assert found == NOT_JUDGED and why.startswith("margin out of reach")


def test_a_difference_of_psnr_is_never_out_of_reach(rng: np.random.Generator, tmp_path: Path) -> None:
    table = cells(rng, {"A": {"psnr_roi_db": 0.04}, "B": {"psnr_roi_db": 0.03}}, observed=-1.0)
    assert word(table, tmp_path, quantity="psnr_roi_db", expected="equal")[0] == NEGLIGIBLE


def test_a_claim_about_training_needs_three_of_each(rng: np.random.Generator, tmp_path: Path) -> None:
    models = {name: {"far_share": 0.4 if name[0] == "A" else 0.2} for name in ("A", "A1", "A2", "B", "B1", "B2")}
    table = cells(rng, models)
    two = word(table, tmp_path, about="training", first=["A", "A1"], second=["B", "B1"])
    assert two[0] == NOT_JUDGED and "2 trainings' number" in two[1]
    assert word(table, tmp_path, about="training")[1].startswith("one training's number")
    three = word(table, tmp_path, about="training", first=["A", "A1", "A2"], second=["B", "B1", "B2"])
    assert three[0] == EXCEEDS


def test_a_network_worse_than_its_input_has_no_verdict_and_is_listed(rng: np.random.Generator, tmp_path: Path) -> None:
    table = cells(rng, {"A": {"far_share": 0.4}, "B": {"far_share": 0.2}})
    worse = (table["model"] == "B") & table["image"].isin(IMAGES[:2])
    table.loc[worse, "psnr_roi_db"] = 10.0
    found, why, _ = word(table, tmp_path)
    assert found == NOT_JUDGED and why == "restores worse than its input: B"
    listed = refused(tmp_path, {"denoise_ca"})
    assert listed.to_dict("records") == [{"network": "B", "task": "DN", "images better than the input": "15 of 17"}]
    table.loc[(table["model"] == "B") & (table["image"] == IMAGES[1]), "psnr_roi_db"] = 30.0
    assert word(table, tmp_path)[0] == EXCEEDS
    assert refused(tmp_path, {"denoise_ca"}).empty


def test_an_input_of_another_size_is_not_held_against_a_network(rng: np.random.Generator) -> None:
    table = cells(rng, {"A": {"far_share": 0.4}}, observed=np.nan)
    assert admission(table).empty


def test_one_number_is_held_against_its_margin(rng: np.random.Generator, tmp_path: Path) -> None:
    table = cells(rng, {"A": {"r90_px": 14.0}})
    assert word(table, tmp_path, quantity="r90_px", second=None, expected="less", margin=32)[0] == EXCEEDS
    assert word(table, tmp_path, quantity="r90_px", second=None, expected="greater", margin=32)[0] == OPPOSITE
    assert word(table, tmp_path, quantity="r90_px", second=None, expected="less", margin=14)[0] == UNKNOWN


def test_a_quantity_or_network_that_no_table_has_is_not_measured(rng: np.random.Generator, tmp_path: Path) -> None:
    table = cells(rng, {"A": {"far_share": 0.4}})
    assert word(table, tmp_path, quantity="harm_share")[0] == "not measured"
    assert word(table, tmp_path, second="nobody")[0] == "not measured"
    assert judge(claim(experiment="sr_ca"), tmp_path, 0.95)["verdict"] == "not measured"


def test_without_tables_the_page_has_every_claim_and_no_figure(tmp_path: Path) -> None:
    page = write_claims(tmp_path)[-1].read_text()
    assert page.count("not measured") == len(read_conf("claims")["claims"])
    assert "](insight_" not in page and "Networks without a verdict" not in page


def test_holms_p_is_over_all_judged_claims_and_no_smaller_than_p() -> None:
    claims = judged(ROOT / "results")
    tested = claims.dropna(subset=["p"])
    assert (tested["p_holm"] >= tested["p"] - 1e-12).all()
    smallest = tested["p"].min()
    assert tested["p_holm"].min() == pytest.approx(min(1.0, smallest * len(tested)))
    assert claims.loc[claims["verdict"] == NOT_JUDGED, "p_holm"].isna().all()


def test_the_committed_claims_are_what_the_committed_tables_say() -> None:
    committed, now = pd.read_csv(ROOT / "results" / "claims.csv"), judged(ROOT / "results")
    assert list(committed["id"]) == list(now["id"])
    assert list(committed["verdict"]) == list(now["verdict"])
    np.testing.assert_allclose(committed["estimate"], now["estimate"], rtol=1e-4)
    np.testing.assert_allclose(committed["p"], now["p"], rtol=1e-4)


def test_every_claim_is_printed_with_its_margin_and_why() -> None:
    claims = judged(ROOT / "results")
    shown = printed_claims(claims)
    assert list(shown["id"]) == list(claims["id"])
    for printed, row in zip(shown.to_dict("records"), claims.to_dict("records"), strict=True):
        assert printed["verdict"].startswith(row["verdict"]) and row["why"] in printed["verdict"]
        assert str(printed["number"]).endswith(f"{row['margin']:g}")
