"""Samplers that MMEngine and mmpretrain lack."""

from .placed_sampler import PlacedSampler
from .repeated_aug_sampler import RepeatedAugSampler

__all__ = ['PlacedSampler', 'RepeatedAugSampler']
