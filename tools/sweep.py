"""Train a config with several seeds and settings, one after the other, each in its own work directory.

The same command again skips what is finished and resumes what was interrupted; a training that fails does
not stop the others. On several GPUs, start the same command for each (CUDA_VISIBLE_DEVICES=0, and so on): a
training that another process is at is left to it. With --gpus, each needs a group of GPUs and a PORT of its
own. The exit status is 0, or 1 if a training failed; they are listed at the end.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from wsol_mm.cli.argument_types import integer_within, output_folder, seed_list, setting_values
from wsol_mm.cli.runner_options import RunnerArgumentParser, config_path, one_line_errors
from wsol_mm.cli.sweep import has_checkpoint, read_record, run_sweep, sweep_runs, train_command
from wsol_mm.utils.stop_signals import stop_signals

TOOLS = Path(__file__).resolve().parent
#: Options of train.py that each training has for itself.
OWN_OPTIONS = ('--work-dir', '--seed', '--resume')


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options; ``train_options`` are those behind ``--``.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index('--') if '--' in words else len(words)
    parser = RunnerArgumentParser(
        description=__doc__, usage='%(prog)s [options] config [-- options of tools/train.py]'
    )
    parser.add_argument('config', type=config_path, help='config file')
    parser.add_argument(
        '--seeds', type=seed_list, default=[], metavar='LIST', help='as in 0-4 or 0,2,7 (default: the config)'
    )
    parser.add_argument(
        '--grid',
        nargs='+',
        type=setting_values,
        default=[],
        metavar='KEY=VALUE,...',
        help='values of settings of the config, of which all combinations are trained, as in '
        'optim_wrapper.optimizer.lr=1e-4,5e-5; a list is one value: key=[1,2],[3,4]',
    )
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        default=Path('work_dirs/sweep'),
        help='folder of the work directories (default: work_dirs/sweep)',
    )
    parser.add_argument(
        '--gpus', type=integer_within(1), metavar='N', help='train each with tools/dist_train.sh on N GPUs'
    )
    parser.add_argument('--dry-run', action='store_true', help='print the commands of what is left to train')
    args = parser.parse_args(words[:end])
    args.train_options = words[end + 1 :]
    keys = [key for key, _ in args.grid]
    if len(set(keys)) < len(keys):
        parser.error(f'argument --grid: expected each setting once, got {", ".join(keys)}')
    for word in args.train_options:
        if word.partition('=')[0] in OWN_OPTIONS:
            parser.error(f'options of tools/train.py: expected none of {", ".join(OWN_OPTIONS)}, got {word}')
    return args


@one_line_errors()
def main() -> None:
    """Train, with a line for each training, and list those that failed."""
    args = parse_arguments()
    runs = sweep_runs(args.config, args.seeds, dict(args.grid), args.work_dir, args.train_options)
    records = [read_record(run, args.gpus) for run in runs]  # before anything is trained
    if args.dry_run:
        for run, record in zip(runs, records, strict=True):
            if record['status'] != 0:
                print(shlex.join(train_command(run, TOOLS, args.gpus, has_checkpoint(run.folder))))
        return
    failed = []
    with stop_signals() as request:
        for number, (run, end) in enumerate(run_sweep(runs, TOOLS, args.gpus, request), start=1):
            print(f'[{number}/{len(runs)}] {run.folder.name}: {end.text}', flush=True)
            if end.status:
                failed.append((run, end))
    if request.number:
        print('Stopped: the same command goes on')
        raise SystemExit(128 + request.number)
    if failed:
        print(f'{len(failed)} of {len(runs)} failed (what they printed is in output.txt of their folders):')
        for run, end in failed:
            print(f'  {run.folder}: {end.text}')
        raise SystemExit(1)


if __name__ == '__main__':
    main()
