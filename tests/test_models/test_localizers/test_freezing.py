"""Freezing by name patterns: what is trained, what the optimizer holds, DDP."""

from wsol_mm.models.localizers.freezing import freeze_parameters

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

FROZEN = ['backbone.layers.[0-1].*', 'backbone.patch_embed.*', 'backbone.cls_token']


def step(model, optimizer):
    samples = [DataSample().set_gt_label(i) for i in range(2)]
    losses = model(torch.randn(2, 3, 32, 32), samples, mode='loss')
    optimizer.update_params(losses['loss'])


def optim_wrapper(model, **kwargs):
    return build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5), **kwargs)
    )


def test_names(build_localizer):
    model = build_localizer(frozen=FROZEN)
    off = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert off == set(model.frozen) and len(off) == 2 * 12 + 2 + 1
    assert {name.split('.')[1] for name in off} == {'layers', 'patch_embed', 'cls_token'}
    assert {name.split('.')[2] for name in off if 'layers' in name} == {'0', '1'}
    assert build_localizer().frozen == build_localizer(frozen=None).frozen == []
    assert freeze_parameters(nn.Identity(), []) == []


def test_errors(build_localizer):
    with pytest.raises(
        ValueError,
        match=r"frozen: expected .*backbone.cls_token.*, got 'backbone.layer\.\*', which matches no",
    ):
        build_localizer(frozen=['backbone.layers.*', 'backbone.layer.*'])
    with pytest.raises(
        ValueError, match='expected patterns that leave a parameter to train, got .* match all'
    ):
        build_localizer(frozen=['*'])
    with pytest.raises(
        TypeError, match=r"frozen: expected a list of patterns, got the string 'backbone\.\*'"
    ):
        build_localizer(frozen='backbone.*')


@pytest.mark.parametrize('paramwise', [None, dict(flat_decay_mult=0.0)])
def test_frozen_parameters_keep_their_values_and_need_no_optimizer_state(build_localizer, paramwise):
    model = build_localizer(frozen=FROZEN).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = optim_wrapper(model, **({} if paramwise is None else dict(paramwise_cfg=paramwise)))
    step(model, optimizer)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (name in model.frozen), name
    held = {id(parameter) for parameter in optimizer.optimizer.state}
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert held == trained
    if paramwise is not None:  # with rules per parameter, MMEngine leaves them out
        groups = optimizer.optimizer.param_groups
        assert {id(parameter) for group in groups for parameter in group['params']} == trained


def test_pretrained_weights_reach_frozen_parameters(build_localizer, tmp_path):
    source = build_localizer()
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'source.pth')
    model = build_localizer(frozen=FROZEN, pretrained=str(tmp_path / 'source.pth'))
    model.backbone.cls_token.data.zero_()
    model.init_weights()
    assert torch.equal(model.backbone.cls_token, source.backbone.cls_token)
    assert not model.backbone.cls_token.requires_grad


def test_frozen_batch_normalisation_keeps_its_statistics(build_localizer):
    model = build_localizer(hybrid=True, frozen=['backbone.conv1.*', 'backbone.bn1.*']).train()
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    still = {name for name, module in norms.items() if not module.training}
    assert still == {'backbone.bn1'}
    before = {name: module.running_mean.clone() for name, module in norms.items()}
    step(model, optim_wrapper(model))
    for name, module in norms.items():
        assert torch.equal(module.running_mean, before[name]) == (name in still), name
    model.eval()
    assert not any(module.training for module in model.modules())
    assert build_localizer(hybrid=True).train().backbone.bn1.training


def test_distributed_training(build_localizer, tmp_path):
    distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        model = build_localizer(frozen=FROZEN).train()
        wrapped = DistributedDataParallel(model)
        optimizer = optim_wrapper(wrapped)
        before = model.backbone.layers[0].attn.qkv.weight.clone()
        for _ in range(2):  # a parameter that DDP waits for in vain shows in the second step
            step(wrapped, optimizer)
        assert torch.equal(model.backbone.layers[0].attn.qkv.weight, before)
    finally:
        distributed.destroy_process_group()
