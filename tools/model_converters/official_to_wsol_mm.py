"""Convert a method's published checkpoint to a checkpoint of wsol_mm.

Example::

    python tools/model_converters/official_to_wsol_mm.py ts-cam model_best.pth ts-cam_deit-s_cub.pth
    python tools/test.py configs/ts_cam/ts-cam_deit-s_cub.py ts-cam_deit-s_cub.pth
"""

import argparse
import sys
from pathlib import Path

from wsol_mm import __version__
from wsol_mm.cli.argument_types import output_file_of
from wsol_mm.cli.method_names import official_method_names
from wsol_mm.cli.runner_options import RunnerArgumentParser


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = RunnerArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('method', choices=official_method_names(), help='method of the checkpoint')
    parser.add_argument('input', type=Path, metavar='IN', help='published checkpoint (.pth, .safetensors)')
    parser.add_argument('output', type=output_file_of('.pth'), metavar='OUT', help='file to write (.pth)')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Convert one file; errors in it end the program with a message."""
    args = parse_args(arguments)
    from wsol_mm.models.weights import convert_state_dict
    from wsol_mm.utils.checkpoint_io import read_checkpoint, write_checkpoint

    try:
        state_dict = convert_state_dict(args.method, read_checkpoint(args.input), source=str(args.input))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    meta = dict(method=args.method, source=args.input.name, wsol_mm_version=__version__)
    write_checkpoint(args.output, dict(state_dict=state_dict, meta=meta))
    print(f'{len(state_dict)} entries written to {args.output}')


if __name__ == '__main__':
    main()
