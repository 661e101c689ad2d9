"""The methods as their papers' formulas say, with every attention map multiplied out and kept.

One file per method over a common vision transformer, in PyTorch alone, with the authors' parameter names.
They are what the models of wsol_mm are tested against (through the converters of published checkpoints) and
what the benchmarks measure them against. Nothing here is fast, on purpose.

A method's file is found by being here, and its class says of which head it is the form; a method without a
file has no explicit form, and its models are compared with a plain classifier alone.
"""

import importlib
import pkgutil

from .builder import NoExplicitForm, explicit_form
from .vit import FORMS, ExplicitViT

__all__ = ['FORMS', 'ExplicitViT', 'NoExplicitForm', 'explicit_form']

for module in pkgutil.iter_modules(__path__, f'{__name__}.'):
    importlib.import_module(module.name)
