"""Backbones, heads, localizers, losses and batch augmentations."""

from .backbones import *  # noqa: F401, F403
from .batch_augments import *  # noqa: F401, F403
from .heads import *  # noqa: F401, F403
from .localizers import *  # noqa: F401, F403
from .losses import *  # noqa: F401, F403
