"""Any model of timm as a backbone, with what its transformers know beyond the feature map."""

import inspect
import re
from collections.abc import Collection
from pathlib import Path
from types import MethodType
from typing import Any

from wsol_mm.models.weights.layouts import Layout
from wsol_mm.models.weights.timm_models import classifier_names, create_timm_model
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

import timm
import torch
from mmengine.model import BaseModule
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer, is_model_in_modules
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .timm_attention import PROJECTIONS, class_row, known_attentions, project, recorded_inputs

# Modules of timm whose models take an input of any size that is a multiple of the patch.
_ANY_SIZE = ('vision_transformer', 'vision_transformer_hybrid', 'deit', 'eva')
#: How position embeddings meet another grid than their own.
POSITION_INTERPOLATIONS = ('timm', 'dinov2')
# Parts that models of timm have behind their features where they have no part of their own for pooling.
_BEHIND_FEATURES = ('attn_pool', 'fc_norm', 'pre_logits', 'head', 'head_dist')


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """A model of timm without its classifier, returning :class:`Features`.

    Every model gives its last feature map. Transformers also give the class token, and, computed once more
    from the input of the attention without an N x N matrix, the class token's attention and the queries,
    keys and values of the last layer. What a model gives is in ``gives``.

    A training gets its weights through ``pretrained`` of the localizer (a file, an address or
    ``timm://<model name>``), so that a test needs them in its checkpoint alone. With ``pretrained`` or
    ``checkpoint_path`` here the model has them as soon as it is built, for what is never trained.

    Args:
        model_name: As ``timm.list_models(pretrained=True)`` knows it, such as
            ``'vit_small_patch14_dinov2.lvd142m'``.
        pretrained: Whether to build it with timm's weights, from its cache or the network.
        checkpoint_path: File to build it with instead: ``.safetensors``, or what ``torch.save`` wrote, in any
            layout that timm knows for this model.
        attention_layers: Number of last layers whose class attention is given; all if None.
        position_interpolation: How a table of positions meets another grid: ``'timm'`` (bicubic, antialiased,
            to the exact size) or ``'dinov2'``, as DINO and DINOv2 without registers were published (bicubic,
            not antialiased, scale (g + 0.1) / G). Equal on the table's own grid.
        init_cfg: Initialisation config.
        **options: Further arguments of ``timm.create_model``, such as ``img_size`` for a model that takes one
            size alone.

    Attributes:
        model_name: As given.
        position_interpolation: As given.
        gives: Names of what can be asked for beyond the feature map.
        data_config: timm's data config of the weights: ``mean`` and ``std`` in units of 0..255,
            ``input_size`` (height, width), and more.
        num_features: Channels D of the feature map.
        num_prefix_tokens: Tokens before the first patch: class token, distillation token, registers.
        patch_size: Height and width of a patch; those of an input must be multiples of it.

    Raises:
        FileNotFoundError: If there is no file at ``checkpoint_path``.
        OSError: If timm's weights cannot be had; says which file to fetch.
        ValueError: If timm knows no such model, its weights do not fit, or an argument has another value.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        attention_layers: int | None = None,
        position_interpolation: str = 'timm',
        init_cfg: dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__(init_cfg)
        if position_interpolation not in POSITION_INTERPOLATIONS:
            raise ValueError(
                f'position_interpolation: expected one of {POSITION_INTERPOLATIONS}, got '
                f'{position_interpolation!r}'
            )
        if is_model_in_modules(model_name.partition('.')[0], _ANY_SIZE):
            options = {'dynamic_img_size': True, **options}
        self.position_interpolation = position_interpolation
        self.model_name = model_name
        self.model = create_timm_model(model_name, pretrained, checkpoint_path, **options)
        self.model.is_init = True  # timm has initialised or loaded it, and MMEngine would do so once more
        self._freeze_behind_features()
        embed: Any = getattr(self.model, 'patch_embed', None)
        self.data_config = _data_config(
            self.model, options.get('img_size') or getattr(embed, 'img_size', None)
        )
        self.num_features = self.model.num_features
        forward = inspect.signature(self.model.forward_intermediates)
        self._has_tokens = 'return_prefix_tokens' in forward.parameters
        self.num_prefix_tokens = getattr(self.model, 'num_prefix_tokens', 0) if self._has_tokens else 0
        any_size = getattr(self.model, 'dynamic_img_size', False) and not getattr(
            embed, 'dynamic_img_pad', False
        )
        self.patch_size: tuple[int, int] = embed.feat_ratio(as_scalar=False) if any_size else (1, 1)
        layers = len(self._attentions())
        self.gives = self._what_it_gives()
        if attention_layers is not None and not 0 < attention_layers <= max(layers, 1):
            raise ValueError(
                f'attention_layers: expected None or an integer from 1 to {layers}, got {attention_layers}'
            )
        self.attention_layers = layers if attention_layers is None else attention_layers
        if position_interpolation == 'dinov2':
            self._interpolate_as_dinov2()

    def _freeze_behind_features(self) -> None:
        """Freeze what features do not pass: distributed training allows no parameter without a gradient."""
        children = dict(self.model.named_children())
        behind = [name for name in _BEHIND_FEATURES if name in children]
        if 'global_pool' in children:
            behind = list(children)[list(children).index('global_pool') :]
        for name in behind:
            children[name].requires_grad_(False)

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
            names |= {*PROJECTIONS, *(['class_attention'] if has_class_token else [])}
        return frozenset(names)

    def _attentions(self) -> list[nn.Module]:
        # Looked up each time: a copy of the model must not watch the original's modules.
        return known_attentions(self.model) if self._has_tokens else []

    def _interpolate_as_dinov2(self) -> None:
        kind = type(self.model)
        table = getattr(self.model, 'pos_embed', None)
        if kind is not VisionTransformer or table is None or not self.model.dynamic_img_size:
            raise ValueError(
                f"position_interpolation: expected 'timm' for {kind.__name__}, got 'dinov2': only a plain "
                'VisionTransformer of timm with a table of positions, for inputs of any size, can do so'
            )
        self.model._pos_embed = MethodType(_dinov2_positions, self.model)

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """How timm's own files of this model are named."""
        places = classifier_names(getattr(self.model, 'pretrained_cfg', {})) or ('head',)
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
        if any(side % patch for side, patch in zip(x.shape[2:], self.patch_size, strict=True)):
            raise ValueError(
                f'inputs: expected a height and a width that are multiples of {self.patch_size}, got '
                f'{tuple(x.shape)}'
            )
        start = self.num_prefix_tokens
        layers = self.attention_layers if 'class_attention' in needs else 1
        attentions = self._attentions()[-layers:] if {'class_attention', *PROJECTIONS} & set(needs) else []
        # Prefix tokens are split off only where there are some: not all of timm's models can do without.
        options: dict[str, Any] = dict(return_prefix_tokens=True) if start else {}
        with recorded_inputs(attentions) as inputs:
            final, last = self.model.forward_intermediates(x, indices=1, **options)
        pre_norm, *prefix = last[0] if start else last
        extras: dict[str, Tensor] = {}
        if 'pre_norm_map' in needs:
            extras['pre_norm_map'] = pre_norm
        if 'pre_norm_cls_token' in needs:
            extras['pre_norm_cls_token'] = prefix[0][:, 0]
        if 'pooled' in needs:
            extras['pooled'] = self.model.pool(final)
        for name in PROJECTIONS:
            if name in needs:
                extras[name] = project(attentions[-1], inputs[attentions[-1]].tokens, name)[:, start:]
        rows = None
        if 'class_attention' in needs:
            rows = torch.stack([class_row(module, inputs[module], start) for module in attentions], dim=1)
        cls_token = final[:, 0] if 'cls_token' in self.gives else None
        return Features(self._as_map(final, pre_norm), cls_token, rows, extras=extras, patch_start=start)

    def _as_map(self, final: Any, last: Tensor) -> Tensor:
        """Return a network's output as a map, (B, D, h, w).

        Args:
            final: What its classifier gets: a map, tokens with the patches last, or the class token alone.
            last: Output of the last stage, (B, D', h, w); the map, where ``final`` does not hold one.

        Raises:
            ValueError: If its classifier gets several maps.
        """
        if isinstance(final, Tensor) and final.dim() == 4:
            channels_last = getattr(self.model, 'output_fmt', 'NCHW') == 'NHWC'
            return final.permute(0, 3, 1, 2) if channels_last else final
        if not isinstance(final, Tensor):
            raise ValueError(
                f'model_name: expected a model with one last feature map, got {type(self.model).__name__}, '
                f'which ends in {len(final)}'
            )
        height, width = last.shape[-2:]
        if final.shape[1] >= height * width:
            return final[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))
        return last


def _data_config(model: nn.Module, size: int | tuple[int, int] | None) -> dict[str, Any]:
    """Return timm's data config with mean and std of 0..255 and the size (height, width) of its images.

    Args:
        model: A model of timm.
        size: That it was built for, where it is known.
    """
    config = timm.data.resolve_model_data_config(model)
    scaled = {name: tuple(255 * value for value in config[name]) for name in ('mean', 'std')}
    size = config['input_size'][-2:] if size is None else size
    return {**config, **scaled, 'input_size': (size, size) if isinstance(size, int) else tuple(size)}


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
