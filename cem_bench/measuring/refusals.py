"""The words for a network that cannot be measured as it stands: what was found, expected, and to be written."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from cem_bench.models.model import Model

Name = tuple[int, int]  # of a draw: block and k
SIDES = (2, 4, 8, 16, 32, 64)  # multiples that networks ask of an image's sides
FAR = 8.0  # an answer whose median lies beyond this many whites is in another range
CHANNELS = (1, 4, 6, 2)


class MeasureError(ValueError):
    """A measurement cannot be made; the message says what was found, what was expected and what to do."""


class Refuted(MeasureError):
    """The plain network contradicts an engine.

    Attributes:
        kind: of the engine.
        difference: in dB; of the answer's largest value where the untouched image was answered otherwise.
        name: block and k of the draw that was refuted; None where it was no draw.
    """

    def __init__(self, text: str, kind: str, difference: float, name: Name | None = None) -> None:
        super().__init__(text)
        self.kind, self.difference, self.name = kind, difference, name


class KeepsStateError(MeasureError):
    """A network answers the untouched image differently after the draws than before."""


def network_of(model: Model) -> Any:
    """Return what the user handed over: the network inside the wrappers."""
    network: Any = getattr(model.restorer, "network", model.restorer)
    return getattr(network, "function", network)


def raised(model: Model, rows: Tensor, error: BaseException) -> MeasureError:
    """Return the refusal of a network that raised on an image.

    Args:
        model: the model.
        rows: (n, 3, h, w) what it was given.
        error: what it raised.
    """
    words = (str(error).strip().splitlines() or [""])[0][:200]
    failure = f"{model.name} raised {type(error).__name__} ({words}) on {tuple(rows.shape)} {rows.dtype}"
    expected = "expected an RGB image back for (n, 3, h, w) float32"
    advice = _of_type(model, rows) or _of_arguments(model) or _of_channels(model, rows) or _of_size(model, rows)
    return MeasureError(f"{failure}; {expected}. {advice or 'Call it on such a tensor yourself to see the traceback.'}")


def _of_type(model: Model, rows: Tensor) -> str:
    tensors = [tensor for tensor in model.restorer.state_dict().values() if tensor.is_floating_point()]
    if tensors and tensors[0].dtype != rows.dtype:
        kind = {torch.float16: "half", torch.bfloat16: "bfloat16"}.get(tensors[0].dtype)
        declared = f" (on the command line dtype={kind})" if kind else ""
        return f"Its weights are {tensors[0].dtype}: write as_model(network.float(), ...){declared}."
    if tensors and tensors[0].device != rows.device:
        where = tensors[0].device.type
        return f"Its weights are on {where}: write Options(device={where!r}), or as_model(network.cpu(), ...)."
    return ""


def _of_arguments(model: Model) -> str:
    network = network_of(model)
    try:
        parameters = inspect.signature(network.forward if isinstance(network, nn.Module) else network).parameters
    except (TypeError, ValueError):
        return ""
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) < 2:
        return ""
    rest = ", ".join(needed[1:])
    return (
        f"It takes {len(needed)} inputs ({', '.join(needed)}): write as_model(lambda x: network(x, {rest}), ...); on "
        "the command line a constant one is beside=FORM:VALUE, as beside=map:0.1 or beside=index:2."
    )


def _of_channels(model: Model, rows: Tensor) -> str:
    for count in CHANNELS:
        if not _answers(model, rows[:, :1].expand(-1, count, -1, -1).clone()):
            continue
        if count == 1:
            each = "torch.cat([network(x[:, i:i + 1]) for i in range(3)], 1)"
            written = f"write as_model(lambda x: {each}, ...)"
            return f"It takes grey images: {written} (on the command line channels=grey) to run it on each channel."
        more = f"torch.zeros_like(x[:, :1]).expand(-1, {count - 3}, -1, -1)"
        given = f"torch.cat([x, {more}], 1)" if count > 3 else f"x[:, :{count}]"
        option = "beside=channel:sigma or channels=4" if count == 4 else f"channels={count}"
        there = f" (on the command line {option})" if count > 3 else ""
        written = f"write as_model(lambda x: network({given}), ...){there}"
        return f"It takes {count} channels: {written} with what the others mean."
    return ""


def _of_size(model: Model, rows: Tensor) -> str:
    for side in SIDES:
        height, width = (-(-size // side) * side for size in rows.shape[-2:])
        if (height, width) != tuple(rows.shape[-2:]) and _answers(model, rows.new_zeros(1, 3, height, width)):
            less = [max(side, size // side * side) for size in rows.shape[-2:]]
            return (
                f"It takes sides that are multiples of {side}: crop the clean image so that the observation has "
                f"{less[0]}x{less[1]} pixels (scene.crop=[top,left,height,width]), or write multiple={side}, which "
                "pads by reflection."
            )
    return ""


def _answers(model: Model, rows: Tensor) -> bool:
    try:
        with torch.inference_mode():
            return isinstance(model.restorer(rows), Tensor)
    except Exception:  # noqa: BLE001 - a network may raise anything; here it only says no
        return False


def fault_of(model: Model, rows: Tensor, output: Any, size: tuple[int, int]) -> str:
    """Return what is wrong with an answer and what to write; "" where it is one RGB image for every row.

    Args:
        model: the model.
        rows: (n, 3, h, w) in 0..1, what it was given.
        output: what it answered.
        size: height and width that the answer must have.
    """
    given, wanted = f"answered {{}} to an input of {tuple(rows.shape)}", (len(rows), 3, *size)
    if not isinstance(output, Tensor):
        fault = f"{given.format(type(output).__name__)}; expected a tensor of {wanted}, one RGB image"
        if not isinstance(output, dict | list | tuple):
            return f"{fault}: return the image"
        pick = f"[{next(iter(output), 'NAME')!r}]" if isinstance(output, dict) else "[-1]"
        option = f"output={next(iter(output), 'NAME')}" if isinstance(output, dict) else "output=-1"
        written = f"write as_model(lambda x: network(x){pick}, ...) (on the command line {option})"
        return f"{fault}: {written} with the entry that is the image"
    shape = tuple(output.shape)
    if not output.dtype.is_floating_point:
        part = ".real" if output.is_complex() else ".float() / 255"
        return f"{given.format(output.dtype)}; expected float32: write as_model(lambda x: network(x){part}, ...)"
    if shape != wanted:
        return f"{given.format(shape)}; expected {wanted}: {_of_shape(rows, shape, wanted)}"
    if not torch.isfinite(output).all():
        return "answered NaN or infinity on the untouched observation: check weights and value range"
    return _of_range(model, rows, output)


def _of_shape(rows: Tensor, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if len(shape) != 4 or shape[0] != wanted[0]:
        return "return one image for every row of the batch, (n, 3, H, W)"
    if shape[1] != 3:
        if shape[1] == 1:
            each = "torch.cat([network(x[:, i:i + 1]) for i in range(3)], 1)"
            return f"write as_model(lambda x: {each}, ...) (on the command line channels=grey or channels=y)"
        return "write as_model(lambda x: network(x)[:, :3], ...) if the first three channels are RGB"
    times = shape[2] / rows.shape[2]
    if times == shape[3] / rows.shape[3] and times == int(times) and times >= 1:
        return f"it enlarges by {int(times)}: write as_model(network, scale={int(times)}, ...) and choose such a task"
    return "its borders shrink or grow: pad inside the network, so that input and output cover the same scene"


def _of_range(model: Model, rows: Tensor, output: Tensor) -> str:
    white = float(getattr(model.restorer, "value_range", 1.0))
    middle, seen = float(output.abs().median()), float(rows.median())
    if middle > FAR:
        return (
            f"answered values around {middle * white:.3g} to an image in 0..{white:g}: if it works in 0..255, write "
            "as_model(network, value_range=255, ...); if only its answer is, as_model(lambda x: network(x) / 255, ...)"
        )
    if white > FAR and seen > 0.02 and 0 < middle < seen / 50 and float(output.abs().max()) * white < 2:
        return (
            f"answered values around {middle * white:.3g} to an image in 0..{white:g}: its answer is in 0..1: write "
            f"as_model(network, value_range=1, ...), or as_model(lambda x: network(x) * {white:g}, ...)"
        )
    return ""


def no_other_engine(name: str, kind: str, error: Exception) -> MeasureError:
    """Return what to raise when an engine failed and no other may take its place.

    Args:
        name: of the model.
        kind: of the engine.
        error: what went wrong.
    """
    if isinstance(error, Refuted) and kind == "full":
        what, unit = ("the untouched image", "") if error.name is None else (f"block {error.name[0]}", " dB")
        return Refuted(
            f"{name} answered {what} differently when it was asked again, alone (by {error.difference:.2e}{unit}): it "
            "keeps state between calls or draws random numbers, so an image has no answer of its own. Hand over a "
            "function that starts afresh, as_model(lambda x: copy.deepcopy(network)(x), ...); for random numbers, see "
            "stochastic=K.",
            *(kind, error.difference),
        )
    if isinstance(error, Refuted):
        return Refuted(f"{error} Use engine=auto or engine=full, and please report this.", kind, error.difference)
    hint = "Call it on such an image yourself" if kind == "full" else "Use engine=auto or engine=full"
    return MeasureError(
        f"{name} raised {type(error).__name__} ({first_line(error)}) under engine {kind}; what was measured before is "
        f"kept. {hint}."
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's words, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
