"""The list files that SAT (Wu et al., ICCV 2023) ships for its data sets.

Their lines end as on Windows or Unix, and paths may be written with backslashes; see :func:`read_lines`.
"""

from collections.abc import Sequence
from pathlib import Path

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems

import numpy as np

from .image_files import list_folders, list_images
from .list_files import finite_floats, keyed_lines, parse_line, parse_lines, read_lines, split_fields

#: ``<class folder>/<file>;<index>``
_INDEXED_PATH = '<class folder>/<file>;<class, an integer from 0>'
#: Boxes, then the image size, height first.
_BOXES_AND_SIZE = '<x0> <y0> <x1> <y1> [4 more for every further box] <height> <width>'


def find_list_dir(root: Path, list_dir: str | None, markers: Sequence[str]) -> Path | None:
    """Find the folder of the lists.

    Args:
        root: Root folder of the data set.
        list_dir: The folder, relative to ``root`` unless absolute; it is not looked at. None for ``root`` if
            it has lists.
        markers: File names of which one says that ``root`` has lists.

    Returns:
        The folder, or None if ``list_dir`` is None and ``root`` has no lists.
    """
    if list_dir is not None:
        return root / Path(list_dir).expanduser()
    return root if any((root / marker).is_file() for marker in markers) else None


def parse_indexed_path(line: str, separator: str = ';') -> tuple[str, int]:
    """Parse ``<path>;<class index>``.

    Args:
        line: The line.
        separator: What stands before the index.

    Returns:
        The path with ``/`` between its parts, and the index.

    Raises:
        ValueError: If the line is none such.
    """
    path, found, label = line.rpartition(separator)
    if not found or not path.strip():
        raise ValueError(f'expected {separator!r} between path and class, got none')
    return slashes(path.strip()), int(label)


