"""The correction of verdicts for the number of blocks, from the configuration to the verdict."""

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from cem_bench.measuring.cell import Options
from cem_bench.run.build import CONF, register
from cem_bench.sampling.sequential import Sequential
from cem_bench.stats.blocks import block_table


def borderline(blocks=40, n=12):
    """Effects just above tol: by Benjamini-Hochberg most are claimed, by Benjamini-Yekutieli few."""
    rng = np.random.default_rng(1)
    return {block: rng.normal(0.019, 0.01, n) for block in range(blocks)}


def test_by_claims_fewer_blocks_than_bh():
    bh, by = (block_table(borderline(), correction=name).counts() for name in ("bh", "by"))
    assert bh["positive"] > by["positive"] + 5
    assert by["undecided"] > bh["undecided"]


def test_the_key_reaches_rule_and_cell():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=["sampling=sequential", "fdr=by"])
    assert instantiate(config.sampling).correction == config.fdr == "by"
    for make in (lambda: Options(fdr="holm"), lambda: Sequential(correction="holm")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="got 'holm', expected one of bh"):
            make()


def test_a_sequential_run_draws_longer_where_every_claim_costs_more():
    effects = borderline(n=13)
    asked = [len(Sequential(correction=name).next_round(effects)) for name in ("bh", "by")]
    assert asked[0] < asked[1]
