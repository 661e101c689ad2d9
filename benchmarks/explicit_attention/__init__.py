"""The methods as their papers' formulas say, with every attention map multiplied out and kept.

One file per method over a common vision transformer, in PyTorch alone, with the authors' parameter names.
They are what the models of wsol_mm are tested against (through the converters of published checkpoints) and
what the benchmarks measure them against. Nothing here is fast, on purpose.
"""

from .builder import METHODS, explicit_form
from .catr import ExplicitCATR
from .cdtr import ExplicitCDTR
from .lctr import ExplicitLCTR
from .sat import ExplicitSAT
from .scm import ExplicitSCM
from .ts_cam import ExplicitTSCAM
from .vit import ExplicitViT

__all__ = [
    'METHODS',
    'ExplicitCATR',
    'ExplicitCDTR',
    'ExplicitLCTR',
    'ExplicitSAT',
    'ExplicitSCM',
    'ExplicitTSCAM',
    'ExplicitViT',
    'explicit_form',
]
