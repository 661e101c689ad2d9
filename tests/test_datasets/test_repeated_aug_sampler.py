"""Tests of wsol_mm.datasets.samplers.repeated_aug_sampler."""

import json
from pathlib import Path

from wsol_mm.datasets.samplers import RepeatedAugSampler
from wsol_mm.registry import DATA_SAMPLERS

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing


def expected_indices(images: int, processes: int, rank: int, epoch: int) -> list[int]:
    """The steps of docs/specifications/lctr.md, section 6.4."""
    order = torch.randperm(images, generator=torch.Generator().manual_seed(epoch)).tolist()
    repeated = [index for index in order for _ in range(3)]
    repeated += repeated[: -len(repeated) % processes]
    return repeated[rank::processes][: images // 256 * 256 // processes]


def sample_on_rank(rank: int, processes: int, folder: Path) -> None:
    dist.init_process_group('gloo', init_method=f'file://{folder / "store"}', rank=rank, world_size=processes)
    sampler = DATA_SAMPLERS.build(dict(type='RepeatedAugSampler', dataset=range(700)))
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        assert len(sampler) == len(epochs[-1])
    (folder / f'{rank}.json').write_text(json.dumps(epochs))
    dist.destroy_process_group()


def test_two_processes(tmp_path):
    multiprocessing.start_processes(sample_on_rank, args=(2, tmp_path), nprocs=2, start_method='fork')
    found = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2)]
    for epoch in range(3):
        for rank in range(2):
            assert found[rank][epoch] == expected_indices(700, 2, rank, epoch)
        # Copies of an image go to different processes in turn.
        together = [index for pair in zip(found[0][epoch], found[1][epoch], strict=True) for index in pair]
        assert len(set(together)) == 171 and len(together) == 512


def test_a_single_process_keeps_the_first_permutation():
    sampler = RepeatedAugSampler(range(1000))
    first = list(sampler)
    assert first == expected_indices(1000, 1, 0, 0) and len(sampler) == 768
    sampler.set_epoch(5)
    assert list(sampler) == first
    sampler = RepeatedAugSampler(range(1000), reshuffle_single_process=True)
    sampler.set_epoch(5)
    assert list(sampler) == expected_indices(1000, 1, 0, 5)


def test_options():
    sampler = RepeatedAugSampler(range(10), shuffle=False, num_repeats=2, selected_round=0)
    assert list(sampler) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and len(sampler) == 10
    sampler = RepeatedAugSampler(range(10), shuffle=False, selected_round=4)
    assert list(sampler) == [0, 0, 0, 1, 1, 1, 2, 2]
    assert list(RepeatedAugSampler(range(300), seed=3)) == expected_indices(300, 1, 0, 3)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r'selected_round: .*at most 255, .*got 256.*selected_round=0'):
        RepeatedAugSampler(range(255))
    with pytest.raises(ValueError, match='num_repeats: expected an integer from 1, got 0'):
        RepeatedAugSampler(range(300), num_repeats=0)
    with pytest.raises(ValueError, match='selected_round: expected an integer from 0, got -1'):
        RepeatedAugSampler(range(300), selected_round=-1)
