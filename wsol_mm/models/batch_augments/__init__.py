"""Augmentations of whole batches, for ``train_cfg=dict(augments=...)``, beside mmpretrain's."""

from .hide_and_seek import HideAndSeek

__all__ = ['HideAndSeek']
