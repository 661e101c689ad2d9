"""Class-token attention on the patch grid."""

from wsol_mm.structures import Features

from torch import Tensor


def class_token_attention(feats: Features) -> Tensor:
    """Return the class token's attention to the patches, averaged over the heads.

    The row includes the class token's own key in its soft-max; that entry is dropped without
    re-normalising (docs/specifications/ts_cam.md, section 4).

    Args:
        feats: With ``class_attention``.

    Returns:
        (B, L, h, w), one map per layer.

    Raises:
        ValueError: If the features carry no attention of a class token.
    """
    return feats.on_grid(feats.require('class_attention')).mean(dim=2)
