"""Parameters of equal settings share a group; the updates are those of a group for each."""

import itertools
import logging
from types import SimpleNamespace

from tests.methods import METHODS
from tests.toy_training import EPOCHS, Toy, end_of, make_training
from wsol_mm.engine.optimizers.grouped_constructor import can_be_fused, joined
from wsol_mm.engine.optimizers.regrouped_checkpoint import regroup_checkpoint
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_io import read_checkpoint, write_checkpoint

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

PARAMWISE = dict(flat_decay_mult=0.0, custom_keys={'head': dict(lr_mult=10.0)})
# MMEngine's own, with a group for every parameter.
MANY = 'mmengine.DefaultOptimWrapperConstructor'
COUNT = itertools.count()


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield


def build(optimizer, many=False, paramwise=PARAMWISE, frozen=(), **options):
    torch.manual_seed(0)
    model = MODELS.build(METHODS['ts-cam'].model_config(frozen=frozen))
    config = dict(optimizer=optimizer, paramwise_cfg=paramwise, **options)
    return model, build_optim_wrapper(model, config | (dict(constructor=MANY) if many else {}))


def settings_of(wrapper):
    return [
        (id(parameter), {name: value for name, value in group.items() if name != 'params'})
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    ]


def test_as_many_groups_as_settings():
    adamw = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
    model, wrapper = build(adamw)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = wrapper.optimizer.param_groups
    # Matrices, vectors, and the head.
    assert [(group['lr'], group['weight_decay']) for group in groups] == [
        (1e-3, 0.05),
        (1e-3, 0.0),
        (1e-2, 0.05),
    ]
    many_model, many = build(adamw, many=True)
    assert len(many.optimizer.param_groups) == len(names) > 40
    many_names = {id(parameter): name for name, parameter in many_model.named_parameters()}
    expected = {many_names[key]: settings for key, settings in settings_of(many)}
    assert {names[key]: settings for key, settings in settings_of(wrapper)} == expected


@pytest.mark.parametrize('clip', [None, dict(max_norm=0.1), dict(type='value', clip_value=0.01)])
@pytest.mark.parametrize(
    'optimizer',
    [
        dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4),
    ],
)
def test_bit_equal_in_one_group_and_in_many(optimizer, clip):
    weights = []
    for many in (False, True):
        model, wrapper = build(optimizer, many, clip_grad=None if clip is None else dict(clip))
        random = torch.Generator().manual_seed(1)
        for _ in range(3):
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=random)
            wrapper.step()
        weights.append(model.state_dict())
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_the_norm_of_the_gradients_is_kept_for_the_log():
    model, wrapper = build(dict(type='SGD', lr=0.1), clip_grad=dict(max_norm=1.0))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    wrapper.step()
    expected = sum(parameter.numel() for parameter in model.parameters()) ** 0.5
    assert wrapper.clip_func.take_norm().item() == pytest.approx(expected)
    assert wrapper.clip_func.take_norm() is None


def test_options_of_parameters_are_in_the_log_file_only(tmp_path, capfd):
    logger = MMLogger('options', log_file=str(tmp_path / 'log'))
    MMLogger._instance_dict['options'] = logger
    try:
        build(dict(type='AdamW', lr=1e-3, weight_decay=0.05), frozen=['backbone.layers.0.*'])
        logger.info('after')
    finally:
        del MMLogger._instance_dict['options']
    shown = capfd.readouterr()
    assert 'after' in shown.out + shown.err
    assert not any(text in shown.out + shown.err for text in ('paramwise_options', 'is skipped since'))
    logging.shutdown()
    log = (tmp_path / 'log').read_text()
    assert log.count('paramwise_options -- head.') == 6 and log.count('is skipped since') == 12


def test_only_equal_settings_are_joined():
    a, b, c, d = (torch.zeros(1) for _ in range(4))
    groups = [dict(params=[a], lr=1), dict(params=[b]), dict(params=[c], lr=1), dict(params=[d], lr=1, x=2)]
    found = [([id(p) for p in group.pop('params')], group) for group in joined(groups)]
    assert found == [([id(a), id(c)], {'lr': 1}), ([id(b)], {}), ([id(d)], {'lr': 1, 'x': 2})]
    assert [len(group['params']) for group in groups] == [1, 1, 1, 1]


