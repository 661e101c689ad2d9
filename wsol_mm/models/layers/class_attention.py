"""Class-token attention on the patch grid."""

from torch import Tensor

from ...structures import TokenFeatures


def class_token_attention(feats: TokenFeatures) -> Tensor:
    """Return the class token's attention to the patches, averaged over the heads.

    The row includes the class token's own key in its soft-max; that entry is dropped without
    re-normalising (TS-CAM, section 4).

    Args:
        feats (TokenFeatures): With attention ``'class'`` or ``'full'``.

    Returns:
        Tensor: (B, L, h, w), one map per layer.

    Raises:
        ValueError: If the features carry no attention.
    """
    attention = feats.attention
    if attention is None:
        raise ValueError("the features carry no attention: ask the backbone for out_attention='class'")
    if attention.dim() == 5:
        attention = attention[..., 0, :]
    height, width = feats.grid
    return attention[..., 1 : 1 + height * width].mean(dim=2).unflatten(-1, (height, width))
