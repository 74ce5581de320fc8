"""Networks that mislead an instrument get the truth or a refusal; the small form of benchmarks/reliability.py."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks.hostile_networks import BATTERY
from benchmarks.reliability import held_against_truth

SMALL = {
    "a view of the features scaled in place",
    "a table read after a column was written",
    "a mask, rarely true, filled through a view",
    "full_like of a mean",
    "gate by a sign",
    "gate by a rank",
    "a level through NumPy",
    "where, by a mask of a wide mean",
    "divided by the largest value",
    "LSTM over columns",
    "a view that names the batch",
    "raises on some pairs",
    "noise added",
    "the first image",
    "every tenth call",
    "a scripted layer",
    "the image itself",
    "grey",
    "0..255",
    "the previous large image, pixel by pixel",
    "a trail of large images, pixel by pixel",
    "a corner of the previous large image",
    "the level of the first large image",
}


def test_the_battery_has_at_least_three_members_of_every_kind() -> None:
    kinds = Counter(hostile.kind for hostile in BATTERY)
    assert len(BATTERY) >= 60
    assert min(kinds.values()) >= 3
    assert len({hostile.name for hostile in BATTERY}) == len(BATTERY)
    assert {hostile.name for hostile in BATTERY} >= SMALL


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated; that is what some networks are made of
@pytest.mark.parametrize("hostile", [pytest.param(one, id=one.name) for one in BATTERY if one.name in SMALL])
def test_a_hostile_network_gets_the_truth_or_a_refusal(hostile) -> None:
    outcome = held_against_truth(hostile, "auto")
    assert outcome.holds, outcome
    if outcome.refusal:
        assert outcome.refusal.startswith(("hostile", "Engine")), "a refusal names the network"
        assert np.isnan(outcome.max_abs_db)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["auto", "full"])
@pytest.mark.parametrize("hostile", [pytest.param(one, id=one.name) for one in BATTERY])
def test_the_whole_battery(hostile, engine: str) -> None:
    torch.set_num_threads(1)
    assert held_against_truth(hostile, engine).holds
