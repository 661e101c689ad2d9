"""The explicit form of a model of wsol_mm."""

from wsol_mm.models.backbones import TokenVisionTransformer
from wsol_mm.models.localizers import ImageLocalizer

from .vit import FORMS, ExplicitViT, NoExplicitForm


def explicit_form(localizer: ImageLocalizer) -> ExplicitViT:
    """Build the explicit form of a model, with weights of its own.

    Args:
        localizer: A built model; its sizes and settings are read.

    Returns:
        The form.

    Raises:
        NoExplicitForm: If there is none of the head's method, of the backbone or of their settings.
    """
    backbone, head = localizer.backbone, type(localizer.head).__name__
    if head not in FORMS:
        raise NoExplicitForm(f'expected a head of {", ".join(FORMS)}, got {head}')
    if not isinstance(backbone, TokenVisionTransformer):
        raise NoExplicitForm(f'expected a plain vision transformer, got {type(backbone).__name__}')
    attention = [layer.attn for layer in backbone.layers]
    drops = {backbone.drop_after_pos.p, *(layer.attn_drop for layer in attention)}
    drops |= {layer.proj_drop.p for layer in attention}
    if drops != {0.0}:
        raise NoExplicitForm(f'expected a backbone without dropout, got the rates {sorted(drops)}')
    return FORMS[head](
        num_classes=localizer.head.num_classes,
        img_size=backbone.img_size,
        patch_size=backbone.patch_embed.projection.kernel_size[0],
        embed_dims=backbone.embed_dims,
        depth=backbone.num_layers,
        num_heads=attention[0].num_heads,
        hidden_dims=backbone.arch_settings['feedforward_channels'],
        norm_eps=backbone.ln1.eps,
        qk_scale=attention[0].scale,
        qkv_bias=attention[0].qkv.bias is not None,
        drop_path_rate=getattr(attention[-1].out_drop, 'drop_prob', 0.0),
        **FORMS[head].settings(localizer),
    )
