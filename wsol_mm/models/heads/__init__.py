"""Localization heads, one file per method."""

from .lctr_head import LCTRHead
from .localization_head import LocalizationHead
from .sat_head import SATHead
from .scm_head import SCMHead
from .ts_cam_head import TSCAMHead

__all__ = ['LCTRHead', 'LocalizationHead', 'SATHead', 'SCMHead', 'TSCAMHead']
