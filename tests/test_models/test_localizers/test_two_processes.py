"""Training and evaluation of every method in two processes, against one."""

import copy
from pathlib import Path

import tests.forked_tools  # noqa: F401  (what its processes import need not be imported again)
from tests.methods import METHODS, Size, labelled
from wsol_mm.evaluation.metrics import LocalizationMetric
from wsol_mm.evaluation.protocols import PRESETS
from wsol_mm.registry import MODELS

import pytest
import torch
import torch.multiprocessing as multiprocessing
from mmengine.model import MMDistributedDataParallel
from mmpretrain.structures import DataSample
from torch import distributed, nn

SIDE, CLASSES, TARGET_AREA = 56, 5, 0.472
MODEL_NAMES = [*METHODS, 'sat_global']
SIZE = Size(img_size=SIDE, num_classes=CLASSES)
PROTOCOLS = list(PRESETS)


def build(method: str) -> nn.Module:
    """The same small model in every process, in double precision."""
    torch.manual_seed(1)
    method, _, suffix = method.partition('_')
    config = METHODS[method].model_config(SIZE, training=True)
    if method == 'sat':
        config['head']['area_loss'] = dict(target_area=TARGET_AREA, across_ranks=suffix == 'global')
    model = MODELS.build(config)
    for parameter in model.backbone.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double()


def samples(images: int) -> tuple[torch.Tensor, list[DataSample]]:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(images, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    data = []
    for index in range(images):
        corner = torch.randint(0, SIDE // 2, (2,), generator=generator)
        box = torch.cat((corner, corner + 20)).double().numpy()[None]
        sample = labelled(index % CLASSES, gt_bboxes=box)
        sample.set_metainfo(
            dict(
                sample_idx=index,
                img_id=str(index),
                ori_shape=(SIDE, SIDE),
                img_shape=(SIDE, SIDE),
                scale_factor=(1.0, 1.0),
                img_path=f'{index}.png',
            )
        )
        data.append(sample)
    return inputs, data


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return sum(value for name, value in losses.items() if 'loss' in name)


def train_gradients(method: str, share: slice) -> dict[str, torch.Tensor]:
    model = MMDistributedDataParallel(build(method))
    images, data = samples(6)
    total(model(images[share], data[share], mode='loss')).backward()
    return {name: parameter.grad for name, parameter in model.module.named_parameters()}


def evaluate(method: str, indices: list[int], images: int) -> dict[str, float]:
    model = build(method).eval()
    inputs, data = samples(images)
    metric = LocalizationMetric(PROTOCOLS)
    metric.dataset_meta = {}
    for start in range(0, len(indices), 2):
        part = indices[start : start + 2]
        with torch.no_grad():
            results = model(inputs[part], [copy.deepcopy(data[index]) for index in part], mode='predict')
        metric.process(None, [result.to_dict() for result in results])
    return metric.evaluate(images)


def work(rank: int, world_size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size
    )
    # 9 images on 2 processes: as MMEngine's sampler does, the first is evaluated again at the end.
    indices = [*range(9), 0][rank::world_size]
    results = {
        method: (train_gradients(method, slice(3 * rank, 3 * rank + 3)), evaluate(method, indices, 9))
        for method in MODEL_NAMES
    }
    torch.save(results, folder / f'{rank}.pth')
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def in_two(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp('two')
    multiprocessing.start_processes(work, (2, folder), nprocs=2, start_method='forkserver')
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


def test_area_loss_across_processes_is_that_of_the_whole_batch(in_two):
    model = build('sat_global').train()
    images, data = samples(6)
    total(model(images, data, mode='loss')).backward()
    for name, parameter in model.named_parameters():
        for rank in range(2):
            torch.testing.assert_close(
                in_two[rank]['sat_global'][0][name],
                parameter.grad,
                msg=lambda message, name=name: f'{name}: {message}',
            )


@pytest.mark.parametrize('method', METHODS)
def test_gradients_are_those_of_the_mean_over_processes(in_two, method):
    """SAT's area loss too is reduced per process: the mean of two distances, not the distance of the mean."""
    model = build(method).train()
    images, data = samples(6)
    halves = [model(images[part], data[part], mode='loss') for part in (slice(0, 3), slice(3, 6))]
    (sum(map(total, halves)) / 2).backward()
    for name, parameter in model.named_parameters():
        for rank in range(2):
            torch.testing.assert_close(
                in_two[rank][method][0][name],
                parameter.grad,
                msg=lambda message, name=name: f'{name}: {message}',
            )


def test_target_area_lies_between_the_halves():
    """Otherwise the test above could not tell the two reductions of SAT's area loss apart."""
    model = build('sat').train()
    images, data = samples(6)
    parts = (slice(0, 3), slice(3, 6))
    areas = [model(images[part], data[part], mode='loss')['mean_area'].item() for part in parts]
    assert min(areas) < TARGET_AREA < max(areas)


@pytest.mark.parametrize('method', MODEL_NAMES)
def test_evaluation_is_that_of_one_process(in_two, method):
    assert in_two[0][method][1] == evaluate(method, list(range(9)), 9)
