"""Contracts: what a network takes beside an RGB image in 0..1, or gives beside one, and the adapters that bridge it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model_zoo.adapters import LumaOnly, Padded
from model_zoo.errors import ZooError
from model_zoo.inference import LocalPooling, Tiled, mode_of

FORMS = ("channel", "map", "tensor", "vector", "number", "index")
CHANNELS = ("rgb", "bgr", "grey", "y")
DTYPES = {"float32": torch.float32, "half": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Contract:
    """How a network differs from a map of RGB images in 0..1 to RGB images in 0..1; each field is an option.

    Attributes:
        output: which of several outputs is the image: a place (`-1`), a name (`image`), or a way in (`0.image`).
        beside: a constant second input, FORM:VALUE: `channel` of the image itself, a `map` (n, 1, h, w), a `tensor`
            (n, 1, 1, 1), a `vector` (n,), a `number`, or an `index` (n,) of whole numbers, as that of a prompt.
        channels: `rgb`; `bgr`; `grey`: one channel, given the colours one after the other; `y`: one channel, given Y
            of YCbCr, Cb and Cr enlarged bicubically; or how many channels (4 or more): RGB and zeros behind it.
        low: black of its input and output; white is `high`.
        high: see `low`.
        multiple: sides are padded to a multiple of it by reflection at the bottom and right, and cut again.
        dtype: `float32`, `half` or `bfloat16`: what it computes in.
        inference: `whole`; `tiles:T` or `tiles:T:OVERLAP`: tiles of T input pixels, averaged where they overlap;
            `local:W`: pooling over the whole image becomes pooling over windows of W input pixels around each pixel.
    """

    output: str = ""
    beside: str = ""
    channels: str = "rgb"
    low: float = 0.0
    high: float = 1.0
    multiple: int = 1
    dtype: str = "float32"
    inference: str = "whole"

    def __post_init__(self) -> None:
        """Refuse what no network can mean.

        Raises:
            ZooError: naming the option, what was got and what is expected.
        """
        form = self.beside.partition(":")[0]
        if self.beside and (form not in FORMS or _number(self.beside.partition(":")[2]) is None):
            raise ZooError(
                f"beside={self.beside}: expected FORM:VALUE, FORM one of {', '.join(FORMS)} and VALUE a number, "
                "as beside=map:0.098, or beside=map:sigma under a task of noise"
            )
        if self.channels not in CHANNELS and not (self.channels.isdigit() and int(self.channels) > 3):
            raise ZooError(f"channels={self.channels}: expected one of {', '.join(CHANNELS)}, or a number above 3")
        if self.dtype not in DTYPES:
            raise ZooError(f"dtype={self.dtype}: expected one of {', '.join(DTYPES)}")
        if not self.high > self.low:
            raise ZooError(f"value_range={self.low:g}..{self.high:g}: expected black below white, as 0..255 or -1..1")
        if self.multiple < 1:
            raise ZooError(f"multiple={self.multiple}: expected 1 or more pixels")
        mode_of(self.inference)

    @property
    def declared(self) -> dict[str, Any]:
        """The fields that differ from a plain RGB network, for the record; black and white as `value_range`."""
        plain = asdict(Contract())
        fields = {name: value for name, value in asdict(self).items() if value != plain[name]}
        ends = fields.pop("low", None), fields.pop("high", None)
        return fields if ends == (None, None) else {**fields, "value_range": f"{self.low:g}..{self.high:g}"}


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", text) else None


def adapted(network: nn.Module, contract: Contract, scale: int = 1) -> nn.Module:
    """Return a network that takes and gives RGB; the same network where the contract asks for nothing.

    Args:
        network: as its author wrote it.
        contract: what it takes and gives.
        scale: output pixels per input pixel.

    Returns:
        (n, 3, h, w) in 0..1 (in 0..high where black is 0) to (n, 3, h * scale, w * scale) in the same range.
    """
    if contract.beside:
        form, _, value = contract.beside.partition(":")
        network = Beside(network, form, float(value))
    if contract.output:
        network = Picked(network, contract.output)
    if contract.dtype != "float32":
        network = InType(network, contract.dtype)
    if contract.low:
        network = Ranged(network, contract.low, contract.high)
    if contract.channels == "y":
        network = LumaOnly(network, scale)
    elif contract.channels != "rgb":
        network = Channels(network, contract.channels)
    if contract.multiple > 1:
        network = Padded(network, contract.multiple, "reflect", scale)
    kind, sizes = mode_of(contract.inference)
    if kind == "tiles":
        network = Tiled(network, sizes[0], sizes[1] if len(sizes) > 1 else 0, scale)
    return LocalPooling(network, sizes[0]) if kind == "local" else network


class Picked(nn.Module):
    """Gives one of several outputs."""

    def __init__(self, network: nn.Module, output: str) -> None:
        """Args: network: answers a list, tuple or dict; output: place or name, further ones behind dots."""
        super().__init__()
        self.network, self.output = network, output

    def extra_repr(self) -> str:
        """Say which, for keys."""
        return f"output={self.output}"

    def forward(self, x: Tensor) -> Tensor:
        """Call the network and pick."""
        answer: Any = self.network(x)
        for step in self.output.split("."):
            answer = _entry(answer, step, self.output)
        return answer


def _entry(answer: Any, step: str, output: str) -> Any:
    if isinstance(answer, Mapping) and step in answer:
        return answer[step]
    if isinstance(answer, list | tuple) and re.fullmatch(r"-?\d+", step) and -len(answer) <= int(step) < len(answer):
        return answer[int(step)]
    if isinstance(answer, Mapping):
        has = f"the names {', '.join(map(str, answer))}"
    else:
        has = f"{len(answer)} entries" if isinstance(answer, list | tuple) else f"one {type(answer).__name__}"
    raise ZooError(f"output={output}: the network answers {has}; there is no {step!r} in it")


class Beside(nn.Module):
    """Gives a network a constant beside the image."""

    def __init__(self, network: nn.Module, form: str, value: float) -> None:
        """Args: network: takes it; form: one of FORMS; value: in the network's own range."""
        super().__init__()
        self.network, self.form, self.value = network, form, value

    def extra_repr(self) -> str:
        """Say what is given, for keys."""
        return f"beside={self.form}:{self.value!r}"

    def forward(self, x: Tensor) -> Any:
        """(n, c, h, w) to what the network answers."""
        if self.form == "channel":
            return self.network(torch.cat([x, torch.full_like(x[:, :1], self.value)], 1))
        if self.form == "number":
            return self.network(x, self.value)
        if self.form == "map":
            return self.network(x, torch.full_like(x[:, :1], self.value))
        if self.form == "index":
            return self.network(x, torch.full((x.shape[0],), int(self.value), device=x.device))
        shape = (x.shape[0], 1, 1, 1) if self.form == "tensor" else (x.shape[0],)
        return self.network(x, x.new_full(shape, self.value))


