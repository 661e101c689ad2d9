"""The image tower of CLIP, with GEM's path for maps that match the text."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from wsol_mm.models.clip import FrozenCLIP
from wsol_mm.models.layers.self_self_attention import SOURCES, self_self_attention
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

import torch
from mmengine.model import BaseModule
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

# What makes the blocks of open_clip's transformer others than the plain ones.
_OTHER_BLOCKS = (
    'block_type',
    'qk_norm',
    'scaled_cosine_attn',
    'scale_heads',
    'scale_attn_inner',
    'scale_attn',
    'scale_fc',
)


@MODELS.register_module()
class CLIPVisionTransformer(BaseModule):
    """A vision transformer of open_clip that returns features in the space of the texts.

    Beside the plain tokens it gives GEM's (CVPR 2024; docs/specifications/gem.md), of a second path through
    the last blocks, in which patches attend to patches like themselves. Weights are CLIP's as they are, and
    the model has them as soon as it is built.

    Args:
        clip: The model, or the arguments ``model`` and ``pretrained`` of :class:`FrozenCLIP`.
        depth: The last ``depth - 1`` blocks have the second path, as the reference counts.
        ss_attn_iter: How often tokens are replaced by their averages before they attend to themselves.
        ss_attn_temp: Factor of the self-self attention; by default the mean length of the tokens that enter
            the attention over the root of the channels of a head, for every image its own.
        sources: What attends to itself, of ``'values'``, ``'keys'`` and ``'queries'``.
        init_cfg: Initialisation config.

    Attributes:
        gives: ``cls_token`` (B, E), and ``gem_map`` (B, E, h, w), the patches of the second path.
        data_config: ``mean`` and ``std`` in units of 0..255 of the images that the weights were trained with,
            and their ``input_size`` (height, width); the table of positions is resized to any other.
        num_features: Channels E, of images and texts.
        patch_size: Height and width of a patch; those of an input must be multiples of it.

    Raises:
        FileNotFoundError: If the weights cannot be had; says what to download.
        ValueError: If the tower is no plain vision transformer, or an argument has another value.
    """

    gives = frozenset({'cls_token', 'gem_map'})

    def __init__(
        self,
        clip: FrozenCLIP | Mapping[str, Any],
        depth: int = 7,
        ss_attn_iter: int = 1,
        ss_attn_temp: float | None = None,
        sources: Sequence[str] = SOURCES,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        clip = clip if isinstance(clip, FrozenCLIP) else FrozenCLIP(**{'key': 'model.backbone.clip', **clip})
        layers = _plain_layers(clip)
        if not 2 <= depth <= layers + 1:
            raise ValueError(f'depth: expected an integer from 2 to {layers + 1}, got {depth}')
        if ss_attn_iter < 0:
            raise ValueError(f'ss_attn_iter: expected an integer from 0, got {ss_attn_iter}')
        if ss_attn_temp is not None and not ss_attn_temp > 0:
            raise ValueError(f'ss_attn_temp: expected a number above 0 or None, got {ss_attn_temp}')
        if not sources or len(set(sources)) < len(sources) or not set(sources) <= set(SOURCES):
            raise ValueError(f'sources: expected some of {SOURCES}, each once, got {tuple(sources)}')
        self.depth, self.ss_attn_iter, self.ss_attn_temp = depth, ss_attn_iter, ss_attn_temp
        self.sources = tuple(sources)
        # None is trained, but distributed runs want parameters that might be.
        self.visual: Any = clip.load().requires_grad_()
        self.num_features: int = self.visual.output_dim
        self.patch_size: tuple[int, int] = tuple(self.visual.patch_size)
        mean, std = (tuple(255 * value for value in values) for values in clip.statistics)
        self.data_config = dict(mean=mean, std=std, input_size=tuple(self.visual.image_size))

    def init_weights(self) -> None:
        """Leave the weights as they are."""
        self._is_init = True

    def forward(self, x: Tensor, needs: Collection[str] = ()) -> Features:
        """Run the tower.

        Args:
            x: Normalised images, (B, 3, H, W).
            needs: Some of ``gives``.

        Returns:
            Feature map (B, E, h, w) and class token of the plain path, in the space of the texts; with
            ``'gem_map'`` that of the second path. None has unit length.

        Raises:
            ValueError: If it cannot give what is asked for, or the size of ``x`` is no multiple of the patch.
        """
        check_needs(needs, self.gives, type(self).__name__)
        if any(side % patch for side, patch in zip(x.shape[2:], self.patch_size, strict=True)):
            raise ValueError(
                f'inputs: expected a height and a width that are multiples of {self.patch_size}, got '
                f'{tuple(x.shape)}'
            )
        visual = self.visual
        patches = visual.conv1(x)
        grid = patches.shape[2:]
        tokens, second = self._embed(patches), None
        blocks = visual.transformer.resblocks
        for index, block in enumerate(blocks):
            normed = block.ln_1(tokens)
            heads = _project(block.attn, normed)
            if 'gem_map' in needs and index > len(blocks) - self.depth:
                own = self_self_attention(
                    heads, self._temperature(normed, heads), self.sources, self.ss_attn_iter
                )
                second = (tokens if second is None else second) + block.ls_1(_join(block.attn, own))
            plain = F.scaled_dot_product_attention(heads['queries'], heads['keys'], heads['values'])
            tokens = tokens + block.ls_1(_join(block.attn, plain))
            tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
        final = visual.ln_post(tokens) @ visual.proj
        extras = {}
        if second is not None:
            extras['gem_map'] = _as_map(visual.ln_post(second) @ visual.proj, grid)
        return Features(_as_map(final, grid), final[:, 0], extras=extras, patch_start=1)

    def _embed(self, patches: Tensor) -> Tensor:
        """Put the class token before the patches (B, D, h, w), and add positions of their grid."""
        visual = self.visual
        positions = resample_abs_pos_embed(
            visual.positional_embedding[None],
            new_size=list(patches.shape[2:]),
            old_size=list(visual.grid_size),
            num_prefix_tokens=1,
        )
        first = visual.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = torch.cat((first, patches.flatten(2).transpose(1, 2)), dim=1)
        return visual.ln_pre(tokens + positions.to(tokens.dtype))

    def _temperature(self, normed: Tensor, heads: Mapping[str, Tensor]) -> Tensor | float:
        if self.ss_attn_temp is not None:
            return self.ss_attn_temp
        scale = heads['values'].shape[-1] ** -0.5
        return scale * normed.norm(dim=-1).mean(dim=1)[:, None, None, None]


def _plain_layers(clip: FrozenCLIP) -> int:
    """Return the number of blocks of a plain vision transformer; no weights are needed.

    Raises:
        ValueError: If the image tower is another.
    """
    vision = clip.config['vision_cfg']
    layers = vision.get('layers', 12)
    reason = None
    if 'timm_model_name' in vision:
        reason = f'whose image tower is the model {vision["timm_model_name"]!r} of timm'
    elif not isinstance(layers, int):
        reason = 'whose image tower is a ResNet'
    elif vision.get('attentional_pool') or vision.get('pool_type', 'tok') != 'tok':
        reason = 'whose image tower does not describe the image by its class token'
    elif any(vision.get(name) for name in _OTHER_BLOCKS):
        reason = 'whose image tower has blocks of its own'
    if reason is not None:
        model = repr(clip.model) if isinstance(clip.model, str) else 'a config'
        raise ValueError(
            f"{clip.key}.model: expected a CLIP model with open_clip's plain vision transformer, such as "
            f"'ViT-B-16-quickgelu' or 'ViT-L-14', got {model}, {reason}"
        )
    return layers


def _project(attention: nn.MultiheadAttention, tokens: Tensor) -> dict[str, Tensor]:
    """Return queries, keys and values of tokens (B, N, D), each (B, heads, N, d)."""
    joint = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    split = joint.unflatten(2, (3, attention.num_heads, attention.head_dim)).permute(2, 0, 3, 1, 4)
    return dict(zip(('queries', 'keys', 'values'), split, strict=True))


def _join(attention: nn.MultiheadAttention, heads: Tensor) -> Tensor:
    """Return the output (B, N, D) of an attention from that of its heads (B, heads, N, d)."""
    return attention.out_proj(heads.transpose(1, 2).flatten(2))


def _as_map(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    return tokens[:, 1:].transpose(1, 2).unflatten(2, tuple(grid))
