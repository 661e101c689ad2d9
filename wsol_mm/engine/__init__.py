"""Runner, hooks, optimizer wrappers and parameter schedulers."""

from . import hooks, optimizers, runner, schedulers

__all__ = ['hooks', 'optimizers', 'runner', 'schedulers']
