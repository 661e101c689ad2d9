"""Parameter schedulers that MMEngine lacks."""

from .modulo_step_lr import ModuloStepLR
from .warmup_in_cosine_lr import WarmupInCosineLR

__all__ = ['ModuloStepLR', 'WarmupInCosineLR']
