"""Processes that need not import everything again, but are forked from one that has; tools in such a process.

They differ from processes of their own: what happens when one starts is tested in test_start_up.py,
test_import_hooks.py and by everything that starts a shell script; what is registered with ``atexit`` is not
called at the end.
"""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import wsol_mm.apis.folder_prediction
import wsol_mm.deployment.export
import wsol_mm.engine.runner
import wsol_mm.models  # noqa: F401

import torch

from . import conftest  # noqa: F401  (what it changes for all tests)

# Otherwise every child copies the pages of all objects when it first collects garbage.
gc.collect()
gc.freeze()

#: Its processes have these imports, as have those of ``torch.multiprocessing`` that 'forkserver' starts.
PROCESSES = multiprocessing.get_context('forkserver')
PROCESSES.set_forkserver_preload([__name__])


#: Seconds after which a process is killed: longer than any of them takes on a busy machine.
LIMIT_S = 600


def run_forked(function: Callable, *arguments: object) -> int:
    """Call a function of a module in a process of its own.

    Args:
        function: Found by its name there.
        *arguments: Of the function; they are pickled.

    Returns:
        The exit status, negative for a signal.

    Raises:
        TimeoutError: If it took too long, and was killed.
    """
    # The server keeps the environment that it was started with.
    process = PROCESSES.Process(target=_with_environment, args=(dict(os.environ), function, arguments))
    process.start()
    process.join(LIMIT_S)
    if process.is_alive():
        process.kill()
        process.join()
        raise TimeoutError(f'{function.__name__}: expected an end within {LIMIT_S} s, got none')
    return process.exitcode


def _with_environment(environment: dict[str, str], function: Callable, arguments: tuple) -> None:
    # Its own children start as those of any program, not from the server, where loaders end 5 s late.
    multiprocessing.set_start_method('fork', force=True)
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def run_tool(
    tool: Path, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess:
    """Run a tool as ``subprocess.run`` would, with one thread.

    Args:
        tool: Its file.
        arguments: Command line.
        folder: Folder to run in; modules in it can be imported.
        environment: Further environment variables.

    Returns:
        With stdout and stderr as text.
    """
    with tempfile.TemporaryDirectory() as place:
        outputs = [Path(place, name) for name in ('stdout', 'stderr')]
        status = run_forked(_run_tool, tool, arguments, folder, dict(environment), outputs)
        printed = [path.read_text() for path in outputs]
    return subprocess.CompletedProcess([str(tool), *arguments], status, *printed)


def _run_tool(
    tool: Path, arguments: Sequence[str], folder: Path, environment: dict[str, str], outputs: Sequence[Path]
) -> None:
    for number, path in enumerate(outputs, start=1):
        with path.open('w') as output:
            os.dup2(output.fileno(), number)
    os.chdir(folder)
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.argv = [str(tool), *arguments]
    sys.path[:0] = [str(tool.parent), str(folder)]
    runpy.run_path(str(tool), run_name='__main__')
