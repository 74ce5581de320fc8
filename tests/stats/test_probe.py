"""What the validity page is measured from."""

import dataclasses

import numpy as np
import pytest
import torch

from cem_bench.figures.map import Look
from cem_bench.inputs.degradations import Noise
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.measure import measure
from cem_bench.measuring.prepared import Bench
from cem_bench.measuring.validity import FIELDS, order_of_layers, probe, shuffle, steps_of
from cem_bench.models.model import as_model
from cem_bench.report.validity_page import figure_of, judge, write_page
from cem_bench.sampling.rules import Paper, Uniform
from cem_bench.sampling.sequential import Sequential
from cem_bench.store.roots import other_roots, root_over


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(4), Options(engine="full"))  # pyright: ignore


def test_a_probed_map_has_all_it_is_judged_by_and_is_not_measured_twice(cell: Cell, tmp_path, monkeypatch):
    seen = []
    measured, probes = probe(cell, tmp_path, lambda done, total, text: seen.append((done, total)))
    count = len(probes.blocks)
    assert probes.effects.shape == probes.donors.shape == (count, 4)
    assert list(probes.randomised) == ["1 of 2 layers", "2 of 2 layers"]
    assert {name: one.shape for name, one in probes.joint.items()} == dict.fromkeys(
        ("map", "random", "nearest", "contrast"), (len(probes.steps), 2)
    )
    assert probes.fields is not None
    assert probes.fields.shape == (count, FIELDS, 2)
    # all blocks together are the same intervention whatever the order
    np.testing.assert_allclose(probes.joint["map"][-1], probes.joint["nearest"][-1], atol=1e-9)
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    calls = []
    monkeypatch.setattr(Bench, "run", lambda *_: calls.append(1))
    _, again = probe(cell, tmp_path)
    assert not calls
    np.testing.assert_array_equal(again.joint["random"], probes.joint["random"])
    found, look = judge(probes), Look(1.0, "paper")
    figure = figure_of(found, probes, measured.effect_map, (cell.scene.clean, cell.scene.roi), look)
    record = {**measured.record, "root_sha256": root_over(probes.roots)}
    assert (
        again.roots == probes.roots and {measured.store.key: measured.store.root_sha256}.items() < probes.roots.items()
    )
    paths = write_page(tmp_path / "page", found, figure, record, "python -m cem_bench validity")
    assert [path.name for path in paths if path.stat().st_size] == [
        "validity.csv",
        "record.json",
        "validity.png",
        "README.md",
    ]
    page = paths[-1].read_text()
    assert other_roots(tmp_path / "page", record["root_sha256"]) == (2, [])
    assert "| map - nearest " in page and "cannot be smaller than 2 / 2^draws" in page
    gap = found.gaps["nearest"]
    assert gap.verdict == "too few draws" and f"{gap.p:.2g}" in page


def test_layers_come_in_the_order_they_run_and_shuffling_keeps_their_values(tiny):
    network = tiny()
    assert order_of_layers(network, torch.zeros(1, 3, 8, 8)) == ["first", "last"]
    before = network.first.weight.detach().clone()
    shuffle(network.first, "a")
    assert not torch.equal(before, network.first.weight)
    assert torch.equal(before.ravel().sort().values, network.first.weight.ravel().sort().values)


def test_what_cannot_be_judged_says_so(cell: Cell, tmp_path):
    with pytest.raises(ValueError, match=r"expected sampling=uniform with an even sampling\.n"):
        probe(dataclasses.replace(cell, rule=Paper()), tmp_path)
    with pytest.raises(ValueError, match="intervention=lv only"):
        probe(dataclasses.replace(cell, options=Options(form="reference")), tmp_path)
    assert steps_of(84) == [1, 2, 4, 8, 16, 32, 64, 84]
    assert steps_of(4) == [1, 2, 4]


def test_the_bar_of_a_sequential_run_ends_where_its_draws_end(cell: Cell, tmp_path):
    seen = []
    rule = Sequential(maximum=12)
    measured = measure(dataclasses.replace(cell, rule=rule), tmp_path, lambda *said: seen.append(said))
    drawn = [(done, total) for done, total, stage in seen if stage == "drawing"]
    assert drawn[0][1] == rule.worst_case(int((measured.effect_map.status == 0).sum()))
    assert drawn[-1][1] < drawn[0][1]
    assert all(done <= total for done, total in drawn)
    assert drawn[-1][0] == len(measured.store.rows)
