"""The paper's comparisons: each leads to a page, a model that its experiment lists, and a number of its summary."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from cem_bench.report.experiment import CONF
from cem_bench.report.paper_comparisons import comparisons

ROOT = Path(__file__).resolve().parents[2]
SAID: Any = OmegaConf.to_container(OmegaConf.load(CONF / "paper_comparisons.yaml"))


@pytest.mark.parametrize("one", SAID, ids=[one["paper"] for one in SAID])
def test_a_comparison_asks_for_what_its_experiment_measures(one: dict[str, Any]) -> None:
    files = sorted((CONF / "experiment").glob(f"{one['experiment']}*.yaml"))  # denoise_ca_more is the same page
    listed = ",".join(OmegaConf.load(file).hydra.sweeper.params.model for file in files).split(",")
    assert {model for _, model, *_ in one["measured"]} <= set(listed)


def test_the_committed_tables_have_a_number_for_all_but_what_was_not_measured() -> None:
    table = comparisons(ROOT / "results")
    assert len(table) == len(SAID)
    summary = pd.read_csv(ROOT / "results" / "multitask" / "summary.csv")
    row = summary[(summary["model"] == "SRResNet_mix_light") & (summary["task"] == "DN")].iloc[0]
    here = table.set_index("the paper")["here"]
    assert f"; mix {row['psnr_roi_db']:.2f} dB; MIO " in table.loc[table["the paper"] == "the same, DN", "here"].iloc[0]
    assert "+0.00 to" not in here["size of the blocks"]


def test_without_results_there_are_dashes(tmp_path: Path) -> None:
    assert "tol or more: SRResNet SR -; DN -; DR -" in comparisons(tmp_path)["here"].iloc[0]


def test_an_unknown_quantity_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = [SAID[0] | {"quantity": "share_of_luck"}]
    (tmp_path / "paper_comparisons.yaml").write_text(OmegaConf.to_yaml(wrong))
    monkeypatch.setattr("cem_bench.report.experiment.CONF", tmp_path)
    with pytest.raises(ValueError, match="share_of_luck"):
        comparisons(ROOT / "results")
