"""Measure how much of a prediction of many images the network waits, with a stand-in for network and GPU.

    python -m benchmarks.prediction
    python -m benchmarks.prediction --images-per-second 500 --loaders 2 4 --image-size 500 375

The stand-in takes as long for a batch as a network of the given speed, by sleeping, and returns real maps, as
in benchmarks.overlap. Everything else is tools/predict.py as it is with a GPU: the list, the processes that
load images and the thread that takes over their batches, boxes, the journal and the annotations at the end.
The images are noise in PNG files.

A prediction can be as fast as the slowest of network, loading and boxes: min(network, loaders / loading,
processes / boxes), in images per second, where there are idle cores for all of them.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

from wsol_mm.annotation_formats import FORMATS
from wsol_mm.apis import folder_prediction
from wsol_mm.apis.folder_prediction import FolderTask, box_processes, predict_folder
from wsol_mm.apis.image_batches import ImageBatch, ImageBatches, load_batches
from wsol_mm.apis.inference_pipeline import InferencePipeline
from wsol_mm.apis.localization_inferencer import LocalizationInferencer
from wsol_mm.cli.argument_types import integer_within
from wsol_mm.evaluation.box_protocol import box_protocol

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from .options import add_stand_in_options
from .overlap import FRAME, ROW
from .stand_in import NUM_CLASSES, POOL, stand_in_localizer


class StandIn(LocalizationInferencer):
    """An inferencer whose network sleeps.

    Args:
        images_per_second: Its speed.
    """

    def __init__(self, images_per_second: float) -> None:
        self.whole_image = True
        self.config = Config(dict(model=dict(type='StandIn')))
        self.model = stand_in_localizer(images_per_second)
        self.classes = tuple(f'class {number}' for number in range(NUM_CLASSES))
        self.protocol = box_protocol(self.config)
        with DefaultScope.overwrite_default_scope('wsol_mm'):
            self.pipeline = InferencePipeline(
                [
                    dict(type='LoadImageWithPillow'),
                    dict(type='Resize', scale=(FRAME, FRAME)),
                    dict(type='PackLocalizationInputs'),
                ]
            )


def write_images(folder: Path, number: int, size: tuple[int, int]) -> None:
    """Write as many image files, which are links to :data:`POOL`: noise of the given width and height."""
    rng = np.random.default_rng(0)
    for index in range(number):
        file = folder / f'{index:07d}.png'
        if index < POOL:
            cv2.imwrite(str(file), rng.integers(0, 255, (size[1], size[0], 3), np.uint8))
        else:
            os.link(folder / f'{index % POOL:07d}.png', file)


def cpu_seconds(function: Callable[[], object], count: int, repeats: int = 3) -> float:
    """CPU seconds of a function that works on so many images, per image; the least of some calls."""
    passes = []
    # The first one compiles kernels or loads them.
    for _ in range(repeats + 1):
        start = time.process_time()
        function()
        passes.append((time.process_time() - start) / count)
    return min(passes[1:])


def fetched_ahead(batches: ImageBatches, num_workers: int) -> Iterator[ImageBatch]:
    """Load batches as with a GPU: a thread takes them from the processes, there to pin their memory."""
    loaded = load_batches(batches, num_workers)
    if num_workers == 0:
        yield from loaded
        return
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, loaded, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, loaded, None)
            yield batch


def timed_prediction(
    folder: Path, out: Path, images_per_second: float, args: argparse.Namespace, loaders: int
) -> tuple[float, float]:
    """Predict a folder.

    Returns:
        Seconds of it, and those in which the network computed.
    """
    inferencer = StandIn(images_per_second)
    task = FolderTask(folder, out, args.format)
    start = time.perf_counter()
    with patch.object(folder_prediction, 'load_batches', fetched_ahead):
        predict_folder(inferencer, task, args.batch_size, loaders, progress=False)
    return time.perf_counter() - start, inferencer.model.backbone.sleeper.busy


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_stand_in_options(parser, batch_size=32, speeds=[200, 500, 2000])
    parser.add_argument(
        '--loaders', type=integer_within(0), nargs='+', default=[2, 4], help='processes that load images'
    )
    parser.add_argument(
        '--image-size',
        type=integer_within(1),
        nargs=2,
        default=(48, 40),
        metavar=('WIDTH', 'HEIGHT'),
        help='of the image files: small ones, so that the rest shows',
    )
    parser.add_argument('--format', choices=FORMATS, default='coco', help='of the annotations')
    args = parser.parse_args(arguments)

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, 'images')
        folder.mkdir()
        write_images(folder, args.images, args.image_size)
        probe = StandIn(1e9)
        files = sorted(map(str, folder.iterdir()))[:POOL]
        loading = cpu_seconds(lambda: list(map(probe.pipeline, files)), len(files))
        samples = probe.forward(next(probe.preprocess(files, len(files))))
        boxes = cpu_seconds(lambda: probe.postprocess(samples), len(samples))
        print(
            f'{args.images} images of {args.image_size[0]}x{args.image_size[1]}, batches of '
            f'{args.batch_size}, {os.cpu_count()} cores\nloading {loading * 1e3:.2f} ms, boxes '
            f'{boxes * 1e3:.2f} ms per image in one process; half as many processes for boxes\n'
        )
        print(ROW.format('network', 'loaders', 'images/s', 'expected', 'share', 'waits'))
        for speed in args.images_per_second:
            for loaders in args.loaders:
                out = Path(work, f'{speed}-{loaders}{FORMATS[args.format].suffix or ""}')
                seconds, busy = timed_prediction(folder, out, speed, args, loaders)
                expected = min(speed, max(loaders, 1) / loading, box_processes(loaders) / boxes)
                result = {
                    'images_per_second_of_network': speed,
                    'loaders': loaders,
                    'images_per_second': args.images / seconds,
                    'expected': expected,
                    'waits': 1 - busy / seconds,
                }
                results.append(result)
                print(
                    ROW.format(
                        f'{speed}/s',
                        loaders,
                        f'{result["images_per_second"]:.0f}',
                        f'{expected:.0f}',
                        f'{result["images_per_second"] / expected:.2f}',
                        f'{result["waits"]:.0%}',
                    ),
                    flush=True,
                )
    if args.out is not None:
        settings = {name: value for name, value in vars(args).items() if name != 'out'}
        report = {**settings, 'loading': loading, 'boxes': boxes, 'results': results}
        args.out.write_text(json.dumps(report, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
