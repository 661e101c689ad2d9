"""Measure how much of a test the network waits for the evaluation, with a stand-in for network and GPU.

    python -m benchmarks.overlap
    python -m benchmarks.overlap --protocols ts_cam maxboxacc --images-per-second 500 2000 --workers 0 1 2 4

The stand-in takes as long for a batch as a network of the given speed, by sleeping, and returns real maps:
14x14 noise, blurred more or less, with boxes in images of 500x375 pixels. Everything else is a test as it is:
MMEngine's loop, hooks, preprocessor and head of the model, the metric. The images are in memory.

A test can be as fast as its network or as its evaluation, whichever is slower. Expected of W workers is
min(1 / (network + loop), W / evaluation), in seconds per image, and without workers the inverse of the sum of
all three. Loop is what the test takes without network and evaluation. Evaluation is the CPU time of the
workers in that test; without workers that of a pass over the predictions before it, without the test around
it. W workers need W idle cores beside that of the main process.
"""

import argparse
import gc
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.evaluation.metrics import LocalizationMetric
from wsol_mm.evaluation.protocols import PRESETS

import cv2
import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader, Dataset

from .options import add_stand_in_options
from .stand_in import POOL, prediction_pool, stand_in_localizer

IMAGE_SIZE, FRAME = (500, 375), 224
ROW = '{:>12}{:>9}{:>12}{:>12}{:>8}{:>10}'
COST = '{:>14}'


class LabelledImages(Dataset):
    """As many images as a data set has, with label and box. The predictions of a test go into their samples.

    Args:
        number: Number of images.
    """

    metainfo = dict(classes=None)

    def __init__(self, number: int) -> None:
        rng = np.random.default_rng(0)
        classes = prediction_pool()[0].numpy()
        # An image shows nothing but which prediction of the pool is its own.
        self.inputs = torch.arange(POOL, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 1, 1)
        self.samples = []
        for index in range(number):
            corner = rng.uniform(0, 0.5, 2) * IMAGE_SIZE
            sample = DataSample(
                metainfo=dict(
                    img_path='noise',
                    ori_shape=IMAGE_SIZE[::-1],
                    img_shape=(FRAME, FRAME),
                    scale_factor=(FRAME / IMAGE_SIZE[0], FRAME / IMAGE_SIZE[1]),
                ),
                gt_bboxes=np.concatenate([corner, corner + rng.uniform(0.2, 0.5, 2) * IMAGE_SIZE])[None],
            )
            self.samples.append(sample.set_gt_label(int(rng.choice(classes[index % POOL]))))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=self.inputs[index % POOL], data_samples=self.samples[index])


