"""Does a network carry every NaN of its input on to all that reads it? Only then does a NaN-free ROI prove anything.

The answer is yes only where every op that runs is known to carry NaN, seen at torch's dispatcher, below modules, Python
functions and TorchScript, and where no value leaves torch. Ops that are not known are not run on NaN either: some of
them end the process (deformable convolution).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cem_bench.engine.base import EngineError

if TYPE_CHECKING:
    from torch import nn

# Each name is tried with NaN by the project's tests; trailing underscores (in place) are left out.
_POINTWISE = """
    abs add addcdiv addcmul ceil celu clamp clamp_max clamp_min cos div elu erf exp expm1 floor gelu hardtanh leaky_relu
    lerp log log1p log_sigmoid_forward maximum minimum mish mul neg pow prelu _prelu_kernel reciprocal relu relu6 round
    rsqrt rsub selu sigmoid silu sin softplus sqrt square sub tan tanh trunc
"""
_OVER_AXES = """
    addmm amax amin baddbmm bmm cumsum dot glu linalg_vector_norm linear _log_softmax logsumexp matmul mean mm mv
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm native_group_norm
    native_layer_norm norm prod _softmax std sum var var_mean
"""
_WINDOWS = """
    _adaptive_avg_pool2d avg_pool2d col2im convolution _convolution cudnn_convolution im2col max_pool2d_with_indices
    mkldnn_convolution upsample_bicubic2d upsample_bilinear2d upsample_nearest2d _upsample_bicubic2d_aa
    _upsample_bilinear2d_aa _upsample_nearest_exact2d
"""
_MOVES = """
    alias as_strided cat channel_shuffle chunk clone constant_pad_nd contiguous copy detach expand expand_as flatten
    flip index index_select lift_fresh narrow permute pixel_shuffle pixel_unshuffle reflection_pad2d repeat
    replication_pad2d _reshape_alias reshape roll select slice split split_with_sizes squeeze stack t _to_copy transpose
    unbind unfold unsafe_split _unsafe_view unsqueeze view
"""
CARRIES_NAN = frozenset(f"{_POINTWISE} {_OVER_AXES} {_WINDOWS} {_MOVES}".split())
_NO_VALUES = """
    empty empty_like full_like is_pinned new_empty new_full new_ones new_zeros ones_like zeros_like
"""
_FREE = frozenset(_NO_VALUES.split())
_WITH_PLACES = frozenset({"max_pool2d_with_indices"})  # their integers say where, and are not values of the image
# What Python may ask of a tensor without getting a value of it.
_ASKED = """
    size dim ndimension numel nelement stride is_contiguous is_floating_point is_complex is_pinned is_inference
    get_device element_size storage_offset __len__ __get__ __set__ __setitem__ type
"""
_ABOUT = frozenset(_ASKED.split())


class _Ops(TorchDispatchMode):
    """Names the ops that are not known to carry a NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if any(map(_holds_values, tree_leaves((args, kwargs)))):
            self._check(func, args, out)
        return out

    def _check(self, func: Any, args: Any, out: Any) -> None:
        name = func.overloadpacket.__name__
        plain = name.rstrip("_")
        if plain in _FREE:
            return
        exact = all(map(_holds_values, filter(torch.is_tensor, tree_leaves(out)))) or plain in _WITH_PLACES
        power = plain == "pow" and not (len(args) == 2 and isinstance(args[1], int | float) and args[1] != 0)
        if plain not in CARRIES_NAN or func.namespace != "aten" or not exact or power:
            self.unknown.add(name)


class _Leaving(TorchFunctionMode):
    """Names the functions that give Python a value of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", type(func).__name__)
        if name not in _ABOUT and not any(map(torch.is_tensor, tree_leaves(out))):
            self.leaves.add(name)
        return out


def _holds_values(thing: Any) -> bool:
    return isinstance(thing, Tensor) and thing.is_floating_point()


def require_nan_carried(network: nn.Module, images: Tensor) -> Tensor:
    """Run a network on clean images and refuse it unless it is known to carry every NaN.

    Args:
        network: the network, in eval mode.
        images: (b, 3, h, w).

    Returns:
        Its answer, (b, 3, h * scale, w * scale).

    Raises:
        EngineError: naming the ops that are not known to carry NaN.
    """
    # outside of inference mode every op is seen in its parts
    with torch.inference_mode(False), torch.no_grad(), _Leaving() as values, _Ops() as ops:
        answer = network(images.clone())
    names = sorted(ops.unknown | values.leaves)
    if names:
        raise EngineError(f"locality cannot be certified: {', '.join(names)} may hide a NaN")
    return answer
