"""Scores of images for classes, or their best classes, from a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wsol_mm.evaluation.image_names import NAMED, match_names
from wsol_mm.evaluation.metrics.protocol_record import TOP_K

import numpy as np
from numpy.typing import NDArray

#: How many of the best classes are kept: no metric looks at more.
MOST_RANKS = TOP_K[-1]


class BestClasses(NamedTuple):
    """The best classes of images.

    Attributes:
        by_image: By image id, indices of the best classes, the best first.
        ranks: How many are known of every image.
        unused: The images of the file that are not in the data set, or may be several.
    """

    by_image: dict[str, NDArray[np.int64]]
    ranks: int
    unused: list[str]


def read_scores(path: str | Path, classes: Sequence[str], img_ids: Sequence[str]) -> BestClasses:
    """Read the best classes of images from a CSV file.

    Args:
        path: With a header, in UTF-8. The first column is the image, relative to the image folder, with or
            without its suffix; the others are the scores of all classes, under their names or indices, or the
            best classes in order (``top1``, ``top2``, ...), as names or indices.
        classes: Names of the classes.
        img_ids: Ids of the images of the data set.

    Returns:
        The best classes, five of them if the file has as many.

    Raises:
        ValueError: If the file is something else, or has an image twice; the line is named.
    """
    # A class may be named as the index of another one: names come first.
    index = {str(place): place for place in range(len(classes))} | {
        name: place for place, name in enumerate(classes)
    }
    best: dict[str, NDArray[np.int64]] = {}
    try:
        with Path(path).open(newline='', encoding='utf-8-sig') as file:
            lines = csv.reader(file)
            header = next(lines, [])
            columns = _columns(header, index, len(classes), path)
            for line in lines:
                if not line:
                    continue
                where = f'{path}, line {lines.line_num}'
                if len(line) != len(header):
                    raise ValueError(f'{where}: expected {len(header)} fields, got {len(line)}')
                if line[0] in best:
                    raise ValueError(f'{where}: expected each image once, got {line[0]!r} again')
                fields = line[1:]
                best[line[0]] = (
                    _ranked(fields, index, where) if columns is None else _by_score(fields, columns, where)
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path}: expected a CSV file in UTF-8, got another file ({error})') from error
    matches = match_names(best, img_ids, without_suffix=True)
    by_image = {}
    for img_id, names in matches.names.items():
        if len(names) > 1:
            raise ValueError(f'{path}: expected each image once, got {names[:NAMED]} for {img_id!r}')
        by_image[img_id] = best[names[0]]
    if not by_image:
        raise ValueError(
            f'{path}: expected images of the data set, which are named as {img_ids[0]!r}, got '
            f'{list(best)[:NAMED] or "none"}'
        )
    ranks = min(MOST_RANKS, len(header) - 1)
    return BestClasses(by_image, ranks, [*matches.unknown, *matches.ambiguous])


def _columns(
    header: list[str], index: dict[str, int], num_classes: int, path: str | Path
) -> NDArray[np.int64] | None:
    """Return the class of every column of scores; None for columns of ranked classes."""
    names = header[1:]
    if names and names == [f'top{rank}' for rank in range(1, len(names) + 1)]:
        return None
    columns = [index.get(name, -1) for name in names]
    if sorted(columns) != list(range(num_classes)):
        raise ValueError(
            f'{path}, line 1: expected the image and then top1, top2, ... or all {num_classes} classes, got '
            f'{header[:6]}{" ..." if len(header) > 6 else ""}'
        )
    return np.array(columns)


def _ranked(fields: list[str], index: dict[str, int], where: str) -> NDArray[np.int64]:
    for name in fields:
        if name not in index:
            raise ValueError(f'{where}: expected a class, got {name!r}')
    best = [index[name] for name in fields]
    if len(set(best)) < len(best):
        raise ValueError(f'{where}: expected different classes, got {fields}')
    return np.array(best[:MOST_RANKS])


def _by_score(fields: list[str], columns: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    try:
        scores = np.array(fields, np.float64)
        wrong = [text for text, score in zip(fields, scores, strict=True) if score != score]
    except ValueError as error:
        wrong = [str(error)]
    if wrong:
        raise ValueError(f'{where}: expected numbers as scores, got {wrong[0]}')
    # Of equal scores, the first class.
    order = np.lexsort((columns, -scores))
    return columns[order[:MOST_RANKS]]
