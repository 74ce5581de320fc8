"""The rule by levels: nominal errors on an enumerated map, no bias, the sequential rule where there is no level."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cem_bench.inputs.degradations import Noise
from cem_bench.measuring import cheap_level
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.cheap_level import CheapLevel
from cem_bench.measuring.measure import measure
from cem_bench.measuring.prepared import Bench
from cem_bench.models.model import as_model
from cem_bench.sampling.judged import Judged
from cem_bench.sampling.level_draws import LevelDraws, asked_by_level
from cem_bench.sampling.level_table import carried, facts, level_table
from cem_bench.sampling.multilevel import Multilevel
from cem_bench.sampling.rules import Request
from cem_bench.sampling.sequential import Sequential
from cem_bench.stats.verdicts import NONE, UNDECIDED
from cem_bench.store.draws import Store

TOL, DONORS = 0.01, 40


class Gated(nn.Module):
    """Two wide convolutions around channel attention over the whole image."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = nn.Conv2d(3, 6, 9, padding=4), nn.Conv2d(6, 3, 9, padding=4)
            self.gate = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.first(x))
        features = features * torch.exp(4 * self.gate(features.mean((2, 3))))[..., None, None]
        return x + self.last(features)


@pytest.fixture
def gated(scene, pool) -> Cell:
    return Cell(as_model(Gated().eval(), name="gated"), scene, Noise(30), pool, Multilevel(), Options(joint=0))


