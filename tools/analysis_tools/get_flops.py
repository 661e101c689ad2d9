"""Parameters and floating-point operations of the model of a config, with localization maps and without.

Counted are the multiplications and additions of matrix products and convolutions, attention's included: the
parts that papers count. One multiplication with its addition is one multiply-add (MAC), which papers on
transformers call a FLOP: DeiT-S has 4.6 G of them at 224x224. Not counted are soft-max, normalisation,
activation, pooling and other elementwise operations.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsol_mm.cli.argument_types import output_file
from wsol_mm.cli.runner_options import (
    RunnerArgumentParser,
    add_config_options,
    one_line_errors,
    read_config,
)
from wsol_mm.utils.whole_files import write_json

if TYPE_CHECKING:
    from wsol_mm.models.localizers import ImageLocalizer

    from torch import nn


def count_macs(function: Callable[[], Any]) -> int:
    """Count the multiply-adds of matrix products and convolutions in a call, without gradients.

    Fused attention is run as the two products that it stands for: PyTorch's counter knows the fused operators
    of GPUs alone, and would leave out those of a CPU without a word.

    Args:
        function: What is called.

    Returns:
        The number.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2


def count_parameters(module: nn.Module) -> int:
    """Count the parameters of a module, those that only training uses included."""
    return sum(parameter.numel() for parameter in module.parameters())


def measure(model: ImageLocalizer, shape: tuple[int, int], topk: int) -> dict[str, dict[str, int]]:
    """Count parameters and multiply-adds of one image, by part.

    Args:
        model: The model, in evaluation mode.
        shape: Height and width of the image.
        topk: Number of classes that maps are made of.

    Returns:
        For ``backbone``, ``head`` and ``total``: ``parameters``, ``macs_classification`` (the logits alone)
        and ``macs_with_maps`` (logits and maps).
    """
    import torch

    head, image = model.head, torch.zeros(1, 3, *shape)
    labels = torch.arange(topk)[None]

    def maps() -> None:
        feats = head.prepare(with_maps)
        head(feats)
        head.localization_maps(feats, labels)

    with torch.no_grad():
        plain = model.extract_feat(image)
        with_maps = model.extract_feat(image, head.predict_needs)
    parts = {
        'backbone': {
            'parameters': count_parameters(model.backbone),
            'macs_classification': count_macs(lambda: model.extract_feat(image)),
            'macs_with_maps': count_macs(lambda: model.extract_feat(image, head.predict_needs)),
        },
        'head': {
            'parameters': count_parameters(head),
            'macs_classification': count_macs(lambda: head(plain)),
            'macs_with_maps': count_macs(maps),
        },
    }
    parts['total'] = {key: parts['backbone'][key] + parts['head'][key] for key in parts['head']}
    return parts


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        default=[224],
        metavar='SIDE',
        help='side of the image, or height and width (default: 224)',
    )
    parser.add_argument(
        '--topk', type=int, default=5, metavar='K', help='number of classes with maps per image (default: 5)'
    )
    parser.add_argument(
        '--out', type=output_file, metavar='FILE', help='also write the numbers to this JSON file'
    )
    args = parser.parse_args(arguments)
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error(f'argument --shape: expected one or two integers from 1, got {args.shape}')
    if args.topk < 1:
        parser.error(f'argument --topk: expected an integer from 1, got {args.topk}')
    return args


@one_line_errors()
def main() -> None:
    """Count and print."""
    args = parse_arguments()
    from wsol_mm.apis.model_loading import build_localizer
    from wsol_mm.models.heads import LocalizationHead

    cfg = read_config(args)
    model = build_localizer(cfg)
    if not isinstance(getattr(model, 'head', None), LocalizationHead):
        raise ValueError(f'model: expected one with a localization head, got {type(model).__name__} without')
    if not model.head.exportable:
        raise ValueError(
            'cam.type: expected a method without gradients, whose operations can be counted, got '
            f'{type(model.head).__name__}'
        )
    height, width = args.shape if len(args.shape) == 2 else args.shape * 2
    topk = min(args.topk, model.head.num_classes)
    parts = measure(model, (height, width), topk)
    print(f'{Path(args.config).stem}, one image of {height}x{width} (height x width)')
    maps = 'the one map' if model.head.class_agnostic else f'maps of {topk} classes'
    print(f'{"":<10}{"parameters":>14}{"MACs, logits":>16}{f"MACs, with {maps}":>32}')
    for name, numbers in parts.items():
        print(
            f'{name:<10}{numbers["parameters"] / 1e6:>12.3f} M{numbers["macs_classification"] / 1e9:>14.4f} G'
            f'{numbers["macs_with_maps"] / 1e9:>30.4f} G'
        )
    print(
        'MACs: multiply-adds of matrix products and convolutions, attention included; FLOPs are twice as many'
    )
    if args.out is not None:
        write_json(args.out, parts)


if __name__ == '__main__':
    main()
