"""Measure what views and filters of maps cost per image (docs/sharper_boxes.md).

    python -m benchmarks.refinement CONFIG --checkpoint FILE --images FOLDER --clock process
    python -m benchmarks.refinement CONFIG --refine 224 448 --refine 224 448 guided

A step is what a test does between data loading and evaluation: views, network, fusion, filters, and maps on
the CPU. Each choice takes its turn in every round; the cost is the median over rounds. Without ``--images``
the network sees noise, and without ``--checkpoint`` its weights are random: GrabCut and the bilateral solver,
whose time depends on what they see, then tell little.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.cli.runner_options import RunnerArgumentParser, config_path, one_line_errors
from wsol_mm.datasets.readers.image_files import IMAGE_EXTENSIONS, list_images, open_image, rgb_image
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_io import read_checkpoint
from wsol_mm.utils.config_settings import load_config
from wsol_mm.utils.refinement_choice import refinement_config

import numpy as np
import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from .comparison import quiet_logger, rounds_in_turns
from .options import add_timing_options, check_timing_options
from .variants import build_localizer

#: What is measured if nothing else is asked for.
CHOICES = (
    ('336',),
    ('448',),
    ('224', '336', '448'),
    ('flip',),
    ('guided',),
    ('solver',),
    ('grabcut',),
    ('224', '336', '448', 'guided'),
)


def load_images(folder: Path | None, count: int, side: int) -> Tensor:
    """Return images (B, 3, side, side), uint8, BGR: the first of a folder, again and again, or noise.

    Raises:
        ValueError: If there is no image.
    """
    if folder is None:
        return torch.randint(256, (count, 3, side, side), dtype=torch.uint8)
    names, _ = list_images(folder)
    if not names:
        raise ValueError(f'{folder}: expected images ({", ".join(IMAGE_EXTENSIONS)}), got none')
    images = []
    for name in names[:count]:
        with open_image(folder / name) as image:
            images.append(np.asarray(rgb_image(image).resize((side, side)))[..., ::-1])
    chosen = [images[number % len(images)] for number in range(count)]
    return torch.from_numpy(np.stack(chosen).transpose(0, 3, 1, 2).copy())


def make_steps(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """Return the steps by their words, first that without refinement."""
    cfg = load_config(args.config, None)
    with DefaultScope.overwrite_default_scope('wsol_mm'), quiet_logger():
        model = build_localizer(cfg, None)
        if args.checkpoint is not None:
            weights = read_checkpoint(args.checkpoint)
            model.load_state_dict(weights.get('state_dict', weights))
        model = model.to(args.device).eval()

        def make(words: Sequence[str]) -> Callable[[], None]:
            settings = refinement_config(words) if words else None
            refinement = None if settings is None else MODELS.build(settings).to(args.device)
            sizes = None if settings is None else settings['sizes']
            images = load_images(args.images, args.batch_size, max(sizes or [args.img_size])).to(args.device)

            def step() -> None:
                model.refinement = refinement
                with torch.no_grad():
                    model.test_step({'inputs': images, 'data_samples': None})

            return step

        return {' '.join(words): make(words) for words in [(), *(args.refine or CHOICES)]}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = RunnerArgumentParser(
        description=__doc__.partition('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('config', type=config_path, metavar='CONFIG', help='config file')
    parser.add_argument('--checkpoint', metavar='FILE', help='weights; random ones if not given')
    parser.add_argument('--images', type=Path, metavar='FOLDER', help='folder of images; noise if not given')
    parser.add_argument(
        '--refine',
        nargs='+',
        action='append',
        metavar='WORD',
        help='words of a choice, as of tools/test.py; once for each choice (default: views and filters)',
    )
    add_timing_options(parser, batch_size=8, repeats=5)
    parser.add_argument(
        '--img-size', type=integer_within(1), default=224, help='side of the images of choices without sizes'
    )
    args = parser.parse_args(arguments)
    check_timing_options(parser, args)
    return args


@one_line_errors(ImportError)
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = parse_arguments(arguments)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    steps = make_steps(args)
    names = list(steps)
    for step in steps.values():
        step()
    rounds = rounds_in_turns(steps, args.repeats, 1, args.device, args.clock)
    print(
        f'{Path(args.config).stem}, batch {args.batch_size}, {args.device}, {args.threads} thread(s), '
        f'{args.clock} time'
    )
    print(f'| {"--refine":28} | {"ms per image":>12} | {"x one view":>10} |')
    print(f'| {"-" * 28} | {"-" * 12} | {"-" * 10} |')
    for name in names:
        ratio = statistics.median(a / b for a, b in zip(rounds[name], rounds[names[0]], strict=True))
        ms = 1e3 * statistics.median(rounds[name]) / args.batch_size
        print(f'| {name:28} | {ms:12.1f} | {ratio:10.2f} |')
    return 0


if __name__ == '__main__':
    sys.exit(main())
