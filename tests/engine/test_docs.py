"""The page on engines names every op of the rules, every maker of constants, and every engine."""

from __future__ import annotations

import re
from pathlib import Path

from cem_bench.engine.choose import KINDS
from cem_bench.engine.op_rules import RULES
from cem_bench.engine.trace import _MAKERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "engines.md").read_text()


def test_every_op_of_the_rules_stands_in_the_table() -> None:
    table = PAGE[PAGE.index("## The rules") :]
    named = set(re.findall(r"`(\w+)`", table))
    assert not set(RULES) - named
    assert not _MAKERS - named


def test_every_engine_is_told_of() -> None:
    for kind in KINDS:
        assert kind in PAGE
