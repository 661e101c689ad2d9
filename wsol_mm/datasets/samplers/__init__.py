"""Samplers that MMEngine and mmpretrain lack."""

from .repeated_aug_sampler import RepeatedAugSampler

__all__ = ['RepeatedAugSampler']
