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


def test_every_network_of_the_benchmark_is_quoted() -> None:
    table = pd.read_csv(ROOT / "results" / "benchmark" / "engines.csv")
    quoted = {name for row in SPEED for name in re.sub(r" \(.*\)", "", row[0]).split(", ")}
    assert quoted == set(table["network"])


def test_replays_are_what_the_replay_wrote() -> None:
    table = pd.read_csv(ROOT / "results" / "benchmark" / "replay.csv")
    assert table["passed"].all() and set(table["asked"]) == {"auto", "full"}
    assert list(table["draws"]) == list(table["recorded_draws"])
    draws = table.groupby("asked")["draws"].sum().unique()
    assert f"{draws[0]:,} draws, at most {table['max_abs_db'].max():.1e} dB apart" in README


def test_draws_and_errors_are_what_the_simulation_wrote() -> None:
    table = pd.read_csv(ROOT / "results" / "statistics" / "table.csv")
    table["wrong"] = table["missed"] + table["false"]
    paper = table[table["rule"] == "paper"].set_index("map")
    ours = table[table["rule"] == "sequential, stratified"].set_index("map")
    words = " ".join(README.split())
    for name in ours.index:
        assert f"{ours.loc[name, 'draws_of_paper']:.2f} ({name}" in words.lower(), name
        assert f"{ours.loc[name, 'wrong']:.2f} against {paper.loc[name, 'wrong']:.2f}" in words
