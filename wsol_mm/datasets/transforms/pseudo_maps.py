"""Loads localization maps that another model has made of the training images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from wsol_mm.datasets.readers.saved_maps import MAP_SUFFIXES, MapProblem, read_map_file
from wsol_mm.registry import TRANSFORMS
from wsol_mm.utils.file_names import fitting_name

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

#: Which map of an image is taken: that of its class, or the only one, whatever class it is of.
MapsOf = Literal['label', 'all']


@TRANSFORMS.register_module()
class LoadPseudoMap(BaseTransform):
    """Load the map of an image, for training by what another method has found (see :class:`SavedMapMasks`).

    To be put last before ``PackLocalizationInputs``, behind one direct resize and flips: the maps show the
    whole image, as ``tools/predict.py --save-maps`` writes them, and are flipped with it. It also works on
    :class:`CachedFeatures`, whose views say how they were flipped.

    **Required keys:** ``img_id``, ``img_shape``, ``ori_shape``, ``gt_label``. **Added key:** ``pseudo_map``,
    float32 (h, w).

    Args:
        source: Folder of ``<img_id>.npz`` or ``.npy`` files: what ``tools/predict.py IMAGES --save-maps``
            writes for the image folder of the data set. Of several folders, of other methods or seeds, the
            maps are scaled to 0..1 and averaged: high is what they agree on.
        size: Of the map that is handed on, one side of a square or (width, height): the grid of the features.
        maps_of: ``'label'``: the map of the image's class, or the one of all classes; ``'all'``: the only
            map of a file, whatever class it is said to be of, for methods with one map for all.
        num_classes: Number of classes, where files without labels have a map for each; they have one if None.

    Raises:
        ValueError: If ``source``, ``size`` or ``maps_of`` is not as said.
    """

    def __init__(
        self,
        source: str | Sequence[str],
        size: int | Sequence[int],
        maps_of: MapsOf = 'label',
        num_classes: int | None = None,
    ) -> None:
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(f'size: expected an integer from 1 or a (width, height) of such, got {size!r}')
        if maps_of not in get_args(MapsOf):
            raise ValueError(f'maps_of: expected one of {get_args(MapsOf)}, got {maps_of!r}')
        self.sources = [source] if isinstance(source, str) else list(source)
        if not self.sources:
            raise ValueError(f'source: expected a folder or several, got {source!r}')
        self.size, self.maps_of, self.num_classes = sides, maps_of, num_classes

    def transform(self, results: dict) -> dict:
        """Load the map.

        Args:
            results: The item.

        Returns:
            The item with ``pseudo_map``.

        Raises:
            FileNotFoundError: If there is no such folder.
            MapProblem: If the image has no map, several files, or none of its class.
            ValueError: If the image has been cropped.
        """
        height, width = results['img_shape'][:2]
        full_height, full_width = results['ori_shape'][:2]
        scale_w, scale_h = results.get('scale_factor', (1.0, 1.0))
        if (round(full_width * scale_w), round(full_height * scale_h)) != (width, height):
            raise ValueError(
                f'LoadPseudoMap: {results["img_id"]}: expected a pipeline that resizes once, flips, and does '
                f'not crop, got {width}x{height} pixels of {full_width}x{full_height}, scaled by '
                f'{scale_w:g}, {scale_h:g} (width x height)'
            )
        maps = [
            cv2.resize(self._read(source, results['img_id'], int(results['gt_label'])), self.size)
            for source in self.sources
        ]
        chosen = maps[0] if len(maps) == 1 else np.mean([_scaled(one) for one in maps], axis=0)
        if results.get('flip'):
            chosen = mmcv.imflip(chosen, results['flip_direction'])
        results['pseudo_map'] = np.ascontiguousarray(chosen, np.float32)
        return results

    def _read(self, source: str, img_id: str, label: int) -> NDArray[np.floating]:
        stem = img_id.rpartition('.')[0] or img_id
        stems = dict.fromkeys((img_id, stem))
        names = [fitting_name(name, suffix) for name in stems for suffix in MAP_SUFFIXES]
        found = [path for name in names if (path := Path(source, name)).is_file()]
        if not found and not Path(source).is_dir():
            raise FileNotFoundError(f'source: expected a folder of maps, got nothing at {source}')
        if len(found) != 1:
            raise MapProblem(f'{img_id}: expected one map in {source}, got {found or "none"}')
        maps, labels = read_map_file(found[0], self.num_classes)
        if labels is None or self.maps_of == 'all':
            if len(maps) != 1:
                raise MapProblem(f'{found[0]}: expected one map of all classes, got {len(maps)}')
            return maps[0]
        place = np.flatnonzero(labels == label)
        if not len(place):
            raise MapProblem(
                f'{found[0]}: expected a map of class {label}, that of the image, got {labels.tolist()}. '
                'Make maps of the classes that the folders name, or, for a method with one map for all, set '
                "maps_of='all'"
            )
        return maps[place[0]]

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(source={self.sources!r}, size={self.size}, maps_of={self.maps_of!r}, '
            f'num_classes={self.num_classes})'
        )


def _scaled(loc_map: NDArray[np.floating]) -> NDArray[np.floating]:
    """Scale to 0..1; zeros for a map without contrast."""
    low, high = loc_map.min(), loc_map.max()
    return (loc_map - low) / (high - low) if high > low else np.zeros_like(loc_map)
