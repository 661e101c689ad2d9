"""A vision transformer that multiplies out and keeps every attention map, with the names of timm and DeiT."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from wsol_mm.models.localizers import ImageLocalizer

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Drop a residual branch (B, ...) for some images and scale it up for the others."""
    if rate == 0 or not training:
        return x
    kept = (torch.rand(x.shape[0], 1, 1, dtype=x.dtype, device=x.device) >= rate).to(x.dtype)
    return x * kept / (1 - rate)


class ExplicitAttention(nn.Module):
    """Multi-head self-attention by the formula.

    Args:
        embed_dims: Width D of the tokens.
        num_heads: Number of heads H.
        scale: Factor on q k^T.
        qkv_bias: Whether q, k and v have a bias.
    """

    def __init__(self, embed_dims: int, num_heads: int, scale: float, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = scale
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def weigh(self, scores: Tensor) -> tuple[Tensor, Any]:
        """Turn scaled scores (B, H, N, N) into the weights of the values and what the method keeps."""
        weights = scores.softmax(dim=-1)
        return weights, weights

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """Attend over tokens (B, N, D)."""
        batch, tokens, dims = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, dims // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights, kept = self.weigh(q @ k.transpose(-2, -1) * self.scale)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, dims)), kept


class ExplicitBlock(nn.Module):
    """Pre-norm transformer block.

    Args:
        attention: Its attention.
        embed_dims: Width D of the tokens.
        hidden_dims: Width of the MLP.
        norm_eps: Of both layer norms.
        drop_path_rate: Of both residual branches.
    """

    def __init__(
        self,
        attention: ExplicitAttention,
        embed_dims: int,
        hidden_dims: int,
        norm_eps: float,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.mlp = nn.ModuleDict(
            {'fc1': nn.Linear(embed_dims, hidden_dims), 'fc2': nn.Linear(hidden_dims, embed_dims)}
        )
        self.drop_path_rate = drop_path_rate

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """Run the block on tokens (B, N, D)."""
        update, kept = self.attn(self.norm1(x))
        x = x + drop_path(update, self.drop_path_rate, self.training)
        update = self.mlp['fc2'](F.gelu(self.mlp['fc1'](self.norm2(x))))
        return x + drop_path(update, self.drop_path_rate, self.training), kept


class NoExplicitForm(ValueError):
    """A model has no explicit form."""


#: The explicit forms of the methods, by the type of the head.
FORMS: dict[str, type['ExplicitViT']] = {}


class ExplicitViT(nn.Module):
    """Transformer of the explicit forms; a method adds its head, losses and maps.

    The form of a method names its head when it is defined, which registers it in :data:`FORMS`::

        class ExplicitMine(ExplicitViT, head='MyHead', targets={'inference': 1.1}): ...

    Attributes:
        targets: Highest time of the method's own model over that of a plain classifier, of a step of 'train'
            and of 'inference', where there is a target.

    Args:
        num_classes: Number of classes C.
        img_size: Height and width of the images; no other size is accepted.
        patch_size: Side of a patch.
        embed_dims: Width D of the tokens.
        depth: Number of blocks L.
        num_heads: Number of heads H.
        hidden_dims: Width of the MLPs.
        norm_eps: Of the layer norms.
        qk_scale: Factor on q k^T; head width ** -0.5 if None.
        qkv_bias: Whether q, k and v have a bias.
        drop_path_rate: Of the last block; it grows linearly from 0.
    """

    targets: ClassVar[Mapping[str, float]] = {}

    def __init_subclass__(cls, head: str, targets: Mapping[str, float] | None = None) -> None:
        super().__init_subclass__()
        cls.targets = targets or {}
        FORMS[head] = cls

    @classmethod
    def settings(cls, localizer: ImageLocalizer) -> dict[str, Any]:
        """Return the further arguments of the form, read from a built model.

        Raises:
            NoExplicitForm: If the model has settings that the form does not have.
        """
        return {}

    def __init__(
        self,
        num_classes: int,
        img_size: tuple[int, int] = (224, 224),
        patch_size: int = 16,
        embed_dims: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        hidden_dims: int = 1536,
        norm_eps: float = 1e-6,
        qk_scale: float | None = None,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.img_size = tuple(img_size)
        self.grid = (img_size[0] // patch_size, img_size[1] // patch_size)
        self.num_patches = self.grid[0] * self.grid[1]
        scale = (embed_dims // num_heads) ** -0.5 if qk_scale is None else qk_scale
        self.patch_embed = nn.ModuleDict(
            {'proj': nn.Conv2d(3, embed_dims, kernel_size=patch_size, stride=patch_size)}
        )
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dims) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + self.num_patches, embed_dims) * 0.02)
        self.blocks = nn.ModuleList(
            ExplicitBlock(
                self.make_attention(i, depth, embed_dims, num_heads, scale, qkv_bias),
                embed_dims,
                hidden_dims,
                norm_eps,
                drop_path_rate * i / max(depth - 1, 1),
            )
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dims, eps=norm_eps)

    def make_attention(
        self, index: int, depth: int, embed_dims: int, num_heads: int, scale: float, qkv_bias: bool
    ) -> ExplicitAttention:
        """Return the attention of block ``index``; a method with another attention overrides this."""
        return ExplicitAttention(embed_dims, num_heads, scale, qkv_bias)

    def tokens(self, images: Tensor) -> Tensor:
        """Return class token and patches with their positions, (B, 1 + P, D)."""
        if tuple(images.shape[-2:]) != self.img_size:
            raise ValueError(
                f'images: expected the size {self.img_size} (h, w), got {tuple(images.shape[-2:])}'
            )
        patches = self.patch_embed['proj'](images).flatten(2).transpose(1, 2)
        cls_token = self.cls_token.expand(len(images), -1, -1)
        return torch.cat((cls_token, patches), dim=1) + self.pos_embed

    def encode(self, images: Tensor) -> tuple[Tensor, Sequence[Any]]:
        """Run the transformer.

        Args:
            images: Normalised images, (B, 3, H, W).

        Returns:
            Normalised patch tokens (B, D, h, w), and what every block keeps: its attention (B, H, N, N),
            unless the method says otherwise.
        """
        x = self.tokens(images)
        kept = []
        for block in self.blocks:
            x, block_kept = block(x)
            kept.append(block_kept)
        x = self.norm(x)[:, 1 : 1 + self.num_patches]
        return x.transpose(1, 2).unflatten(2, self.grid), kept

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the terms of the training loss, by name, of labels (B,)."""
        raise NotImplementedError

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, C) and the maps of all classes (B, C, h, w), or one for all (B, 1, h, w)."""
        raise NotImplementedError
