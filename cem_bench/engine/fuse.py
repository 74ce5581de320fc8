"""Rewrite a record where one op says the same as several: attention written out, and GELU after a product.

Scores, biases and masks of a window attention are larger than its queries and values, and every op on them passes
through memory. What does not come from the image (position bias, shift mask) is summed here, once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional

from cem_bench.engine.kernels import linear_gelu
from cem_bench.engine.trace import Call, Ref, refs

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAME = frozenset({"dropout", "contiguous"})
_MOVED = frozenset({"view", "reshape"})
_TURNED = frozenset({"transpose", "swapaxes"})
_PRODUCT = frozenset({"matmul", "bmm"})
MASK_BYTES = 32 * 2**20  # a larger sum of bias and mask would cost more memory than the fused call saves


@dataclass(frozen=True)
class _Record:
    """A record, with how often every value is read."""

    calls: Sequence[Call]
    readers: Counter[Ref]

    def once(self, thing: Any, names: frozenset[str]) -> Call | None:
        """Return the call that made a value, if it has one of these names and nothing else reads the value."""
        if not isinstance(thing, Ref) or thing.index < 0 or self.readers[thing] > 1:
            return None
        call = self.calls[thing.index]
        return call if call.name in names else None


def fused(calls: Sequence[Call], output: Ref) -> dict[Ref, Call]:
    """Return the calls that the output needs, several in one wherever that is the same.

    Args:
        calls: in order, as recorded.
        output: the value to make.

    Returns:
        The calls by reference, in order.
    """
    record = _Record(calls, Counter([output, *(ref for call in calls for ref in refs((call.args, call.kwargs)))]))
    rewritten = [_attention(record, call) or _activated(record, call) or call for call in calls]
    needed, calls_left = {output}, {}
    for index in reversed(range(len(calls))):
        if Ref(index) in needed:
            calls_left[Ref(index)] = rewritten[index]
            needed.update(refs((rewritten[index].args, rewritten[index].kwargs)))
    return dict(reversed(calls_left.items()))


def _attention(record: _Record, call: Call) -> Call | None:
    """Return softmax(queries keys^T * scale + constants) values as one call; None where the call is not its end."""
    if call.name not in _PRODUCT or len(call.args) != 2 or not isinstance(call.args[1], Ref):
        return None
    weights = record.once(call.args[0], _SAME | {"softmax"})
    while weights and weights.name in _SAME:
        weights = record.once(weights.args[0], _SAME | {"softmax"})
    if weights is None or _axis(weights) not in (-1, len(weights.shape) - 1):
        return None
    parts = _scores(record, weights)
    if parts is None:
        return None
    scores, scale, mask = parts
    turned = record.once(scores.args[1], _TURNED)
    if turned is None or sorted(axis % 4 for axis in turned.args[1:3]) != [2, 3]:
        return None
    queries = scores.args[0]
    if not isinstance(queries, Ref) or record.calls[queries.index].shape[-1] > scores.shape[-1]:
        return None  # fewer scores than queries (attention over channels): nothing to save
    return replace(
        call,
        name="scaled_dot_product_attention",
        fn=functional.scaled_dot_product_attention,
        args=(queries, turned.args[0], call.args[1]),
        kwargs={"attn_mask": mask, "scale": scale},
    )


def _activated(record: _Record, call: Call) -> Call | None:
    """Return GELU of a product as one call; None where the call is not that."""
    if call.name != "gelu" or len(call.args) != 1 or call.kwargs.get("approximate", "none") != "none":
        return None
    product = record.once(call.args[0], frozenset({"linear"}))
    return product and replace(product, fn=linear_gelu)


def _axis(softmax: Call) -> Any:
    return softmax.args[1] if len(softmax.args) > 1 else softmax.kwargs.get("dim")


def _scores(record: _Record, softmax: Call) -> tuple[Call, float, Tensor | None] | None:
    """Return the product under a softmax, the number it is multiplied by, and the sum of constants added to it."""
    chain: list[Call] = []
    call = record.once(softmax.args[0], _PRODUCT | _MOVED | {"add", "mul"})
    while call and call.name not in _PRODUCT:
        chain.append(call)
        call = record.once(call.args[0], _PRODUCT | _MOVED | {"add", "mul"})
    if call is None or len(call.shape) != 4 or call.shape != softmax.shape:
        return None
    scale = chain.pop().args[1] if chain and chain[-1].name == "mul" else 1.0
    added = [step.args[1] for step in chain if step.name == "add" and not step.kwargs]
    understood = all(step.name in _MOVED for step in chain if step.name != "add" or step.kwargs)
    if not understood or not isinstance(scale, int | float) or not all(isinstance(item, Tensor) for item in added):
        return None
    mask = _summed(chain, call.shape, added[0]) if added else None
    return None if mask is not None and mask.nbytes > MASK_BYTES else (call, scale, mask)


def _summed(chain: Sequence[Call], shape: Sequence[int], like: Tensor) -> Tensor:
    """Return what a chain adds to scores of that shape; its first entry alone where all are equal."""
    total = like.new_zeros(shape)
    for step in reversed(chain):
        total = step(lambda _, value=total: value)
    return total[:1].clone() if bool((total == total[:1]).all()) else total
