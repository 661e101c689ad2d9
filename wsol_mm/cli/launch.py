"""Start distributed runs, on gloo where there is no GPU.

MMEngine's launcher selects a CUDA device before it makes the process group, and its default wrapper names a
CUDA device to DistributedDataParallel; both fail without a GPU. It leaves alone a process group that exists
already and takes the wrapper's arguments from the config, which is all that is needed here.
"""

import gc
import os
import subprocess
from dataclasses import dataclass
from datetime import timedelta

from wsol_mm.utils.orphans import end_with_parent

from mmengine.config import Config

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# Where each launcher says the rank, the number of processes and the rank within the node.
_RANK_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
_DEFAULT_PORT = '29500'


@dataclass(frozen=True)
class LaunchedProcess:
    """Which of the processes of a launcher this one is.

    Attributes:
        rank: From 0.
        count: How many there are.
        local_rank: Rank among those on this machine.
    """

    rank: int
    count: int
    local_rank: int


def launched_process(launcher: str) -> LaunchedProcess:
    """Tell which process this is, from the environment alone.

    Args:
        launcher: 'pytorch', 'slurm' or 'mpi'.

    Raises:
        RuntimeError: If the launcher did not set an environment variable that it should have.
    """
    return LaunchedProcess(*(int(_read_variable(name, launcher)) for name in _RANK_VARIABLES[launcher]))


def prepare_launch(cfg: Config, launcher: str) -> None:
    """Set a config up for a launcher; without a GPU, make the process group too, on gloo.

    With a GPU, MMEngine's Runner makes the process group itself, with the backend of
    ``env_cfg.dist_cfg``. Started by a launcher, this process ends when the launcher does.

    Args:
        cfg: Runner config; changed in place.
        launcher: One of ``LAUNCHERS``.

    Raises:
        ValueError: If the launcher is unknown.
        RuntimeError: If the launcher did not set an environment variable that it should have.
    """
    import torch

    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher: expected one of {', '.join(LAUNCHERS)}, got '{launcher}'")
    cfg.launcher = launcher
    if launcher != 'none':
        end_with_parent()
    if cfg.get('randomness', {}).get('deterministic'):
        # What deterministic matrix products need of cuBLAS, before it is first used.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    if torch.cuda.is_available():
        return
    env_cfg = cfg.setdefault('env_cfg', {})
    dist_cfg = env_cfg.setdefault('dist_cfg', {})
    dist_cfg['backend'] = 'gloo'
    if launcher == 'none':
        return
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)
    init_gloo(launcher, timeout=dist_cfg.get('timeout'))


def init_gloo(launcher: str, timeout: float | None = None) -> None:
    """Make the default process group on gloo, unless there is one already.

    Sets ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` (29500 unless given)
    for PyTorch, as MMEngine's launchers do.

    Args:
        launcher: 'pytorch', 'slurm' or 'mpi'.
        timeout: Seconds after which a collective operation fails. PyTorch's default if None.

    Raises:
        RuntimeError: If the launcher did not set an environment variable that it should have.
    """
    # nn first: defaults of its functions are the group that is there when it is imported, and would hold it.
    import torch.distributed.nn  # noqa: F401
    from torch import distributed

    if distributed.is_initialized():
        return
    for name, source in zip(_RANK_VARIABLES['pytorch'], _RANK_VARIABLES[launcher], strict=True):
        os.environ[name] = _read_variable(source, launcher)
    os.environ.setdefault('MASTER_PORT', _DEFAULT_PORT)
    if 'MASTER_ADDR' not in os.environ:
        if launcher != 'slurm':
            raise _missing_variable('MASTER_ADDR', launcher)
        os.environ['MASTER_ADDR'] = _first_slurm_host()
    options = {} if timeout is None else dict(timeout=timedelta(seconds=timeout))
    distributed.init_process_group(backend='gloo', **options)


def is_first_process(launcher: str) -> bool:
    """Tell whether this is the first process of a run, also before there is a process group.

    Args:
        launcher: One of ``LAUNCHERS``.

    Returns:
        Whether the launcher says so; True without one.
    """
    names = _RANK_VARIABLES.get(launcher)
    return names is None or os.environ.get(names[0], '0') == '0'


def finish_launch() -> None:
    """Leave the process group, if there is one; every process calls it at the end, holding no runner.

    A runner refers to itself and to the process group, whose threads end only when the group is freed. A gloo
    thread that is left when the interpreter stops can abort the process, so the garbage is collected here.
    """
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
        gc.collect()


def _first_slurm_host() -> str:
    nodes = _read_variable('SLURM_NODELIST', 'slurm')
    command = ['scontrol', 'show', 'hostnames', nodes]
    hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return hosts.split()[0]


def _read_variable(name: str, launcher: str) -> str:
    if name not in os.environ:
        raise _missing_variable(name, launcher)
    return os.environ[name]


def _missing_variable(name: str, launcher: str) -> RuntimeError:
    return RuntimeError(
        f'launcher {launcher}: expected the environment variable {name}, got none. Start the run through '
        'tools/dist_train.sh, tools/slurm_train.sh or mpirun, or use the launcher none for one process'
    )
