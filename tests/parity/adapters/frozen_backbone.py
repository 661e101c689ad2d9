"""What frozen backbones of timm give: tokens, projections of the last layer, class attention."""

import ast
import re
from functools import partial
from typing import Any

from wsol_mm.models.backbones import TimmBackbone
from wsol_mm.models.backbones.timm_backbone import rotated_keys

import torch
from torch import Tensor, nn

from ..case import Case
from ..comparison import Found
from ..engine import computes


def described_arguments(text: str) -> dict[str, Any]:
    """Return the keyword arguments of a call in words, such as ``Eva(depth=2, norm_layer=partial(...))``."""
    call = ast.parse(re.search(r'\w+\(.*\)', text, re.DOTALL)[0], mode='eval').body
    found = {}
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Call):  # a layer norm with another eps
            eps = {inner.arg: ast.literal_eval(inner.value) for inner in keyword.value.keywords}
            found[keyword.arg] = partial(nn.LayerNorm, **eps)
        else:
            found[keyword.arg] = ast.literal_eval(keyword.value)
    return found


@computes('frozen_backbone', lambda case: 'out/tokens_prenorm' in case.arrays)
def compute_features(case: Case, dtype: torch.dtype) -> Found:
    """All outputs; the reference's tokens and projections hold the prefix tokens too."""
    name = re.match(r'[\w.]+', case.meta['stands_for'])[0]
    backbone = TimmBackbone(name, **described_arguments(case.meta['timm_class']))
    backbone.model.load_state_dict(case.state())
    backbone.to(dtype).eval()
    needs = backbone.gives - {'pooled'}
    with torch.no_grad():
        feats = backbone(case.images().to(dtype), needs)
    tokens, cls_token = feats.require('pre_norm_map').flatten(2).mT, feats.extras.get('pre_norm_cls_token')
    found: Found = {
        'tokens_norm': with_prefix(case, 'tokens_norm', feats.feature_map.flatten(2).mT, feats.cls_token),
        'tokens_prenorm': with_prefix(case, 'tokens_prenorm', tokens, cls_token),
        'keys': with_prefix(case, 'keys', feats.require('keys')),
        'values': with_prefix(case, 'values', feats.require('values')),
    }
    if feats.class_attention is not None:
        found['class_attention'] = feats.class_attention[:, -1]
    if 'out/keys_rope' in case.arrays:
        attention = backbone.model.blocks[-1].attn
        keys = attention.k_norm(found['keys'].unflatten(2, (attention.num_heads, -1)).transpose(1, 2))
        rope = backbone.model.rope.get_embed(shape=feats.grid).to(dtype)
        turned = rotated_keys(attention, keys, rope, feats.patch_start)
        found['keys_rope'] = turned.transpose(1, 2).flatten(2)
    return {f'out/{key}': value for key, value in found.items()}


def with_prefix(case: Case, name: str, patches: Tensor, cls_token: Tensor | None = None) -> Tensor:
    """Return patch tokens (B, h * w, D) behind the reference's own prefix tokens.

    Registers, and the class token's keys and values, are nothing that a head may ask for.
    """
    reference = torch.from_numpy(case.arrays[f'out/{name}']).to(patches)
    whole = torch.cat((reference[:, : reference.shape[1] - patches.shape[1]], patches), dim=1)
    if cls_token is not None:
        whole[:, 0] = cls_token
    return whole
