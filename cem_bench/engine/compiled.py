"""Run by torch.compile what every draw computes in full: a whole network, or the start of a record.

Compiling fuses the small ops between products and convolutions. It costs a minute or two, and every size of batch would
be compiled anew: compiled code runs one row at a time.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from cem_bench.engine.base import EngineError, exact_arithmetic
from cem_bench.engine.program import IMAGE
from cem_bench.engine.trace import Ref, refs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cem_bench.engine.program import Program
    from cem_bench.engine.step import Values
    from cem_bench.engine.trace import Call


def compile_network(network: nn.Module, observation: Tensor) -> Callable[[Tensor], Any]:
    """Return a network compiled for observations of this size.

    Args:
        network: takes (1, 3, h, w).
        observation: (1, 3, h, w), of the type and on the device to run on.

    Raises:
        EngineError: if torch cannot compile it here.
    """
    fast = torch.compile(network, options={"freezing": True})
    try:
        with exact_arithmetic():
            fast(observation.clone())
    except (RuntimeError, OSError) as error:
        raise EngineError(
            f"torch.compile failed with {type(error).__name__}: {str(error).splitlines()[0]}. It needs a C++ compiler "
            "(Debian: apt install g++) and a network that it can follow; else leave compile=false"
        ) from None
    return fast


class Start:
    """The values that the ROI wants everywhere and what they come from, as one compiled graph."""

    def __init__(self, program: Program, observation: Tensor) -> None:
        """Compile the start of a program for observations like this one, (1, 3, h, w)."""
        self.refs = whole(program)
        read = {source for ref, step in program.steps.items() if ref not in self.refs for source in step.inputs}
        self._read = tuple(ref for ref in program.steps if ref in self.refs & (read | {program.output}))
        self._run = compile_network(_graph(program.calls, self._read), observation)

    def values(self, image: Tensor) -> Values:
        """Return what the rest of the program reads of the start, for (1, 3, h, w)."""
        return dict(zip(self._read, self._run(image), strict=True))


def whole(program: Program) -> frozenset[Ref]:
    """Return the values that the ROI wants everywhere."""
    return frozenset(ref for ref in program.steps if program.wanted[ref] == program.layouts[ref].everywhere)


def _graph(calls: dict[Ref, Call], outputs: tuple[Ref, ...]) -> fx.GraphModule:
    """Return recorded calls as a network from an image to some of their values."""
    root, graph, constants = nn.Module(), fx.Graph(), dict[int, fx.Node]()
    nodes: dict[Ref, fx.Node] = {IMAGE: graph.placeholder("image")}

    def node(thing: Any) -> Any:
        if isinstance(thing, Ref):
            return nodes[thing]
        if isinstance(thing, Tensor):
            if id(thing) not in constants:
                name = f"constant_{len(constants)}"
                root.register_buffer(name, thing.detach())
                constants[id(thing)] = graph.get_attr(name)
            return constants[id(thing)]
        if isinstance(thing, list | tuple):
            return type(thing)(node(item) for item in thing)
        return {key: node(item) for key, item in thing.items()} if isinstance(thing, dict) else thing

    for ref in _needed(calls, outputs):
        nodes[ref] = _called(graph, calls[ref], node(calls[ref].args), node(calls[ref].kwargs))
    graph.output(tuple(nodes[ref] for ref in outputs))
    return fx.GraphModule(root, graph)


def _called(graph: fx.Graph, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
    """Add one call; methods of tensors by name, because only so can a compiler follow them."""
    name = getattr(call.fn, "__name__", "")
    method = getattr(Tensor, name, None) is call.fn
    made = graph.call_method(name, args, kwargs) if method else graph.call_function(call.fn, args, kwargs)
    return made if call.pick is None else graph.call_function(operator.getitem, (made, call.pick))


def _needed(calls: dict[Ref, Call], outputs: Iterable[Ref]) -> list[Ref]:
    """Return the calls that some values need, in order."""
    needed = set(outputs)
    for ref in reversed(calls):
        if ref in needed:
            needed.update(refs((calls[ref].args, calls[ref].kwargs)))
    return [ref for ref in calls if ref in needed]
