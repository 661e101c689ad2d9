"""Localization heads, one file per method."""

from .bas_head import BASHead
from .catr_head import CATRHead
from .cdtr_head import CDTRHead
from .lctr_head import LCTRHead
from .localization_head import LocalizationHead
from .sat_head import SATHead
from .scm_head import SCMHead
from .ts_cam_head import TSCAMHead

__all__ = [
    'BASHead',
    'CATRHead',
    'CDTRHead',
    'LCTRHead',
    'LocalizationHead',
    'SATHead',
    'SCMHead',
    'TSCAMHead',
]
