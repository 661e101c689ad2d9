"""PxAP and pixel IoU for data sets with masks, as a metric."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from wsol_mm.evaluation.functional.boxes import ImageGeometry
from wsol_mm.evaluation.functional.masks import (
    PixelHistograms,
    best_pixel_iou,
    pixel_average_precision,
    pixel_histograms,
)
from wsol_mm.evaluation.functional.score_maps import ConstantMapError
from wsol_mm.evaluation.map_boxes import score_map
from wsol_mm.evaluation.protocols import LocalizationProtocol, get_protocol
from wsol_mm.registry import METRICS

import numpy as np
from numpy.typing import NDArray

from .overlapped_metric import OverlappedMetric
from .protocol_record import MapsByClass
from .validity import all_finite, invalid_metrics

_NAMES = ('PxAP', 'PxIoU', 'PxIoU_threshold')


def pixel_counts(
    thresholds: NDArray[np.float64], protocol: LocalizationProtocol, sample: Mapping[str, Any]
) -> NDArray[np.unsignedinteger]:
    """Histogram the scores of one image.

    Args:
        thresholds: Rising thresholds (T,).
        protocol: What makes the score map.
        sample: Prediction and mask, as :class:`PixelAveragePrecision` reads them, in NumPy.

    Returns:
        The arrays of :class:`PixelHistograms`, stacked; empty for a prediction that is NaN or infinite.

    Raises:
        KeyError: If ``gt_mask`` is missing.
        ValueError: If ``gt_mask`` is not of the size of the evaluation frame.
    """
    if 'gt_mask' not in sample:
        raise KeyError(
            "data sample: expected 'gt_mask', as PixelAveragePrecision reads it, got "
            f'{sorted(sample)}. LoadLocalizationMask in the pipeline gives it'
        )
    if sample.get('load_error') is None and not all_finite(sample):
        return np.empty(0, np.uint16)
    mask = np.asarray(sample['gt_mask'])
    size = ImageGeometry.from_metainfo(sample, protocol.frame_size).frame
    if mask.shape != size[::-1]:
        raise ValueError(
            f'gt_mask: expected {size[0]}x{size[1]} (width x height), the frame of protocol '
            f'{protocol.name!r}, got {mask.shape[1]}x{mask.shape[0]}. Rasterize the masks there, with '
            f'LoadLocalizationMask(size={size}), or evaluate at the network input, with '
            f'LoadLocalizationMask(size=None) and protocol=dict(name={protocol.name!r}, frame_size=None)'
        )
    maps = MapsByClass(sample['loc_maps'], sample['loc_labels'])
    label = int(np.reshape(sample['gt_label'], -1)[0])
    try:
        score = np.clip(score_map(maps[label], size, protocol), 0, 1)
    except ConstantMapError:
        score = np.zeros((size[1], size[0]))
    # Counts below 65,536 fit 16 bits: a quarter of what travels. Larger frames keep 32.
    dtype = np.uint16 if mask.size <= np.iinfo(np.uint16).max else np.uint32
    return np.stack(pixel_histograms(score, mask, thresholds)).astype(dtype)


@METRICS.register_module()
class PixelAveragePrecision(OverlappedMetric[NDArray[np.unsignedinteger]]):
    """PxAP: area under the pixel precision-recall curve over all images (wsolevaluation), in percent.

    Also reported: ``PxIoU``, the largest IoU of thresholded maps and masks over all pixels, and
    ``PxIoU_threshold``, where it is reached first. Class maps are those of the label.

    It reads predictions with ``loc_maps``, ``loc_labels``, ``gt_label``, the meta keys of
    :class:`ImageGeometry` and ``gt_mask`` (H, W) uint8 of :func:`rasterize_masks`, in the evaluation frame.

    Args:
        interval: Step of the thresholds in [0, 1).
        protocol: Preset (or dict of :func:`get_protocol` arguments) that makes the score map.
        num_eval_workers: Processes of each rank that look at the pixels of a batch while the network works on
            the next ones, see :class:`LocalizationMetric`.
        collect_device: 'cpu' or 'gpu'.
        prefix: Optional prefix of all names.

    Raises:
        ValueError: If ``interval`` is not in (0, 1), or ``num_eval_workers`` no integer from 0.
    """

    default_prefix = 'pixel'
    fields = (*OverlappedMetric.fields, 'gt_mask')

    def __init__(
        self,
        interval: float = 0.001,
        protocol: str | dict = 'maxboxacc',
        num_eval_workers: int = 2,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        if not 0 < interval < 1:
            raise ValueError(f'interval: expected a number in (0, 1), got {interval}')
        self.thresholds = np.arange(0, 1, interval)
        self.protocol = get_protocol(protocol) if isinstance(protocol, str) else get_protocol(**protocol)
        make_record = partial(pixel_counts, self.thresholds, self.protocol)
        super().__init__(make_record, num_eval_workers, collect_device=collect_device, prefix=prefix)

    def metric_names(self) -> set[str]:
        """Return the names of all metrics."""
        return {f'{self.prefix}/{name}' for name in _NAMES}

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Sum the histograms of all images and take the area under their curve.

        Raises:
            ValueError: If no image has a foreground pixel.
        """
        infinite = sum(not counts.size for counts in results)
        if infinite:
            finite = [counts for counts in results if counts.size]
            others = self.compute_metrics(finite) if finite else {}
            return invalid_metrics(dict.fromkeys(_NAMES, 0.0), infinite, len(results), others)
        total = np.zeros(results[0].shape, np.int64)
        for counts in results:
            total += counts
        histograms = PixelHistograms(*total)
        iou, threshold = best_pixel_iou(histograms, self.thresholds)
        return {'PxAP': pixel_average_precision(histograms), 'PxIoU': iou, 'PxIoU_threshold': threshold}
