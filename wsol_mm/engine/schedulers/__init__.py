"""Parameter schedulers that MMEngine lacks."""

from .modulo_step_lr import ModuloStepLR

__all__ = ['ModuloStepLR']
