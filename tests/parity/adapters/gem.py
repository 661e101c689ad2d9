"""GEM: the image tower of CLIP, its second path, and maps of given texts."""

import tempfile
from pathlib import Path
from typing import Any

from wsol_mm.models.backbones import CLIPVisionTransformer
from wsol_mm.models.heads import GEMHead
from wsol_mm.models.layers.self_self_attention import SOURCES

import open_clip
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from .. import models as run
from ..case import Case
from ..comparison import Found
from ..engine import computes

#: The texts of the cases are given: any text encoder will do.
_TEXT = dict(context_length=8, vocab_size=16, width=8, heads=1, layers=1)


def clip_config(case: Case) -> dict:
    """Return open_clip's config of the tower of a case, by its description and its weights."""
    vision, shapes = case.meta['vision'], case.shapes
    width = shapes['visual.class_embedding'][0]
    hidden = shapes['visual.transformer.resblocks.0.mlp.c_fc.weight'][0]
    image_size = vision['image_size']
    return dict(
        embed_dim=shapes['visual.proj'][1],
        vision_cfg=dict(
            image_size=image_size if isinstance(image_size, int) else tuple(image_size),
            patch_size=vision['patch_size'],
            width=width,
            layers=vision['layers'],
            head_width=width // vision['heads'],
            mlp_ratio=hidden / width,
            no_ln_pre='visual.ln_pre.weight' not in shapes,
            ls_init_value=1.0 if 'visual.transformer.resblocks.0.ls_1.gamma' in shapes else None,
        ),
        text_cfg=_TEXT,
        quick_gelu='quick' in str(vision.get('activation', '')).lower(),
    )


def build_model(case: Case) -> nn.Module:
    """Return backbone and head of a case, with its weights from a file, as a config names one."""
    config, meta = clip_config(case), case.meta
    state = open_clip.CLIP(**clip_config(case)).state_dict() | case.state()
    options: dict[str, Any] = dict(depth=int(meta['gem_depth']))
    options['ss_attn_iter'] = int(meta.get('ss_attn_iter', 1))
    if meta.get('ss_attn_temp') is not None:
        options['ss_attn_temp'] = float(meta['ss_attn_temp'])
    if meta.get('sources'):
        options['sources'] = [name for name in SOURCES if name[0] in meta['sources']]
    model = nn.Module()
    with tempfile.TemporaryDirectory() as folder, run.quiet():
        path = Path(folder) / 'clip.pt'
        torch.save(state, path)
        model.backbone = CLIPVisionTransformer(dict(model=config, pretrained=str(path)), **options)
    model.head = GEMHead(1, model.backbone.num_features)
    model.head.set_texts(torch.from_numpy(case.arrays['in/text']))
    return model.eval()


@computes('gem', lambda case: 'in/text' in case.arrays)
def compute_maps(case: Case, dtype: torch.dtype) -> Found:
    """Tokens of both paths, maps on the grid and on the image, and scores."""
    model = build_model(case).to(dtype)
    texts = torch.from_numpy(case.arrays['in/text']).to(dtype)
    images = case.images().to(dtype)
    with torch.no_grad():
        tokens: dict[str, torch.Tensor] = {}
        hook = model.backbone.visual.ln_post.register_forward_hook(
            lambda module, _, output: tokens.__setitem__(
                str(len(tokens)), output @ model.backbone.visual.proj
            )
        )
        feats = model.backbone(images, model.head.predict_needs)
        hook.remove()
        labels = torch.arange(len(texts)).expand(len(images), -1)
        maps = model.head.localization_maps(feats, labels)
        large = F.interpolate(maps, images.shape[2:], mode='bilinear', align_corners=False)
        low, high = large.amin(dim=(2, 3), keepdim=True), large.amax(dim=(2, 3), keepdim=True)
        return run.prefixed(
            'out/',
            dict(
                features_original=tokens['0'],
                features_gem=tokens['1'],
                similarity=maps,
                map_image_size=large,
                map_normalised=(large - low) / (high - low),
                logits=model.head(feats),
            ),
        )
