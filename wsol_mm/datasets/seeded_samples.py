"""A data set whose random augmentation depends on the place in the training alone."""

import atexit
import multiprocessing
import signal
from typing import Any

from wsol_mm.registry import DATASETS
from wsol_mm.utils.random_state import seed_generators

from mmengine.dist import get_rank
from torch.utils.data import Dataset, get_worker_info

from .samplers.placed_sampler import PlacedIndex


def _end_workers() -> None:
    """Kill what loads samples: it does not hear SIGTERM, with which Python would end it, and wait."""
    if hasattr(signal, 'SIGCHLD'):  # torch takes a worker that ends so for an error
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


@DATASETS.register_module()
class SeededSamples(Dataset):
    """Another data set, of which every sample is made under random numbers of its own.

    They depend on the seed, the epoch, the position in it, the index and the rank: not on the number of
    workers, nor on what was drawn before, so that a training that is resumed sees the pixels that it would
    have seen. Everything but the samples is that of the other data set. Without workers the generators of the
    process are seeded, those that :class:`LocalizationRunner` seeds before every step.

    Args:
        dataset: The other data set, or its config.
        seed: Seed of the training.
    """

    def __init__(self, dataset: Dataset | dict, seed: int) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = seed
        # Here, because the workers have no process group.
        self.rank = get_rank()
        atexit.register(_end_workers)

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        epoch, position = index.place if isinstance(index, PlacedIndex) else (0, 0)
        parts = self.seed, epoch, position, int(index), self.rank
        if get_worker_info() is not None:
            # A stop of the run is signalled to its workers, too; the step in hand still needs their samples.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        # They stay as they are left: the runner seeds them anew before every step.
        seed_generators(*parts)
        return self.dataset[int(index)]
