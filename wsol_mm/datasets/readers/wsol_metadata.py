"""The text files of wsolevaluation (Choe et al., CVPR 2020)."""

from pathlib import Path

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems

import numpy as np

from .list_files import finite_floats, keyed_lines, parse_lines


def read_image_ids(path: str | Path, problems: DatasetProblems) -> list[str]:
    """Read ``image_ids.txt``: one path per line, in the order of evaluation.

    Args:
        path: The file.
        problems: Where repeated ids are reported.

    Returns:
        The ids.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    return list(keyed_lines(path, lambda line: (line, None), '<path>', problems))


def read_class_labels(path: str | Path, problems: DatasetProblems) -> dict[str, int]:
    """Read ``class_labels.txt``: ``path,label`` with labels from 0.

    Args:
        path: The file.
        problems: Where bad lines are reported.

    Returns:
        Labels by id.

    Raises:
        FileNotFoundError: If there is no such file.
    """

    def parse(line: str) -> tuple[str, int]:
        image_id, label = _rsplit(line, 1)
        return image_id, int(label)

    return keyed_lines(path, parse, '<path>,<label, an integer from 0>', problems)


def read_image_sizes(path: str | Path, problems: DatasetProblems) -> dict[str, tuple[int, int]]:
    """Read ``image_sizes.txt``: ``path,width,height``.

    Args:
        path: The file.
        problems: Where bad lines are reported.

    Returns:
        Width and height by id.

    Raises:
        FileNotFoundError: If there is no such file.
    """

    def parse(line: str) -> tuple[str, tuple[int, int]]:
        image_id, width, height = _rsplit(line, 2)
        if int(width) <= 0 or int(height) <= 0:
            raise ValueError(f'expected sides from 1, got {width} and {height}')
        return image_id, (int(width), int(height))

    return keyed_lines(path, parse, '<path>,<width>,<height>, integers from 1', problems)


def read_localization(path: str | Path, problems: DatasetProblems) -> tuple[dict[str, dict], bool]:
    """Read ``localization.txt``: boxes or masks, several lines per image.

    Boxes are ``path,x0,y0,x1,y1``. Masks are ``path,mask file,ignore file``, where the third field is empty
    for the second and further instances of an image.

    Args:
        path: The file.
        problems: Where bad lines are reported.

    Returns:
        By id either ``gt_bboxes`` (N, 4) float64, or ``mask_paths`` and ``ignore_path``; and whether the file
        holds masks.

    Raises:
        DatasetError: If the file has boxes and masks.
        FileNotFoundError: If there is no such file.
    """
    boxes: dict[str, list[list[float]]] = {}
    masks: dict[str, dict] = {}
    accepted = '<path>,<x0>,<y0>,<x1>,<y1> or <path>,<mask file>,<ignore file or nothing>'
    for number, (image_id, box, mask, ignore) in parse_lines(path, _parse_localization, accepted, problems):
        if box is not None:
            boxes.setdefault(image_id, []).append(box)
            continue
        entry = masks.setdefault(image_id, {'mask_paths': [], 'ignore_path': None})
        entry['mask_paths'].append(mask)
        if ignore and entry['ignore_path'] not in (None, ignore):
            problems.add(
                'line that does not parse',
                f'{path}, line {number}: expected one ignore file per image, got a second one, {ignore!r}',
            )
        entry['ignore_path'] = entry['ignore_path'] or ignore or None
    if boxes and masks:
        raise DatasetError(
            f'{path}: expected either boxes or masks, got boxes (such as for {next(iter(boxes))!r}) and '
            f'masks (such as for {next(iter(masks))!r})'
        )
    if masks:
        return masks, True
    return {key: {'gt_bboxes': np.array(value, dtype=np.float64)} for key, value in boxes.items()}, False


def _rsplit(line: str, count: int) -> list[str]:
    fields = [field.strip() for field in line.rsplit(',', count)]  # from the right: a path may hold commas
    if len(fields) != count + 1 or not fields[0]:
        raise ValueError(f'expected {count + 1} fields, the first not empty, got {len(fields)}')
    return fields


def _parse_localization(line: str) -> tuple[str, list[float] | None, str | None, str | None]:
    fields = line.rsplit(',', 4)
    if len(fields) == 5:
        try:
            return fields[0], finite_floats(fields[1:]), None, None
        except ValueError:
            pass  # five fields may also be a mask line with commas in a path; it is refused below if not
    image_id, mask, ignore = _rsplit(line, 2)
    if not mask.lower().endswith(('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')):
        raise ValueError(f'expected an image file as mask, got {mask!r}')
    return image_id, None, mask, ignore
