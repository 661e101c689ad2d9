"""A training that takes a fraction of a second, and a way to break it off at any write, rename or removal."""

import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

# What a runner imports when it is built: once, instead of in every child process.
import wsol_mm.datasets
import wsol_mm.engine
import wsol_mm.evaluation.metrics
import wsol_mm.visualization  # noqa: F401
from wsol_mm.engine.runner import LocalizationRunner
from wsol_mm.utils.checkpoint_io import read_checkpoint

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel

EPOCHS = 4
# What an audit hook is told of changes to a folder.
_CHANGES = ('os.rename', 'os.remove', 'os.mkdir', 'os.truncate', 'os.rmdir')


class Toy(BaseModel):
    """A linear layer behind dropout."""

    def __init__(self, width=8):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(width, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        inputs = torch.stack(inputs) if isinstance(inputs, list) else inputs
        out = self.linear(torch.nn.functional.dropout(inputs, 0.3, self.training))
        if mode == 'loss':
            return dict(loss_fit=(out - inputs.sum(1, keepdim=True)).square().mean())
        return [dict(error=float(error)) for error in (out - inputs.sum(1, keepdim=True)).square()]


class ToyMetric(BaseMetric):
    """How close the model comes: the second of four validations is the best."""

    default_prefix = 'toy'

    def process(self, data_batch, data_samples):
        self.results += [sample['error'] for sample in data_samples]

    def compute_metrics(self, results):
        return dict(score=-abs(sum(results) / len(results) - 150.0))


class ToyData(torch.utils.data.Dataset):
    """Samples with a random part, as augmentation makes them."""

    metainfo = dict(classes=('a', 'b'))

    def __init__(self, augmented):
        self.augmented = augmented

    def __len__(self):
        return 12

    def __getitem__(self, index):
        sample = torch.arange(8.0) * (index + 1) / 12
        return dict(inputs=sample + torch.rand(8) if self.augmented else sample, data_samples=index)


def make_training(
    folder: Path, hooks: dict | None = None, workers: int = 0, **options: object
) -> LocalizationRunner:
    """Build a training of four epochs of three steps, validated after each; of ``model``, or a ``Toy``."""

    def loader(augmented, shuffle):
        return dict(
            dataset=ToyData(augmented),
            batch_size=4,
            num_workers=workers,
            persistent_workers=workers > 0,
            sampler=dict(type='DefaultSampler', shuffle=shuffle),
        )

    settings = dict(
        train_dataloader=loader(True, True),
        val_dataloader=loader(False, False),
        val_cfg=dict(),
        val_evaluator=[ToyMetric()],
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.05)),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=EPOCHS, by_epoch=True)],
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        default_hooks={
            'checkpoint': dict(
                type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='toy/score', rule='greater'
            ),
            'logger': dict(type='LoggerHook', interval=1),
            **(hooks or {}),
        },
        default_scope='wsol_mm',
        log_level='ERROR',
        randomness=dict(seed=3),
        experiment_name='toy',
    )
    settings.update(options)
    return LocalizationRunner(settings.pop('model', None) or Toy(), str(folder), **settings)


def in_child(function: Callable[[], object], quiet: bool = True) -> int:
    """Run a function in a child process; return its exit status: negative for a signal, 1 for an error."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if quiet:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(null, 2)
            function()
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def on_change(folder: Path, act: Callable[[int], None]) -> None:
    """Call a function before every change to a folder in this process and its own, with its number from 0."""
    count = multiprocessing.get_context('fork').Value('i', 0)
    inside = str(folder)

    def hook(event: str, args: tuple) -> None:
        changes = event in _CHANGES or (event == 'open' and args[2] & (os.O_WRONLY | os.O_RDWR))
        if changes and isinstance(args[0], str | os.PathLike) and str(args[0]).startswith(inside):
            with count.get_lock():
                number = count.value
                count.value += 1
            act(number)

    sys.addaudithook(hook)


def count_changes(folder: Path, function: Callable[[], object]) -> int:
    """Run a function in a child process; return how many changes to a folder it makes."""
    counter = folder.with_name(f'{folder.name}.count')
    descriptor = os.open(counter, os.O_CREAT | os.O_WRONLY)

    def run() -> None:
        on_change(folder, lambda number: os.pwrite(descriptor, f'{number + 1:9d}'.encode(), 0))
        function()

    assert in_child(run) == 0
    os.close(descriptor)
    return int(counter.read_text())


def break_off(folder: Path, function: Callable[[], object], number: int, error: OSError | None = None) -> int:
    """Run a function in a child process; kill it at a change to a folder, or let this change fail."""

    def act(child: int, found: int) -> None:
        if found == number:
            if error is None:
                os.kill(child, signal.SIGKILL)
                time.sleep(60)  # a process of the child's ends with it
            raise error

    def run() -> None:
        on_change(folder, partial(act, os.getpid()))
        function()

    return in_child(run)


def break_in_the_middle(function: Callable[[], object], num_bytes: int, killed: bool) -> int:
    """Run a function in a child process where no file grows beyond a size: killed, or the write fails."""

    def run() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if killed else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))
        function()

    return in_child(run)


def end_of(folder: Path) -> dict:
    """Return what a training has come to: weights, state of the optimizer, best score and best weights."""
    last = read_checkpoint(folder / f'epoch_{EPOCHS}.pth')
    (best,) = folder.glob('best_*.pth')
    info = last['message_hub']['runtime_info']
    return dict(
        weights=last['state_dict'],
        optimizer=last['optimizer'],
        score=float(info['best_score']),
        best=best.name,
        best_weights=read_checkpoint(best)['state_dict'],
        iterations=last['meta']['iter'],
    )
