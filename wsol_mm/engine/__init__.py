"""Hooks, optimizer wrappers and parameter schedulers."""

from . import hooks, optimizers, schedulers

__all__ = ['hooks', 'optimizers', 'schedulers']
