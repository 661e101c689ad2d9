"""The embedded data set: ten classes of drawn objects in cluttered scenes, without a binary file.

Every picture shows one object that belongs to a class, told by its outline and by the pattern it is
covered with, before a textured background with strewn clutter and plain distractors that belong to no class.
Size, place, rotation and colours vary. The set is written in the layout of CUB-200-2011, so the ordinary
``CUB`` data set reads it.

A picture depends on ``(seed, class, number)`` alone: not on the other pictures, their order or the number of
processes. Outlines are rounded to 1/16 pixel before they are drawn, colours are 8-bit and files are PNG, so
the same versions of NumPy and OpenCV give the same pixels everywhere.
"""

import functools
import json
import logging
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from .parts import SHAPE_CLASSES, ShapeClass
from .scene import draw_background, draw_distractors, draw_foreground_blades

__all__ = ['EmbeddedShapesSpec', 'draw_shape_image', 'write_embedded_shapes']

# Raised whenever the pixels of a picture change, so that sets written before are drawn again.
DRAWING_VERSION = 1
SPEC_FILE = 'embedded_shapes.json'

_SUPERSAMPLING = 2
_FIXED_POINT_BITS = 4  # OpenCV's `shift`: coordinates in 1/16 pixel
_ASPECT_RATIOS = (1.0, 1.0, 4 / 3, 3 / 4, 5 / 4, 4 / 5)  # width / height
_EXTENT_RANGE = (0.38, 0.88)  # longest side of the object / shorter side of the image
_PATTERN_PERIOD_RANGE = (0.058, 0.078)  # period of a pattern / shorter side of the image


@dataclass(frozen=True)
class EmbeddedShapesSpec:
    """What decides the content of a written set.

    Args:
        seed: Seed of all pictures, >= 0.
        train_per_class: Training pictures of each class, >= 1.
        test_per_class: Test pictures of each class, >= 1.
        size: Shorter side of the pictures in pixels, 48 to 1024; the other is up to a third longer.
        version: Version of the drawing code.

    Raises:
        ValueError: A number is out of its range.
    """

    seed: int = 0
    train_per_class: int = 150
    test_per_class: int = 40
    size: int = 112
    version: int = DRAWING_VERSION

    def __post_init__(self) -> None:
        for name, low, high in (
            ('seed', 0, 2**32 - 1),
            ('train_per_class', 1, 9999),
            ('test_per_class', 1, 9999),
            ('size', 48, 1024),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f'{name}: expected an integer from {low} to {high}, got {value}')


@dataclass(frozen=True)
class _Picture:
    """One line of the list files."""

    path: str  # below images/
    label: int  # 0-based
    number: int  # 1-based within the class
    is_train: bool