class NoEvaluation(BaseMetric):
    """No metric, to time the loop without one."""

    default_prefix = 'none'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep one result per image."""
        self.results += [None] * len(data_samples)

    def compute_metrics(self, results: list[None]) -> dict[str, float]:
        """Return the number of images."""
        return {'images': len(results)}


def timed_test(
    number: int, batch_size: int, images_per_second: float, metric: BaseMetric
) -> tuple[float, float, dict[str, float]]:
    """Run a test of so many images.

    Returns:
        Its seconds, those in which the network computed, and the metrics.
    """
    model = stand_in_localizer(images_per_second)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model,
            folder,
            test_dataloader=DataLoader(LabelledImages(number), batch_size, collate_fn=default_collate),
            test_evaluator=[metric],
            test_cfg=dict(type='TestLoop'),
            default_hooks=dict(logger=None),
            default_scope='wsol_mm',
            log_level='ERROR',
            experiment_name=f'overlap_{time.time_ns()}',
        )
        # Of a real test, other processes make the samples; the garbage collector need not look at them here.
        gc.freeze()
        start = time.perf_counter()
        metrics = runner.test()
    return time.perf_counter() - start, model.backbone.sleeper.busy, metrics


@torch.no_grad()
def evaluation_seconds(protocols: list[str], repeats: int = 3) -> float:
    """CPU seconds of evaluation per image in one process, the least of some passes over all predictions."""
    metric = LocalizationMetric(protocols, num_eval_workers=0)
    batch = default_collate(list(LabelledImages(POOL)))
    samples = [sample.to_dict() for sample in stand_in_localizer(1e9).test_step(batch)]
    passes = []
    # The first one compiles the kernels or loads them.
    for _ in range(repeats + 1):
        start = time.process_time()
        metric.process(None, samples)
        passes.append((time.process_time() - start) / len(samples))
    return min(passes[1:])


def children_seconds() -> float:
    """CPU seconds of the processes that have ended and that this one started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def expected_rate(images_per_second: float, workers: int, evaluation: float, loop: float) -> float:
    """Images per second that a test can reach.

    Args:
        images_per_second: Speed of the network.
        workers: Processes of the evaluation.
        evaluation: Seconds of evaluation per image.
        loop: Seconds per image that the test takes besides.
    """
    if workers == 0:
        return 1 / (1 / images_per_second + loop + evaluation)
    return min(1 / (1 / images_per_second + loop), workers / evaluation)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; with ``--check`` 1 if a test is more than a tenth slower than expected."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        '--protocols',
        nargs='+',
        choices=PRESETS,
        default=['ts_cam', 'maxboxacc', 'maxboxacc_v2'],
        help='what is evaluated',
    )
    add_stand_in_options(parser, batch_size=128, speeds=[500, 2000])
    parser.add_argument(
        '--workers', type=integer_within(0), nargs='+', default=[0, 1, 2], help='processes of the evaluation'
    )
    parser.add_argument('--check', action='store_true', help='exit with 1 when a test is too slow')
    args = parser.parse_args(arguments)

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    evaluation = evaluation_seconds(args.protocols)
    # A network that takes no time.
    seconds, busy, _ = timed_test(args.images, args.batch_size, 1e9, NoEvaluation())
    loop = (seconds - busy) / args.images
    print(
        f'{" + ".join(args.protocols)}; {args.images} images, batches of {args.batch_size}, '
        f'{os.cpu_count()} cores\n'
        f'evaluation {evaluation * 1e3:.2f} ms per image in one process, loop and data {loop * 1e3:.2f} ms\n'
    )
    print(
        ROW.format('network', 'workers', 'images/s', 'expected', 'share', 'waits') + COST.format('evaluation')
    )
    results, values = [], None
    for speed in args.images_per_second:
        for workers in args.workers:
            metric = LocalizationMetric(args.protocols, num_eval_workers=workers)
            before = children_seconds()
            seconds, busy, metrics = timed_test(args.images, args.batch_size, speed, metric)
            cost = (children_seconds() - before) / args.images if workers else evaluation
            if values not in (None, metrics):
                raise SystemExit(f'--workers {workers}: expected the metrics of the others, got {metrics}')
            values = metrics
            result = {
                'images_per_second_of_network': speed,
                'workers': workers,
                'evaluation': cost,
                'images_per_second': args.images / seconds,
                'expected': expected_rate(speed, workers, cost, loop),
                'waits': 1 - busy / seconds,
            }
            results.append(result)
            share = result['images_per_second'] / result['expected']
            print(
                ROW.format(
                    f'{speed}/s',
                    workers,
                    f'{result["images_per_second"]:.0f}',
                    f'{result["expected"]:.0f}',
                    f'{share:.2f}',
                    f'{result["waits"]:.0%}',
                )
                + COST.format(f'{cost * 1e3:.2f} ms'),
                flush=True,
            )
    if args.out is not None:
        settings = {name: value for name, value in vars(args).items() if name not in ('out', 'check')}
        report = {**settings, 'evaluation': evaluation, 'loop': loop, 'metrics': values, 'results': results}
        args.out.write_text(json.dumps(report, indent=1) + '\n')
    slow = [result for result in results if result['images_per_second'] < 0.9 * result['expected']]
    return int(bool(args.check and slow))


if __name__ == '__main__':
    sys.exit(main())