def parse_boxes_and_size(text: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Parse boxes followed by the height and width of their image.

    Args:
        text: ``x0 y0 x1 y1 [...] h w``.

    Returns:
        Boxes (N, 4) float64, and width and height.

    Raises:
        ValueError: If the text is none such.
    """
    numbers = finite_floats(text.split())
    if len(numbers) < 6 or len(numbers) % 4 != 2:
        raise ValueError(f'expected 4 numbers per box and 2, got {len(numbers)}')
    height, width = (int(number) for number in numbers[-2:])
    if (height, width) != tuple(numbers[-2:]) or height < 1 or width < 1:
        raise ValueError(
            f'expected integers from 1 for height and width, got {numbers[-2]:g}, {numbers[-1]:g}'
        )
    return np.array(numbers[:-2], dtype=np.float64).reshape(-1, 4), (width, height)


def slashes(path: str) -> str:
    """Return a path with one ``/`` wherever it has backslashes."""
    return '/'.join(part for part in path.split('\\') if part) if '\\' in path else path


def class_folder_entries(
    list_dir: Path, image_dir: Path, split: str, with_boxes: bool, problems: DatasetProblems
) -> tuple[list[dict], list[str]]:
    """Read the lists of CUB and Stanford Dogs: ``<split>_list.txt`` and, line by line, boxes.

    Boxes are those of ``<split>_gt.txt`` or ``<split>_bounding_box.txt``. A training split without list is
    what lies in the class folders, which are numbered in sorted order.

    Args:
        list_dir: Folder of the lists.
        image_dir: Folder of the class folders of the split.
        split: ``'train'`` or ``'test'``.
        with_boxes: Read the boxes.
        problems: Where everything wrong with one line is reported.

    Returns:
        Entries with ``img_id`` relative to ``image_dir``, and class names.

    Raises:
        FileNotFoundError: If a list or folder is missing.
        DatasetError: If the lists differ in their number of lines.
    """
    list_file = list_dir / f'{split}_list.txt'
    if split == 'train' and not with_boxes and not list_file.is_file():
        return _entries_in_folders(image_dir)
    if with_boxes:
        names = [f'{split}_gt.txt', f'{split}_bounding_box.txt']
        box_file = next((list_dir / name for name in names if (list_dir / name).is_file()), None)
        if box_file is None:
            raise FileNotFoundError(f'expected {names[0]} or {names[1]}, got neither in {list_dir}')
        pairs: list[tuple] = _paired_lines(list_file, box_file, problems)
    else:
        lines = parse_lines(list_file, parse_indexed_path, _INDEXED_PATH, problems)
        pairs = [(number, path, label, None) for number, (path, label) in lines]
    entries: list[dict] = []
    folders: dict[int, str] = {}
    seen: set[str] = set()
    for number, path, label, located in pairs:
        folder = path.rpartition('/')[0]
        if folders.setdefault(label, folder) != folder:
            problems.add(
                'wrong label',
                f'{list_file}, line {number}: expected {folders[label]!r} for class {label}, as before, got '
                f'{folder!r}',
            )
            continue
        if path in seen:
            problems.add(
                'repeated entry', f'{list_file}, line {number}: expected {path!r} once, got it again'
            )
            continue
        seen.add(path)
        entry = {'img_id': path, 'gt_label': label}
        if located is not None:
            entry['gt_bboxes'], (entry['width'], entry['height']) = located
        entries.append(entry)
    return entries, [folders.get(label) or str(label) for label in range(max(folders, default=-1) + 1)]


def _entries_in_folders(image_dir: Path) -> tuple[list[dict], list[str]]:
    if not image_dir.is_dir():
        raise FileNotFoundError(
            f'expected a list file or a folder of class folders, got nothing at {image_dir}'
        )
    names = list_folders(image_dir)
    return [
        {'img_id': f'{name}/{path}', 'gt_label': label}
        for label, name in enumerate(names)
        for path in list_images(image_dir / name)[0]
    ], names


def _paired_lines(
    list_file: Path, box_file: Path, problems: DatasetProblems
) -> list[tuple[int, str, int, tuple[np.ndarray, tuple[int, int]]]]:
    images, boxes = list(read_lines(list_file)), list(read_lines(box_file))
    if len(images) != len(boxes):
        raise DatasetError(
            f'{box_file}: expected {len(images)} lines, in the order of {list_file}, got {len(boxes)}'
        )
    pairs = []
    for (number, image), (box_number, box) in zip(images, boxes, strict=True):
        parsed = parse_line(list_file, number, image, parse_indexed_path, _INDEXED_PATH, problems)
        located = parse_line(box_file, box_number, box, parse_boxes_and_size, _BOXES_AND_SIZE, problems)
        if parsed is not None and located is not None:
            pairs.append((number, *parsed, located))
    return pairs


def read_class_names(path: Path) -> list[str]:
    """Read ``classes.txt``: the class of index i is named in line i + 1.

    Args:
        path: The file.

    Returns:
        The names.

    Raises:
        FileNotFoundError: If there is no such file.
        DatasetError: If a name occurs twice.
    """
    names = [line for _, line in read_lines(path)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DatasetError(f'{path}: expected every class once, got {repeated[:5]} more than once')
    return names


def table_entries(
    list_dir: Path, splits: set[str], with_boxes: bool, problems: DatasetProblems
) -> tuple[list[dict], list[str]]:
    """Read the lists of Stanford Cars and FGVC Aircraft: ``classes.txt`` and ``images_box.txt``.

    A line of the second is ``<id>;<class name>;<split>;<x0> <y0> <x1> <y1> <height> <width>``.

    Args:
        list_dir: Folder of the lists.
        splits: Values of the third field to take.
        with_boxes: Take the boxes and sizes.
        problems: Where everything wrong with one line is reported.

    Returns:
        Entries with ``img_id`` ``<id>.jpg``, and class names.

    Raises:
        FileNotFoundError: If a list is missing.
        DatasetError: If ``classes.txt`` has a name twice.
    """
    names = read_class_names(list_dir / 'classes.txt')
    index = {name: label for label, name in enumerate(names)}

    def parse(line: str) -> tuple[str, tuple[int, str, np.ndarray, tuple[int, int]]]:
        key, name, split, located = split_fields(line, 4, ';')
        if name not in index:
            raise ValueError(f'expected a class of {list_dir / "classes.txt"}, got {name!r}')
        if split not in ('0', '1', '2'):
            raise ValueError(f'expected a split of 0, 1 or 2, got {split!r}')
        return slashes(key), (index[name], split, *parse_boxes_and_size(located))

    accepted = '<id>;<class name>;<split: 0, 1 or 2>;<x0> <y0> <x1> <y1> <height> <width>'
    entries = []
    for key, (label, split, boxes, size) in keyed_lines(
        list_dir / 'images_box.txt', parse, accepted, problems
    ).items():
        if split in splits:
            entry = {'img_id': key if key.lower().endswith('.jpg') else f'{key}.jpg', 'gt_label': label}
            if with_boxes:
                entry['gt_bboxes'], (entry['width'], entry['height']) = boxes, size
            entries.append(entry)
    return entries, names
