"""Features of a backbone that does not return them itself: any of mmpretrain's."""

from collections.abc import Sequence

from wsol_mm.structures import Features

from torch import Tensor, nn

#: Settings of mmpretrain's transformers that return no map.
_WITHOUT_MAP = ('cls_token', 'avg_featmap')


def foreign_gives(backbone: nn.Module) -> frozenset[str]:
    """Return what :func:`foreign_features` finds in a backbone's outputs beyond the feature map.

    Args:
        backbone: One without ``gives``. mmpretrain's transformers return one kind of output, chosen by
            ``out_type``: ``'featmap'`` is the map, ``'raw'`` all tokens.

    Raises:
        ValueError: If it is set to return no map.
    """
    out_type = getattr(backbone, 'out_type', None)
    if out_type in _WITHOUT_MAP:
        raise ValueError(
            f"backbone.out_type: expected 'featmap' (the map alone) or 'raw' (class token and map), got "
            f'{out_type!r} of {type(backbone).__name__}'
        )
    if out_type == 'raw' and getattr(backbone, 'cls_token', None) is not None:
        return frozenset({'cls_token'})
    return frozenset()


def foreign_features(backbone: nn.Module, inputs: Tensor) -> Features:
    """Run a backbone that returns maps, (B, D, h, w), or the tokens of a transformer, (B, N, D).

    Args:
        backbone: One without ``gives``.
        inputs: Normalised images (B, 3, H, W).

    Returns:
        The last output as feature map, the earlier ones (``out_indices``) as ``stages``.

    Raises:
        ValueError: If an output is neither.
    """
    outputs = backbone(inputs)
    *earlier, last = outputs if isinstance(outputs, Sequence) else (outputs,)
    if isinstance(last, Tensor) and last.dim() == 3:
        return _token_features(backbone, inputs, last)
    if not isinstance(last, Tensor) or last.dim() != 4:
        found = tuple(last.shape) if isinstance(last, Tensor) else type(last).__name__
        raise ValueError(
            f'backbone: expected one that returns feature maps (B, D, h, w), got {found} of '
            f'{type(backbone).__name__}'
        )
    return Features(last, stages=tuple(earlier))


def _token_features(backbone: nn.Module, inputs: Tensor, tokens: Tensor) -> Features:
    stride = backbone.patch_embed.projection.stride
    height, width = (side // step for side, step in zip(inputs.shape[-2:], stride, strict=True))
    return Features.from_tokens(tokens, (height, width), patch_start=backbone.num_extra_tokens)