def on_gpu(is_float=True):
    parameter = SimpleNamespace(is_cuda=True, is_floating_point=lambda: is_float, requires_grad=True)
    return SimpleNamespace(parameters=lambda: [parameter])


@pytest.mark.parametrize(
    ('config', 'model', 'expected'),
    [
        (dict(type='AdamW'), on_gpu(), True),
        (dict(type=torch.optim.SGD), on_gpu(), True),
        (dict(type='AdamW'), torch.nn.Linear(1, 1), False),
        (dict(type='AdamW', fused=False), on_gpu(), False),
        (dict(type='AdamW', foreach=True), on_gpu(), False),
        (dict(type='AdamW'), on_gpu(is_float=False), False),
        (dict(type='LBFGS'), on_gpu(), False),
    ],
)
def test_fused_where_the_device_has_it(config, model, expected):
    assert can_be_fused(config, model) is expected


class Deep(Toy):
    """With a norm, so that there are more parameters than settings."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(8)
        self.head = torch.nn.Linear(8, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        inputs = torch.stack(inputs) if isinstance(inputs, list) else inputs
        out = self.linear(inputs) + self.head(self.norm(inputs))
        if mode == 'loss':
            return dict(loss_fit=(out - inputs.sum(1, keepdim=True)).square().mean())
        return [dict(error=float(error)) for error in (out - inputs.sum(1, keepdim=True)).square()]


def train(folder, many, epochs=EPOCHS, paramwise=PARAMWISE, **options):
    wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=0.05, weight_decay=0.1),
        paramwise_cfg=paramwise,
        clip_grad=dict(max_norm=20.0),
        **(dict(constructor=MANY) if many else {}),
    )
    scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=True, end=2, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', T_max=EPOCHS, end=EPOCHS, by_epoch=True),
    ]
    make_training(
        folder,
        model=Deep(),
        optim_wrapper=wrapper,
        param_scheduler=scheduler,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        # Trainings of this process that begin in the same second would share their messages.
        experiment_name=f'toy_{next(COUNT)}',
        **options,
    ).train()


@pytest.mark.parametrize('paramwise', [PARAMWISE, dict(bypass_duplicate=True)])
def test_resumed_from_a_checkpoint_of_many_groups(tmp_path, paramwise):
    """The second setting puts all parameters into one group."""
    train(tmp_path / 'one', many=False, paramwise=paramwise)
    train(tmp_path / 'many', many=True, paramwise=paramwise)
    train(tmp_path / 'resumed', many=True, epochs=2, paramwise=paramwise)
    before = read_checkpoint(tmp_path / 'resumed' / 'epoch_2.pth')['optimizer']['param_groups']
    assert len(before) == 6
    train(tmp_path / 'resumed', many=False, resume=True, paramwise=paramwise)
    ends = [end_of(tmp_path / name) for name in ('one', 'many', 'resumed')]
    torch.testing.assert_close(ends[2]['weights'], ends[1]['weights'], rtol=0, atol=0)
    torch.testing.assert_close(ends[0]['weights'], ends[1]['weights'], rtol=0, atol=0)
    expected, found = ends[0]['optimizer'], ends[2]['optimizer']
    torch.testing.assert_close(found['state'], expected['state'], rtol=0, atol=0)
    assert found['param_groups'] == expected['param_groups']
    assert len(found['param_groups']) == (3 if paramwise is PARAMWISE else 1)


def test_settings_that_do_not_fit_are_refused(tmp_path):
    train(tmp_path / 'run', many=True, epochs=1)
    path = tmp_path / 'run' / 'epoch_1.pth'
    checkpoint = read_checkpoint(path)
    model = Deep()
    config = dict(optimizer=dict(type='AdamW', lr=0.05, weight_decay=0.1), paramwise_cfg=PARAMWISE)
    optimizer = build_optim_wrapper(model, config).optimizer
    checkpoint['optimizer']['param_groups'][2]['lr'] = 7.0
    with pytest.raises(ValueError, match=r'one setting for all parameters of a parameter group, got .*7\.0'):
        regroup_checkpoint(checkpoint, optimizer, model)
    write_checkpoint(path, checkpoint)
    with pytest.raises(ValueError, match='parameter group'):
        train(tmp_path / 'run', many=False, resume=True)
