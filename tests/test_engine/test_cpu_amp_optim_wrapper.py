"""Mixed precision on the CPU."""

from wsol_mm.engine.optimizers import CPUAmpOptimWrapper
from wsol_mm.registry import OPTIM_WRAPPERS

import torch
from torch import nn


def test_forward_is_bfloat16_and_the_step_is_float32():
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    before = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wrapper = OPTIM_WRAPPERS.build(dict(type='CPUAmpOptimWrapper', optimizer=optimizer))
    assert isinstance(wrapper, CPUAmpOptimWrapper)
    inputs = torch.ones(3, 4)
    with wrapper.optim_context(model):
        outputs = model(inputs)
        assert outputs.dtype == torch.bfloat16
        loss = outputs.sum()
    assert not torch.is_autocast_enabled('cpu')
    wrapper.update_params(loss)
    # d(sum)/dW is the sum of the three inputs of ones.
    torch.testing.assert_close(model.weight.detach(), before - 0.5 * 3)
    assert model.weight.dtype == torch.float32


def test_accumulation_steps_once_in_so_many():
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    wrapper = CPUAmpOptimWrapper(optimizer=optimizer, accumulative_counts=2)
    wrapper.initialize_count_status(model, init_counts=0, max_counts=2)
    for step in range(2):
        with wrapper.optim_context(model):
            loss = model(torch.ones(1, 2)).sum()
        wrapper.update_params(loss)
        moved = not torch.equal(model.weight, before)
        assert moved == (step == 1)
    torch.testing.assert_close(model.weight.detach(), before - 1.0)
