"""What several parts of the models share."""

from .precision import at_least_float32, autocast_off, full_precision

__all__ = ['at_least_float32', 'autocast_off', 'full_precision']
