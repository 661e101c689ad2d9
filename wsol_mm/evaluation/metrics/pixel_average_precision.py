"""PxAP and pixel IoU for data sets with masks, as a metric."""

from collections.abc import Sequence
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
from wsol_mm.evaluation.protocols import get_protocol
from wsol_mm.registry import METRICS

import numpy as np
from mmengine.evaluator import BaseMetric

from .protocol_record import MapsByClass
from .validity import all_finite, invalid_metrics, to_numpy

_NAMES = ('PxAP', 'PxIoU', 'PxIoU_threshold')


@METRICS.register_module()
class PixelAveragePrecision(BaseMetric):
    """PxAP: area under the pixel precision-recall curve over all images (wsolevaluation), in percent.

    Also reported: ``PxIoU``, the largest IoU of thresholded maps and masks over all pixels, and
    ``PxIoU_threshold``, where it is reached first. Class maps are those of the label.

    Args:
        interval: Step of the thresholds in [0, 1).
        protocol: Preset (or dict of :func:`get_protocol` arguments) that makes the score map.
        collect_device: 'cpu' or 'gpu'.
        prefix: Optional prefix of all names.

    Raises:
        ValueError: If ``interval`` is not in (0, 1).
    """

    default_prefix = 'pixel'

    def __init__(
        self,
        interval: float = 0.001,
        protocol: str | dict = 'maxboxacc',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 < interval < 1:
            raise ValueError(f'interval: expected a number in (0, 1), got {interval}')
        self.thresholds = np.arange(0, 1, interval)
        self.protocol = get_protocol(protocol) if isinstance(protocol, str) else get_protocol(**protocol)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Histogram the scores of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``loc_maps``, ``loc_labels``, ``gt_label`` and ``gt_mask``
                (H, W) uint8 of :func:`rasterize_masks`, in the evaluation frame.

        Raises:
            KeyError: If ``gt_mask`` is missing.
            ValueError: If ``gt_mask`` is not of the size of the evaluation frame.
        """
        for sample in data_samples:
            if 'gt_mask' not in sample:
                raise KeyError(
                    "data sample: expected 'gt_mask', as PixelAveragePrecision reads it, got "
                    f'{sorted(sample)}. LoadLocalizationMask in the pipeline gives it'
                )
            mask = to_numpy(sample['gt_mask'])
            maps = MapsByClass(to_numpy(sample['loc_maps']), to_numpy(sample['loc_labels']))
            if sample.get('load_error') is None and not all_finite(sample):
                self.results.append(np.empty(0, np.uint16))
                continue
            label = int(to_numpy(sample['gt_label']).reshape(-1)[0])
            size = ImageGeometry.from_metainfo(sample, self.protocol.frame_size).frame
            if mask.shape != size[::-1]:
                raise ValueError(
                    f'gt_mask: expected {size[0]}x{size[1]} (width x height), the frame of protocol '
                    f'{self.protocol.name!r}, got {mask.shape[1]}x{mask.shape[0]}. Rasterize the masks '
                    f'there, with LoadLocalizationMask(size={size}), or evaluate at the network input, with '
                    f'LoadLocalizationMask(size=None) and protocol=dict(name={self.protocol.name!r}, '
                    'frame_size=None)'
                )
            try:
                score = np.clip(score_map(maps[label], size, self.protocol), 0, 1)
            except ConstantMapError:
                score = np.zeros((size[1], size[0]))
            histograms = pixel_histograms(score, mask, self.thresholds)
            # Counts below 65,536 fit 16 bits: a quarter of what travels. Larger frames keep 32.
            dtype = np.uint16 if mask.size <= np.iinfo(np.uint16).max else np.uint32
            self.results.append(np.stack(histograms).astype(dtype))

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
