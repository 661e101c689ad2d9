"""Layouts of files for backbones of mmpretrain whose weights other libraries call otherwise."""

import re

from torch import nn

from .layouts import TIMM_VIT, Layout

# Convolutions of the five groups of a VGG.
_VGG_GROUPS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

CONVNEXT = Layout(
    name='timm ConvNeXt (stem.0.weight, stages.0.blocks.0.conv_dw.weight, ...)',
    markers=(r'stem\.0\.weight', r'stages\.0\.blocks\.0\.conv_dw\.weight'),
    rules=(
        (r'stem\.([01])\.(weight|bias)', r'backbone.downsample_layers.0.\1.\2'),
        (r'stages\.(\d)\.downsample\.([01])\.(weight|bias)', r'backbone.downsample_layers.\1.\2.\3'),
        (r'stages\.(\d)\.blocks\.(\d+)\.(gamma|norm\.\w+)', r'backbone.stages.\1.\2.\3'),
        (r'stages\.(\d)\.blocks\.(\d+)\.conv_dw\.(\w+)', r'backbone.stages.\1.\2.depthwise_conv.\3'),
        (r'stages\.(\d)\.blocks\.(\d+)\.mlp\.fc([12])\.(\w+)', r'backbone.stages.\1.\2.pointwise_conv\3.\4'),
        (r'stages\.(\d)\.blocks\.(\d+)\.mlp\.grn\.(\w+)', r'backbone.stages.\1.\2.grn.\3'),
        (r'head\.norm\.(weight|bias)', r'backbone.norm3.\1'),
        (r'head\.fc\.(weight|bias)', r'head.semantic_conv.\1'),
    ),
)
DISTILLED_VIT = Layout(
    name='timm / DeiT distilled vision transformer (dist_token, blocks.0.attn.qkv.weight, ...)',
    markers=(*TIMM_VIT.markers, r'dist_token'),
    rules=((r'(dist_token)', r'backbone.\1'), *TIMM_VIT.rules),
)


def _vgg_layout(depth: int, norm: bool) -> Layout:
    """Return torchvision's and timm's names of a VGG: they number ReLU and batch norms, too."""
    rules, markers = [], []
    theirs = ours = 0
    for convs in _VGG_GROUPS[depth]:
        for _ in range(convs):
            markers.append(rf'features\.{theirs}\.weight')
            rules.append((rf'features\.{theirs}\.(weight|bias)', rf'backbone.features.{ours}.conv.\1'))
            if norm:
                rules.append((rf'features\.{theirs + 1}\.(\w+)', rf'backbone.features.{ours}.bn.\1'))
            theirs, ours = theirs + (3 if norm else 2), ours + 1
        theirs, ours = theirs + 1, ours + 1  # the pool
    if norm:
        markers.append(r'features\.1\.running_mean')
    name = f'torchvision VGG{depth}{" with batch norm" if norm else ""} (features.0.weight, ...)'
    return Layout(name, tuple(markers), tuple(rules))


_LAYOUTS = {
    'ConvNeXt': (CONVNEXT,),
    'DistilledVisionTransformer': (DISTILLED_VIT,),
    'VGG': tuple(_vgg_layout(depth, norm) for depth in (19, 16, 13, 11) for norm in (True, False)),
}


def foreign_layouts(backbone: nn.Module) -> tuple[Layout, ...]:
    """Return the layouts of other libraries' files that are for this backbone of mmpretrain alone."""
    return _LAYOUTS.get(type(backbone).__name__, ())


def layout_of_module(backbone: nn.Module) -> Layout:
    """Return the layout of a file that holds a backbone under its own names, without ``backbone.``."""
    names = [name for name, _ in backbone.named_parameters()] or ['']
    return Layout(
        name=f'{type(backbone).__name__} itself ({names[0]}, ..., {names[-1]})',
        markers=(re.escape(names[0]), re.escape(names[-1])),
        rules=((r'(.+)', r'backbone.\1'),),
    )
