"""wsol_mm: transformer-based weakly supervised object localization on MMEngine and mmpretrain.

Importing the package takes a fraction of a second and imports no PyTorch. It checks the versions of the
installed packages, and sees to what has to happen when others are imported, whoever imports them:

- torchvision's operators are declared just before torchvision is first imported, where its own do not load
  (:mod:`wsol_mm.utils.torchvision_guard`);
- MMEngine reads checkpoints, YAML and pickle files without executing what is in them, from when its loaders
  are there (:mod:`wsol_mm.utils.checkpoint_loaders`, :mod:`wsol_mm.utils.file_handlers`).
"""

# isort: off  (versions are checked before anything is imported that a wrong one breaks)
from .utils.dependencies import check_dependencies

check_dependencies()

from .utils.checkpoint_loaders import register_checkpoint_loaders  # noqa: E402
from .utils.file_handlers import register_file_handlers  # noqa: E402
from .utils.import_hooks import after_import, before_import  # noqa: E402
from .utils.torchvision_guard import declare_torchvision_operators  # noqa: E402
from .version import __version__  # noqa: E402

# isort: on
before_import('torchvision', declare_torchvision_operators)
after_import('mmengine.runner.checkpoint', register_checkpoint_loaders)
after_import('mmengine.fileio', register_file_handlers)

__all__ = ['__version__']
