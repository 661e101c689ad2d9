"""What the inferencer says of one image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from wsol_mm.evaluation.functional import ImageGeometry
from wsol_mm.evaluation.map_boxes import confident_boxes, heat_on_image, is_empty
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from mmpretrain.structures import DataSample
from numpy.typing import NDArray

#: Which maps a result holds: those of the patch grid, or enlarged to the image.
Maps = Literal['grid', 'image']
#: Which boxes: of a class the one that the protocol measures, or one of each region of its map.
Boxes = Literal['one', 'many']
#: What is wrong with a result that is not ``finite``.
NOT_FINITE = 'expected finite scores and maps of the model, got NaN or infinity'


@dataclass(frozen=True)
class LocalizationResult:
    """Classes and boxes of one image.

    Attributes:
        path: The image file; None for an array.
        size: Width and height of the image in pixels.
        labels: Class index of each of N boxes: the given label, or the K best classes, each with one box,
            with one for every object of a model that looks for several, or with many.
        classes: Their names.
        scores: Their soft-max scores.
        boxes: (N, 4) float64, x0 y0 x1 y1 with exclusive ends, in pixels of the image and clipped to it.
        confidences: How far each box can be trusted, in [0, 1]: how likely its IoU with an object is at least
            0.5, judged by what the map shows, see
            :func:`~wsol_mm.evaluation.functional.box_confidence.box_confidence`. 0 in an image that shows
            nothing, see :func:`~wsol_mm.evaluation.functional.image_content.shows_nothing`.
        found: (N,) bool, False where the localization map has no contrast, or nothing above the threshold:
            the box is then the one by which the protocol counts a failure, and shows nothing.
            Its confidence is 0.
        pred_scores: Soft-max scores of all classes (C,), float32.
        pred_topk: Indices of the best five classes, the best first.
        map_labels: Classes of the K maps; -1 of maps that serve all classes: one, or one for each object.
        maps: The localization maps, float32: None unless asked for; (K, h, w) un-normalised on the patch
            grid, or (K, H, W) in [0, 1] on the image, 0 outside what the network saw.
        finite: Whether all scores and these maps are numbers, none NaN or infinite; no box is found if not.
    """

    path: str | None
    size: tuple[int, int]
    labels: list[int]
    classes: list[str]
    scores: list[float]
    boxes: NDArray[np.float64]
    confidences: list[float]
    found: NDArray[np.bool_]
    pred_scores: NDArray[np.float32]
    pred_topk: list[int]
    map_labels: list[int]
    maps: NDArray[np.float32] | None = None
    finite: bool = True

    def kept(
        self, score_thr: float = 0.0, min_confidence: float = 0.0
    ) -> Iterator[tuple[int, str, float, NDArray[np.float64], float]]:
        """Choose boxes that were found.

        Args:
            score_thr: Boxes of classes with a lower score are left out.
            min_confidence: Boxes that are less certain are left out.

        Yields:
            Label, class, score, box and confidence of each of the others.
        """
        boxes = zip(self.labels, self.classes, self.scores, self.boxes, self.confidences, strict=True)
        for found, box in zip(self.found, boxes, strict=True):
            if found and box[2] >= score_thr and box[4] >= min_confidence:
                yield box

    def boxes_of_first_class(
        self, score_thr: float = 0.0, min_confidence: float = 0.0
    ) -> NDArray[np.float64]:
        """Return the boxes (N, 4) of :meth:`kept` that belong to the first class, whose map pictures show."""
        kept = self.kept(score_thr, min_confidence)
        return np.array([box for label, _, _, box, _ in kept if label == self.labels[0]]).reshape(-1, 4)


class Prediction(NamedTuple):
    """What a result is made of: small, so that it may be made in another process.

    Attributes:
        path: The image file; None for an array.
        geometry: How the image got into the network.
        wanted: The classes that get boxes.
        ranked: The best classes, the best first.
        scores: Soft-max scores of all classes (C,), float32.
        map_labels: Classes of the maps, see :class:`LocalizationResult`.
        grids: Their maps (K, h, w), float32.
        can_be_right: False for an image that shows nothing.
    """

    path: str | None
    geometry: ImageGeometry
    wanted: list[int]
    ranked: list[int]
    scores: NDArray[np.float32]
    map_labels: list[int]
    grids: NDArray[np.float32]
    can_be_right: bool

    @classmethod
    def of(cls, sample: DataSample, topk: int = 1) -> 'Prediction':
        """Take it from a prediction of a ``LocalizationHead`` on the CPU, with maps of the wanted classes.

        Args:
            sample: The prediction. With a ``gt_label`` that one is wanted, otherwise the ``topk`` best.
            topk: Number of classes.
        """
        label = sample.get('gt_label')
        wanted = sample.pred_topk[:topk].tolist() if label is None else [int(label)]
        mapped = sample.loc_labels.tolist()
        grids = sample.loc_maps.float().numpy()
        if set(mapped) != {-1}:  # maps that serve all classes stay, each is of an object
            grids = grids[[mapped.index(one) for one in wanted]]
            mapped = wanted
        return cls(
            sample.get('img_path'),
            ImageGeometry.from_metainfo(sample.metainfo),
            wanted,
            sample.pred_topk.tolist(),
            sample.pred_score.float().numpy(),
            mapped,
            grids,
            not sample.get('shows_nothing', False),
        )


def localization_result(
    prediction: Prediction,
    classes: Sequence[str],
    protocol: LocalizationProtocol,
    maps: Maps | None = None,
    boxes: Boxes = 'one',
) -> LocalizationResult:
    """Turn a prediction into a result.

    Args:
        prediction: The prediction.
        classes: Names of all classes.
        protocol: How a map becomes a box; with one threshold.
        maps: Which maps to keep.
        boxes: Of a class the box that the protocol measures, or boxes of all regions of its map.

    Returns:
        The result.
    """
    path, geometry, wanted, ranked, scores, map_labels, grids, can_be_right = prediction
    pairs = [(label, place) for label in wanted for place, of in enumerate(map_labels) if of in (label, -1)]
    finite = bool(np.isfinite(scores).all() and np.isfinite(grids).all())
    shows = [finite and _has_contrast(grid) and not is_empty(grid, protocol) for grid in grids]
    localized = []
    for label, place in pairs:
        found = shows[place]
        score = float(scores[label])
        corners, confidences = confident_boxes(grids[place], geometry, protocol, boxes == 'many')
        for box, confidence in zip(corners, confidences.tolist(), strict=True):
            localized.append((label, score, box, confidence if found and can_be_right else 0.0, found))
    box_labels, box_scores, box_corners, box_confidences, box_found = zip(*localized, strict=True)
    kept = None
    if maps == 'grid':
        kept = grids
    elif maps == 'image':
        kept = np.stack([heat_on_image(grid, geometry, protocol) for grid in grids])
    return LocalizationResult(
        path=path,
        size=geometry.image,
        labels=list(box_labels),
        classes=[classes[label] for label in box_labels],
        scores=list(box_scores),
        boxes=np.stack(box_corners),
        confidences=list(box_confidences),
        found=np.array(box_found),
        pred_scores=scores,
        pred_topk=ranked,
        map_labels=map_labels,
        maps=kept,
        finite=finite,
    )


def _has_contrast(grid: NDArray[np.floating]) -> bool:
    return bool(grid.max() > grid.min())  # False with NaN, too
