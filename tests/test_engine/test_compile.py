"""``--compile``: MMEngine's setting, for the training step of every method."""

from tests.methods import METHODS, Size
from tests.toy_training import make_training
from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch._dynamo.utils import counters

SIZE = Size(layers=2, img_size=32)
# Methods whose backbone is not one graph: attention and keys of timm's models come from hooks that are set
# for the time of a call.
WITH_BREAKS = {'found': 3}


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    counters.clear()
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield
    torch._dynamo.reset()


def one_of_each_backbone():
    """Return the first of the methods that train the same backbone for the same needs."""
    found = {}
    for name, method in METHODS.items():
        model = MODELS.build(method.model_config(SIZE, training=True))
        key = type(model.backbone), frozenset(model.head.loss_needs), model.stages, bool(model.inserts)
        found.setdefault(key, name)
    return sorted(found.values())


def test_backbones_are_one_graph():
    breaks = {}
    for name in one_of_each_backbone():
        torch._dynamo.reset()
        model = MODELS.build(METHODS[name].model_config(SIZE, training=True)).train()
        needs = model.head.loss_needs
        explained = torch._dynamo.explain(model.extract_feat)(torch.randn(2, 3, 32, 32), needs)
        assert explained.graph_count == explained.graph_break_count + 1
        if explained.graph_break_count:
            breaks[name] = explained.graph_break_count
    assert breaks == WITH_BREAKS


def train(name, compiled):
    torch.manual_seed(0)
    normalisation = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
    config = METHODS[name].model_config(SIZE, training=True, data_preprocessor=normalisation)
    model = MODELS.build(config).train()
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
    step = torch.compile(model.train_step, backend='eager') if compiled else model.train_step
    graphs = []
    for number in range(3):
        images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(number))
        samples = [DataSample(img_path=f'{number}-{k}').set_gt_label(k) for k in range(4)]
        torch.manual_seed(number)
        losses = step(dict(inputs=images.byte(), data_samples=samples), wrapper)
        graphs.append(counters['stats']['unique_graphs'])
    return losses, model.state_dict(), graphs


@pytest.mark.parametrize('name', [pytest.param('ts-cam', marks=pytest.mark.slow), 'found'])
def test_a_compiled_step_gives_the_same(name):
    """And it is compiled once; FOUND counts its iterations, which must not be compiled in."""
    losses, weights, _ = train(name, compiled=False)
    found_losses, found_weights, graphs = train(name, compiled=True)
    torch.testing.assert_close(found_losses, losses, rtol=1e-6, atol=0)
    torch.testing.assert_close(found_weights, weights, rtol=1e-5, atol=1e-7)
    # Gradients are none before the first step.
    assert graphs[0] > 0 and graphs[1] == graphs[2]


class CountGraphs(Hook):
    """Notes how many programs there are after every step."""

    def __init__(self):
        self.graphs = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.graphs.append(counters['stats']['unique_graphs'])


def test_the_setting_compiles_the_step_once(tmp_path):
    """With groups of parameters, and a learning rate that changes in every step."""
    count = CountGraphs()
    training = make_training(
        tmp_path,
        cfg=Config(dict(compile=dict(backend='eager'))),
        optim_wrapper=ConfigDict(
            optimizer=dict(type='AdamW', lr=0.05), paramwise_cfg=dict(custom_keys={'bias': dict(lr_mult=2)})
        ),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=12, by_epoch=False)],
        custom_hooks=[count],
        experiment_name='compiled',
    )
    training.train()
    assert len(count.graphs) == 12
    assert count.graphs[2] > 0 and count.graphs[2] == count.graphs[-1]
    assert [type(group) for group in training.optim_wrapper.optimizer.param_groups] == [dict, dict]
