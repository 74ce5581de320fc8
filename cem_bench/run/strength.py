"""What a network has to be told of a degradation, or was trained for alone, and the task that it is measured under."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cem_bench.inputs.degradations import Degradation, Noise


def options_under(card: Any, given: Mapping[str, Any], degradation: Degradation | None) -> dict[str, Any]:
    """Return the options of a card's network under a degradation: those given, and those that it follows.

    Args:
        card: of the zoo (which this module must not import): says which options follow which field of a degradation.
        given: the user's, which stand.
        degradation: None for the one that the card names, which its own options fit.

    Raises:
        ValueError: if the degradation has no such field.
    """
    told: dict[str, Any] = {}
    for option, name in card.follows.items() if degradation is not None else ():
        # the sigma of a blur or of a sensor's electronics is another thing than that of the noise a card is for
        value = getattr(degradation, name, None) if isinstance(degradation, Noise) else None
        if option in given:
            continue
        if value is None:
            raise ValueError(
                f"{card.name} is told the {name} of its noise, and {type(degradation).__name__} has none: it is for "
                f"{', '.join(card.tasks)}. Choose such a task, as task=dn50, or tell it: +model.options.{option}=25"
            )
        told[option] = value
    return {**told, **given}


def check_level(card: Any, degradation: Degradation | None) -> None:
    """Refuse a degradation of another strength than the one that a card's weights are for.

    Raises:
        ValueError: saying which strength they are for.
    """
    name = getattr(degradation, "strength", "")
    own = card.degradation.get(getattr(degradation, "word", ""))
    if degradation is None or not name or own is None or (card.tasks, card.scale) != ((degradation.task,), 1):
        return
    low, high = card.levels or (float(own), float(own))
    span, got = f"{low:g} to {high:g}" if low < high else f"{low:g}", getattr(degradation, name)
    if not low <= got <= high:
        raise ValueError(
            f"{card.name} is for {type(degradation).__name__} of {name} {span}, and the task has {got:g}: write "
            f"task.degradation.{name}={own:g}, or choose a model for this task; model.off_level=true measures it off "
            "its level."
        )
