"""Losses on localization maps, and how losses are weighed."""

from .adversarial_background_loss import AdversarialBackgroundLoss
from .automatic_loss_weighting import AutomaticLossWeighting
from .background_activation_loss import BackgroundActivationLoss
from .batch_area_loss import BatchAreaLoss
from .low_attention_area_loss import LowAttentionAreaLoss
from .map_alignment_loss import MapAlignmentLoss
from .normalization_loss import NormalizationLoss
from .self_produced_guidance_loss import SelfProducedGuidanceLoss, guidance_mask
from .self_training_loss import SelfTrainingLoss
from .semantic_boost_adapter import SemanticBoostAdapter, foreground_contrast_loss

__all__ = [
    'AdversarialBackgroundLoss',
    'AutomaticLossWeighting',
    'BackgroundActivationLoss',
    'BatchAreaLoss',
    'LowAttentionAreaLoss',
    'MapAlignmentLoss',
    'NormalizationLoss',
    'SelfProducedGuidanceLoss',
    'SelfTrainingLoss',
    'SemanticBoostAdapter',
    'foreground_contrast_loss',
    'guidance_mask',
]
