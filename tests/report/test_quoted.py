"""The numbers that README quotes are those that the commands wrote."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SPEED = re.findall(r"^\| (.+?) \| (.+?) \| ([\d., ]+?)(?: \(.*?\))? \| ([\d.e-]+) dB \|$", README, re.MULTILINE)


@pytest.mark.parametrize(("networks", "scene", "ratios", "difference"), SPEED)
def test_speed_is_what_the_benchmark_wrote(networks: str, scene: str, ratios: str, difference: str) -> None:
    table = pd.read_csv(ROOT / "results" / "benchmark" / "engines.csv")
    side = int(re.findall(r"(\d+)x\d+", scene)[0])
    names, numbers = re.sub(r" \(.*\)", "", networks).split(", "), ratios.split(", ")
    asked = "auto+compile" if "compile" in networks else "auto"
    of_scene = table[(table["input_px"] == side) & (table["asked"] == asked) & (table["precision"] == "fp32")]
    rows = of_scene.set_index("network").loc[names]
    assert [f"{ratio:.3g}" for ratio in rows["ratio"]] == numbers
    assert f"{rows['largest_difference_db'].max():.1e}" == difference


def test_every_recorded_run_was_replayed_whole_and_passed() -> None:
    table = pd.read_csv(ROOT / "results" / "benchmark" / "replay.csv")
    assert table["passed"].all() and set(table["asked"]) == {"auto", "full"}
    assert list(table["draws"]) == list(table["recorded_draws"])
    assert (table["max_abs_db"] <= 0.002).all()
