"""Indices that know their place in a training, so that a sample may be made anew as it was."""

from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any

from wsol_mm.registry import DATA_SAMPLERS

from torch.utils.data import Sampler


class PlacedIndex(int):
    """An index with its epoch and its position among those of this epoch."""

    place: tuple[int, int]

    def __new__(cls, index: int, place: tuple[int, int] = (0, 0)) -> 'PlacedIndex':
        """Make an index."""
        self = super().__new__(cls, index)
        self.place = place
        return self


@DATA_SAMPLERS.register_module()
class PlacedSampler(Sampler):
    """The indices of another sampler, as :class:`PlacedIndex`.

    Args:
        dataset: The data set.
        sampler: Config of the other sampler.
        seed: Its seed.
    """

    def __init__(self, dataset: Sized, sampler: dict, seed: int | None = None) -> None:
        self.sampler = DATA_SAMPLERS.build(sampler, default_args=dict(dataset=dataset, seed=seed))
        self.epoch = 0
        self._start = 0
        if hasattr(self.sampler, 'skip'):  # of one without end, in later versions of MMEngine
            self.skip = self._skip

    def __getattr__(self, name: str) -> Any:
        if name in ('sampler', 'skip'):
            raise AttributeError(name)
        return getattr(self.sampler, name)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[PlacedIndex]:
        start, self._start = self._start, 0
        indices = iter(self.sampler) if hasattr(self, 'skip') else islice(self.sampler, start, None)
        for position, index in enumerate(indices, start):
            yield PlacedIndex(index, (self.epoch, position))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def start_at(self, position: int) -> None:
        """Leave out the first indices, once: of the next epoch that is begun.

        Args:
            position: How many.
        """
        self._start = position

    def _skip(self, num_samples: int) -> None:
        self.sampler.skip(num_samples)
        self._start += num_samples
