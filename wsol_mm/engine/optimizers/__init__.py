"""Optimizers and their wrappers."""

from .cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from .grouped_constructor import DefaultOptimWrapperConstructor

__all__ = ['CPUAmpOptimWrapper', 'DefaultOptimWrapperConstructor']
