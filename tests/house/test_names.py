"""Names in code: a thing has one, and it is a noun of the field."""

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from cem_bench.inputs import degradations
from cem_bench.inputs.donors import DrawKeys
from cem_bench.measuring.cell import describe
from cem_bench.measuring.options import Options
from cem_bench.run.build import register
from cem_bench.run.overrides import check_overrides
from cem_bench.run.verify import overrides_of
from cem_bench.store.entries import entry_stem

ROOT = Path(__file__).resolve().parents[2]
SEEDS = {
    "cem_bench/inputs": {"field_seed", "pool_seed", "roi_seed", "seed"},
    "cem_bench/stats": {"resample_seed", "pool_seed"},
    "cem_bench/run": {"pool_seed", "roi_seed", "sample_seed"},
    "cem_bench/measuring": {"seed", "sample_seed"},
    "cem_bench/sampling": set(),
    "cem_bench/store": set(),
    "model_zoo": {"training_seed"},
    "scripts": {"training_seed"},
}


VAGUE = {"said", "found", "one", "other", "member", "kept"}


def stored(path: Path) -> Iterator[str]:
    """Yield what is assigned, declared, defined or taken as a parameter in a file, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield f"{node.id}:{node.lineno}"
        elif isinstance(node, ast.arg):
            yield f"{node.arg}:{node.lineno}"
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield f"{node.name}:{node.lineno}"


@pytest.mark.parametrize("room", ["cem_bench", "benchmarks", "model_zoo", "scripts"])
def test_names_are_nouns_of_the_field(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    assert [f"{path}: {name}" for path in files for name in stored(path) if name.partition(":")[0] in VAGUE] == []


def declared(folder: Path) -> Iterator[str]:
    """Yield the names of parameters and fields in a folder."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg):
                yield node.arg
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id


@pytest.mark.parametrize("room", SEEDS)
def test_a_seed_is_named_by_what_it_seeds(room):
    assert {name for name in declared(ROOT / room) if "seed" in name and name[0] != "_"} <= SEEDS[room]


def test_only_draws_are_named_by_a_bare_seed():
    assert [field.name for field in dataclasses.fields(Options) if "seed" in field.name] == ["seed"]
    assert next(iter(inspect.signature(DrawKeys).parameters)) == "seed"
    kinds = [getattr(degradations, name) for name in degradations.__all__]
    assert not [kind for kind in kinds if "seed" in inspect.signature(kind).parameters]


def test_a_stored_degradation_keeps_its_name():
    assert describe(degradations.Noise(50.0, field_seed=3)) == {
        "type": "Noise", "sigma": 50.0, "seed": 3, "stream": "philox"
    }  # fmt: skip
    keys = {"model": "FFDNet", "scene": "a", "seed": "0"}
    stems = [entry_stem(keys | {f"task.degradation.{name}": "2"}) for name in ("seed", "field_seed")]
    assert stems[0] == stems[1] == "model=FFDNet,scene=a,seed=0,task.degradation.seed=2"


@pytest.mark.parametrize("key", ["donors.seed", "task.degradation.seed"])
def test_an_earlier_name_of_a_seed_is_refused_with_the_new_one(key):
    register()
    new = {"donors.seed": "donors.pool_seed", "task.degradation.seed": "task.degradation.field_seed"}[key]
    assert check_overrides(["task=dn15", f"{key}=1"]).startswith(f"unknown key '{key}'; nearest: {new}")


def test_an_entry_of_an_earlier_name_is_composed_again():
    assert overrides_of({}, "model=DnCNN,task.degradation.seed=2") == ["model=DnCNN", "task.degradation.field_seed=2"]
    assert overrides_of({"overrides": ["task.degradation.field_seed=2"]}, "") == ["task.degradation.field_seed=2"]
