"""Localization maps that were made elsewhere, as predictions of the images of a data set."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from wsol_mm.datasets.image_pipeline import image_fields, run_transforms

import numpy as np
from numpy.typing import NDArray

#: Types of files with maps.
MAP_SUFFIXES = ('.npy', '.npz')
#: Number of predicted classes that are kept.
_TOPK = 5


class MapProblem(ValueError):
    """A map that cannot be used."""


class SavedMaps:
    """Maps by image: a folder of ``.npy`` and ``.npz`` files, or one ``.npz`` archive.

    A file, or an entry of an archive, is named as the image: ``<image>.npy``, ``<image>.jpg.npy`` or
    ``.npz``, with the folders of the image relative to the image folder. It holds one map (h, w), or several
    (K, h, w): for all classes, or, in an ``.npz`` file with ``maps`` and ``labels`` (as ``tools/predict.py
    --save-maps`` writes them), for some. Maps may have any size; they show what the network sees. Nothing in
    a file is executed.

    Args:
        source: Folder, or archive.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If there is no map.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = Path(source)
        self._archive: Any = None
        self._places: dict[str, list[str]] = {}
        if self.source.is_dir():
            files = (path for path in self.source.rglob('*') if path.suffix in MAP_SUFFIXES)
            names = [path.relative_to(self.source).as_posix() for path in sorted(files)]
            for name in names:
                self._places.setdefault(str(PurePosixPath(name).with_suffix('')), []).append(name)
        elif self.source.suffix == '.npz' and self.source.is_file():
            self._archive = np.load(self.source, allow_pickle=False)
            self._places = {name: [name] for name in self._archive.files}
        else:
            raise FileNotFoundError(f'{source}: expected a folder of maps or an .npz archive, got neither')
        if not self._places:
            raise ValueError(f'{source}: expected maps ({", ".join(MAP_SUFFIXES)}), got none')
        self._used: set[str] = set()

    def read(self, img_id: str, num_classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Return the maps of an image, (K, h, w), and their classes (K,); None for one map without a class.

        Args:
            img_id: Path of the image relative to the image folder.
            num_classes: Number of classes C; C maps without labels are those of all classes.

        Raises:
            MapProblem: If there is no map of the image, or several, or it is none; it names the file.
        """
        names = dict.fromkeys((img_id, str(PurePosixPath(img_id).with_suffix(''))))
        found = [place for name in names for place in self._places.get(name, ())]
        self._used.update(names)
        if len(found) != 1:
            raise MapProblem(f'{img_id}: expected one map in {self.source}, got {found or "none"}')
        place = f'{self.source}/{found[0]}'
        content = self._content(found[0], place)
        maps, labels = (
            (content['maps'], content['labels']) if isinstance(content, Mapping) else (content, None)
        )
        return _checked(maps, labels, num_classes, place)

    def _content(self, name: str, place: str) -> Any:
        try:
            if self._archive is not None:
                return self._archive[name]
            content = np.load(self.source / name, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise MapProblem(f'{place}: expected a NumPy file of numbers, got another ({error})') from error
        if not hasattr(content, 'files'):
            return content
        with content:
            if {'maps', 'labels'} <= set(content.files):
                return {name: content[name] for name in ('maps', 'labels')}
            if len(content.files) == 1:
                return content[content.files[0]]
            raise MapProblem(f'{place}: expected one array, or maps and labels, got {content.files}')

    @property
    def without_image(self) -> list[str]:
        """Maps of which no image was asked for."""
        return [place for name, places in self._places.items() if name not in self._used for place in places]


def _checked(
    maps: NDArray, labels: NDArray | None, num_classes: int, place: str
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    if maps.dtype.kind not in 'fiub':
        raise MapProblem(f'{place}: expected numbers, got {maps.dtype}')
    if maps.ndim not in (2, 3) or not maps.size:
        raise MapProblem(f'{place}: expected a map (h, w) or maps (K, h, w), got the shape {maps.shape}')
    maps = maps.astype(np.float32).reshape(-1, *maps.shape[-2:])
    if not np.isfinite(maps).all():
        bad = np.count_nonzero(~np.isfinite(maps))
        raise MapProblem(f'{place}: expected finite numbers, got {bad} that are NaN or infinite')
    if labels is not None:
        if labels.shape != maps.shape[:1]:
            raise MapProblem(f'{place}: expected a label for each of {len(maps)} maps, got {labels.shape}')
        return maps, labels.astype(np.int64)
    if len(maps) == 1:
        return maps, None
    if len(maps) != num_classes:
        raise MapProblem(
            f'{place}: expected 1 map, {num_classes} of all classes, or labels beside, got {len(maps)} maps'
        )
    return maps, np.arange(num_classes)


def read_scores(path: str | Path, classes: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Read the best classes of images from a CSV file.

    Args:
        path: With a header. The first column is the image, relative to the image folder; the others are the
            scores of all classes, under their names or indices, or the best classes in order (``top1``,
            ``top2``, ...), as names or indices.
        classes: Names of the classes.

    Returns:
        Best classes, the best first, by image.

    Raises:
        ValueError: If the file is something else; the line is named.
    """
    index = {name: place for place, name in enumerate(classes)} | {
        str(place): place for place in range(len(classes))
    }
    best: dict[str, NDArray[np.int64]] = {}
    with Path(path).open(newline='', encoding='utf-8') as file:
        lines = csv.reader(file)
        header = next(lines, [])
        columns = [index.get(name) for name in header[1:]]
        ranked = bool(columns) and all(name == f'top{place}' for place, name in enumerate(header[1:], 1))
        complete = sorted(place for place in columns if place is not None) == list(range(len(classes)))
        if not ranked and not complete:
            raise ValueError(
                f'{path}, line 1: expected the image and then top1, top2, ... or all {len(classes)} classes, '
                f'got {header[:6]}'
            )
        for number, line in enumerate(lines, 2):
            try:
                if len(line) != len(header):
                    raise ValueError(f'{len(header)} fields, got {len(line)}')
                if ranked:
                    best[line[0]] = np.array([index[name] for name in line[1:]])
                else:
                    scores = np.array([float(value) for value in line[1:]])
                    order = np.argsort(-scores, kind='stable')[:_TOPK]
                    best[line[0]] = np.array(columns)[order]
            except (ValueError, KeyError) as error:
                what = f'a class, got {error}' if isinstance(error, KeyError) else error
                raise ValueError(f'{path}, line {number}: expected {what}') from error
    return best


def saved_map_samples(
    dataset: Any,
    maps: SavedMaps,
    best_classes: Mapping[str, NDArray[np.int64]] | None = None,
    of_label: bool = False,
) -> Iterator[tuple[dict, str | None]]:
    """Yield the images of a data set with their maps, as the metrics take predictions.

    The size of the images is known to the data set: they are not read.

    Args:
        dataset: A :class:`LocalizationDataset` with boxes or masks, and the pipeline that shows what the maps
            show.
        maps: The maps.
        best_classes: Best classes by image; without, no class is predicted.
        of_label: A single map is that of the image's true class; otherwise it serves all classes.

    Yields:
        The sample, and what is wrong with its map, or None. An image without usable map counts as wrong.
    """
    num_classes = len(dataset.metainfo['classes'])
    single = _first_is_single(dataset, maps, num_classes)
    for position in range(len(dataset)):
        info = dataset.get_data_info(position)
        if 'gt_bboxes' in info:
            info['ori_gt_bboxes'] = info.pop('gt_bboxes')
        blank = image_fields(np.zeros((info['height'], info['width'], 3), np.uint8))
        sample = run_transforms(dataset.pipeline.transforms, {**info, **blank})['data_samples'].to_dict()
        img_id, label = info['img_id'], info['gt_label']
        # Of a map that cannot be used the metrics still ask whose it is.
        loc_maps, labels = np.zeros((1, 1, 1), np.float32), None if single else np.array([label])
        best = np.array([-1]) if best_classes is None else best_classes.get(img_id)
        problem = f'{img_id}: expected scores, got none' if best is None else None
        try:
            loc_maps, found = maps.read(img_id, num_classes)
            if (found is None) != single:
                raise MapProblem(
                    f'{img_id}: expected {"one map" if single else "class maps"}, as the first has'
                )
            labels = found
        except MapProblem as error:
            problem = str(error)
        if labels is None:
            labels = np.array([label if of_label else -1])
        if problem is not None:
            sample['load_error'] = problem
        best = np.array([-1]) if best is None else best
        yield {**sample, 'loc_maps': loc_maps, 'loc_labels': labels, 'pred_topk': best}, problem


def _first_is_single(dataset: Any, maps: SavedMaps, num_classes: int) -> bool:
    """Return whether the first usable map is one map, without a class.

    Raises:
        ValueError: If no image has a usable map.
    """
    reasons = []
    for position in range(len(dataset)):
        try:
            return maps.read(dataset.get_data_info(position)['img_id'], num_classes)[1] is None
        except MapProblem as error:
            reasons.append(str(error))
    raise ValueError(
        f'{maps.source}: expected maps of the images, got none that can be used: {reasons[0]}, ...'
    )
