"""The command-line options that tools share, and how they report errors."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from wsol_mm.utils.config_settings import CONFIG_SUFFIXES, load_config

from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger

from .argument_types import output_folder
from .config_options import add_cfg_options
from .launch import LAUNCHERS, prepare_launch

#: Instead of a checkpoint, where the model of the config needs no training.
NO_CHECKPOINT = 'none'
#: Help of such an argument.
CHECKPOINT_HELP = f"checkpoint of its model; '{NO_CHECKPOINT}' for one that needs no training"
# What an error says of a setting of the config, as in `model.head.num_classes=3`.
_SETTING = re.compile(r'\b[a-z]\w*(\.\w+)+=')
# TypeErrors and KeyErrors that a config causes: settings and types that are not there, parts that do not fit.
_OF_A_CONFIG = re.compile(r'unexpected keyword argument|^\w+: expected |is not in the .+ registry')
# What PyTorch says of a process that loads data and is no more.
_DEAD_WORKER = re.compile(r'DataLoader worker \(pid')


class RunnerArgumentParser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message in one line and exit with status 2."""
        self.exit(2, f'{self.prog}: error: {message} (--help lists the options)\n')


@contextmanager
def one_line_errors(*more: type[Exception]) -> Iterator[None]:
    """Report what users can mend in one line, ``<tool>: error: <message>``, with exit status 1.

    For the ``main`` of a tool, as a decorator: ``@one_line_errors()``. What is reported are files that cannot
    be read or written (OSError), arguments, configs and contents that are not as needed (ValueError), and
    settings or types that there are not. Where the error names a setting of the config with a value,
    how it is set is added. The traceback goes into the log file, if there is one.

    Args:
        *more: Further exceptions.

    Raises:
        SystemExit: In place of these exceptions.
    """
    expected: tuple[type[Exception], ...] = (OSError, ValueError, TypeError, KeyError, RuntimeError, *more)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):  # the name of a file may hold bytes that are no text
            stream.reconfigure(errors='backslashreplace')
    try:
        yield
    except expected as error:
        dead = _dead_worker(error)
        known = isinstance(error, (OSError, ValueError, *more)) or _OF_A_CONFIG.search(str(error))
        if not (known or dead):
            raise
        # The text of a KeyError is its argument in quotes; that of an error in a worker of a dataloader is a
        # traceback.
        message = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
        if message.startswith('Caught '):
            message = message.splitlines()[-1]
        message = dead or message
        if _SETTING.search(message):
            message += ' (settings are changed by --cfg-options KEY=VALUE)'
        log_file = _log_traceback(error)
        where = f' (traceback in {log_file})' if log_file else ''
        raise SystemExit(f'{Path(sys.argv[0]).name}: error: {message}{where}') from error


def _dead_worker(error: BaseException) -> str | None:
    """Return what to say if a process that loads data or finds boxes was killed; None for other errors."""
    if isinstance(error, BrokenExecutor):
        return (
            'worker processes: expected some that work to the end, got one that was killed. '
            'Most often memory is short'
        )
    found = None
    cause: BaseException | None = error
    while cause is not None:  # the first one says how it ended
        found = str(cause) if _DEAD_WORKER.search(str(cause)) else found
        cause = cause.__cause__ or cause.__context__
    if found is None or not isinstance(error, RuntimeError):
        return None
    return (
        f'data loading: expected workers that work to the end, got one that did not: '
        f'{found.splitlines()[0].strip()} Most often memory is short, or shared memory (/dev/shm): fewer '
        'workers (num_workers) or smaller batches need less'
    )


@contextmanager
def main_process_errors() -> Iterator[None]:
    """Let only the first process report an error that every process meets; the others exit with status 1.

    Raises:
        ValueError: What the body raises, in the first process.
        SystemExit: In the other processes in its place.
    """
    from mmengine.dist import is_main_process

    try:
        yield
    except ValueError as error:
        if is_main_process():
            raise
        raise SystemExit(1) from error


