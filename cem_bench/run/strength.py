"""What a network has to be told of a degradation, or was trained for alone, and the task that it is measured under."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cem_bench.inputs.degradations import Bicubic, Degradation, Noise


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
    if isinstance(degradation, Noise) and card.tasks == ("DN",) and "noise" in card.degradation:
        own = float(card.degradation["noise"])
        low, high = card.levels or (own, own)
        span, got, name = f"{low:g} to {high:g}" if low < high else f"{low:g}", degradation.sigma, "noise of sigma"
        task = f"dn{own:g}"
    elif (
        isinstance(degradation, Bicubic) and card.tasks == ("SR",) and card.scale == 1 and "bicubic" in card.degradation
    ):
        low = high = card.degradation["bicubic"]
        span, got, name, task = f"{low}", degradation.factor, "images reduced by", f"sr_x{low}_same_size"
    else:
        return
    if not low <= got <= high:
        raise ValueError(
            f"{card.name} is for {name} {span}, and the task has {got:g}: choose task={task}, or a model for this "
            "task; model.off_level=true measures it off its level."
        )
