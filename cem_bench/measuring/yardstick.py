"""The yardstick: is a network's answer to an image a fact about that image alone? Checked before the first draw.

Every effect is a difference between two answers. It is an effect of a block only if the network answers the same to the
same image every time, whatever it was asked before and whatever stands beside the image in a batch. That is asked on
the middle of the observation, where the network takes so small an image. The whole observation is answered once by the
network, and once by a copy of it that saw another whole image before: what a network remembers in large images only
shows in some pixel of that. The other image's answer serves to hold the engine against as well.
"""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cem_bench.engine.agree import other_images, part_of, strongest
from cem_bench.engine.base import Answered, exact_arithmetic
from cem_bench.engine.cost import Cost
from cem_bench.measuring.refusals import MeasureError, fault_of, network_of, raised

if TYPE_CHECKING:
    from cem_bench.models.model import Model

# Largest difference between two answers that must be the same, in the answer's largest value: rounding is under 1e-6.
TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What the checks before the first draw came to.

    Attributes:
        answer: (1, 3, H, W) float32, to the untouched observation.
        part: height and width of the images that were asked about, pixels.
        one_row: why only one image at a time may be given; "" where several may.
        difference: largest difference between answers that must be the same, in the answer's largest value.
        forwards: images of that size that were restored.
        first: what the first answer cost: it is the restored image, and no check.
        cost: of all others.
        witness: a copy of the model (itself where it cannot be copied) that saw another whole image, not this one.
        elsewhere: what it answered to that; None under common random numbers.
    """

    answer: Tensor
    part: tuple[int, int]
    one_row: str
    difference: float
    forwards: int
    first: Cost
    cost: Cost
    witness: Model
    elsewhere: Answered | None = None


def answer(model: Model, rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Run a network plainly in full float32 and check what comes back.

    Args:
        model: the model.
        rows: (n, 3, h, w) float32 in 0..1.
        size: height and width of the answer.

    Returns:
        (n, 3, H, W) float32.

    Raises:
        MeasureError: if the network raises, or answers something else than finite RGB images of the right size and
            range; naming the line to write.
    """
    try:
        with exact_arithmetic():
            output = model.restorer.to(rows.device)(rows.clone())
    except Exception as error:
        raise raised(model, rows, error) from error
    if fault := fault_of(model, rows, output, size):
        raise MeasureError(f"{model.name} {fault}.")
    return output.float()


def check(model: Model, observation: Tensor, size: tuple[int, int]) -> Yardstick:
    """Ask for the same image again, alone and beside another, and compare.

    Args:
        model: the model.
        observation: (3, h, w) float32 in 0..1.
        size: height and width of the answer.

    Raises:
        MeasureError: as `answer`, or if answers differ from call to call, or the network remembers what it saw.
    """
    fresh, first, cost = _copy(model), Cost(), Cost()
    with first.counted():
        restored = answer(model, observation[None], size)
    with cost.counted():
        part, alone, forwards = _answered_part(model, observation, restored)
        one_row, difference, calm_answer, more = _in_batch(model, part, alone)
        if fresh is not None:
            calm = other_images(part, 1)
            _require_no_memory(model, answer(fresh, calm, _size(alone)), calm_answer)
        witness = fresh or model
        elsewhere = _elsewhere(witness, observation, size)
    forwards += more + (fresh is not None)
    return Yardstick(restored, _size(part), one_row, difference, forwards, first, cost, witness, elsewhere)


def _elsewhere(witness: Model, observation: Tensor, size: tuple[int, int]) -> Answered:
    """Return the strongest whole image with its answer, or a calmer one where the network does not take that."""
    image = strongest(observation)
    try:
        return Answered(image, answer(witness, image[None], size))
    except MeasureError:
        image = other_images(observation, 1)[0]
        return Answered(image, answer(witness, image[None], size), strongest=False)


def require_no_memory(model: Model, yardstick: Yardstick, observation: Tensor, recorded: Tensor | None) -> None:
    """Compare every pixel of the answer to the observation with that of a network which saw another image before.

    Args:
        model: the model.
        yardstick: what `check` gave.
        observation: (3, h, w) float32 in 0..1.
        recorded: (1, 3, H, W), what a copy of the witness answered when it was recorded; None to ask the witness.

    Raises:
        MeasureError: if they differ: the network keeps state between calls.
    """
    with yardstick.cost.counted():
        if recorded is None:
            recorded = answer(yardstick.witness, observation[None], _size(yardstick.answer))
        _require_no_memory(model, yardstick.answer, recorded)


