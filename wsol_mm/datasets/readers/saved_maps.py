"""Localization maps in NumPy files, by the image that they are of."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from wsol_mm.evaluation.image_names import NAMED, match_names
from wsol_mm.utils.file_names import fitting_name

import numpy as np
from numpy.typing import NDArray

#: Types of files with maps.
MAP_SUFFIXES = ('.npy', '.npz')


class MapProblem(ValueError):
    """A map that cannot be used."""


class SavedMaps:
    """Maps by image: a folder of ``.npy`` and ``.npz`` files, or one ``.npz`` archive.

    A file, or an entry of an archive, is named as the image: ``<image>.npy``, ``<image>.jpg.npy`` or
    ``.npz``, with the folders of the image relative to the image folder; a folder more or less does not
    matter as long as one image is meant (:func:`~wsol_mm.evaluation.image_names.match_names`). It holds one
    map (h, w), or several (K, h, w): for all classes, or, in an ``.npz`` file with ``maps`` and ``labels``
    (as ``tools/predict.py --save-maps`` writes them), for some; the label -1 is that of maps for all
    classes: one, or one for each object. Maps may have any size. The source is listed once, and a map is in
    memory only while it is used; nothing in a file is executed.

    Args:
        source: Folder, or archive.
        img_ids: Ids of the images: their paths relative to the image folder.

    Attributes:
        unused: The maps that are of no image, or maybe of several, which are named.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If there is no map, or the archive is damaged.
    """

    def __init__(self, source: str | Path, img_ids: Sequence[str]) -> None:
        self.source = Path(source)
        self._archive: ZipFile | None = None
        places: dict[str, list[str]] = {}
        names = _whole_names(img_ids)
        for name in self._listing():
            folder, slash, last = name[: -len(MAP_SUFFIXES[0])].rpartition('/')
            places.setdefault(f'{folder}{slash}{names.get(last, last)}', []).append(name)
        if not places:
            raise ValueError(f'{source}: expected maps ({", ".join(MAP_SUFFIXES)}), got none')
        matches = match_names(places, img_ids, without_suffix=True)
        self._of_image = {
            img_id: [place for name in names for place in places[name]]
            for img_id, names in matches.names.items()
        }
        self.unused = [place for name in matches.unknown for place in places[name]] + [
            f'{place}, which may be of any of {len(images)}: {list(images[:NAMED])}'
            for name, images in matches.ambiguous.items()
            for place in places[name]
        ]

    def _listing(self) -> Iterator[str]:
        if self.source.is_dir():
            for folder, _, files in os.walk(self.source):
                inside = Path(folder).relative_to(self.source).as_posix()
                for name in sorted(files):
                    if name.endswith(MAP_SUFFIXES) and not name.startswith('.'):
                        yield name if inside == '.' else f'{inside}/{name}'
        elif self.source.suffix == '.npz' and self.source.is_file():
            try:
                self._archive = ZipFile(self.source)
            except BadZipFile as error:
                raise ValueError(
                    f'{self.source}: expected an .npz archive, got another file ({error})'
                ) from error
            yield from (name for name in self._archive.namelist() if name.endswith('.npy'))
        else:
            raise FileNotFoundError(
                f'{self.source}: expected a folder of maps or an .npz archive, got neither'
            )

    def read(self, img_id: str, num_classes: int) -> tuple[NDArray[np.floating], NDArray[np.int64] | None]:
        """Return the maps of an image, (K, h, w), and their classes (K,); None if they are of no class.

        Args:
            img_id: Id of the image.
            num_classes: Number of classes C; C maps without labels are those of all classes.

        Raises:
            MapProblem: If there is no map of the image, or several, or it is none; it names the file.
        """
        found = self._of_image.get(img_id, [])
        if len(found) != 1:
            raise MapProblem(f'{img_id}: expected one map in {self.source}, got {found or "none"}')
        if self._archive is None:
            return read_map_file(self.source / found[0], num_classes)
        with self._archive.open(found[0]) as file:
            return _checked_content(
                lambda: (np.lib.format.read_array(file, allow_pickle=False), None),
                f'{self.source}/{found[0]}',
                num_classes,
            )


def _whole_names(img_ids: Sequence[str]) -> dict[str, str]:
    """Return images whose names are too long for a map to be called after them, these by its name."""
    lasts = (img_id.rpartition('/')[2] for img_id in img_ids)
    fitted = ((fitting_name(last, MAP_SUFFIXES[0])[: -len(MAP_SUFFIXES[0])], last) for last in lasts)
    return {name: last for name, last in fitted if name != last}


def read_map_file(
    path: Path, num_classes: int | None
) -> tuple[NDArray[np.floating], NDArray[np.int64] | None]:
    """Read the maps of one file, as :meth:`SavedMaps.read` does.

    Args:
        path: The file, ``.npy`` or ``.npz``.
        num_classes: Number of classes C; without labels there is one map if it is None.

    Raises:
        MapProblem: If there is no map in it; it names the file.
    """
    return _checked_content(lambda: _content(path), str(path), num_classes)


def _content(path: Path) -> tuple[NDArray, NDArray | None]:
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return content, None
    with content:
        if {'maps', 'labels'} <= set(content.files):
            return np.asarray(content['maps']), np.asarray(content['labels'])
        if len(content.files) != 1:
            raise MapProblem(f'{path}: expected one array, or maps and labels, got {content.files}')
        # A member that is no array comes as bytes.
        return np.asarray(content[content.files[0]]), None


def _checked_content(
    load: Callable[[], tuple[NDArray, NDArray | None]], place: str, num_classes: int | None
) -> tuple[NDArray[np.floating], NDArray[np.int64] | None]:
    try:
        maps, labels = load()
    except MapProblem:
        raise
    # Of a damaged header NumPy lets through what zipfile, tokenize and others raise: no closed list.
    except Exception as error:
        raise MapProblem(f'{place}: expected a NumPy file of numbers, got another ({error})') from error
    maps = _checked_maps(maps, place)
    return maps, _checked_labels(labels, len(maps), num_classes, place)


def _checked_maps(maps: NDArray, place: str) -> NDArray[np.floating]:
    if maps.dtype.kind not in 'fiub':
        raise MapProblem(f'{place}: expected numbers, got {maps.dtype}')
    if maps.ndim not in (2, 3) or not maps.size:
        raise MapProblem(f'{place}: expected a map (h, w) or maps (K, h, w), got the shape {maps.shape}')
    if bad := np.count_nonzero(~np.isfinite(maps)):
        raise MapProblem(f'{place}: expected finite numbers, got {bad} that are NaN or infinite')
    # What float32 does not hold stays in float64, in which some protocols reckon.
    dtype = np.float32 if np.can_cast(maps.dtype, np.float32) else np.float64
    return maps.reshape(-1, *maps.shape[-2:]).astype(dtype)


def _checked_labels(
    labels: NDArray | None, count: int, num_classes: int | None, place: str
) -> NDArray[np.int64] | None:
    if labels is None:
        if count not in (1, num_classes):
            of_all = '' if num_classes is None else f', {num_classes} of all classes'
            raise MapProblem(f'{place}: expected 1 map{of_all}, or labels beside, got {count} maps')
        return None if count == 1 else np.arange(count)
    if labels.shape != (count,) or labels.dtype.kind not in 'iu':
        raise MapProblem(
            f'{place}: expected {count} integers as labels, one for each map, got {labels.dtype} of the '
            f'shape {labels.shape}'
        )
    if (labels == -1).all():
        return None
    largest = labels.max() if num_classes is None else num_classes - 1
    wrong = labels[(labels < 0) | (labels > largest)].tolist()
    if wrong or len(set(labels.tolist())) < count:
        raise MapProblem(
            f'{place}: expected different labels from 0 to {largest}, or -1 alone, got '
            f'{labels.tolist()[:NAMED]}{", ..." if count > NAMED else ""}'
        )
    return labels.astype(np.int64)
