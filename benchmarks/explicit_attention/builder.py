"""The explicit form of a model of wsol_mm."""

from collections.abc import Callable
from typing import NamedTuple

from wsol_mm.models.backbones import TokenVisionTransformer
from wsol_mm.models.heads import LocalizationHead
from wsol_mm.models.localizers import ImageLocalizer

from .catr import ExplicitCATR
from .cdtr import ExplicitCDTR, SBASettings
from .lctr import ExplicitLCTR
from .sat import ExplicitSAT
from .scm import ExplicitSCM
from .ts_cam import ExplicitTSCAM
from .vit import ExplicitViT


class Method(NamedTuple):
    """Explicit form of one method.

    Attributes:
        name (str): Of the method, as the converter of published checkpoints calls it.
        form (type[ExplicitViT]): Its explicit form.
        settings (Callable): From a built localizer to the further arguments of the form.
    """

    name: str
    form: type[ExplicitViT]
    settings: Callable[[ImageLocalizer], dict]


def _no_settings(localizer: ImageLocalizer) -> dict:
    return {}


def _scm_settings(localizer: ImageLocalizer) -> dict:
    return {'iterations': [layer.iterations for layer in localizer.head.calibration.layers]}


def _sat_settings(localizer: ImageLocalizer) -> dict:
    masked = [layer.attn.masked for layer in localizer.backbone.layers]
    return {'area_threshold': localizer.head.area_loss.target_area, 'num_masked': sum(masked)}


def _lctr_settings(localizer: ImageLocalizer) -> dict:
    return {'num_kernels': len(localizer.head.cdm.weight)}


def _catr_settings(localizer: ImageLocalizer) -> dict:
    """Return the settings of CATR.

    Raises:
        ValueError: If a part is off, or a loss is not that of the reference.
    """
    head = localizer.head
    missing = [name for name in ('csm', 'ocm', 'area_loss', 'loss_weighting') if getattr(head, name) is None]
    if missing:
        raise ValueError(f'the head has no {", ".join(missing)}; the explicit form has all parts')
    other = (head.map_loss.pairing, head.map_loss.detach_target, head.area_loss.reference_batch)
    if other != ('batch', False, None):
        raise ValueError('the losses of the OCM are not those of the reference; the explicit form has those')
    return {
        'csm_width': head.csm.encoder[0].out_channels,
        'ocm_layers': head.ocm.branch_conv.out_channels,
        'area_ratio': head.area_loss.ratio,
    }


def _cdtr_settings(localizer: ImageLocalizer) -> dict:
    """Return the settings of CDTR.

    Raises:
        ValueError: If a part other than the SBA is off, or is not that of the reference.
    """
    head, sba = localizer.head, None
    if head.ski is None:
        raise ValueError('the head has no ski; the explicit form has it')
    if head.sba is not None:
        if head.sba.clip_statistics:
            raise ValueError("the SBA normalises images for CLIP; the explicit form has the reference's only")
        sba = SBASettings(
            clip_model=head.sba.clip.model,
            pretrained=head.sba.clip.pretrained,
            prompts=head.sba.prompts,
            by_label=head.sba.prompt_index == 'label',
            normalize_map=head.sba.normalize_map,
            weight=head.sba.loss_weight,
        )
    return {**_catr_settings(localizer), 'sba': sba}


#: By the type of the head.
METHODS: dict[str, Method] = {
    'TSCAMHead': Method('ts-cam', ExplicitTSCAM, _no_settings),
    'SCMHead': Method('scm', ExplicitSCM, _scm_settings),
    'SATHead': Method('sat', ExplicitSAT, _sat_settings),
    'LCTRHead': Method('lctr', ExplicitLCTR, _lctr_settings),
    'CATRHead': Method('catr', ExplicitCATR, _catr_settings),
    'CDTRHead': Method('cdtr', ExplicitCDTR, _cdtr_settings),
}


def method_of(head: LocalizationHead) -> Method:
    """Return the method of a head.

    Raises:
        ValueError: If it has no explicit form.
    """
    name = type(head).__name__
    if name not in METHODS:
        raise ValueError(f'the head is {name}; explicit forms are there for {", ".join(METHODS)}')
    return METHODS[name]


def explicit_form(localizer: ImageLocalizer) -> ExplicitViT | None:
    """Build the explicit form of a model, with weights of its own.

    Args:
        localizer (ImageLocalizer): A built model; its sizes and settings are read.

    Returns:
        ExplicitViT | None: The form; None for a hybrid backbone, which has none.

    Raises:
        ValueError: If there is none of the head's method, or the backbone drops activations.
    """
    method = method_of(localizer.head)
    backbone = localizer.backbone
    if not isinstance(backbone, TokenVisionTransformer):
        return None
    attention = [layer.attn for layer in backbone.layers]
    drops = {backbone.drop_after_pos.p, *(layer.attn_drop for layer in attention)}
    drops |= {layer.proj_drop.p for layer in attention}
    if drops != {0.0}:
        raise ValueError(f'dropout rates {sorted(drops)} in the backbone; explicit forms have none')
    return method.form(
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
        **method.settings(localizer),
    )