def _log_traceback(error: Exception) -> str | None:
    """Write a traceback into the file of MMEngine's logger; return its path, or None if there is none."""
    record = logging.LogRecord(
        *('wsol_mm', logging.ERROR, __file__, 0, 'Stopped by an error', ()),
        exc_info=(type(error), error, error.__traceback__),
    )
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
            return handler.baseFilename
    return None


def config_path(text: str) -> str:
    """Check that an argument names a config file.

    Args:
        text: The argument.

    Returns:
        The same path.

    Raises:
        argparse.ArgumentTypeError: If there is no such file, or it is of another type.
    """
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f'expected a config file, got {_found_at(text)}')
    if Path(text).suffix not in CONFIG_SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"expected a config that ends in {', '.join(CONFIG_SUFFIXES)}, got '{text}'"
        )
    return text


def _found_at(text: str) -> str:
    return f"the folder '{text}'" if Path(text).is_dir() else f"nothing at '{text}'"


def checkpoint_path(text: str) -> str:
    """Check that an argument names a checkpoint: a local file, or an address with a scheme.

    Args:
        text: The argument.

    Returns:
        The same path.

    Raises:
        argparse.ArgumentTypeError: If there is no such file.
    """
    if '://' not in text and not Path(text).is_file():
        raise argparse.ArgumentTypeError(f'expected a checkpoint file, got {_found_at(text)}')
    return text


def weights_path(text: str) -> str | None:
    """Check that an argument names a checkpoint, or says that the config names the weights itself.

    Args:
        text: The argument.

    Returns:
        The same path, or None for ``none``.

    Raises:
        argparse.ArgumentTypeError: If there is no such file.
    """
    return None if text == NO_CHECKPOINT else checkpoint_path(text)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the config and the option that changes it.

    Args:
        parser: Parser to extend.
    """
    parser.add_argument('config', type=config_path, help='config file')
    add_cfg_options(parser)


def add_runner_options(parser: argparse.ArgumentParser) -> None:
    """Add the config and the options on where and how to run it.

    Args:
        parser: Parser to extend.
    """
    add_config_options(parser)
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        help='folder for logs, config and checkpoints (default: work_dirs/<name of the config>)',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='launcher of the processes')
    # torch.distributed.launch passes it; torchrun sets the environment variable.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def add_feature_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that reads features of a frozen backbone from disk.

    Args:
        parser: Parser to extend.
    """
    parser.add_argument(
        '--features',
        type=Path,
        metavar='DIR',
        help='read what the frozen backbone makes of the images from this folder, which '
        'tools/misc/extract_features.py filled',
    )


def read_config(args: argparse.Namespace) -> Config:
    """Read the config and apply ``--cfg-options``.

    Args:
        args: Parsed options of ``add_config_options``.

    Returns:
        The config.
    """
    return load_config(args.config, args.cfg_options)


def load_runner_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the options of ``add_runner_options``.

    Makes the process group where ``prepare_launch`` does.

    Args:
        args: Parsed options.

    Returns:
        The config, with ``work_dir`` and ``launcher`` set.

    Raises:
        ValueError: If something in it cannot be.
    """
    from wsol_mm.utils.class_number import use_classes_of_data
    from wsol_mm.utils.config_checks import check_config

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args)
    if args.work_dir is not None:
        cfg.work_dir = str(args.work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    check_config(cfg)
    use_classes_of_data(cfg)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            fit_dataloader(cfg[name])
    prepare_launch(cfg, args.launcher)
    return cfg


def fit_dataloader(loader: ConfigDict) -> None:
    """Fit the settings of a dataloader to the machine and to each other.

    Pinned memory needs a GPU, and workers that stay need workers: PyTorch warns of the one and refuses the
    other.

    Args:
        loader: Config of a dataloader; changed in place.
    """
    import torch

    if not torch.cuda.is_available():
        loader.pin_memory = False
    if loader.get('num_workers', 0) == 0:
        loader.persistent_workers = False
