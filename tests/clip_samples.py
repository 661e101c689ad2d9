"""Small CLIP models for tests."""

from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / 'data' / 'parity' / 'cdtr'

#: A model with random weights, for images of 32 pixels: ``clip=RANDOM_CLIP``.
RANDOM_CLIP = dict(
    model=dict(
        embed_dim=8,
        vision_cfg=dict(layers=1, width=16, head_width=8, patch_size=16, image_size=32),
        text_cfg=dict(context_length=77, vocab_size=49408, width=8, heads=2, layers=1),
        quick_gelu=True,
    ),
    pretrained=None,
)
#: That of the reference case ``tiny_clip``.
TINY_CONFIG = dict(
    embed_dim=32,
    vision_cfg=dict(layers=2, width=64, head_width=64, patch_size=16, image_size=224),
    text_cfg=dict(context_length=77, vocab_size=49408, width=16, heads=2, layers=2),
    quick_gelu=True,
)


def save_tiny_clip(folder: Path) -> dict:
    """Write the weights of ``tiny_clip`` to a file, and return the arguments of :class:`FrozenCLIP`."""
    path = folder / 'tiny_clip.pt'
    arrays = np.load(DATA / 'tiny_clip.npz')
    names = [name for name in arrays.files if name.startswith('state/')]
    torch.save({name.removeprefix('state/'): torch.from_numpy(arrays[name]) for name in names}, path)
    return dict(model=TINY_CONFIG, pretrained=str(path))
