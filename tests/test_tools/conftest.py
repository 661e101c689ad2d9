"""A tiny data set in the layout of CUB-200-2011, a config over it, and a way to run the tools."""

import contextlib
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.forked_tools import run_tool

import cv2
import numpy as np
import pytest

# Stops its process for good at the start of an epoch, as a crash or a scheduler would.
KILLING_HOOK = """
import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KillingHook(Hook):
    def before_train_epoch(self, runner):
        if runner.epoch == int(os.environ.get('KILL_AT_EPOCH', -1)):
            os.kill(os.getpid(), signal.SIGKILL)
"""
CLASSES = ('001.Red', '002.Green', '003.Blue')
IMAGES_PER_CLASS = {'train': 4, 'test': 3}
MICRO_CONFIG = """
_base_ = '{repo}/configs/_base_/default_runtime.py'

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='PackLocalizationInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CUB', data_root='{data_root}', split='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CUB', data_root='{data_root}', split='test', test_mode=True, pipeline=pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc'])
test_evaluator = dict(type='LocalizationMetric', protocols=['ts_cam', 'maxboxacc'])
model = dict(
    type='ImageLocalizer',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, num_classes=3),
    backbone=dict(
        type='TokenVisionTransformer',
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=32,
        patch_size=8,
    ),
    head=dict(type='TSCAMHead', num_classes=3, in_channels=16),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = []
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=-1))
"""
KILLABLE_CONFIG = """
_base_ = 'micro config.py'
custom_imports = dict(imports=['killing_hook'])
custom_hooks = [dict(type='KillingHook')]
"""


class MicroProject(NamedTuple):
    """A folder whose name has a space, with a config over a tiny data set in it.

    Attributes:
        folder: The folder, in which the tools are started.
        config: Runner config: one epoch of three iterations.
        killable_config: The same; the process dies at the epoch in the variable KILL_AT_EPOCH.
        repo: Root of the source tree.
    """

    folder: Path
    config: Path
    killable_config: Path
    repo: Path

    def run(self, *command: object, **environment: str) -> subprocess.CompletedProcess:
        """Run a command in the folder, in a process of its own, with one thread and this Python.

        Args:
            *command: A Python or shell script of tools/, and its arguments.
            **environment: Further environment variables.

        Returns:
            With stdout and stderr as text.
        """
        name, *arguments = map(str, command)
        path = self.repo / 'tools' / name
        if path.suffix == '.py':
            return run_tool(path, arguments, self.folder, environment)
        variables = {
            'PYTHON': sys.executable,
            'PYTHONPATH': f'{self.repo}{os.pathsep}{self.folder}',
            'PORT': str(free_port()),
            'OMP_NUM_THREADS': '1',
            **environment,
        }
        return subprocess.run(
            ['bash', str(path), *arguments],
            cwd=self.folder,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Hold that the body takes under 10 s: of the processor, as other processes may be at work beside it.

    What waits takes none, so that there is a limit by the clock as well, which a busy machine keeps.
    """
    started, used = time.monotonic(), _processor_s()
    yield
    assert _processor_s() - used < 10
    assert time.monotonic() - started < 100


def _processor_s() -> float:
    """Seconds that this process, all its threads, and the children that have ended have used."""
    return sum(os.times()[:4])


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def write_micro_cub(root: Path) -> None:
    """Write a data set in the layout of CUB-200-2011: a coloured square on noise, three classes.

    Args:
        root: Folder to write.
    """
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {
        'images': [],
        'image_class_labels': [],
        'train_test_split': [],
        'bounding_boxes': [],
    }
    number = 0
    for label, name in enumerate(CLASSES):
        (root / 'images' / name).mkdir(parents=True)
        for split, count in IMAGES_PER_CLASS.items():
            for _ in range(count):
                number += 1
                image = rng.integers(60, 120, (40, 48, 3), np.uint8)
                x, y = rng.integers(0, 20, 2)
                image[y : y + 18, x : x + 20, 2 - label] = 255
                path = f'{name}/{number:03d}.png'
                cv2.imwrite(str(root / 'images' / path), image)
                lines['images'].append(f'{number} {path}')
                lines['image_class_labels'].append(f'{number} {label + 1}')
                lines['train_test_split'].append(f'{number} {int(split == "train")}')
                lines['bounding_boxes'].append(f'{number} {x}.0 {y}.0 20.0 18.0')
    lines['classes'] = [f'{label + 1} {name}' for label, name in enumerate(CLASSES)]
    for name, content in lines.items():
        (root / f'{name}.txt').write_text('\n'.join(content) + '\n')


@pytest.fixture
def run_here(micro_project, monkeypatch, capsys):
    """Run a tool in this process, in the folder of the project; give what it prints.

    A process of its own takes some seconds to import everything. The tool's SystemExit is left to the test.
    """

    def run(name: str, *arguments: object) -> str:
        path = micro_project.repo / 'tools' / name
        monkeypatch.chdir(micro_project.folder)
        monkeypatch.setattr(sys, 'argv', [path.name, *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(str(path), run_name='__main__')
        return capsys.readouterr().out

    return run


@pytest.fixture(scope='session')
def micro_project(tmp_path_factory, repo_dir) -> MicroProject:
    """Write the data set and the config, once."""
    folder = tmp_path_factory.mktemp('micro project')
    write_micro_cub(folder / 'cub')
    config = folder / 'micro config.py'
    config.write_text(MICRO_CONFIG.format(repo=repo_dir.as_posix(), data_root=(folder / 'cub').as_posix()))
    (folder / 'killing_hook.py').write_text(KILLING_HOOK)
    killable_config = folder / 'killable config.py'
    killable_config.write_text(KILLABLE_CONFIG)
    return MicroProject(folder, config, killable_config, repo_dir)
