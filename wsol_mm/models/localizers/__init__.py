"""Model types that join a backbone and a head."""

from .image_localizer import ImageLocalizer

__all__ = ['ImageLocalizer']
