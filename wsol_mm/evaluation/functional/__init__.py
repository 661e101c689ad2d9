"""Plain functions from localization maps to boxes and metrics; usable without a model.

Importing them compiles nothing: the kernels behind :func:`largest_regions` and :func:`all_regions` are
compiled (and cached on disk) when they are first called.
"""

from .boxes import (
    ImageGeometry,
    box_areas,
    box_intersections,
    box_iou,
    frame_boxes_to_image,
    frame_in_image,
    gt_boxes_to_frame,
    mask_box,
    suppress_overlapping,
)
from .error_breakdown import OUTCOMES, localization_outcome
from .masks import (
    PixelHistograms,
    best_pixel_iou,
    pixel_average_precision,
    pixel_histograms,
    rasterize_masks,
)
from .regions import RegionFinder, Regions, all_regions, best_iou_per_level, largest_regions
from .score_maps import ConstantMapError, make_score_map, min_max_normalize
from .thresholding import LevelImage, integer_thresholds, level_image, quantize

__all__ = [
    'OUTCOMES',
    'ConstantMapError',
    'LevelImage',
    'PixelHistograms',
    'RegionFinder',
    'Regions',
    'ImageGeometry',
    'all_regions',
    'best_iou_per_level',
    'best_pixel_iou',
    'box_areas',
    'box_intersections',
    'box_iou',
    'frame_boxes_to_image',
    'frame_in_image',
    'gt_boxes_to_frame',
    'integer_thresholds',
    'mask_box',
    'largest_regions',
    'level_image',
    'localization_outcome',
    'make_score_map',
    'min_max_normalize',
    'pixel_average_precision',
    'pixel_histograms',
    'quantize',
    'rasterize_masks',
    'suppress_overlapping',
]
