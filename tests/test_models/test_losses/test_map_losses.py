"""Tests of wsol_mm.models.losses."""

import tests.forked_tools  # noqa: F401  (what its processes import need not be imported again)
from wsol_mm.models.losses import BatchAreaLoss, NormalizationLoss

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import distributed


def test_area_is_averaged_before_the_absolute_value():
    maps = torch.zeros(2, 2, 2)
    maps[0] = 1.0
    assert BatchAreaLoss(0.5)(maps) == 0
    torch.testing.assert_close(BatchAreaLoss(0.2, loss_weight=2.0)(maps), torch.tensor(0.6))
    with pytest.raises(ValueError, match=r'target_area: expected a number in \[0, 1\], got 25'):
        BatchAreaLoss(25)


def test_gradient_of_the_area_loss():
    maps = torch.rand(3, 4, 5, requires_grad=True)
    for target, sign in ((0.0, 1), (1.0, -1)):
        gradient = torch.autograd.grad(BatchAreaLoss(target)(maps), maps)[0]
        torch.testing.assert_close(gradient, torch.full_like(maps, sign / 60))


def test_normalization_loss_is_zero_only_away_from_the_border():
    loss = NormalizationLoss()
    maps = torch.rand(2, 6, 7)
    smooth = loss.filter(maps)
    torch.testing.assert_close(loss(maps), (smooth * (1 - smooth)).mean())
    assert loss(torch.zeros(2, 6, 7)) == 0
    ones = loss(torch.ones(1, 6, 7))
    assert 0.01 < ones < 0.05, 'the border costs a little'
    torch.testing.assert_close(loss(torch.full((1, 64, 64), 0.5)), torch.tensor(0.25), atol=1e-3, rtol=0)


# The two halves lie on both sides of the target of the test, where the two reductions differ.
MAPS = torch.linspace(0.1, 0.8, 60, dtype=torch.float64).reshape(4, 3, 5)
TARGET = 0.4


def area_on_rank(rank, world_size, store, folder):
    distributed.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=world_size)
    share = MAPS.chunk(world_size)[rank]
    results = {}
    for across_ranks in (False, True):
        scale = torch.ones((), dtype=torch.float64, requires_grad=True)
        loss = BatchAreaLoss(TARGET, across_ranks=across_ranks)(share * scale)
        gradient = torch.autograd.grad(loss, scale)[0]
        distributed.all_reduce(gradient)
        results[across_ranks] = (loss.item(), gradient.item() / world_size)
    torch.save(results, f'{folder}/{rank}.pth')
    distributed.destroy_process_group()


def test_reduction_over_two_processes(tmp_path):
    """Per rank: the mean of two distances. Across ranks: the distance of the mean."""
    halves = MAPS.chunk(2)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    arguments = (2, tmp_path / 'store', tmp_path)
    multiprocessing.start_processes(area_on_rank, arguments, nprocs=2, start_method='forkserver')
    results = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    single = BatchAreaLoss(TARGET)
    per_rank = sum(single(half * scale) for half in halves) / 2
    globally = single(MAPS * scale)
    for across_ranks, expected in ((False, per_rank), (True, globally)):
        gradient = torch.autograd.grad(expected, scale)[0].item()
        values = [result[across_ranks] for result in results]
        assert sum(value for value, _ in values) / 2 == pytest.approx(expected.item(), abs=1e-12)
        assert values[0][1] == values[1][1] == pytest.approx(gradient, abs=1e-12)
    assert abs(per_rank.item() - globally.item()) > 1e-3
