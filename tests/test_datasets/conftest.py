"""Small synthetic data sets, written in the layouts of the real ones."""

from collections.abc import Callable
from pathlib import Path

import wsol_mm.registry  # noqa: F401

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image


@pytest.fixture(autouse=True)
def wsol_scope():
    """Build from configs as a runner would: with `wsol_mm` as the default scope."""
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield


@pytest.fixture(scope='session')
def write_image() -> Callable[..., Path]:
    """A function that writes a smooth random image: (path, width, height, seed, mode, **save options)."""

    def write(path, width=40, height=30, seed=0, mode='RGB', **options) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((width, height), Image.BICUBIC).convert(mode)
        image.save(path, **options)
        return path

    return write


@pytest.fixture
def truncate() -> Callable[[Path], Path]:
    """A function that damages an image file: the header stays, half of the data is gone."""

    def cut(path: Path) -> Path:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        return path

    return cut


@pytest.fixture
def matlab_dir(repo_dir) -> Path:
    """MATLAB files as the data sets are published with them, shortened."""
    return repo_dir / 'tests/data/matlab'


@pytest.fixture
def cub_root(tmp_path, write_image) -> Path:
    """Three classes of three images (40x30): the first two for training; the lists in different orders."""
    root = tmp_path / 'cub'
    names = ['001.Auk', '002.Bee_eater', '003.Crow']
    images, labels, split, boxes = [], [], [], []
    for label, name in enumerate(names, 1):
        for number in range(1, 4):
            key = 10 * label + number
            path = f'{name}/{name[4:]}_{number:04d}.jpg'
            write_image(root / 'images' / path, seed=key, quality=95)
            images.append(f'{key} {path}')
            labels.append(f'{key} {label}')
            split.append(f'{key} {int(number < 3)}')
            boxes.append(f'{key} {label}.0 {number}.5 20.0 10.25')
    (root / 'images.txt').write_text('\n'.join(images))  # no line end after the last line
    (root / 'image_class_labels.txt').write_text('\n'.join(reversed(labels)) + '\n')
    (root / 'train_test_split.txt').write_bytes('\r\n'.join(split[1:] + split[:1]).encode())
    (root / 'bounding_boxes.txt').write_text('\n'.join(boxes) + '\n\n')
    (root / 'classes.txt').write_text('\n'.join(f'{i} {name}' for i, name in enumerate(names, 1)) + '\n')
    return root


@pytest.fixture
def edit_lines() -> Callable:
    """A function that rewrites a text file line by line: (path, function from line to line or None)."""

    def edit(path: Path, change: Callable[[str], str | None]) -> None:
        lines = [change(line) for line in path.read_text().splitlines()]
        path.write_text('\n'.join(line for line in lines if line is not None) + '\n')

    return edit
