"""Measure how long a network waits in a training for data and loop, with a stand-in for network and GPU.

    python -m benchmarks.training_loop
    python -m benchmarks.training_loop --data files --images-per-second 100 --workers 0 1 2 --images 2000

The stand-in takes as long for a step as a network of the given speed, by sleeping, and returns losses. All
else is a training as it is: `LocalizationRunner`, data loader, collation, hooks, log. Samples are either in
memory (224x224 pixels of 8 bits), or JPEG files of 500x375 pixels in the pipeline of CUB's configs.

A training can be as fast as its network or as its data, whichever is slower. Expected of W workers is
min(1 / (network + loop), W / load), in seconds per image, and without workers the inverse of the sum of all
three. Load is what making a sample costs on one core; loop is what a training takes per image besides,
measured with a network that takes no time and data that are there. W workers need W idle cores.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.datasets.seeded_samples import SeededSamples
from wsol_mm.engine.runner import LocalizationRunner

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset

from .options import add_stand_in_options
from .overlap import ROW, expected_rate
from .stand_in import POOL, Sleeper

PIPELINE = Path(__file__).parents[1] / 'configs' / '_base_' / 'pipelines' / 'squash_224.py'
IMAGE_SIZE, CROP = (500, 375), 224


def make_files(folder: Path, number: int = POOL) -> list[str]:
    """Write JPEG files of smooth noise; return their paths."""
    rng = np.random.default_rng(0)
    paths = []
    for index in range(number):
        small = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        image = cv2.resize(small, IMAGE_SIZE, interpolation=cv2.INTER_CUBIC)
        paths.append(str(folder / f'{index}.jpg'))
        cv2.imwrite(paths[-1], image)
    return paths


class RepeatedImages(Dataset):
    """As many training samples as wanted.

    Args:
        number: How many.
        paths: Files that go through the training pipeline of CUB; None: images in memory.
    """

    metainfo = dict(classes=None)

    def __init__(self, number: int, paths: list[str] | None = None) -> None:
        self.number, self.paths = number, paths
        if paths is None:
            random = torch.Generator().manual_seed(0)
            self.pool = torch.randint(0, 256, (POOL, 3, CROP, CROP), dtype=torch.uint8, generator=random)
        else:
            with DefaultScope.overwrite_default_scope('wsol_mm'):
                self.pipeline = Compose(Config.fromfile(PIPELINE).random_crop_224)

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> dict:
        if self.paths is None:
            image = self.pool[index % POOL]
            return dict(inputs=image, data_samples=DataSample(sample_idx=index).set_gt_label(index % 40))
        return self.pipeline(
            dict(img_path=self.paths[index % POOL], gt_label=index % 40, sample_idx=index, img_id=str(index))
        )


class StandIn(BaseModel):
    """A network whose training step sleeps.

    Args:
        images_per_second: Its speed.
    """

    def __init__(self, images_per_second: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.sleeper = Sleeper(images_per_second)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """Sleep, and return losses."""
        self.sleeper.compute(len(data['inputs']))
        loss = self.weight.detach() + 1
        return {'loss': loss, 'loss_cls': loss, 'loss_area': loss * 0}

    def forward(self, inputs: Any) -> None:
        """Not used: there is nothing to compute."""


def timed_training(
    dataset: Dataset, batch_size: int, workers: int, images_per_second: float
) -> tuple[float, float, int]:
    """Run an epoch.

    Returns:
        Its seconds from the first step to the last, those in which the network computed, and the images of
        that time.
    """
    model = StandIn(images_per_second)
    with tempfile.TemporaryDirectory() as folder:
        runner = LocalizationRunner(
            model,
            folder,
            train_dataloader=dict(
                dataset=dataset,
                batch_size=batch_size,
                num_workers=workers,
                persistent_workers=workers > 0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=default_collate,
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            param_scheduler=dict(type='CosineAnnealingLR', T_max=1000, by_epoch=False),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=50),
                finite_loss=dict(type='FiniteLossHook'),
                checkpoint=None,
            ),
            default_scope='wsol_mm',
            log_level='ERROR',
            randomness=dict(seed=0),
            experiment_name=f'training_loop_{time.time_ns()}',
        )
        times: list[float] = []
        own = runner.call_hook

        def call_hook(name: str, **kwargs: Any) -> None:
            own(name, **kwargs)
            if name == 'after_train_iter':
                times.append(time.perf_counter())
                if len(times) == 1:  # workers have started, and filled their queue
                    model.sleeper.busy = 0.0

        runner.call_hook = call_hook
        runner.train()
    images = len(dataset) - batch_size
    return times[-1] - times[0], model.sleeper.busy, images


def loading_seconds(dataset: Dataset, number: int = POOL, repeats: int = 3) -> float:
    """CPU seconds that a sample costs on one core, with its random numbers and its share of the batch.

    The least of some passes.
    """
    dataset = SeededSamples(dataset, seed=0)
    passes = []
    for _ in range(repeats):
        start = time.process_time()
        default_collate([dataset[index] for index in range(number)])
        passes.append((time.process_time() - start) / number)
    return min(passes)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; with ``--check`` 1 if a training is more than a tenth slower than expected."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        '--data', choices=('memory', 'files'), default='memory', help='where samples come from'
    )
    add_stand_in_options(parser, batch_size=128, speeds=[1000])
    parser.add_argument(
        '--workers', type=integer_within(0), nargs='+', default=[0, 1, 2], help='processes of the data loader'
    )
    parser.add_argument('--check', action='store_true', help='exit with 1 when a training is too slow')
    args = parser.parse_args(arguments)
    if args.images <= args.batch_size:
        parser.error(f'argument --images: expected more than --batch-size, got {args.images}')

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_files(Path(folder)) if args.data == 'files' else None
        dataset = RepeatedImages(args.images, paths)
        load = loading_seconds(dataset)
        in_memory = RepeatedImages(args.images)
        seconds, busy, images = timed_training(in_memory, args.batch_size, 0, 1e9)
        loop = max((seconds - busy) / images - loading_seconds(in_memory), 0.0)
        print(
            f'{args.data}; {args.images} images, batches of {args.batch_size}, {os.cpu_count()} cores\n'
            f'a sample {load * 1e3:.2f} ms on one core, loop {loop * 1e3:.3f} ms per image\n'
        )
        print(ROW.format('network', 'workers', 'images/s', 'expected', 'share', 'waits'))
        results = []
        for speed in args.images_per_second:
            for workers in args.workers:
                seconds, busy, images = timed_training(dataset, args.batch_size, workers, speed)
                result = {
                    'images_per_second_of_network': speed,
                    'workers': workers,
                    'images_per_second': images / seconds,
                    'expected': expected_rate(speed, workers, load, loop),
                    'waits': 1 - busy / seconds,
                }
                results.append(result)
                share = result['images_per_second'] / result['expected']
                rate, expected = f'{result["images_per_second"]:.0f}', f'{result["expected"]:.0f}'
                row = (f'{speed}/s', workers, rate, expected, f'{share:.2f}', f'{result["waits"]:.0%}')
                print(ROW.format(*row), flush=True)
    if args.out is not None:
        settings = {name: value for name, value in vars(args).items() if name not in ('out', 'check')}
        args.out.write_text(
            json.dumps({**settings, 'load': load, 'loop': loop, 'results': results}, indent=1)
        )
    slow = [result for result in results if result['images_per_second'] < 0.9 * result['expected']]
    return int(bool(args.check and slow))


if __name__ == '__main__':
    sys.exit(main())
