from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cem_bench.figures import curves
from cem_bench.figures.map import Look
from cem_bench.figures.series import MOST, by_panel, looks_of, network_of, panels_of, title_of
from cem_bench.report.drawn import inputs_of

RESULTS = Path(__file__).parents[2] / "results"
PAGES = sorted(path.parent.name for path in RESULTS.glob("*/decay.csv"))


@pytest.mark.parametrize("page", PAGES)
def test_networks_of_a_page_have_their_own_colours_wherever_they_are_drawn(page: str):
    for _, rows in by_panel(pd.read_csv(RESULTS / page / "summary.csv")):
        labels = list(rows["label"])
        networks, looks = {network_of(label) for label in labels}, looks_of(labels)
        assert len(networks) <= MOST
        assert len({look["color"] for look in looks.values()}) == len(networks)
        for label in labels:  # no neighbour takes a colour away
            assert looks[label] == looks_of([label])[label]


def test_trainings_of_a_network_share_its_look_and_title():
    looks = looks_of(["RCAN_DN_ca", "RCAN_DN_ca_seed1", "A_seed12", "A", "A_seeded"])
    assert looks["RCAN_DN_ca"] == looks["RCAN_DN_ca_seed1"] != looks["A"]
    assert looks["A"] == looks["A_seed12"] != looks["A_seeded"]
    assert title_of("RCAN_DN_ca_seed1") == "RCAN, attention everywhere"
    assert title_of("my_own_seed3") == "my own"


def test_a_network_of_ones_own_takes_a_free_colour():
    names = [f"own{number}" for number in range(5)]
    looks = looks_of([*names, "DnCNN", "FFDNet"])
    assert looks["DnCNN"] == looks_of(["DnCNN"])["DnCNN"]
    assert len({look["color"] for look in looks.values()}) == 7


def test_panels_are_even_and_keep_trainings_together():
    names = [f"n{number}" for number in range(17)]
    panels = panels_of([*names, "n16_seed1", "n0_seed1"])
    assert [len(panel) for panel in panels] == [7, 6, 6]
    assert [name for panel in panels for name in panel if "_" not in name] == names
    assert "n0_seed1" in panels[0] and "n16_seed1" in panels[2]
    assert panels_of(["a"]) == [["a"]]


def test_the_input_is_a_line_where_it_is_near_and_words_where_it_is_far():
    columns = ("psnr_gain_db", "positive_mass_db", "negative_mass_db")
    rows = {
        name: [0.2, -0.2] for name in (*columns, *(f"{name}{end}" for name in columns for end in ("_low", "_high")))
    }
    summary = pd.DataFrame({"label": ["a", "b"], "task": "DN", **rows})
    near, far = (curves.mass_plot(summary, Look(), {"DN": gain}).axes[0] for gain in (-0.3, -9.0))
    assert [text.get_text() for text in near.texts] == ["input"]
    assert near.get_ylim()[0] < -0.3
    assert [text.get_text() for text in far.texts] == ["input at -9.0 dB, below the panel"]
    assert far.get_ylim()[0] > -1


def test_inputs_are_means_over_images_of_what_they_lie_above_the_models():
    cells = pd.DataFrame(
        {"task": ["DN", "DN", "DN", "SR"], "image": ["x", "x", "y", "x"], "psnr_roi_db": [30.0, 32.0, 28.0, 25.0]}
        | {"psnr_gain_db": [-1.0, 1.0, 0.0, 0.0], "observed_psnr_roi_db": [20.0, 20.0, 24.0, np.nan]}
    )
    assert inputs_of(cells) == {"DN": pytest.approx((-11 - 4) / 2)}
