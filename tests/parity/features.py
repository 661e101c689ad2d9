"""All that the adapters know of how the library hands features from a backbone to a head."""

from typing import Any

from wsol_mm.models.layers import class_token_attention
from wsol_mm.structures import Features

import torch
from torch import Tensor, nn


def extract(model: nn.Module, images: Tensor) -> Features:
    """Return the features that the head of a model needs for a prediction."""
    return model.extract_feat(images, model.head.predict_needs)


def extract_full_attention(model: nn.Module, images: Tensor) -> Features:
    """Return the features with the attention of all tokens."""
    return model.extract_feat(images, {'full_attention'})


def feature_map(feats: Features) -> Tensor:
    """Return the patch tokens as a map, (B, D, h, w)."""
    return feats.feature_map


def tokens_of(feats: Features) -> Tensor:
    """Return class token and patches, (B, N, D)."""
    return torch.cat((feats.cls_token[:, None], feature_map(feats).flatten(2).transpose(1, 2)), dim=1)


def class_rows(feats: Features) -> Tensor:
    """Return the class token's attention to the patches, mean over the heads, (B, L, h, w)."""
    return class_token_attention(feats)


def class_rows_of_heads(feats: Features) -> Tensor:
    """Return the class token's attention to the patches, (B, L, H, h*w)."""
    return feats.on_grid(feats.require('class_attention')).flatten(3)


def full_attention(feats: Features) -> Tensor:
    """Return the attention of all tokens, (B, L, H, N, N)."""
    return feats.require('full_attention')


def conv_map(feats: Features) -> Tensor:
    """Return the last feature map of a Conformer's convolutional branch."""
    return feats.require('conv_map')


def features(patches: Tensor, class_attention: Tensor | None = None, **extras: Any) -> Features:
    """Return features made of patches (B, D, h, w) and of what a head needs beside them."""
    return Features(patches, patches[:, :, 0, 0], class_attention, extras=extras)


def attention_layer(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run an attention or encoder layer of LCTR.

    Returns:
        Its output (B, N, D), class rows (B, H, N), RPAM row (B, N) and full attention (B, H, N, N).
    """
    out, maps = module(x, {'class_attention', 'propagated'})
    full = module(x, {'full_attention'})[1]['full_attention']
    return out, maps['class_attention'], maps['propagated'], full