def draw_shape_image(
    label: int, number: int, seed: int = 0, size: int = 112
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Draw one picture.

    Args:
        label: Class, 0 to 9.
        number: Number of the picture within its class.
        seed: Seed of the set. Defaults to 0.
        size: Shorter side in pixels. Defaults to 112.

    Returns:
        The picture, uint8 RGB (H,W,3), and the object's tight box (x, y, width, height) in whole pixels;
        objects never touch the frame.

    Raises:
        ValueError: The label is no class.
    """
    if not 0 <= label < len(SHAPE_CLASSES):
        raise ValueError(f'label: expected an integer from 0 to {len(SHAPE_CLASSES) - 1}, got {label}')
    shape_class = SHAPE_CLASSES[label]
    rng = np.random.default_rng([seed, label, number])
    ratio = _ASPECT_RATIOS[rng.integers(len(_ASPECT_RATIOS))]
    height, width = (size, round(size * ratio)) if ratio >= 1 else (round(size / ratio), size)

    s = _SUPERSAMPLING
    canvas = draw_background(rng, height * s, width * s, unit=size * s)
    draw_distractors(rng, canvas, unit=size * s)
    mask = _draw_object(rng, canvas, shape_class, unit=size * s)
    draw_foreground_blades(rng, canvas, mask, unit=size * s)

    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    covered = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) >= 128
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    x, y = int(columns[0]), int(rows[0])
    return image, (x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def _draw_object(
    rng: np.random.Generator, canvas: np.ndarray, shape_class: ShapeClass, unit: int
) -> np.ndarray:
    """Draw an object at a random place, in place.

    Args:
        rng: Source of all choices.
        canvas: uint8 RGB (H,W,3).
        shape_class: What to draw.
        unit: Shorter side of the picture in canvas pixels; all sizes are fractions of it.

    Returns:
        The object's pixels, uint8 (H,W), 0 or 255.
    """
    height, width = canvas.shape[:2]
    angle = np.deg2rad(rng.uniform(-shape_class.max_rotation, shape_class.max_rotation))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    to_canvas = np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirror, 1.0])  # object (u, v) -> offset (x, y)
    parts = [(polygon @ to_canvas.T, style) for polygon, style in shape_class.draw_parts(rng)]
    points = np.concatenate([polygon for polygon, _ in parts])
    low, high = points.min(0), points.max(0)

    extent = np.exp(rng.uniform(*np.log(_EXTENT_RANGE))) * unit
    scale = extent / (high - low).max()
    margin = 2 * _SUPERSAMPLING
    room = np.array([width, height]) - 2 * margin - (high - low) * scale
    origin = margin + rng.random(2) * room - low * scale

    styles = np.zeros((height, width), np.uint8)
    for polygon, style in parts:
        fixed = np.rint((polygon * scale + origin) * (1 << _FIXED_POINT_BITS)).astype(np.int32)
        cv2.fillPoly(styles, [fixed], int(style), shift=_FIXED_POINT_BITS)
    mask = np.where(styles > 0, np.uint8(255), np.uint8(0))

    x0, y0, w, h = cv2.boundingRect(mask)
    window = np.s_[y0 : y0 + h, x0 : x0 + w]
    offsets = np.stack(np.meshgrid(np.arange(w) + x0 + 0.5, np.arange(h) + y0 + 0.5), -1) - origin
    uv = offsets @ to_canvas  # the matrix is orthogonal: its transpose is its inverse
    period = rng.uniform(*_PATTERN_PERIOD_RANGE) * unit
    ink = shape_class.pattern(uv[..., 0] / period, uv[..., 1] / period, rng)
    colours = shape_class.pick_colours(rng)
    # Light falls from the upper left: up to 12 % brighter there and darker on the other side.
    light = 1 - 0.12 * (offsets @ np.array([0.7, 0.7])) / (0.5 * extent)
    painted_style = styles[window]
    ink = np.where(painted_style == 1, ink, painted_style == 2)
    painted = np.where(ink[..., None], colours.ink, colours.ground) * light[..., None]
    painted = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
    canvas[window][painted_style > 0] = painted[painted_style > 0]
    return mask


def write_embedded_shapes(
    out_dir: str | Path,
    spec: EmbeddedShapesSpec = EmbeddedShapesSpec(),  # noqa: B008  (frozen)
    *,
    force: bool = False,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Write the set in the layout of CUB-200-2011.

    ``images/<001.name>/<name>_<0001>.png``, ``images.txt``, ``image_class_labels.txt``,
    ``train_test_split.txt``, ``bounding_boxes.txt`` (x, y, width, height in pixels) and ``classes.txt``;
    ``embedded_shapes.json`` comes last and says that the set is complete and what was asked for.

    Args:
        out_dir: Folder of the set; it is made.
        spec: What to write.
        force: Replace what this function wrote there before. Defaults to False.
        workers: Processes that draw; the result does not depend on it. Defaults to 1.
        on_progress: Called with the pictures done and their total.

    Returns:
        False if the folder held exactly this set already and nothing was done.

    Raises:
        FileExistsError: The folder holds something else, or another set and ``force`` is False.
        ValueError: ``workers`` is below 1.
    """
    if workers < 1:
        raise ValueError(f'workers: expected an integer from 1, got {workers}')
    out_dir = Path(out_dir)
    if _is_written(out_dir, spec) and not force:
        return False
    _make_room(out_dir, force)

    pictures = _list_pictures(spec)
    for folder in sorted({Path(picture.path).parent for picture in pictures}):
        (out_dir / 'images' / folder).mkdir(parents=True)
    boxes: list[tuple[int, int, int, int]] = []
    draw = functools.partial(_draw_and_write, out_dir=str(out_dir), seed=spec.seed, size=spec.size)

    def collect(results: Iterable[tuple[int, int, int, int]]) -> None:
        for box in results:
            boxes.append(box)
            if on_progress is not None:
                on_progress(len(boxes), len(pictures))

    if workers == 1:
        collect(map(draw, pictures))
    else:
        with ProcessPoolExecutor(workers) as pool:
            collect(pool.map(draw, pictures, chunksize=25))

    ids = range(1, len(pictures) + 1)
    _write_lines(out_dir / 'images.txt', (f'{i} {p.path}' for i, p in zip(ids, pictures, strict=True)))
    _write_lines(
        out_dir / 'image_class_labels.txt', (f'{i} {p.label + 1}' for i, p in zip(ids, pictures, strict=True))
    )
    _write_lines(
        out_dir / 'train_test_split.txt',
        (f'{i} {int(p.is_train)}' for i, p in zip(ids, pictures, strict=True)),
    )
    _write_lines(
        out_dir / 'bounding_boxes.txt',
        (f'{i} ' + ' '.join(f'{v:.1f}' for v in box) for i, box in zip(ids, boxes, strict=True)),
    )
    _write_lines(out_dir / 'classes.txt', (f'{i + 1} {_folder(i)}' for i in range(len(SHAPE_CLASSES))))
    (out_dir / SPEC_FILE).write_text(json.dumps(asdict(spec), indent=2) + '\n', encoding='utf-8')
    return True


def _is_written(out_dir: Path, spec: EmbeddedShapesSpec) -> bool:
    path = out_dir / SPEC_FILE
    if not path.is_file():
        return False
    try:
        return json.loads(path.read_text(encoding='utf-8')) == asdict(spec)
    except json.JSONDecodeError:
        logging.getLogger(__name__).warning(
            '%s: expected JSON, got no valid JSON: the set counts as not written', path
        )
        return False


def _make_room(out_dir: Path, force: bool) -> None:
    """Empty the folder of an earlier (or interrupted) set; anything else in it is never touched."""
    ours = {
        SPEC_FILE,
        'images',
        'classes.txt',
        'images.txt',
        'image_class_labels.txt',
        'train_test_split.txt',
    }
    ours |= {'bounding_boxes.txt'}
    found = {path.name for path in out_dir.iterdir()} if out_dir.is_dir() else set()
    if found - ours:
        raise FileExistsError(
            f'{out_dir}: expected an empty or a new folder, got one with {sorted(found - ours)[0]!r}, '
            'which is no part of an embedded data set'
        )
    if SPEC_FILE in found and not force:
        raise FileExistsError(
            f'{out_dir}: expected an empty or a new folder, got one with another embedded data set (see '
            f'{SPEC_FILE} in it). force=True replaces it'
        )
    if found:
        _refuse_foreign_images(out_dir, is_ours=SPEC_FILE in found)
    # The marker goes first: an interruption from here on leaves a set that counts as incomplete.
    (out_dir / SPEC_FILE).unlink(missing_ok=True)
    if (out_dir / 'images').is_dir():
        shutil.rmtree(out_dir / 'images')
    for name in ours - {SPEC_FILE, 'images'}:
        (out_dir / name).unlink(missing_ok=True)


def _refuse_foreign_images(out_dir: Path, is_ours: bool) -> None:
    """Refuse to clear a folder of CUB's layout that is not ours, such as CUB itself.

    Without its marker a set is ours, but interrupted, if there are image folders and all have our names.
    """
    folders = {_folder(i) for i in range(len(SHAPE_CLASSES))}
    images = out_dir / 'images'
    foreign = (
        sorted(path.name for path in images.iterdir() if path.name not in folders) if images.is_dir() else []
    )
    if foreign or not (is_ours or images.is_dir()):
        raise FileExistsError(
            f'{out_dir}: expected an empty or a new folder, got files of the CUB layout that are no embedded '
            f'data set{f" (images/{foreign[0]})" if foreign else ""}'
        )


def _folder(label: int) -> str:
    return f'{label + 1:03d}.{SHAPE_CLASSES[label].name}'


def _list_pictures(spec: EmbeddedShapesSpec) -> list[_Picture]:
    per_class = spec.train_per_class + spec.test_per_class
    return [
        _Picture(
            f'{_folder(label)}/{shape_class.name}_{number:04d}.png',
            label,
            number,
            number <= spec.train_per_class,
        )
        for label, shape_class in enumerate(SHAPE_CLASSES)
        for number in range(1, per_class + 1)
    ]


def _draw_and_write(picture: _Picture, out_dir: str, seed: int, size: int) -> tuple[int, int, int, int]:
    image, box = draw_shape_image(picture.label, picture.number, seed, size)
    path = Path(out_dir, 'images', picture.path)
    _, encoded = cv2.imencode('.png', image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
    path.write_bytes(encoded.tobytes())
    return box


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