class InType(nn.Module):
    """Computes in another number format."""

    def __init__(self, network: nn.Module, dtype: str) -> None:
        """Args: network: converted here; dtype: one of DTYPES."""
        super().__init__()
        self.network, self.dtype = network.to(DTYPES[dtype]), dtype

    def extra_repr(self) -> str:
        """Say which, for keys."""
        return f"dtype={self.dtype}"

    def forward(self, x: Tensor) -> Tensor:
        """Float32 in and out."""
        return self.network(x.to(DTYPES[self.dtype])).float()


class Ranged(nn.Module):
    """Stretches 0..1 to low..high and back."""

    def __init__(self, network: nn.Module, low: float, high: float) -> None:
        """Args: network: works in low..high; low: its black; high: its white."""
        super().__init__()
        self.network, self.low, self.high = network, low, high

    def extra_repr(self) -> str:
        """Say the range, for keys."""
        return f"value_range={self.low:g}..{self.high:g}"

    def forward(self, x: Tensor) -> Tensor:
        """0..1 in and out."""
        span = self.high - self.low
        return (self.network(x * span + self.low) - self.low) / span


class Channels(nn.Module):
    """Gives a network its channels in its order and number."""

    def __init__(self, network: nn.Module, channels: str) -> None:
        """Args: network: takes them; channels: bgr, grey, or a number above 3."""
        super().__init__()
        self.network, self.channels = network, channels

    def extra_repr(self) -> str:
        """Say which, for keys."""
        return f"channels={self.channels}"

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) RGB in and out."""
        colours = [x[:, place : place + 1] for place in range(3)]
        if self.channels == "grey":
            return torch.cat([self.network(colour) for colour in colours], 1)
        if self.channels == "bgr":
            answer = self.network(torch.cat(colours[::-1], 1))
            return torch.cat([answer[:, place : place + 1] for place in (2, 1, 0)], 1)
        missing = torch.zeros_like(x[:, :1]).expand(-1, int(self.channels) - 3, -1, -1)
        return self.network(torch.cat([x, missing], 1))[:, :3]
