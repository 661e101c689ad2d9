"""Pixel metrics for data sets with masks: PxAP and the pixel IoU (wsolevaluation's mask protocol)."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

IGNORED = 255


def rasterize_masks(
    masks: Sequence[NDArray[np.uint8]],
    ignore: Sequence[NDArray[np.uint8]] | None,
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """Merge instance masks into one label map of the evaluation frame.

    Args:
        masks: One grey-scale mask (h, w) per instance, each at its own size; foreground is > 0.5.
        ignore: Masks of the pixels that count for nothing, or None.
        size: Width and height of the frame in pixels.

    Returns:
        uint8 array (height, width): 1 foreground, 255 ignored and not foreground, 0 the rest.

    Raises:
        ValueError: If a mask is not a non-empty 2-D array.
    """

    def union(group: Sequence[NDArray[np.uint8]], name: str) -> NDArray[np.bool_]:
        merged = np.zeros((size[1], size[0]), bool)
        for index, mask in enumerate(group):
            if mask.ndim != 2 or mask.size == 0:
                raise ValueError(
                    f'{name}[{index}]: expected a non-empty 2-D grey mask, got shape {mask.shape}'
                )
            merged |= cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_NEAREST) > 0.5
        return merged

    foreground = union(masks, 'masks')
    label_map = foreground.astype(np.uint8)
    if ignore is not None:
        label_map[union(ignore, 'ignore') & ~foreground] = IGNORED
    return label_map


class PixelHistograms(NamedTuple):
    """Counts of pixels per score bin, ascending; both arrays are int64 (T + 2,)."""

    foreground: NDArray[np.int64]
    background: NDArray[np.int64]


def pixel_histograms(
    score: NDArray[np.floating], label_map: NDArray[np.uint8], thresholds: NDArray[np.float64]
) -> PixelHistograms:
    """Histogram the scores of one image for PxAP.

    The bins are ``[t_i, t_{i+1})`` over the thresholds followed by 1, 2 and 3, with comparisons in
    float64: a score of exactly 1 falls into [1, 2).

    Args:
        score: Score map (h, w) in [0, 1].
        label_map: Label map (h, w) of :func:`rasterize_masks`.
        thresholds: Ascending thresholds (T,), the first of them 0, all below 1.

    Returns:
        The two histograms.

    Raises:
        ValueError: If the shapes differ or a score is NaN or outside [0, 1].
    """
    if score.shape != label_map.shape:
        raise ValueError(f'score: expected the shape of label_map, {label_map.shape}, got {score.shape}')
    flat = score.astype(np.float64, copy=False).ravel()
    if not (flat.min() >= 0 and flat.max() <= 1):
        raise ValueError(f'score: expected values in [0, 1] without NaN, got {flat.min()} to {flat.max()}')
    edges = np.append(thresholds, (1.0, 2.0, 3.0))
    labels = label_map.ravel()
    valid = labels != IGNORED
    bins = np.searchsorted(edges, flat[valid], side='right') - 1
    counts = np.bincount(bins + (labels[valid] == 1) * (len(edges) - 1), minlength=2 * (len(edges) - 1))
    background, foreground = counts.reshape(2, -1)
    return PixelHistograms(foreground, background)


def pixel_average_precision(histograms: PixelHistograms) -> float:
    """Area under the pixel precision-recall curve, PxAP, in percent.

    Args:
        histograms: Histograms summed over all images (micro average).

    Returns:
        The step-wise area ``100 * sum precision_k (recall_k - recall_{k-1})``.

    Raises:
        ValueError: If there is no foreground pixel at all.
    """
    true_positives, false_positives = _cumulative(histograms)
    retrieved = true_positives + false_positives
    recall_steps = np.diff(true_positives / true_positives[-1])
    # The uppermost bin opens the curve and adds no area of its own.
    nonempty = retrieved[1:] > 0
    precision = true_positives[1:][nonempty] / retrieved[1:][nonempty]
    return float(100 * np.sum(precision * recall_steps[nonempty]))


def best_pixel_iou(histograms: PixelHistograms, thresholds: NDArray[np.float64]) -> tuple[float, float]:
    """Largest IoU of thresholded score maps and masks over all pixels of all images.

    Args:
        histograms: Histograms summed over all images.
        thresholds: The thresholds (T,) they were made with; foreground is score >= threshold.

    Returns:
        The IoU in percent and the threshold where it is reached first.

    Raises:
        ValueError: If there is no foreground pixel at all.
    """
    true_positives, false_positives = _cumulative(histograms)
    iou = true_positives / (true_positives[-1] + false_positives)
    ascending = iou[::-1][: len(thresholds)]
    best = int(np.argmax(ascending))
    return float(100 * ascending[best]), float(thresholds[best])


def _cumulative(histograms: PixelHistograms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and false positives when the bins are added from the highest score down."""
    true_positives = np.cumsum(histograms.foreground[::-1]).astype(np.float64)
    false_positives = np.cumsum(histograms.background[::-1]).astype(np.float64)
    if true_positives[-1] == 0:
        raise ValueError('masks: expected foreground pixels, without which there is no PxAP, got none')
    return true_positives, false_positives