@pytest.fixture
def enumerated(gated: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Effects of every donor on every block, (blocks, donors) each: of the network, and of its cheap level."""
    bench = Bench.of(gated)
    level = CheapLevel.of(bench, None)
    blocks = np.flatnonzero(bench.status().ravel() == 0).tolist()
    real, cheap = [], []
    for block in blocks:
        patches = bench.patches(block, np.arange(DONORS), 0)
        request = Request(block, 0, DONORS)
        unit = bench.unit(request, bench.outputs(bench.input_rect(block), patches))
        outputs, added = level.levels.outputs(bench.input_rect(block), patches)
        frozen = bench.unit(request, outputs)
        real.append(unit["psnr_untouched"] - unit["psnr"])
        cheap.append(frozen["psnr_untouched"] - frozen["psnr"] - added[1:].sum(dim=1).numpy())
    return np.stack(real), np.stack(cheap)


def judged(rule: Multilevel, real: np.ndarray, cheap: np.ndarray, seed: int) -> Judged:
    """Return what the rule comes to with donors drawn by a seed, every second block near and the others far."""
    rng, (many, donors) = np.random.default_rng(seed), real.shape
    picks, rows = rng.integers(0, donors, (many, rule.maximum)), np.arange(many)[:, None]
    blocks = range(many)
    draws = LevelDraws(
        dict(zip(blocks, cheap[rows, picks], strict=True)),
        dict(zip(blocks, real[rows, picks], strict=True)),
        dict.fromkeys(blocks, 0.01),
        {block: block % 2 for block in blocks},
        rng.permutation(many).tolist(),
    )
    taken, wanted = asked_by_level(rule, draws)
    assert not wanted
    return Judged(rule, taken)


@pytest.mark.parametrize("audit", ["sample", "all"])
def test_levels_agree_with_the_enumerated_map_at_the_nominal_rate(enumerated, audit: str):
    real, cheap = enumerated
    truth = real.mean(axis=1)
    side = np.where(np.abs(truth) >= TOL, np.sign(truth), NONE)
    covered, false, spent = [], [], []
    for seed in range(12):
        judgement = judged(Multilevel(audit=audit), real, cheap, seed)
        table = level_table(judgement)
        covered.append((table.low <= truth) & (truth <= table.high))
        claimed = table.verdict != UNDECIDED
        false.append((claimed & (table.verdict != side)).sum() / max(claimed.sum(), 1))
        spent.append(judgement.counts[1].sum())
    assert np.mean(covered) > 0.95 - 3 * (0.05 * 0.95 / np.size(covered)) ** 0.5
    assert np.mean(false) < 0.05
    assert (side != NONE).sum() > 5
    alone = [sum(map(len, sequential(real, seed).values())) for seed in range(2)]
    assert np.mean(spent) < 0.6 * np.mean(alone)


def sequential(real: np.ndarray, seed: int) -> dict[int, np.ndarray]:
    """Return the draws that the sequential rule takes of the real network."""
    rng, many = np.random.default_rng(seed), len(real)
    source = real[np.arange(many)[:, None], rng.integers(0, real.shape[1], (many, 50))]
    effects = {block: source[block][:0] for block in range(many)}
    while requests := Sequential().next_round(effects):
        effects |= {request.block: source[request.block][: request.last] for request in requests}
    return effects


@pytest.mark.parametrize(("noise", "least", "most"), [(0.0, 1.0, 1.0), (0.3, 0.5, 1.0), (3.0, 0.0, 0.0)])
def test_a_bad_level_moves_no_number(enumerated, noise: float, least: float, most: float):
    real, _ = enumerated
    rng, spread = np.random.default_rng(5), real.std(axis=1, keepdims=True)
    cheap = real + 0.002 * spread + noise * spread * rng.normal(size=real.shape)
    errors, serves = [], []
    for seed in range(6):
        judgement = judged(Multilevel(audit="all"), real, cheap, seed)
        means = level_table(judgement).mean
        errors.append((means - real.mean(axis=1)) / spread[:, 0])
        serves += [ring.serves for ring in judgement.rings]
    error = np.std(errors) / np.sqrt(np.size(errors))
    assert abs(np.mean(errors)) < 4 * error
    assert least <= np.mean(serves) <= most


def test_without_pools_it_is_the_sequential_rule(scene, pool, tiny):
    cell = Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Multilevel(), Options(joint=0))
    levels, alone = measure(cell), measure(dataclasses.replace(cell, rule=Sequential()))
    assert "nothing mixes" in levels.record["levels"]["reason"]
    assert all(np.array_equal(levels.draws[block], draws) for block, draws in alone.draws.items())
    assert levels.to_dataframe().equals(alone.to_dataframe())
    assert "levels" not in alone.record


def test_a_black_box_is_drawn_sequentially(gated: Cell):
    cell = dataclasses.replace(gated, options=dataclasses.replace(gated.options, outcome="ssim"))
    record = measure(cell).record
    assert record["levels"]["reason"] == "outcome ssim has no derivative"


def test_a_map_by_levels_says_what_it_drew(gated: Cell):
    measured = measure(gated)
    levels, table = measured.record["levels"], measured.to_dataframe()
    assert levels["real_draws"] == len(measured.store.rows)
    assert levels["real_draws"] < sum(map(len, measure(dataclasses.replace(gated, rule=Sequential())).draws.values()))
    assert all(ring["level_used"] and ring["variance_left"] < 0.1 for ring in levels["rings"])
    assert set(table["verdict"]) <= {"", "positive", "negative", "none", "undecided"}
    assert np.allclose(table["effect"][measured.levels.block], measured.levels.mean)
    assert measured.record["summary"]["draws"] == levels["cheap_draws"]


def test_an_interrupted_run_goes_on_to_the_same_bits(gated: Cell, tmp_path: Path, monkeypatch):
    whole = measure(gated, tmp_path / "whole")
    append, left = Store.append, [60]

    def dies(self: Store, unit: dict[str, np.ndarray]) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        append(self, unit)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", dies)
        with pytest.raises(KeyboardInterrupt):
            measure(gated, tmp_path / "parts")
    parts = measure(gated, tmp_path / "parts")
    assert parts.store.root_sha256 == whole.store.root_sha256
    assert all(np.array_equal(parts.draws[block], draws) for block, draws in whole.draws.items())
    levels = [each.record["levels"] for each in (parts, whole)]
    for record in levels:
        del record["setup_cpu_seconds"], record["cheap_cpu_seconds"], record["real_cpu_seconds"]
    assert levels[0] == levels[1]
    again = measure(gated, tmp_path / "parts")
    assert again.record["session"]["new_draws"] == 0
    assert again.record["levels"]["cheap_draws"] == levels[0]["cheap_draws"]


def test_a_level_that_fails_is_given_up(gated: Cell, monkeypatch):
    def fails(self: CheapLevel, request: Request) -> None:
        raise FloatingPointError("no number")

    monkeypatch.setattr(cheap_level.CheapLevel, "draw", fails)
    levels, alone = measure(gated), measure(dataclasses.replace(gated, rule=Sequential()))
    assert levels.record["levels"]["reason"] == "given up: no number"
    assert all(np.array_equal(levels.draws[block], draws) for block, draws in alone.draws.items())


def test_several_outcomes_are_refused(gated: Cell):
    cell = dataclasses.replace(gated, options=dataclasses.replace(gated.options, also_outcomes=("mae",)))
    with pytest.raises(ValueError, match="one outcome"):
        measure(cell)
    with pytest.raises(ValueError, match="audit: got"):
        Multilevel(audit="none")  # type: ignore[arg-type]


def test_an_audit_that_fails_draws_in_every_block():
    rng = np.random.default_rng(2)
    real = rng.normal(0, 1e-4, (120, 200))
    shift = np.where(np.arange(120) % 15 == 0, 0.006, 0.0)  # what the cheap level does not see
    judgement = judged(Multilevel(), real + shift[:, None], real, 0)
    audit = facts(judgement)["audit"]
    assert audit["failed"]
    assert audit["called_none_unseen"] == 0
    assert (judgement.counts[1] >= 2).all()
    held = judged(Multilevel(), real, real + rng.normal(0, 1e-5, real.shape), 0)
    assert facts(held)["audit"]["called_none_unseen"] > 60
    assert facts(held)["audit"]["rest_limit"] < 1e-4


def test_what_takes_draws_gets_the_estimate_and_its_error(enumerated):
    judgement = judged(Multilevel(), *enumerated, 1)
    table = level_table(judgement)
    draws = carried(judgement, table)
    for place, block in enumerate(judgement.blocks):
        if judgement.served[place] and np.isfinite(table.error[place]):
            assert draws[block].mean() == pytest.approx(table.mean[place])
            assert draws[block].std(ddof=1) / len(draws[block]) ** 0.5 == pytest.approx(table.error[place])
