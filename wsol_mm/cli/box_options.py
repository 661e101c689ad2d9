"""The options of a tool that makes boxes."""

import argparse

from wsol_mm.evaluation.box_protocol import DEFAULT_PROTOCOL
from wsol_mm.evaluation.protocols import PRESETS

from .argument_types import map_threshold


def add_box_options(parser: argparse.ArgumentParser) -> None:
    """Add the last arguments of :func:`~wsol_mm.evaluation.box_protocol.box_protocol`.

    Args:
        parser: Parser to extend.
    """
    parser.add_argument(
        '--protocol',
        choices=tuple(PRESETS),
        metavar='NAME',
        help=f'how maps become boxes (default: as the config draws, else {DEFAULT_PROTOCOL})',
    )
    parser.add_argument(
        '--threshold',
        type=map_threshold,
        metavar='T',
        help="threshold in [0, 1) on the map (default: the protocol's; one that searches it needs one)",
    )
