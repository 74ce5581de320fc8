"""A value that a user may choose, declared once: default, unit, range and help beside its name and type."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Sequence
from typing import Any


def option(
    default: Any,
    about: str = "",
    *,
    unit: str = "",
    choices: Sequence[str] = (),
    least: float | None = None,
    above: float | None = None,
) -> Any:
    """Declare one option.

    Args:
        default: its value where nothing is given; None allows None beside the range.
        about: one line of help; "" where the docstring of its class says it.
        unit: of the value.
        choices: the values that are allowed; empty for any.
        least: smallest value that is allowed.
        above: value that it must exceed.

    Returns:
        A dataclass field.
    """
    facts = {"about": about, "unit": unit, "choices": tuple(choices), "least": least, "above": above}
    return dataclasses.field(default=default, metadata=facts)


def check_options(options: Any) -> None:
    """Refuse values out of range.

    Args:
        options: a dataclass whose fields were declared by `option`.

    Raises:
        ValueError: with what was got, what is allowed, and the nearest word.
    """
    for item in dataclasses.fields(options):
        if item.metadata:
            _check(item.name, getattr(options, item.name), item.metadata)


def _check(name: str, value: Any, facts: Any) -> None:
    choices, unit = facts["choices"], f" {facts['unit']}" if facts["unit"] else ""
    if choices and value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; nearest: {near[0]}" if near else ""
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}{hint}.")
    for bound, word, broken in (
        (facts["least"], "at least", lambda: value < facts["least"]),
        (facts["above"], "above", lambda: value <= facts["above"]),
    ):
        if bound is not None and value is not None and (math.isnan(value) or math.isinf(value) or broken()):
            raise ValueError(f"{name}: got {value}{unit}, expected a number {word} {bound:g}{unit}.")
