"""How well two sets of localization maps agree on the boxes: settings chosen without a ground truth.

Maps of one image by two seeds, or of an image and its mirror image, differ by what does not belong to the
object. The threshold, the views or the filter at which their boxes agree best can be looked for on training
images, of which nobody has drawn a box.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wsol_mm.datasets.readers.saved_maps import MAP_SUFFIXES, MapProblem, read_map_file

import numpy as np
from numpy.typing import NDArray

from .functional.boxes import box_areas, paired_intersections
from .functional.score_maps import ConstantMapError
from .map_boxes import SharedSteps, score_map
from .protocols import LocalizationProtocol, get_protocol


class MapAgreement(NamedTuple):
    """Agreement of boxes at every threshold.

    Attributes:
        thresholds: Shares of the range of a map (T,).
        iou: Mean IoU of the two boxes of an image (T,).
        chance: Mean IoU of boxes of different images, one of either set (T,): large where boxes are nearly
            the whole image.
        images: Images that were compared.
        left_out: Images of one set alone, or without a map of the same class in the other.
        flat: Compared images of which a map has no contrast: their IoU is 0.
    """

    thresholds: NDArray[np.float64]
    iou: NDArray[np.float64]
    chance: NDArray[np.float64]
    images: int
    left_out: int
    flat: int

    @property
    def beyond_chance(self) -> NDArray[np.float64]:
        """Agreement beyond chance (T,): 1 if all boxes are equal, 0 if the image does not matter.

        As Cohen's kappa. It is what a threshold is chosen by: at 0 all boxes are the whole image, and agree.
        """
        rest = 1 - self.chance
        return np.divide(self.iou - self.chance, rest, out=np.zeros_like(rest), where=rest > 1e-9)

    @property
    def best(self) -> int:
        """Position of the threshold with the largest agreement beyond chance, the first on ties."""
        return int(self.beyond_chance.argmax())


def map_agreement(
    first: str | Path, second: str | Path, thresholds: Sequence[float], mirrored: bool = False
) -> MapAgreement:
    """Compare the boxes of two folders of maps, as ``tools/predict.py --save-maps`` writes them.

    Maps are enlarged, scaled and cut as by the protocol ``maxboxacc``: bicubic to 224x224 pixels, min-max,
    the box of the largest region above the threshold. Where files hold one map, these are compared; where
    one holds several, the first of the first folder with that of the same class in the second.

    Args:
        first: Folder of ``.npz`` or ``.npy`` files.
        second: Another, with files of the same names.
        thresholds: Shares of the range of a map, ascending, in [0, 1).
        mirrored: Whether those of the second are of the mirrored images.

    Returns:
        The agreement.

    Raises:
        FileNotFoundError: If there is no such folder.
        MapProblem: If a file holds no maps; it names the file.
        ValueError: If fewer than two images can be compared, all of them are flat, or a threshold is out of
            range.
    """
    names, others = _names(first), _names(second)
    protocol = get_protocol('maxboxacc', thresholds=tuple(thresholds))
    boxes: list[list[NDArray[np.float64]]] = []
    for name in sorted(names & others):
        pair = _maps_to_compare(Path(first, name), Path(second, name))
        if pair is not None:
            one, two = pair
            boxes.append([_boxes(one, protocol), _boxes(two[:, ::-1] if mirrored else two, protocol)])
    if len(boxes) < 2:
        raise ValueError(
            f'{second}: expected maps of at least 2 of the {len(names)} images of {first}, got {len(boxes)}'
        )
    ours, theirs = np.moveaxis(np.array(boxes), 1, 0)
    flat = int(np.isnan(np.array(boxes)).any(axis=(1, 2, 3)).sum())
    if flat == len(boxes):
        raise ValueError(f'{second}: expected maps with contrast, as in {first}, got {flat} pairs without')
    return MapAgreement(
        np.array(protocol.thresholds),
        _iou(ours, theirs).mean(axis=0),
        # Half the list away, an image is hardly of the same class.
        _iou(ours, np.roll(theirs, len(boxes) // 2, axis=0)).mean(axis=0),
        len(boxes),
        len(names | others) - len(boxes),
        flat,
    )


def _names(folder: str | Path) -> set[str]:
    """Return the files with maps in a folder, relative to it."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f'{folder}: expected a folder of maps, got none')
    return {
        path.relative_to(folder).as_posix() for path in Path(folder).rglob('*') if path.suffix in MAP_SUFFIXES
    }


def _maps_to_compare(first: Path, second: Path) -> tuple[NDArray, NDArray] | None:
    """Return a map of either file; None if the second has none of the class of the first."""
    (one, one_labels), (two, two_labels) = read_map_file(first, None), read_map_file(second, None)
    if len(one) == len(two) == 1:
        return one[0], two[0]
    if one_labels is None or two_labels is None:
        counted, other = (first, second) if one_labels is None else (second, first)
        counts = {first: len(one), second: len(two)}
        raise MapProblem(
            f'{counted}: expected maps of classes, or one map here and in {other}, got {counts[counted]} of '
            f'no class (label -1: of all classes, or of one object each) and {counts[other]} there'
        )
    found = np.flatnonzero(two_labels == one_labels[0])
    return (one[0], two[found[0]]) if len(found) else None


def _boxes(loc_map: NDArray[np.floating], protocol: LocalizationProtocol) -> NDArray[np.float64]:
    """Return the box at every threshold (T, 4); NaN for a map without contrast."""
    assert protocol.frame_size is not None
    try:
        return SharedSteps(score_map(loc_map, (protocol.frame_size,) * 2, protocol)).boxes(protocol)
    except ConstantMapError:
        return np.full((len(protocol.thresholds), 4), np.nan)


def _iou(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of boxes (..., 4) with those in the same places; 0 where one is NaN."""
    one, two = np.nan_to_num(one), np.nan_to_num(two)
    common = paired_intersections(one, two)
    union = box_areas(one) + box_areas(two) - common
    return np.divide(common, union, out=np.zeros_like(union), where=union > 0)