def _answered_part(model: Model, observation: Tensor, restored: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return the image to ask about, (3, h, w), its answer (1, 3, H, W), and the forwards that this took.

    The part of the observation, or the observation itself where the network does not take the part.
    """
    part, scale = part_of(observation), restored.shape[-1] // observation.shape[-1]
    if part is observation:
        return observation, restored, 0
    try:
        return part, answer(model, part[None], (part.shape[-2] * scale, part.shape[-1] * scale)), 1
    except MeasureError:
        return observation, restored, 1


def _in_batch(model: Model, image: Tensor, alone: Tensor) -> tuple[str, float, Tensor, int]:
    """Ask for an image again, between a calmer and a starker one, or alone where that is another question.

    Args:
        model: the model.
        image: (3, h, w).
        alone: (1, 3, H, W), its answer.

    Returns:
        Why one row at a time; the difference between the two answers to the image; the answer to the calmer one; and
        the images that were restored.
    """
    (calm, stark), size = other_images(image, 2).split(1), _size(alone)
    try:
        batch = answer(model, torch.cat([calm, image[None], stark]), size)
        difference = apart_of(batch[1:2], alone)
        if difference <= TOLERANCE:
            return "", difference, batch[:1], 3
        one_row = "its answer to an image depends on the batch"
    except MeasureError as error:
        one_row = f"it does not take several images at once ({type(error.__cause__ or error).__name__})"
    calm_answer = answer(model, calm, size)
    difference = _require_same(model, image[None], answer(model, image[None], size), alone)
    return one_row, difference, calm_answer, 5


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def check_under(model: Model, observation: Tensor, size: tuple[int, int], states: list[int]) -> Yardstick:
    """Ask under every state of the generators, and again under the first: under one state, an image has one answer.

    Args:
        model: the model.
        observation: (3, h, w) float32 in 0..1.
        size: height and width of the answer.
        states: of the generators, by name.

    Returns:
        The yardstick, its answer the mean over states.

    Raises:
        MeasureError: as `check`; a network that answers differently under one state keeps state between calls.
    """
    fresh, first, cost = _copy(model), Cost(), Cost()
    with first.counted():
        restored = answer_under(model, observation, size, states)
    with cost.counted():
        again = answer_under(model, observation, size, states[:1])
        difference = apart_of(again, answer_under(model, observation, size, states[:1]))
        if fresh is not None:
            calm = other_images(observation, 1)[0]
            _require_no_memory(
                model, answer_under(fresh, calm, size, states[:1]), answer_under(model, calm, size, states[:1])
            )
    if not difference <= TOLERANCE:
        raise MeasureError(
            f"{model.name} answers the same image differently under the same random numbers (by {difference:.1e} of "
            "its range): it keeps state between calls, or has generators of its own. Hand over a function that starts "
            "afresh: as_model(lambda x: copy.deepcopy(network)(x), ...)."
        )
    forwards = 2 + 2 * (fresh is not None)
    return Yardstick(restored, _size(observation), "common random numbers", difference, forwards, first, cost, model)


def answer_under(model: Model, image: Tensor, size: tuple[int, int], states: list[int]) -> Tensor:
    """Return the mean answer to an image (3, h, w) under states of the generators, (1, 3, H, W) float32."""
    total: Tensor | None = None
    for state in states:
        with common_random_numbers(state):
            output = answer(model, image[None], size)
        total = output if total is None else total + output
    assert total is not None
    return total / len(states)


def _copy(model: Model) -> Model | None:
    """Return a model with a network of its own, that nobody asked anything yet; None where it cannot be copied."""
    if not isinstance(network_of(model), nn.Module):
        return None  # a plain function: its copy is itself
    try:
        return dataclasses.replace(model, restorer=copy.deepcopy(model.restorer))
    except Exception:  # noqa: BLE001 - a network may hold anything
        return None


def apart_of(first: Tensor, second: Tensor) -> float:
    """Return the largest difference of two answers, in the second's largest value."""
    return float((first - second).abs().max() / second.abs().max().clamp_min(1e-12))


def _require_same(model: Model, alone: Tensor, again: Tensor, first: Tensor) -> float:
    """Return the difference between two answers to one image; refuse a network whose answers are its own chance."""
    difference = apart_of(again, first)
    if difference <= TOLERANCE:
        return difference
    size = _size(first)
    with common_random_numbers(0):
        first_answer = answer(model, alone, size)
    with common_random_numbers(0):
        second_answer = answer(model, alone, size)
    fault = (
        f"{model.name} answers the same image differently from call to call (by {difference:.1e} of its largest value)"
    )
    if apart_of(second_answer, first_answer) <= TOLERANCE:
        raise MeasureError(
            f"{fault}: it draws random numbers, which would pass for effects. Switch them off (network.eval()), or "
            "measure under common random numbers with stochastic=K, K draws of the network's own noise per image."
        )
    raise MeasureError(
        f"{fault}, also under the same random numbers: it keeps state between calls, so an image has no answer of its "
        "own. Hand over a function that starts afresh: as_model(lambda x: copy.deepcopy(network)(x), ...); "
        "stochastic=K is for networks that draw random numbers, and does not help here."
    )


def _require_no_memory(model: Model, fresh: Tensor, after: Tensor) -> None:
    difference = apart_of(after, fresh)
    if not difference <= TOLERANCE:
        raise MeasureError(
            f"{model.name} answers an image differently after it saw another (by {difference:.1e} of its range): "
            "it keeps state between calls. Hand over a function that starts afresh: "
            "as_model(lambda x: copy.deepcopy(network)(x), ...)."
        )


@contextmanager
def common_random_numbers(state: int) -> Iterator[None]:
    """Start the generators of torch, Python and NumPy at a named state, and put them back afterwards.

    Args:
        state: its name, as `states_of` gives it.
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the network's own, not ours
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_initialized() else []):
        torch.manual_seed(state)
        random.seed(state)
        np.random.seed(state)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
