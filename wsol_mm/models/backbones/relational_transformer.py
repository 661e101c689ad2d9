"""Vision transformer whose layers propagate the class token's attention (LCTR, Chen et al., AAAI 2022)."""

from wsol_mm.models.layers import RelationalEncoderLayer
from wsol_mm.registry import MODELS

from .vision_transformer import TokenVisionTransformer


@MODELS.register_module()
class RelationalTransformer(TokenVisionTransformer):
    """:class:`TokenVisionTransformer` that can pass the class token's row once more through every layer.

    On request the features carry the result as ``'propagated'`` (B, L, N), LCTR's RPAM; see
    :class:`RelationalAttention`. There are no parameters for it, so weights are those of the parent.
    Arguments are those of :class:`TokenVisionTransformer`.
    """

    layer_class = RelationalEncoderLayer
    gives = TokenVisionTransformer.gives | {'propagated'}
    layer_map_titles = {'propagated': 'propagated attention'}
