"""Runner, loops, hooks, optimizer wrappers and parameter schedulers."""

from . import hooks, loops, optimizers, runner, schedulers

__all__ = ['hooks', 'loops', 'optimizers', 'runner', 'schedulers']
