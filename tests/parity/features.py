"""All that the adapters know of how the library hands features from a backbone to a head."""

from wsol_mm.models.layers import class_token_attention
from wsol_mm.structures import TokenFeatures

import torch
from torch import Tensor, nn


def extract(model: nn.Module, images: Tensor) -> TokenFeatures:
    """Return the features that the head of a model needs for a prediction."""
    return model.extract_feat(images, model.head.predict_attention)


def extract_full_attention(model: nn.Module, images: Tensor) -> TokenFeatures:
    """Return the features with the attention of all tokens."""
    return model.extract_feat(images, 'full')


def feature_map(feats: TokenFeatures) -> Tensor:
    """Return the patch tokens as a map, (B, D, h, w)."""
    return feats.patch_map


def tokens_of(feats: TokenFeatures) -> Tensor:
    """Return class token and patches, (B, N, D)."""
    return torch.cat((feats.cls_token[:, None], feature_map(feats).flatten(2).transpose(1, 2)), dim=1)


def class_rows(feats: TokenFeatures) -> Tensor:
    """Return the class token's attention to the patches, mean over the heads, (B, L, h, w)."""
    return class_token_attention(feats)


def class_rows_of_heads(feats: TokenFeatures) -> Tensor:
    """Return the class token's attention to the patches, (B, L, H, h*w)."""
    return feats.attention[..., 1:]


def full_attention(feats: TokenFeatures) -> Tensor:
    """Return the attention of all tokens, (B, L, H, N, N)."""
    return feats.attention


def conv_map(feats: TokenFeatures) -> Tensor:
    """Return the last feature map of a Conformer's convolutional branch."""
    return feats.conv_map


def features(patches: Tensor, **maps: Tensor) -> TokenFeatures:
    """Return features made of patches (B, D, h, w) and ``spatial_mask`` or ``class_attention``."""
    if 'class_attention' in maps:
        maps['attention'] = maps.pop('class_attention')
    return TokenFeatures(patches, patches[:, :, 0, 0], **maps)


def attention_layer(module: nn.Module, x: Tensor, propagated: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Run one attention or encoder layer; with its class row and RPAM row, or with the full attention."""
    return module(x, 'propagated' if propagated else 'full')
