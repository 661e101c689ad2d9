"""Class names of the data become the prompts of CLIP."""

from types import SimpleNamespace

from tests.methods import ZERO_SHOT, Size
from wsol_mm.engine.hooks import ClassNamesHook
from wsol_mm.models.losses import SemanticBoostAdapter
from wsol_mm.registry import HOOKS, MODEL_WRAPPERS, MODELS

import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope
from torch.utils.data import Subset


class Birds(BaseDataset):
    """Two images, with class names or none."""

    def __init__(self, classes):
        super().__init__(metainfo={} if classes is None else {'classes': classes})

    def load_data_list(self) -> list[dict]:
        return [{'gt_label': 0}, {'gt_label': 1}]


def make_runner(classes, **kwargs) -> SimpleNamespace:
    """Stand for a Runner: the model and the training data are all that the hook looks at."""
    model = torch.nn.Module()
    model.head = torch.nn.Module()
    model.head.sba = SemanticBoostAdapter(**kwargs)
    return SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=Birds(classes)))


@MODEL_WRAPPERS.register_module()
class WrapperOfAdapter(torch.nn.Module):
    """Wraps a model as DistributedDataParallel does, without a process group."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize('wrapped', [False, True])
def test_names_of_the_training_data(wrapped):
    runner = make_runner(('001.Blue_Jay', '002.Mallard'), num_classes=2)
    adapter = runner.model.head.sba
    if wrapped:
        runner.model = WrapperOfAdapter(runner.model)
        runner.train_dataloader.dataset = Subset(runner.train_dataloader.dataset, [0])
    ClassNamesHook().before_train(runner)
    assert adapter.prompts == ('a photo of Blue_Jay.', 'a photo of Mallard.')
    assert not adapter.clip.is_loaded


def test_names_of_the_config_stay():
    runner = make_runner(('0', '1'), class_names=['cat', 'dog'])
    ClassNamesHook().before_train(runner)
    assert runner.model.head.sba.prompts == ('a photo of cat.', 'a photo of dog.')


def test_model_without_adapter():
    runner = make_runner(None)
    runner.model.head.sba = None
    ClassNamesHook().before_train(runner)


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (None, 'class_names: expected names, as the data have no classes'),
        (('0', '1', '2'), 'the data have no names for 3 of their 3 classes'),
        (('cat', 'dog'), 'class_names: expected a name for each of the 3 classes, got 2'),
    ],
)
def test_names_that_do_not_serve(classes, message):
    with pytest.raises(ValueError, match=message):
        ClassNamesHook().before_train(make_runner(classes, num_classes=3))


def zero_shot_runner(classes, **options) -> SimpleNamespace:
    """Stand for a Runner that tests a model which is told names."""
    model = MODELS.build(ZERO_SHOT['gem'].model_config(Size(layers=2), **options))
    loader = SimpleNamespace(dataset=Birds(classes))
    return SimpleNamespace(model=model, val_dataloader=loader, test_dataloader=loader)


@pytest.mark.parametrize('when', ['before_val', 'before_test'])
def test_names_of_the_data_that_are_tested(when):
    runner = zero_shot_runner(('001.Blue_Jay', '002.Mallard'), class_names=None)
    assert runner.model.class_names is None
    getattr(ClassNamesHook(), when)(runner)
    assert runner.model.class_names == ['Blue Jay', 'Mallard'] and runner.model.head.num_classes == 2


def test_names_of_the_config_stay_in_a_test():
    runner = zero_shot_runner(('0', '1'), class_names=['cat', 'dog'])
    ClassNamesHook().before_test(runner)
    assert runner.model.class_names == ['cat', 'dog']


def test_data_whose_classes_say_nothing():
    runner = zero_shot_runner(('0', '1'), class_names=None)
    with pytest.raises(ValueError, match='^model.class_names: expected a list .* no names for 2 of their 2'):
        ClassNamesHook().before_test(runner)


def test_registered():
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        assert isinstance(HOOKS.build(dict(type='ClassNamesHook')), ClassNamesHook)
