"""What resembles the least attended patch is background (FOUND, Simeoni et al., CVPR 2023)."""

from typing import NamedTuple

from wsol_mm.models.utils.precision import at_least_float32

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

#: Added to the share of attended patches of every head.
_EPS = 1e-10


class Background(NamedTuple):
    """How much every patch resembles the background.

    Attributes:
        cosine: With the reference patch, (B, P).
        head_weights: (B, H): heads with sparse attention weigh more; ones without weights.
        reference: Index of the patch with least attention, the first on ties, (B,).
    """

    cosine: Tensor
    head_weights: Tensor
    reference: Tensor


def background_discovery(class_attention: Tensor, keys: Tensor, apply_weights: bool = True) -> Background:
    """Compare all patches with the one that the class token attends to least.

    Patches whose cosine is above a threshold (0.3 for DINO) are background, the others object
    (docs/specifications/found.md, section 3).

    Args:
        class_attention: The class token's attention to the P patches in the last layer, not normalised again,
            (B, H, P).
        keys: Of the patches in the same layer, heads concatenated, (B, P, H * d).
        apply_weights: Weigh the heads.

    Returns:
        The cosines and what they are made of, in float32 or better.
    """
    attention, keys = at_least_float32(class_attention), at_least_float32(keys)
    num_heads = attention.shape[1]
    weights = attention.new_ones(attention.shape[:2])
    if apply_weights:
        attended = (attention > attention.mean(dim=(1, 2), keepdim=True)).to(attention).mean(dim=2) + _EPS
        weights = (attended.sum(dim=1, keepdim=True) / attended).log()
    weighted = (keys.unflatten(2, (num_heads, -1)) * weights[:, None, :, None]).flatten(2)
    unit = F.normalize(weighted, dim=2)
    reference = (weights[:, None] @ attention)[:, 0].argmin(dim=1)
    of_reference = unit.gather(1, reference[:, None, None].expand(-1, 1, unit.shape[2]))
    return Background((unit @ of_reference.transpose(1, 2))[..., 0], weights, reference)
