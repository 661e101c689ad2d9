"""Localization heads, one file per method."""

from .localization_head import LocalizationHead
from .scm_head import SCMHead
from .ts_cam_head import TSCAMHead

__all__ = ['LocalizationHead', 'SCMHead', 'TSCAMHead']
