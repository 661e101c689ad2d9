"""wsol_mm: transformer-based weakly supervised object localization on MMEngine and mmpretrain."""

# isort: off  (the order matters: versions are checked before anything is imported that a wrong one breaks,
# and torchvision must be curable before anything imports it)
from .utils.dependencies import check_dependencies

check_dependencies()

from .utils.torchvision_guard import declare_torchvision_operators  # noqa: E402

declare_torchvision_operators()

from .utils.checkpoint_io import register_checkpoint_loaders  # noqa: E402

register_checkpoint_loaders()

from .version import __version__  # noqa: E402

# isort: on
__all__ = ['__version__']
