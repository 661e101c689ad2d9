"""Backbones, heads, localizers, losses, refinement of maps; trained classifiers and their maps."""

from .backbones import *  # noqa: F401, F403
from .batch_augments import *  # noqa: F401, F403
from .cams import *  # noqa: F401, F403
from .classifiers import *  # noqa: F401, F403
from .heads import *  # noqa: F401, F403
from .localizers import *  # noqa: F401, F403
from .losses import *  # noqa: F401, F403
from .refinement import *  # noqa: F401, F403
