"""CLIP as it is, and the class names of its prompts."""

from .class_names import class_names_from, load_class_names
from .frozen_clip import FrozenCLIP

__all__ = ['FrozenCLIP', 'class_names_from', 'load_class_names']
