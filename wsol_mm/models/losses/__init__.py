"""Losses on localization maps, and how losses are weighed."""

from .adversarial_background_loss import AdversarialBackgroundLoss
from .automatic_loss_weighting import AutomaticLossWeighting
from .batch_area_loss import BatchAreaLoss
from .low_attention_area_loss import LowAttentionAreaLoss
from .map_alignment_loss import MapAlignmentLoss
from .normalization_loss import NormalizationLoss
from .semantic_boost_adapter import SemanticBoostAdapter, foreground_contrast_loss

__all__ = [
    'AdversarialBackgroundLoss',
    'AutomaticLossWeighting',
    'BatchAreaLoss',
    'LowAttentionAreaLoss',
    'MapAlignmentLoss',
    'NormalizationLoss',
    'SemanticBoostAdapter',
    'foreground_contrast_loss',
]
