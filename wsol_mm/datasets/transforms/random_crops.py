"""Random crops of mmpretrain that take boxes along."""

from typing import Any

from wsol_mm.registry import TRANSFORMS

import numpy as np
from mmpretrain.datasets import transforms


class _MovesBoxes:
    """Moves ``gt_bboxes`` (N, 4), where an item has them, as mmcv's ``CenterCrop`` does: cut at the window.

    The pixels, and the random numbers that they take, are those of mmpretrain.
    """

    def rand_crop_params(self, img: np.ndarray) -> tuple[int, int, int, int]:
        """Choose the window: first row and column, height and width."""
        self._seen, self._window = img.shape[:2], super().rand_crop_params(img)  # type: ignore[misc]
        return self._window

    def transform(self, results: dict) -> dict[str, Any]:
        """Crop the image, and its boxes.

        Args:
            results: The item.

        Returns:
            The item.

        Raises:
            ValueError: If there are boxes, and the image was padded.
        """
        shape = results['img'].shape[:2]
        results = super().transform(results)  # type: ignore[misc]
        if 'gt_bboxes' in results:
            if self._seen != shape:
                raise ValueError(
                    f'{type(self).__name__}: expected no padding of an image with boxes, got {self._seen} of '
                    f'{shape} pixels (height, width)'
                )
            top, left, height, width = self._window
            scale = results['img'].shape[1] / width, results['img'].shape[0] / height
            moved = results['gt_bboxes'] - np.array([left, top] * 2)
            results['gt_bboxes'] = np.clip(moved, 0, [width, height] * 2) * np.array(scale * 2)
        return results


@TRANSFORMS.register_module()
class RandomCrop(_MovesBoxes, transforms.RandomCrop):
    """mmpretrain's ``RandomCrop``, which also moves ``gt_bboxes``."""


@TRANSFORMS.register_module()
class RandomResizedCrop(_MovesBoxes, transforms.RandomResizedCrop):
    """mmpretrain's ``RandomResizedCrop``, which also moves ``gt_bboxes``."""
