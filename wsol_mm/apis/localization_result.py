"""What the inferencer says of one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wsol_mm.evaluation.functional import ImageGeometry
from wsol_mm.evaluation.map_boxes import heat_on_image, is_empty, predict_boxes
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from mmpretrain.structures import DataSample
from numpy.typing import NDArray

#: Which maps a result holds: those of the patch grid, or enlarged to the image.
Maps = Literal['grid', 'image']
#: What is wrong with a result that is not ``finite``.
NOT_FINITE = 'expected finite scores and maps of the model, got NaN or infinity'


@dataclass(frozen=True)
class LocalizationResult:
    """Classes and boxes of one image.

    Attributes:
        path: The image file; None for an array.
        size: Width and height of the image in pixels.
        labels: Indices of the K classes that were localized: the given label, or the best classes; each once
            for every object of a model that looks for several.
        classes: Their names.
        scores: Their soft-max scores.
        boxes: A box per class (K, 4), float64, x0 y0 x1 y1 with exclusive ends, in pixels of the image and
            clipped to it.
        found: (K,) bool, False where the localization map has no contrast, or nothing above the threshold:
            the box is then the one by which the protocol counts a failure, and shows nothing.
        pred_scores: Soft-max scores of all classes (C,), float32.
        pred_topk: Indices of the best five classes, the best first.
        maps: Localization maps of the K classes, float32: None unless asked for; (K, h, w) un-normalised on
            the patch grid, or (K, H, W) in [0, 1] on the image, 0 outside what the network saw.
        finite: Whether all scores and these maps are numbers, none NaN or infinite; no box is found if not.
    """

    path: str | None
    size: tuple[int, int]
    labels: list[int]
    classes: list[str]
    scores: list[float]
    boxes: NDArray[np.float64]
    found: NDArray[np.bool_]
    pred_scores: NDArray[np.float32]
    pred_topk: list[int]
    maps: NDArray[np.float32] | None = None
    finite: bool = True


def localization_result(
    sample: DataSample,
    classes: Sequence[str],
    protocol: LocalizationProtocol,
    topk: int = 1,
    maps: Maps | None = None,
) -> LocalizationResult:
    """Turn a prediction into a result.

    Args:
        sample: Prediction of a ``LocalizationHead`` on the CPU, with maps of the wanted classes. With a
            ``gt_label`` that one is wanted, otherwise the ``topk`` best.
        classes: Names of all classes.
        protocol: How a map becomes a box; with one threshold.
        topk: Number of classes.
        maps: Which maps to keep.

    Returns:
        The result.
    """
    geometry = ImageGeometry.from_metainfo(sample.metainfo)
    label = sample.get('gt_label')
    labels = sample.pred_topk[:topk].tolist() if label is None else [int(label)]
    mapped = sample.loc_labels.tolist()
    if set(mapped) == {-1}:
        # Maps of the label -1 serve all classes; each is of an object.
        places = list(range(len(mapped))) * len(labels)
        labels = [wanted for wanted in labels for _ in mapped]
    else:
        places = [mapped.index(wanted) for wanted in labels]
    grids = sample.loc_maps.float().numpy()
    boxes = {place: predict_boxes(grids[place], geometry, protocol)[0] for place in set(places)}
    finite = bool(np.isfinite(sample.pred_score.float().numpy()).all() and np.isfinite(grids[places]).all())
    found = {
        place: finite and _has_contrast(grids[place]) and not is_empty(grids[place], protocol)
        for place in boxes
    }
    kept = None
    if maps == 'grid':
        kept = grids[places]
    elif maps == 'image':
        kept = np.stack([heat_on_image(grids[place], geometry, protocol) for place in places])
    scores = sample.pred_score.float().numpy()
    return LocalizationResult(
        path=sample.get('img_path'),
        size=geometry.image,
        labels=labels,
        classes=[classes[wanted] for wanted in labels],
        scores=[float(scores[wanted]) for wanted in labels],
        boxes=np.stack([boxes[place] for place in places]),
        found=np.array([found[place] for place in places]),
        pred_scores=scores,
        pred_topk=sample.pred_topk.tolist(),
        maps=kept,
        finite=finite,
    )


def _has_contrast(grid: NDArray[np.floating]) -> bool:
    return bool(grid.max() > grid.min())  # False with NaN, too
