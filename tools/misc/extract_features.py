"""Compute what a frozen backbone makes of the data of a config once, for trainings that read it from disk."""

import argparse

from wsol_mm.cli.argument_types import integer_within, output_folder
from wsol_mm.cli.launch import finish_launch
from wsol_mm.cli.runner_options import (
    RunnerArgumentParser,
    add_runner_options,
    load_runner_config,
    one_line_errors,
)
from wsol_mm.feature_cache.settings import SPLITS, VIEWS, splits_to_cache


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_runner_options(parser)
    parser.add_argument(
        '--out',
        type=output_folder,
        required=True,
        help='folder of the features: <out>/train, <out>/test, ...',
    )
    parser.add_argument(
        '--views',
        nargs='+',
        choices=VIEWS,
        default=['plain', 'flip'],
        help='views of the training images: as in a test, mirrored, or a random crop (each "crop" is another '
        'one); an epoch draws one of each image (default: plain flip)',
    )
    parser.add_argument('--splits', nargs='+', choices=SPLITS, help='splits (default: all that differ)')
    parser.add_argument(
        '--also',
        nargs='+',
        default=[],
        metavar='NAME',
        help='what heads of other configs need that are to read the same features, such as keys '
        'class_attention feature_map cls_token',
    )
    parser.add_argument('--dtype', choices=('float16', 'float32'), default='float16', help='type on disk')
    parser.add_argument(
        '--batch-size', type=integer_within(1, 65536), default=32, help='images per batch (32)'
    )
    parser.add_argument(
        '--num-workers', type=integer_within(0, 1024), default=2, help='processes that load (2)'
    )
    return parser.parse_args(arguments)


@one_line_errors()
def main() -> None:
    """Extract features of every split; what is there already is kept."""
    args = parse_arguments()
    from wsol_mm.feature_cache.extraction import extract_split, extraction_model

    from mmengine.dist import init_dist, is_distributed
    from mmengine.registry import init_default_scope

    cfg = load_runner_config(args)
    if args.launcher != 'none' and not is_distributed():
        init_dist(args.launcher, **cfg.env_cfg.dist_cfg)
    init_default_scope('wsol_mm')
    model = extraction_model(cfg)
    for split in args.splits or splits_to_cache(cfg):
        extract_split(
            cfg,
            model,
            split,
            args.views if split == 'train' else ['plain'],
            args.out,
            dtype=args.dtype,
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            also=args.also,
        )
    finish_launch()


if __name__ == '__main__':
    main()
