"""The numbers that README quotes are those that the commands wrote."""

import re
from pathlib import Path

import pandas as pd
import pytest

from cem_bench.report.quotes import requoted

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


AGAIN = "run `python -m cem_bench.report claims readme=README.md`, then read the words around the numbers again"
INSIGHTS = README[README.index("| insight of the paper |") : README.index("## The house")]
CITED = re.compile(r"(\S+) (dB|px) \[(\S+), (\S+)\] \((\d[a-z]) (\w+), (\d+) images(?:, (\d+) trainings each)?\)")
COUNTED = re.compile(r"\| insight (\d): ([^|]+) \|")


def claims() -> pd.DataFrame:
    return pd.read_csv(ROOT / "results" / "claims.csv")


@pytest.mark.parametrize("quoted", CITED.findall(INSIGHTS), ids=lambda quoted: quoted[4])
def test_an_insight_is_what_the_claims_say(quoted: tuple[str, ...]) -> None:
    *said, trainings = quoted
    row = claims().set_index("id").loc[quoted[4]]
    numbers = [f"{row[name]:+.2f}" for name in ("estimate", "low", "high")]
    assert said == [numbers[0], row["unit"], *numbers[1:], row.name, row["verdict"], str(row["images"])], AGAIN
    assert int(trainings or 1) == row["trainings"], AGAIN


def test_every_insight_is_quoted_with_all_its_verdicts() -> None:
    table, found = claims(), dict(COUNTED.findall(INSIGHTS))
    assert sorted(found) == sorted({name[0] for *_, name, _, _, _ in CITED.findall(INSIGHTS)})
    assert sorted(found) == sorted(table["insight"].astype(str).unique()), AGAIN
    for insight, verdicts in table.groupby("insight")["verdict"]:
        said = {name: int(count) for count, name in re.findall(r"(\d+) ([a-z ]+)", found[str(insight)])}
        assert said == verdicts.value_counts().to_dict(), AGAIN


def test_no_number_of_an_insight_is_without_its_claim() -> None:
    """Whole numbers are settings (16 px, 4 blocks); what was measured has a fraction."""
    assert not re.findall(r"\d[.]\d", CITED.sub("", INSIGHTS))


def test_quoting_again_mends_numbers_and_nothing_else() -> None:
    wrong = INSIGHTS.replace(" supports, 17 images", " contradicts, 3 images, 5 trainings each").replace("+0.", "-7.")
    wrong = re.sub(r"(insight \d): [^|]+ \|", r"\1: 9 undecided |", wrong)
    assert wrong != INSIGHTS
    assert requoted(wrong, claims()) == requoted(INSIGHTS, claims()) == INSIGHTS, AGAIN
    with pytest.raises(ValueError, match=r"claim 1z, .* nearest"):
        requoted("+1.0 dB [+0.0, +2.0] (1z supports, 3 images)", claims())


def test_a_claim_without_cells_says_so_where_it_is_quoted() -> None:
    table = claims().set_index("id", drop=False)
    table.loc["2b", ["images", "verdict"]] = [0, "not measured"]
    again = requoted("it draws +0.5 dB [+0.2, +0.8] (2b contradicts, 17 images) more", table)
    assert again == "it draws - dB [-, -] (2b not measured) more"
    assert [found[4] for found in CITED.findall(requoted(again, claims()))] == ["2b"]
