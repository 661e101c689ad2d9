"""Any model of timm as a backbone, with what its transformers know beyond the feature map."""

import inspect
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from types import MethodType
from typing import Any

from wsol_mm.models.utils.precision import at_least_float32, autocast_off
from wsol_mm.models.weights.layouts import Layout
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

import timm
import torch
from mmengine.model import BaseModule
from timm.layers import apply_rot_embed_cat, resample_abs_pos_embed
from timm.models import is_model_in_modules
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

# Modules of timm whose models take an input of any size that is a multiple of the patch.
_ANY_SIZE = ('vision_transformer', 'deit', 'eva')
#: How position embeddings meet another grid than their own.
POSITION_INTERPOLATIONS = ('timm', 'dinov2')
_PROJECTIONS = ('queries', 'keys', 'values')


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """A model of timm without its classifier, returning :class:`Features`.

    Every model gives its last feature map. Transformers also give the class token, and, computed once more
    from the input of the attention without an N x N matrix, the class token's attention and the queries,
    keys and values of the last layer. What a model gives is in ``gives``.

    Weights come through ``pretrained`` of the localizer: a file, an address or ``timm://<model name>``.

    Args:
        model_name: As ``timm.list_models()`` knows it, such as ``'vit_small_patch14_dinov2.lvd142m'``.
        attention_layers: Number of last layers whose class attention is given; all if None.
        position_interpolation: How a table of positions meets another grid: ``'timm'`` (bicubic, antialiased,
            to the exact size) or ``'dinov2'``, as DINO and DINOv2 without registers were published (bicubic,
            not antialiased, scale (g + 0.1) / G). Equal on the table's own grid.
        init_cfg: Initialisation config.
        **options: Further arguments of ``timm.create_model``.

    Attributes:
        gives: Names of what can be asked for beyond the feature map.
        data_config: timm's data config of the weights, mean and std in units of 0..255.
        num_features: Channels D of the feature map.
        patch_size: What height and width of an input must be a multiple of.

    Raises:
        ValueError: If timm knows no such model, or an argument has another value.
    """

    def __init__(
        self,
        model_name: str,
        attention_layers: int | None = None,
        position_interpolation: str = 'timm',
        init_cfg: dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__(init_cfg)
        if not timm.is_model(model_name):
            near = (
                get_close_matches(model_name, timm.list_models(pretrained=True), n=3) or 'timm.list_models()'
            )
            raise ValueError(f'model_name: expected a model of timm, such as {near}, got {model_name!r}')
        if position_interpolation not in POSITION_INTERPOLATIONS:
            raise ValueError(
                f'position_interpolation: expected one of {POSITION_INTERPOLATIONS}, got '
                f'{position_interpolation!r}'
            )
        if is_model_in_modules(model_name.partition('.')[0], _ANY_SIZE):
            options = {'dynamic_img_size': True, **options}
        self.model = timm.create_model(model_name, **{'num_classes': 0, **options})
        config = timm.data.resolve_model_data_config(self.model)
        self.data_config = {
            **config,
            'mean': tuple(255 * value for value in config['mean']),
            'std': tuple(255 * value for value in config['std']),
        }
        self.num_features = self.model.num_features
        patch = getattr(getattr(self.model, 'patch_embed', None), 'patch_size', None)
        self.patch_size = patch[0] if patch and getattr(self.model, 'dynamic_img_size', False) else 1
        forward = getattr(self.model, 'forward_intermediates', None)
        self._has_tokens = forward and 'return_prefix_tokens' in inspect.signature(forward).parameters
        self.num_prefix_tokens = getattr(self.model, 'num_prefix_tokens', 0) if self._has_tokens else 0
        self.gives = self._what_it_gives()
        layers = len(self._attentions())
        if attention_layers is not None and not 0 < attention_layers <= max(layers, 1):
            raise ValueError(f'attention_layers: expected None or 1 to {layers}, got {attention_layers}')
        self.attention_layers = layers if attention_layers is None else attention_layers
        if position_interpolation == 'dinov2':
            self._interpolate_as_dinov2()

    def _what_it_gives(self) -> frozenset[str]:
        if not self._has_tokens:
            return frozenset()
        names = {'pre_norm_map'}
        has_class_token = self.num_prefix_tokens and getattr(self.model, 'cls_token', None) is not None
        if has_class_token:
            names |= {'cls_token', 'pre_norm_cls_token'}
        if getattr(self.model, 'attn_pool', None) is not None:
            names.add('pooled')
        if self._attentions():
            names |= {*_PROJECTIONS, *(['class_attention'] if has_class_token else [])}
        return frozenset(names)

    def _attentions(self) -> list[nn.Module]:
        """Return the attention of every layer; none if they are not all of the kind that is known."""
        blocks = getattr(self.model, 'blocks', ())
        attentions = [getattr(block, 'attn', None) for block in blocks]
        known = (
            all(hasattr(module, name) for name in ('num_heads', 'scale', 'q_norm', 'k_norm'))
            and (hasattr(module, 'qkv') or hasattr(module, 'q_proj'))
            for module in attentions
        )
        return attentions if self._has_tokens and all(known) else []

    def _interpolate_as_dinov2(self) -> None:
        kind, has_table = type(self.model).__name__, getattr(self.model, 'pos_embed', None) is not None
        if not has_table or not getattr(self.model, 'dynamic_img_size', False):
            raise ValueError(
                f"position_interpolation: expected 'timm' for {kind}, which has no table of positions that "
                "meets any grid, got 'dinov2'"
            )
        self.model._pos_embed = MethodType(_dinov2_positions, self.model)

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """How timm's own files of this model are named."""
        classifier = getattr(self.model, 'default_cfg', {}).get('classifier') or 'head'
        places = [classifier] if isinstance(classifier, str) else classifier
        patch = next(name for name, _ in self.model.named_parameters() if name.endswith('weight'))
        return (
            Layout(
                name=f'timm ({patch}, ...)',
                markers=(re.escape(patch),),
                rules=(
                    (rf'{re.escape(places[0])}\.(weight|bias)', r'head.semantic_conv.\1'),
                    (r'(.+)', r'backbone.model.\1'),
                ),
            ),
        )

    def fit_pretrained(self, weights: dict[str, Tensor]) -> list[str]:
        """Resample a position table of another grid as timm does.

        Args:
            weights: All weights of a file under the names of the whole model; changed in place.

        Returns:
            Parts of filled entries that keep their initial values: none.
        """
        name = 'backbone.model.pos_embed'
        own, given = getattr(self.model, 'pos_embed', None), weights.get(name)
        if given is not None and own is not None and given.shape != own.shape:
            prefix = 0 if getattr(self.model, 'no_embed_class', False) else self.num_prefix_tokens
            weights[name] = resample_abs_pos_embed(
                given, new_size=list(self.model.patch_embed.grid_size), num_prefix_tokens=prefix
            )
        return []

    def forward(self, x: Tensor, needs: Collection[str] = ()) -> Features:
        """Run the backbone.

        Args:
            x: Normalised images, (B, 3, H, W).
            needs: What to return beyond the feature map, of ``gives``. ``'pre_norm_map'`` (B, D, h, w) and
                ``'pre_norm_cls_token'`` (B, D) are the tokens before the final normalisation; ``'queries'``,
                ``'keys'`` and ``'values'`` (B, h * w, D) the patches' projections in the last layer, heads
                concatenated, before their normalisation and rotary embedding; ``'pooled'`` (B, D) the output
                of the attention pool.

        Returns:
            Feature map, class token where there is one, and what was asked for.

        Raises:
            ValueError: If it cannot give what is asked for, or the size of ``x`` is no multiple of the patch.
        """
        check_needs(needs, self.gives, type(self).__name__)
        if any(side % self.patch_size for side in x.shape[2:]):
            raise ValueError(
                f'inputs: expected a height and a width that are multiples of {self.patch_size}, got '
                f'{tuple(x.shape)}'
            )
        if not self._has_tokens:
            return Features(self._feature_map(x), patch_start=0)
        layers = self.attention_layers if 'class_attention' in needs else 1
        asked = {'class_attention', *_PROJECTIONS} & set(needs)
        attentions = self._attentions()[-layers:] if asked else []
        with _recorded_inputs(attentions) as inputs:
            final, (last,) = self.model.forward_intermediates(
                x, indices=1, return_prefix_tokens=True, norm=False
            )
        start = self.num_prefix_tokens
        pre_norm, prefix = last if start else (last, last[:, :, 0])  # no prefix is asked for without one
        grid = pre_norm.shape[-2:]
        extras: dict[str, Tensor] = {}
        if 'pre_norm_map' in needs:
            extras['pre_norm_map'] = pre_norm
        if 'pre_norm_cls_token' in needs:
            extras['pre_norm_cls_token'] = prefix[:, 0]
        if 'pooled' in needs:
            extras['pooled'] = self.model.attn_pool(final)
        for index, name in enumerate(_PROJECTIONS):
            if name in needs:
                extras[name] = _project(attentions[-1], inputs[-1][0], index)[:, start:]
        rows = None
        if 'class_attention' in needs:
            pairs = zip(attentions, inputs, strict=True)
            rows = torch.stack([_class_rows(module, *given, start) for module, given in pairs], dim=1)
        patches = final[:, start:].transpose(1, 2).unflatten(2, grid)
        cls_token = final[:, 0] if 'cls_token' in self.gives else None
        return Features(patches, cls_token, rows, extras=extras, patch_start=start)

    def _feature_map(self, x: Tensor) -> Tensor:
        """Return the last map of a network that has no tokens, (B, D, h, w)."""
        features = self.model.forward_features(x)
        if features.dim() == 4:
            channels_last = getattr(self.model, 'output_fmt', 'NCHW') == 'NHWC'
            return features.permute(0, 3, 1, 2) if channels_last else features
        return self.model.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)[-1]


