"""Comparing the number of classes of data set and head."""

from types import SimpleNamespace

from wsol_mm.datasets import CUB
from wsol_mm.engine.hooks import ClassCountHook
from wsol_mm.engine.hooks.class_count_hook import count_classes
from wsol_mm.registry import HOOKS, MODEL_WRAPPERS, MODELS

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DefaultScope
from torch.utils.data import ConcatDataset as PlainConcat
from torch.utils.data import Subset


class Labels(BaseDataset):
    """Two images, with names for so many classes, or none."""

    def __init__(self, classes: int | None):
        super().__init__(metainfo={} if classes is None else {'classes': [str(i) for i in range(classes)]})

    def load_data_list(self) -> list[dict]:
        return [{'gt_label': 0}, {'gt_label': 1}]

    def get_cat_ids(self, index: int) -> list[int]:
        return [self.get_data_info(index)['gt_label']]


def make_runner(in_head: int | None, **classes: int | None) -> SimpleNamespace:
    """Stand for a Runner: the model and the data loaders are all that the hook looks at."""
    head = torch.nn.Module()
    if in_head is not None:
        head.num_classes = in_head
    model = torch.nn.Module()
    model.head = head
    loaders = {
        f'{split}_dataloader': SimpleNamespace(dataset=Labels(classes.get(split, 3)))
        for split in ('train', 'val', 'test')
    }
    return SimpleNamespace(model=model, val_loop=object(), **loaders)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
@pytest.mark.parametrize(('in_data', 'in_head'), [(5, 3), (2, 3)])
def test_difference_is_an_error(split, in_data, in_head):
    runner = make_runner(in_head, **{split: in_data})
    message = (
        rf'model.head.num_classes: expected {in_data}, the number of classes of '
        rf'{split}_dataloader.dataset, got {in_head}. Set model.head.num_classes={in_data}$'
    )
    with pytest.raises(ValueError, match=message):
        getattr(ClassCountHook(), f'before_{split}')(runner)


def test_validation_data_are_compared_before_training():
    with pytest.raises(ValueError, match='expected 4, the number of classes of val_dataloader.dataset'):
        ClassCountHook().before_train(make_runner(3, val=4))
    ClassCountHook().before_train(make_runner(3))
    without = make_runner(3, val=4)
    without.val_loop = None
    ClassCountHook().before_train(without)


def test_nothing_to_compare():
    ClassCountHook().before_train(make_runner(3, train=None))
    ClassCountHook().before_test(make_runner(None, test=7))
    runner = make_runner(3, test=7)
    del runner.model.head
    ClassCountHook().before_test(runner)


@MODEL_WRAPPERS.register_module()
class HeadlessWrapper(torch.nn.Module):
    """Wraps a model as DistributedDataParallel does, without a process group."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module


def test_wrapped_model_is_unwrapped():
    runner = make_runner(3, test=4)
    runner.model = HeadlessWrapper(runner.model)
    with pytest.raises(ValueError, match='expected 4, the number of classes of test_dataloader.dataset'):
        ClassCountHook().before_test(runner)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda data: ConcatDataset([data, data]),
        lambda data: RepeatDataset(data, times=2),
        lambda data: ClassBalancedDataset(data, oversample_thr=0.1),
        lambda data: Subset(data, [0]),
        lambda data: PlainConcat([Subset(data, [0]), data]),
    ],
    ids=['concat', 'repeat', 'balanced', 'subset', 'plain_concat'],
)
def test_wrapped_data_sets(wrap):
    assert count_classes(wrap(Labels(4))) == 4
    assert count_classes(wrap(Labels(None))) is None


def test_every_config_has_the_hook(repo_dir):
    cfg = Config.fromfile(repo_dir / 'configs' / 'ts_cam' / 'ts-cam_vit-micro_shapes.py')
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        assert isinstance(HOOKS.build(cfg.default_hooks.class_count), ClassCountHook)


def test_forty_classes_of_cub(repo_dir, tmp_path):
    """The config of the subset fits a data set of 40 classes and no other number."""
    cfg = Config.fromfile(repo_dir / 'configs' / 'ts_cam' / 'ts-cam_vit-t_cub40.py')
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        model = MODELS.build({**cfg.model, 'pretrained': None})
    for classes in (40, 41):
        root = tmp_path / str(classes)
        root.mkdir()
        for number in range(1, classes + 1):
            image = root / 'images' / f'{number:03d}.Bird' / 'a.jpg'
            image.parent.mkdir(parents=True)
            cv2.imwrite(str(image), np.zeros((16, 16, 3), np.uint8))
        numbers = range(1, classes + 1)
        for name, line in {
            'classes': '{0} {0:03d}.Bird',
            'images': '{0} {0:03d}.Bird/a.jpg',
            'image_class_labels': '{0} {0}',
            'train_test_split': '{0} 0',
            'bounding_boxes': '{0} 1.0 2.0 10.0 11.0',
        }.items():
            (root / f'{name}.txt').write_text(''.join(line.format(n) + '\n' for n in numbers))
        data = CUB(data_root=str(root), split='test', test_mode=True)
        runner = SimpleNamespace(model=model, test_dataloader=SimpleNamespace(dataset=data))
        if classes == 40:
            ClassCountHook().before_test(runner)
        else:
            with pytest.raises(ValueError, match='model.head.num_classes: expected 41, .*, got 40'):
                ClassCountHook().before_test(runner)
