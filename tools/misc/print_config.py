"""Print a config with everything that it inherits."""

import argparse

from wsol_mm.cli.argument_types import output_file
from wsol_mm.cli.runner_options import (
    RunnerArgumentParser,
    add_config_options,
    one_line_errors,
    read_config,
)
from wsol_mm.utils.whole_files import write_whole

import mmengine


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('--save-path', type=output_file, metavar='FILE', help='write it to this file as well')
    return parser.parse_args(arguments)


@one_line_errors()
def main() -> None:
    """Print the config, and write it to a file if asked."""
    args = parse_arguments()
    cfg = read_config(args)
    print(cfg.pretty_text)
    if args.save_path is not None:
        kind = args.save_path.suffix[1:]
        text = cfg.pretty_text if kind == 'py' else mmengine.dump(cfg.to_dict(), file_format=kind)
        write_whole(args.save_path, text)


if __name__ == '__main__':
    main()