@contextmanager
def _recorded_inputs(modules: Sequence[nn.Module]) -> Iterator[list[tuple[Tensor, Tensor | None]]]:
    """Record what attentions are given while the context lasts: tokens, and rotary embedding or None."""
    inputs: list[Any] = [None] * len(modules)
    with ExitStack() as stack:
        for index, module in enumerate(modules):

            def record(_: nn.Module, args: tuple, kwargs: dict, index: int = index) -> None:
                inputs[index] = (args[0], kwargs.get('rope'))

            stack.callback(module.register_forward_pre_hook(record, with_kwargs=True).remove)
        yield inputs


def _project(attention: nn.Module, tokens: Tensor, index: int) -> Tensor:
    """Return queries (0), keys (1) or values (2) of tokens (B, N, D), heads concatenated."""
    if getattr(attention, 'qkv', None) is None:
        return (attention.q_proj, attention.k_proj, attention.v_proj)[index](tokens)
    weight = attention.qkv.weight.chunk(3)[index]
    bias = attention.qkv.bias
    if bias is None and getattr(attention, 'q_bias', None) is not None:  # Eva keeps it apart
        bias = (attention.q_bias, attention.k_bias, attention.v_bias)[index]
        return F.linear(tokens, weight, bias)
    return F.linear(tokens, weight, None if bias is None else bias.chunk(3)[index])


