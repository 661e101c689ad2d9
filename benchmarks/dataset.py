r"""Measure how fast a config's data set delivers images, and where a single process spends its time.

    python -m benchmarks.dataset configs/_base_/datasets/cub.py \
        --cfg-options train_dataloader.dataset.data_root=data/CUB_200_2011
    python -m benchmarks.dataset CONFIG --split test --num-workers 0 2 4 --max-images 2000

Images per second are those of whole passes over the data loader, collation included; the best of the repeats,
so that other work on the machine and the start of the workers (which stay between passes) do not count.
"""

import argparse
import copy
import sys
import time
from collections import defaultdict

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.cli.config_options import add_cfg_options
from wsol_mm.registry import DATASETS
from wsol_mm.utils.config_settings import load_config

import torch
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmengine.runner import Runner


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('config', help='config file with data loaders')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='which data loader'
    )
    parser.add_argument(
        '--num-workers', type=integer_within(0), nargs='+', default=[0, 1, 2], help='worker processes to try'
    )
    parser.add_argument(
        '--batch-size', type=integer_within(1), help='batch size, instead of that of the config'
    )
    parser.add_argument('--max-images', type=integer_within(1), default=1000, help='images per pass')
    parser.add_argument(
        '--repeats', type=integer_within(1), default=3, help='passes, of which the fastest counts'
    )
    add_cfg_options(parser)
    return parser.parse_args(arguments)


def images_per_second(
    loader_config: ConfigDict, dataset: BaseDataset, num_workers: int, repeats: int
) -> float:
    """Time passes over a data loader.

    Args:
        loader_config: The data loader's config; its data set is replaced.
        dataset: The data set.
        num_workers: Worker processes; 0 loads in this process.
        repeats: Number of passes.

    Returns:
        Images per second in the fastest pass.
    """
    config = copy.deepcopy(loader_config)
    config.update(dataset=dataset, num_workers=num_workers, persistent_workers=num_workers > 0)
    config.pin_memory = bool(config.get('pin_memory')) and torch.cuda.is_available()
    if num_workers == 0:
        config.pop('prefetch_factor', None)
    loader = Runner.build_dataloader(config, seed=0)
    best = float('inf')
    for _ in range(repeats):
        count = 0
        start = time.perf_counter()
        for batch in loader:
            count += len(batch['data_samples'])
        best = min(best, (time.perf_counter() - start) / count)
    return 1 / best


def milliseconds_per_step(dataset: BaseDataset, repeats: int) -> dict[str, float]:
    """Time every transform of the pipeline in this process.

    Args:
        dataset: The data set.
        repeats: Number of passes.

    Returns:
        Milliseconds per image by step, in the fastest pass of each.
    """
    passes = []
    for _ in range(repeats):
        times: dict[str, float] = defaultdict(float)
        for index in range(len(dataset)):
            start = time.perf_counter()
            item = dataset.get_data_info(index)
            if 'gt_bboxes' in item:
                item['ori_gt_bboxes'] = item.pop('gt_bboxes')
            times['get_data_info'] += time.perf_counter() - start
            for number, transform in enumerate(dataset.pipeline.transforms, 1):
                start = time.perf_counter()
                item = transform(item)
                times[f'{number} {type(transform).__name__}'] += time.perf_counter() - start
        passes.append(times)
    return {name: 1e3 * min(times[name] for times in passes) / len(dataset) for name in passes[0]}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and print its tables."""
    args = parse_args(arguments)
    config = load_config(args.config, args.cfg_options)
    init_default_scope(config.get('default_scope') or 'wsol_mm')
    name = f'{args.split}_dataloader'
    if name not in config:
        raise SystemExit(f'{args.config}: expected a config with {name}, got one without')
    loader_config = config[name]
    if args.batch_size:
        loader_config.batch_size = args.batch_size

    start = time.perf_counter()
    dataset = DATASETS.build(loader_config.dataset)
    seconds = time.perf_counter() - start
    print(f'{type(dataset).__name__}, {args.split}: {len(dataset)} images, start-up {seconds:.2f} s')
    if len(dataset) > args.max_images:  # spread over the classes, which follow one another
        step = len(dataset) / args.max_images
        dataset = dataset.get_subset([int(i * step) for i in range(args.max_images)])
    print(f'{len(dataset)} images per pass, batches of {loader_config.batch_size}, best of {args.repeats}\n')

    steps = milliseconds_per_step(dataset, args.repeats)
    print(f'{"step (one process)":32}{"ms/image":>10}')
    for step_name, value in [*steps.items(), ('all', sum(steps.values()))]:
        print(f'{step_name:32}{value:10.3f}')
    print(f'\n{"workers":>8}{"images/s":>10}')
    for num_workers in args.num_workers:
        rate = images_per_second(loader_config, dataset, num_workers, args.repeats)
        print(f'{num_workers:8}{rate:10.0f}', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
