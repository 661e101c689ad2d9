"""Localization heads, one file per method."""

from .acol_head import ACoLHead
from .bas_head import BASHead
from .cam_head import CAMHead
from .catr_head import CATRHead
from .cdtr_head import CDTRHead
from .class_attention_head import ClassAttentionHead
from .found_head import FOUNDHead
from .gem_head import GEMHead
from .graph_cut_head import GraphCutHead
from .guarded_head import GuardedHead
from .lctr_head import LCTRHead
from .localization_head import LocalizationHead
from .probe_head import ProbeHead
from .psol_head import PSOLHead
from .sat_head import SATHead
from .scm_head import SCMHead
from .spg_head import SPGHead
from .trilite_head import TriLiteHead
from .ts_cam_head import TSCAMHead

__all__ = [
    'ACoLHead',
    'BASHead',
    'CAMHead',
    'CATRHead',
    'CDTRHead',
    'ClassAttentionHead',
    'FOUNDHead',
    'GEMHead',
    'GraphCutHead',
    'GuardedHead',
    'LCTRHead',
    'LocalizationHead',
    'PSOLHead',
    'ProbeHead',
    'SATHead',
    'SCMHead',
    'SPGHead',
    'TSCAMHead',
    'TriLiteHead',
]
