"""Loops of trainings."""

from .epoch_loop import EpochLoop

__all__ = ['EpochLoop']
