"""Ops that reduce all positions to a value without position, as sums: only what changes in a region moves them.

Means, variances and the products of transposed attention (q k^T, normalised or not) are functions of sums over
positions. So the value under a draw follows from the clean sums and from what the draw changes, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cem_bench.engine.layout import BATCH, COLUMN, PINNED, ROW
from cem_bench.engine.step import argument, axes_of, inputs_of
from cem_bench.engine.trace import Ref

if TYPE_CHECKING:
    from torch import Tensor

    from cem_bench.engine.layout import Layout
    from cem_bench.engine.program import Program
    from cem_bench.engine.trace import Call

Sums = tuple["Tensor", ...]


@dataclass(frozen=True, eq=False)
class Reduction:
    """A value without position as a function of sums over positions.

    Attributes:
        sources: the values that are summed over, all of one extent.
        sums: parts of the sources, as their layouts shape them, to sums over these parts: (rows, ...) each.
        finish: sums over all positions to the value, (rows, ...) in the order of the op's own.
    """

    sources: tuple[Ref, ...]
    sums: Callable[[list[Tensor]], Sums]
    finish: Callable[[Sums], Tensor]


def reduction_of(program: Program, ref: Ref) -> Reduction | None:
    """Return a value of a record as a function of sums; None where it is not known to be one."""
    call = program.calls[ref]
    reduction = _KNOWN[call.name](program, call) if call.name in _KNOWN else None
    if reduction is None:
        return None
    layouts = [program.layouts[source] for source in reduction.sources]
    rows_first = all(layout.axes[0][:1] == ((BATCH, 1),) for layout in layouts)
    return reduction if rows_first and len({layout.extent for layout in layouts}) == 1 else None


def _positions(layout: Layout) -> list[int] | None:
    """Return the axes that hold rows or columns; None where one holds something else too, or the batch does."""
    axes = [index for index, _ in enumerate(layout.axes) if layout.holds(index, frozenset({ROW, COLUMN}))]
    names = [name for index in axes for name, _ in layout.axes[index]]
    return axes if axes and set(names) <= {ROW, COLUMN} else None


def _over_positions(program: Program, call: Call, given: list[int] | None = None) -> tuple[Ref, list[int], int] | None:
    """Return source, axes and number of positions of an op over just the axes of positions."""
    source = inputs_of(call)[0]
    layout = program.layouts[source]
    axes = _positions(layout)
    over = given or axes_of(call, 1, "dim", len(layout.axes))
    if axes is None or sorted(over) != axes or len(inputs_of(call)) > 1:
        return None
    return source, axes, layout.everywhere.area


def _mean(program: Program, call: Call) -> Reduction | None:
    place = _over_positions(program, call)
    if place is None or call.kwargs.get("dtype") is not None:
        return None
    source, axes, count = place
    share = count if call.name == "mean" else 1
    return Reduction((source,), lambda parts: (parts[0].sum(axes),), lambda sums: sums[0] / share)


def _pool(program: Program, call: Call) -> Reduction | None:
    """Average pooling of the whole image to one position, whose windows leave nothing out."""
    layout = program.layouts[inputs_of(call)[0]]
    if not layout.is_image or tuple(call.shape[2:]) != (1, 1):
        return None
    if call.name == "avg_pool2d":
        kernel = argument(call, 1, "kernel_size")
        kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        if kernel != layout.extent or argument(call, 3, "padding", 0) not in (0, (0, 0)) or call.args[6:]:
            return None
    place = _over_positions(program, call, [2, 3])
    if place is None:
        return None
    source, axes, count = place
    return Reduction((source,), lambda parts: (parts[0].sum(axes),), lambda sums: sums[0] / count)


def _variance(program: Program, call: Call) -> Reduction | None:
    if isinstance(argument(call, 1, "dim"), bool):
        return None
    place = _over_positions(program, call)
    if place is None:
        return None
    source, axes, count = place
    less = call.kwargs.get("correction")
    less = int(argument(call, 2, "unbiased", True)) if less is None else less

    def finish(sums: Sums) -> Tensor:
        spread = ((sums[1] - sums[0].square() / count) / (count - less)).clamp_min(0)
        return spread.sqrt() if call.name == "std" else spread

    return Reduction((source,), lambda parts: (parts[0].sum(axes), parts[0].square().sum(axes)), finish)


def _product(program: Program, call: Call) -> Reduction | None:
    """The product of two values over their positions, each as it is or normalised over them."""
    if len(call.args) != 2 or not all(isinstance(item, Ref) for item in call.args):
        return None
    left, right = (_side(program, item) for item in call.args)
    if left is None or right is None or left.turned or not right.turned:
        return None  # (..., i, positions) times (..., positions, j) alone

    def sums(parts: list[Tensor]) -> Sums:
        queries, keys = parts[0], parts[-1]
        return queries @ keys.transpose(-2, -1), queries.square().sum(-1), keys.square().sum(-1)

    def finish(totals: Sums) -> Tensor:
        product, queries, keys = totals
        if left.least is not None:
            product = product / queries.sqrt().clamp_min(left.least)[..., :, None]
        return product if right.least is None else product / keys.sqrt().clamp_min(right.least)[..., None, :]

    return Reduction((left.ref,) if left.ref == right.ref else (left.ref, right.ref), sums, finish)


@dataclass(frozen=True)
class _Side:
    """A side of a product.

    Attributes:
        ref: the value under it, whose last axis holds its positions and nothing else does.
        turned: whether its last two axes changed places since.
        least: least norm over positions that divides it; None where it is not normalised.
    """

    ref: Ref
    turned: bool
    least: float | None


def _side(program: Program, ref: Ref) -> _Side | None:
    """Follow a side of a product back to the value under it; None where that is not known to be one."""
    turned, least = False, None
    while ref in program.calls and program.calls[ref].name in ("transpose", "swapaxes", "normalize"):
        call = program.calls[ref]
        ndim = len(call.shape)
        if call.name == "normalize":
            over_positions = _positions(program.layouts[ref]) == [argument(call, 2, "dim", 1) % ndim]
            if least is not None or not over_positions or argument(call, 1, "p", 2.0) != 2.0:
                return None
            least = float(argument(call, 3, "eps", 1e-12))
        elif sorted(argument(call, 1 + i, f"dim{i}") % ndim for i in range(2)) == [ndim - 2, ndim - 1]:
            turned = not turned
        else:
            return None
        (ref,) = inputs_of(call)
    layout = program.layouts[ref]
    last = len(layout.axes) - 1
    pinned = any(name in PINNED for axis in layout.axes[1:last] for name, _ in axis)
    return None if pinned or _positions(layout) != [last] else _Side(ref, turned, least)


_KNOWN: dict[str, Callable[[Program, Call], Reduction | None]] = {
    **dict.fromkeys(("mean", "sum"), _mean),
    **dict.fromkeys(("adaptive_avg_pool2d", "avg_pool2d"), _pool),
    **dict.fromkeys(("var", "std"), _variance),
    **dict.fromkeys(("matmul", "bmm"), _product),
}
