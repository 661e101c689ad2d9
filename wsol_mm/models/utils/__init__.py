"""What several parts of the models share."""

from .initialization import network_init
from .precision import at_least_float32, autocast_off, full_precision

__all__ = ['at_least_float32', 'autocast_off', 'full_precision', 'network_init']
