"""wsol_mm: transformer-based weakly supervised object localization on MMEngine and mmpretrain."""

# isort: off  (the order matters: torchvision must be curable before anything imports it)
from .utils.torchvision_guard import declare_torchvision_operators

declare_torchvision_operators()

from .version import __version__  # noqa: E402

# isort: on
__all__ = ['__version__']
