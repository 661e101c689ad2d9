"""Backbones, heads, localizers, losses, trained classifiers and their class activation maps."""

from .backbones import *  # noqa: F401, F403
from .cams import *  # noqa: F401, F403
from .classifiers import *  # noqa: F401, F403
from .heads import *  # noqa: F401, F403
from .localizers import *  # noqa: F401, F403
from .losses import *  # noqa: F401, F403
