"""Options that several benchmarks share."""

import argparse

from wsol_mm.cli.argument_types import integer_within, output_file

import torch


def add_timing_options(parser: argparse.ArgumentParser, batch_size: int, repeats: int) -> None:
    """Add what steps that are timed in turns need; :func:`check_timing_options` checks it.

    Args:
        parser: Parser to extend.
        batch_size: Images per step by default.
        repeats: Rounds by default.
    """
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='where to run')
    parser.add_argument('--batch-size', type=integer_within(1), default=batch_size, help='images per step')
    parser.add_argument('--threads', type=integer_within(1), default=1, help='threads of PyTorch on the CPU')
    parser.add_argument(
        '--repeats', type=integer_within(1), default=repeats, help='rounds; medians over them are reported'
    )
    parser.add_argument(
        '--clock',
        choices=['wall', 'process'],
        default='wall',
        help='process: CPU time of this process, for one thread on a machine with other work',
    )


def check_timing_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse, in the name of the parser, what cannot be timed here."""
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('argument --device: expected cpu, as this PyTorch sees no GPU, got cuda')
    if args.clock == 'process' and (args.device == 'cuda' or args.threads > 1):
        parser.error('argument --clock: expected wall, got process, which measures one thread on a CPU alone')


def add_stand_in_options(parser: argparse.ArgumentParser, batch_size: int, speeds: list[int]) -> None:
    """Add what benchmarks of the work around a network need; a network of a given speed stands in.

    Args:
        parser: Parser to extend.
        batch_size: Images of a batch by default.
        speeds: Images per second by default.
    """
    parser.add_argument('--images', type=integer_within(1), default=5000, help='images of a run')
    parser.add_argument('--batch-size', type=integer_within(1), default=batch_size, help='images of a batch')
    parser.add_argument(
        '--images-per-second',
        type=integer_within(1),
        nargs='+',
        default=speeds,
        help='speeds of the network',
    )
    parser.add_argument('--out', type=output_file, help='JSON file for the results')
