"""Packs what localization needs into a data sample."""

from collections.abc import Sequence

from wsol_mm.datasets.dataset_problems import DatasetError
from wsol_mm.registry import TRANSFORMS

import numpy as np
import torch
from mmpretrain.datasets.transforms import PackInputs


@TRANSFORMS.register_module()
class PackLocalizationInputs(PackInputs):
    """mmpretrain's ``PackInputs`` with ground-truth boxes and masks.

    **Required keys:** ``img``, ``ori_shape``.

    **Packed:** ``inputs``, the uint8 image (3, h, w), or (10, 3, h, w) after ``TenCrop``; ``data_samples``, a
    ``DataSample`` with

    - ``gt_label``: (1,) int64 tensor;
    - ``gt_bboxes``: (N, 4) float64 array from the key ``ori_gt_bboxes``: x0 y0 x1 y1 in pixels of the file on
      disk, untouched by the transforms (evaluation converts them by ``ori_shape``, ``scale_factor`` and
      ``img_shape``);
    - ``gt_mask``: (h, w) uint8 array, 1 object, 0 background, 255 ignored, in the frame of the evaluation, if
      ``LoadLocalizationMask`` made one;
    - ``pseudo_map``: (h, w) float32 tensor, what another model has found, if ``LoadPseudoMap`` loaded one;
    - ``pseudo_box``: (4) float32 tensor, x0 y0 x1 y1 as shares of the network input, and
      ``pseudo_box_weight`` (1), 0 where there is none to learn, if ``LoadPseudoBox`` loaded one;
    - meta fields as in ``meta_keys``; ``ori_shape`` (H, W), ``img_shape`` (h, w) of the network input and
      ``scale_factor`` (w, h) are always plain tuples.

    Args:
        meta_keys: Keys to keep as meta fields, where present.

    Raises:
        ValueError: If the item has ``gt_bboxes`` but no ``ori_gt_bboxes``: after mmcv's transforms those may
            no longer be the boxes of the file.
        DatasetError: If the image read differs in size from what the data set found, so that boxes would not
            fit.
    """

    DEFAULT_META_KEYS = (
        'sample_idx',
        'img_path',
        'img_id',
        'ori_shape',
        'img_shape',
        'scale_factor',
        'flip',
        'flip_direction',
        'load_error',
        'apply_exif',
        'white',
        'background',
    )

    def __init__(self, meta_keys: Sequence[str] = DEFAULT_META_KEYS) -> None:
        super().__init__(input_key='img', algorithm_keys=(), meta_keys=meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack an item.

        Args:
            results: The item after all other transforms.

        Returns:
            ``inputs`` and ``data_samples``.
        """
        pseudo = 'pseudo_box_weight' in results
        if 'gt_bboxes' in results and 'ori_gt_bboxes' not in results and not pseudo:
            raise ValueError(
                'PackLocalizationInputs: expected boxes of the file on disk under the key `ori_gt_bboxes`, '
                'got `gt_bboxes`, which transforms of mmcv change'
            )
        if 'width' in results and tuple(results['ori_shape'][:2]) != (results['height'], results['width']):
            height, width = results['ori_shape'][:2]
            raise DatasetError(
                f'{results.get("img_path")}: expected {results["width"]}x{results["height"]} (width x '
                f'height), as the data set has it, got {width}x{height}: the boxes would not fit. Give '
                'LoadImageWithPillow and the data set the same `apply_exif` (EXIF orientation; '
                "mmcv's LoadImageFromFile applies it with color_type='color')"
            )
        image = results['img']  # crops of mmcv leave (h, w, 3) as `img_shape`
        results['img_shape'] = tuple(image.shape[-2:] if image.ndim == 4 else image.shape[:2])
        results['ori_shape'] = tuple(results['ori_shape'][:2])
        packed = super().transform(results)
        sample = packed['data_samples']
        if 'ori_gt_bboxes' in results:
            boxes = np.asarray(results['ori_gt_bboxes'], dtype=np.float64).reshape(-1, 4)
            sample.set_field(boxes, 'gt_bboxes', dtype=np.ndarray)
        if 'gt_mask' in results:
            sample.set_field(results['gt_mask'], 'gt_mask', dtype=np.ndarray)
        if 'pseudo_map' in results:
            sample.pseudo_map = torch.from_numpy(results['pseudo_map'])
        if pseudo:
            height, width = results['img_shape']
            box = np.clip(results['gt_bboxes'][0] / np.array([width, height] * 2), 0, 1)
            # A crop may have left nothing of the object.
            weight = results['pseudo_box_weight'] if (box[2:] > box[:2]).all() else 0.0
            sample.pseudo_box = torch.from_numpy(box.astype(np.float32))
            sample.pseudo_box_weight = torch.tensor([weight])
        return packed

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={tuple(self.meta_keys)})'
