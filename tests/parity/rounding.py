"""Float32 arithmetic as some processor might do it, emulated in float64: the same on every machine."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_aten = torch.ops.aten
#: Operations that add up many products: their rounding is relative to what they add, not to what is left.
_SUMS = {
    getattr(_aten, name)
    for name in (
        *('mm', 'bmm', 'addmm', 'baddbmm', 'convolution', 'convolution_backward', 'sum', 'mean'),
        *('native_batch_norm', 'native_batch_norm_backward', 'native_layer_norm', '_softmax'),
        *('native_layer_norm_backward', '_softmax_backward_data', 'cudnn_batch_norm'),
    )
}
#: Operations that only carry values.
_COPIES = {_aten._to_copy, _aten.clone, _aten.cat, _aten.stack, _aten.index, _aten.gather}
_ONE = 2.0**-24
#: Rounding of a sum: that of partial sums of a few dozen terms, as vector units make them.
_MANY = 2.0**-22


class RoundedArithmetic(TorchDispatchMode):
    """Disturb the result of every float64 operation, forward and backward, as rounding to float32 would."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation and disturb what it returns; views and changes in place are left alone."""
        result = func(*args, **(kwargs or {}))
        shared = (
            func.is_view or func._schema.is_mutable or any(out.alias_info for out in func._schema.returns)
        )
        if shared or func.overloadpacket in _COPIES:
            return result
        many = func.overloadpacket in _SUMS
        return tree_map_only(Tensor, lambda value: self._disturbed(value, many), result)

    def _disturbed(self, value: Tensor, many: bool) -> Tensor:
        if value.dtype != torch.float64 or not value.numel():
            return value
        scale = value.abs()
        if many:
            scale = scale.clamp(min=value.square().mean().sqrt().nan_to_num())
        noise = torch.randn(value.shape, generator=self._generator, dtype=value.dtype)
        return torch.where(torch.isfinite(value), value + (_MANY if many else _ONE) * scale * noise, value)
