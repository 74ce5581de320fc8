"""The page on engines names every op of the rules, every maker of constants, and every engine."""

from __future__ import annotations

import re
from pathlib import Path

from cem_bench.engine.choose import KINDS
from cem_bench.engine.op_rules import RULES
from cem_bench.engine.trace import _MAKERS

ROOT = Path(__file__).resolve().parents[2]
CODE = "".join(
    path.read_text() for room in ("engine", "measuring") for path in (ROOT / "cem_bench" / room).glob("*.py")
)
PAGE = (ROOT / "docs" / "engines.md").read_text()


def test_every_op_of_the_rules_stands_in_the_table() -> None:
    table = PAGE[PAGE.index("## The rules") :]
    named = set(re.findall(r"`(\w+)`", table))
    assert not set(RULES) - named
    assert not _MAKERS - named


def test_every_engine_is_told_of() -> None:
    for kind in KINDS:
        assert kind in PAGE


def test_every_word_that_a_fallback_is_told_by_is_a_word_of_the_code() -> None:
    """Parts that differ from network to network are left out: `...`, NAME, N, and the kind of the engine."""
    table = PAGE[PAGE.index("## Fallbacks") : PAGE.index("## Levels")]
    phrases = re.findall(r'"([^"]+)"', table)
    assert len(phrases) >= 15
    pieces = {
        piece.strip(" :;")
        for phrase in phrases
        for piece in re.split(r"\.\.\.|: |NAME|plain forwards|^N |^cone ", phrase)
    }
    assert [piece for piece in sorted(pieces) if piece and piece not in CODE] == []
