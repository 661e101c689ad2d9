"""What frozen backbones of timm give: tokens, projections of the last layer, class attention."""

import ast
import re
from functools import partial
from typing import Any

from wsol_mm.models.backbones import TimmBackbone
from wsol_mm.models.backbones.timm_attention import PROJECTIONS, project, recorded_inputs, rotated_keys

import timm
import torch
from torch import Tensor, nn

from ..case import Case
from ..comparison import Found, equal
from ..engine import computes

_MODEL = 'described_model'


def described_model(kind: str, pretrained: bool = False, **arguments: Any) -> nn.Module:
    """Build a class of timm: what a name of timm adds to the arguments is not the case's."""
    for setting in ('pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir'):
        arguments.pop(setting, None)
    return getattr(timm.models, kind)(**arguments)


def described_call(text: str) -> tuple[str, dict[str, Any]]:
    """Return class and keyword arguments of a call in words, ``Eva(depth=2, norm_layer=partial(...))``."""
    call = ast.parse(re.search(r'\w+\(.*\)', text, re.DOTALL)[0], mode='eval').body
    return call.func.id, {keyword.arg: described_value(keyword.value) for keyword in call.keywords}


def described_value(node: ast.expr) -> Any:
    """Return the value of an argument: a literal, a layer of PyTorch or timm, or one with other settings."""
    if isinstance(node, ast.Call):  # partial(LayerNorm, eps=1e-5)
        settings = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
        return partial(described_value(node.args[0]), **settings)
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        return getattr(nn if hasattr(nn, name) else timm.layers, name)
    return ast.literal_eval(node)


def position_rule(described: object, registers: int) -> str:
    """Return how a table of positions meets another grid; with registers DINOv2's own code does as timm."""
    return 'dinov2' if 'official' in str(described) and not registers else 'timm'


def build_backbone(case: Case) -> TimmBackbone:
    """Return the backbone of a case with its weights, under the names that its layout gives them."""
    kind, arguments = described_call(case.meta['timm_class'])
    if not timm.is_model(_MODEL):
        timm.models.register_model(described_model)
    arguments.pop('num_classes', None)
    rule = position_rule(case.get('position_interpolation'), arguments.get('reg_tokens', 0))
    backbone = TimmBackbone(_MODEL, kind=kind, position_interpolation=rule, **arguments)
    (layout,) = backbone.layouts
    named = {layout.rename(name): value for name, value in case.state().items()}
    own = {name.removeprefix('backbone.'): named[name] for name in named if name.startswith('backbone.')}
    backbone.load_state_dict(own, strict=True)
    return backbone.train(bool(case.trains))


@computes('frozen_backbone', lambda case: 'timm_class' in case.meta)
def compute_features(case: Case, dtype: torch.dtype) -> Found:
    """All outputs. Cases have all tokens, of which a backbone gives the patches and the class token alone.

    The others come from timm (registers) or from the library's projection of them.
    """
    backbone = build_backbone(case).to(dtype)
    last = backbone.model.blocks[-1].attn
    with torch.no_grad(), recorded_inputs([last]) as inputs:
        tokens: dict[str, Tensor] = {}
        handle = backbone.model.blocks[-1].register_forward_hook(
            lambda _, __, output: tokens.update(tokens_prenorm=output.clone())
        )
        feats = backbone(case.images().to(dtype), backbone.gives)
        handle.remove()
        tokens['tokens_norm'] = backbone.model.norm(tokens['tokens_prenorm'])
        tokens |= {name: project(last, inputs[last].tokens, name) for name in PROJECTIONS}
    start = feats.patch_start
    patches = {'tokens_norm': feats.feature_map.flatten(2).mT}
    patches['tokens_prenorm'] = feats.require('pre_norm_map').flatten(2).mT
    patches |= {name: feats.require(name) for name in PROJECTIONS}
    found: Found = {name: torch.cat((tokens[name][:, :start], patches[name]), dim=1) for name in tokens}
    found['grid'] = equal('grid', feats.grid, case.arrays.get('in/grid', feats.grid))
    if feats.cls_token is not None:
        found['tokens_norm'][:, 0] = feats.cls_token
        found['tokens_prenorm'][:, 0] = feats.require('pre_norm_cls_token')
        found['class_attention'] = feats.require('class_attention')[:, -1]
    if 'pooled' in backbone.gives:
        found['pooled'] = feats.require('pooled')
    if (rope := inputs[last].rope) is not None:
        keys = last.k_norm(found['keys'].unflatten(2, (last.num_heads, -1)).transpose(1, 2))
        found['keys_rope'] = rotated_keys(last, keys, rope, start).transpose(1, 2).flatten(2)
    return {f'out/{name}': value for name, value in found.items()}
