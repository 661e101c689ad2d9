"""Box arithmetic of the published evaluators: IoU, ground-truth conversion, the way back to the image."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

GtConversion = Literal['truncate_xywh', 'truncate', 'clipped', 'continuous', 'integer']


def box_iou(
    boxes: NDArray[np.number], gt_boxes: NDArray[np.number], inclusive: bool = False
) -> NDArray[np.float64]:
    """IoU of every predicted box with every ground-truth box, in float64.

    Args:
        boxes: Predicted boxes (M, 4), x0 y0 x1 y1.
        gt_boxes: Ground-truth boxes (G, 4), x0 y0 x1 y1.
        inclusive: If True, corners are pixel indices that belong to the box (``x1 - x0 + 1`` pixels
            wide); if False, they are continuous coordinates.

    Returns:
        IoU (M, G), 0 where the union is empty.
    """
    intersection = box_intersections(boxes, gt_boxes, inclusive)
    union = box_areas(boxes, inclusive)[:, None] + box_areas(gt_boxes, inclusive)[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def box_intersections(
    boxes: NDArray[np.number], gt_boxes: NDArray[np.number], inclusive: bool = False
) -> NDArray[np.float64]:
    """Areas (M, G) shared by boxes (M, 4) and ground-truth boxes (G, 4)."""
    a = np.asarray(boxes, np.float64)[:, None]
    b = np.asarray(gt_boxes, np.float64)[None]
    return paired_intersections(a, b, inclusive)


def paired_intersections(
    a: NDArray[np.float64], b: NDArray[np.float64], inclusive: bool = False
) -> NDArray[np.float64]:
    """Areas (...) shared by boxes (..., 4) in the same places; shapes are broadcast."""
    sides = (
        np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + (1.0 if inclusive else 0.0)
    )
    return np.prod(np.maximum(sides, 0.0), axis=-1)


def box_areas(boxes: NDArray[np.number], inclusive: bool = False) -> NDArray[np.float64]:
    """Areas of boxes (..., 4); with ``inclusive`` the end pixel counts."""
    sides = np.asarray(boxes, np.float64)[..., 2:] - np.asarray(boxes, np.float64)[..., :2]
    return np.prod(sides + (1.0 if inclusive else 0.0), axis=-1)


def suppress_overlapping(
    boxes: NDArray[np.number], scores: NDArray[np.floating], max_iou: float
) -> NDArray[np.int64]:
    """Choose boxes that do not overlap much: greedy non-maximum suppression.

    Args:
        boxes: Boxes (N, 4), x0 y0 x1 y1.
        scores: Their scores (N,).
        max_iou: Largest IoU of two boxes that are kept.

    Returns:
        Places of the boxes that are kept (M,), the best score first, of equal ones the first.
    """
    order = np.argsort(-np.asarray(scores), kind='stable')
    overlaps = box_iou(boxes, boxes) > max_iou
    kept: list[int] = []
    for place in order.tolist():
        if not overlaps[place, kept].any():
            kept.append(place)
    return np.array(kept, np.int64)


class ImageGeometry(NamedTuple):
    """How a test image got into the evaluation frame: resized, then cropped around its centre.

    All sizes are (width, height) in pixels.
    """

    image: tuple[int, int]
    resized: tuple[int, int]
    frame: tuple[int, int]

    @classmethod
    def from_metainfo(cls, metainfo: Mapping[str, Any], frame_size: int | None = None) -> 'ImageGeometry':
        """Read the geometry from the meta information of a data sample.

        Args:
            metainfo: ``ori_shape`` (H, W), ``img_shape`` (h, w) and, unless the image was not
                resized, ``scale_factor`` (w, h).
            frame_size: Side of a square evaluation frame that replaces the network input's size.

        Raises:
            KeyError: If ``ori_shape`` or ``img_shape`` is missing.
        """
        for key in ('ori_shape', 'img_shape'):
            if key not in metainfo:
                raise KeyError(
                    f'data sample: expected the meta key {key!r}, got none. PackLocalizationInputs packs it'
                )
        height, width = metainfo['ori_shape'][:2]
        crop = metainfo['img_shape'][1], metainfo['img_shape'][0]
        scale = metainfo.get('scale_factor', (1.0, 1.0))
        resized = round(width * scale[0]), round(height * scale[1])
        if frame_size is None:
            return cls((width, height), resized, crop)
        resized = round(resized[0] * frame_size / crop[0]), round(resized[1] * frame_size / crop[1])
        return cls((width, height), resized, (frame_size, frame_size))

    @property
    def kind(self) -> str:
        """'squash' (no crop), 'squash_crop' (square resize, crop) or 'short_side_crop'."""
        if self.resized == self.frame:
            return 'squash'
        return 'squash_crop' if self.resized[0] == self.resized[1] else 'short_side_crop'

    @property
    def keeps_aspect(self) -> bool:
        """Whether the resize keeps the aspect ratio, up to the rounding of sides to pixels.

        A nearly square image may be resized to a square either way; that it keeps its ratio is all that can
        be said of it.
        """
        scale = min(self.resized) / min(self.image)
        return all(
            abs(side * scale - resized) < 1 for side, resized in zip(self.image, self.resized, strict=True)
        )

    @property
    def offset(self) -> tuple[int, int]:
        """Upper left corner (x, y) of the central crop in the resized image."""
        return (
            max(0, round((self.resized[0] - self.frame[0]) / 2)),
            max(0, round((self.resized[1] - self.frame[1]) / 2)),
        )


def mask_box(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the bounds of a mask (H, W): x0 y0 x1 y1 with exclusive upper ends, zeros if it is empty."""
    if not mask.any():
        return np.zeros(4, np.int64)
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def gt_boxes_to_frame(
    boxes: NDArray[np.number], geometry: ImageGeometry, conversion: GtConversion
) -> NDArray[np.float64]:
    """Convert ground-truth boxes of the original image into the evaluation frame.

    Args:
        boxes: Boxes (G, 4), x0 y0 x1 y1 in pixels of the original image.
        geometry: Sizes of image, resized image and frame.
        conversion: One of

            - ``'truncate_xywh'``: x, y, width and height are truncated to integers first, the scaled
              corners are clamped (lower ones at 0, upper ones at the last pixel) and truncated (TS-CAM, SCM);
            - ``'truncate'``: as before without the first truncation (SAT);
            - ``'clipped'``: the scaled corners are clipped to the frame, W and H included, and stay fractions
              (PSOL, BAS);
            - ``'continuous'``: the resized side is not rounded, the crop offset has one half pixel
              more than the crop of the image, and the result is clipped to the frame (LCTR, CATR, CDTR);
            - ``'integer'``: corners are truncated and the upper ones kept inside the image, then scaled
              and truncated, multiplication first (wsolevaluation).

    Returns:
        Boxes (G, 4) float64 in frame pixels. Degenerate boxes are kept as they come out.

    Raises:
        ValueError: If ``conversion`` is unknown.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    image, resized, frame = (np.array(size, np.float64) for size in geometry)
    low, high = boxes[:, :2], boxes[:, 2:]
    if conversion == 'continuous':
        return _continuous(low, high, image, geometry)
    # The published loaders halve the margin downwards; the transforms round it (equal for even margins).
    offset = np.maximum((resized - frame) // 2, 0)
    if conversion == 'clipped':
        corners = [np.clip(end / image * resized - offset, 0, frame) for end in (low, high)]
        return np.concatenate(corners, axis=1)
    if conversion == 'integer':
        low, high = np.trunc(low), np.minimum(np.trunc(high), image - 1)
        low, high = np.trunc(low * resized / image - offset), np.trunc(high * resized / image - offset)
        if geometry.kind != 'squash':
            low, high = np.clip(low, 0, frame - 1), np.clip(high, 0, frame - 1)
        return np.concatenate([low, high], axis=1)
    if conversion == 'truncate_xywh':
        # Two decimals are all that annotation files carry; rounding removes the noise of x1 - x0.
        size = np.trunc(np.round(high - low, 6))
        low = np.trunc(low)
        high = low + size
    elif conversion != 'truncate':
        raise ValueError(f'conversion: expected one of {get_args(GtConversion)}, got {conversion!r}')
    low = np.maximum(low / image * resized - offset, 0)
    high = np.minimum(high / image * resized - offset, frame - 1)
    return np.trunc(np.concatenate([low, high], axis=1))


def _continuous(
    low: NDArray[np.float64], high: NDArray[np.float64], image: NDArray[np.float64], geometry: ImageGeometry
) -> NDArray[np.float64]:
    frame = np.array(geometry.frame, np.float64)
    if geometry.kind != 'squash' and geometry.keeps_aspect:
        short = min(geometry.resized)
        resized = image * short / image.min()
    else:
        resized = np.array(geometry.resized, np.float64)
    offset = np.array(
        [round((side - crop + 1) / 2) for side, crop in zip(resized, frame, strict=True)], np.float64
    )
    corner = low / image * resized - offset
    extent = (high - low) / image * resized
    return np.clip(np.concatenate([corner, corner + extent], axis=1), 0, np.tile(frame, 2))


def frame_boxes_to_image(boxes: NDArray[np.number], geometry: ImageGeometry) -> NDArray[np.float64]:
    """Convert boxes of the evaluation frame back to pixels of the original image.

    Args:
        boxes: Boxes (M, 4), x0 y0 x1 y1 with exclusive upper ends, in frame pixels.
        geometry: Sizes of image, resized image and frame.

    Returns:
        Boxes (M, 4) float64, clipped to the image.
    """
    image, resized = np.array(geometry.image, np.float64), np.array(geometry.resized, np.float64)
    corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2) + np.array(geometry.offset, np.float64)
    return np.clip(corners / resized * image, 0, image).reshape(-1, 4)


def frame_in_image(geometry: ImageGeometry) -> tuple[int, int, int, int]:
    """Pixels of the original image that the evaluation frame covers: x0 y0 x1 y1 with exclusive ends."""
    frame = np.array([[0, 0, *geometry.frame]])
    return tuple(np.round(frame_boxes_to_image(frame, geometry)[0]).astype(int).tolist())