def _class_rows(attention: nn.Module, tokens: Tensor, rope: Tensor | None, prefix: int) -> Tensor:
    """Return the class token's soft-max row over all tokens, (B, H, N), in float32 or better."""
    heads = (attention.num_heads, -1)
    query = attention.q_norm(_project(attention, tokens[:, :1], 0).unflatten(2, heads).transpose(1, 2))
    keys = attention.k_norm(_project(attention, tokens, 1).unflatten(2, heads).transpose(1, 2))
    if rope is not None:
        keys = rotated_keys(attention, keys, rope, prefix)
    with autocast_off(tokens):
        scores = at_least_float32(query) @ at_least_float32(keys).transpose(2, 3)
        return (scores * attention.scale).softmax(dim=3)[:, :, 0]


def rotated_keys(attention: nn.Module, keys: Tensor, rope: Tensor, prefix: int) -> Tensor:
    """Return keys (B, H, N, d) with their rotary embedding, which the prefix tokens do not have."""
    turned = apply_rot_embed_cat(keys[:, :, prefix:], rope, half=getattr(attention, 'rotate_half', False))
    return torch.cat((keys[:, :, :prefix], turned), dim=2)


def _dinov2_positions(model: nn.Module, patches: Tensor) -> Tensor:
    """Add positions to patches (B, h, w, D) as DINOv2's own code does, and put the prefix tokens before them.

    Takes the place of timm's ``VisionTransformer._pos_embed``.
    """
    height, width = patches.shape[1:3]
    own = model.patch_embed.grid_size
    prefix = 0 if model.no_embed_class else model.num_prefix_tokens
    table = model.pos_embed[:, prefix:]
    if (height, width) != tuple(own):
        image = table.transpose(1, 2).unflatten(2, own)
        scale = [(side + 0.1) / full for side, full in zip((height, width), own, strict=True)]
        image = F.interpolate(image.float(), scale_factor=scale, mode='bicubic', antialias=False)
        table = image.flatten(2).transpose(1, 2).to(table.dtype)
    tokens = patches.flatten(1, 2) + table
    first = [token for token in (model.cls_token, getattr(model, 'reg_token', None)) if token is not None]
    if first:
        start = torch.cat(first, dim=1)
        start = start + model.pos_embed[:, :prefix] if prefix else start
        tokens = torch.cat((start.expand(len(tokens), -1, -1), tokens), dim=1)
    return model.pos_drop(tokens)
