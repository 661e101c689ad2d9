"""Cases with ground-truth box conversion and test transforms of the published loaders."""

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry, gt_boxes_to_frame
from wsol_mm.registry import MODELS, TRANSFORMS

import numpy as np
import torch
from mmcv.transforms import Compose

from . import Case, Comparison, close, equal, register


@register('ts_cam', lambda case: 'in/cub/xywh' in case.arrays)
def check_ts_cam(case: Case) -> list[Comparison]:
    """TS-CAM: CUB and ILSVRC boxes at every crop size, and the test transform."""
    arrays = dict(case.arrays)
    xywh = arrays['in/cub/xywh']
    results = [_labels(arrays['out/cub/label'])]
    cub, ilsvrc = get_protocol('ts_cam'), get_protocol('ts_cam', tuned_on='ilsvrc')
    for key in [name for name in arrays if name.startswith('out/cub/box_')]:
        crop = int(key.rsplit('_', 1)[1])
        found = [
            gt_boxes_to_frame(
                [[x, y, x + w, y + h]],
                ImageGeometry(tuple(size), (crop, crop), (crop, crop)),
                cub.gt_conversion,
            )[0]
            for (x, y, w, h), size in zip(xywh, arrays['in/cub/size_wh'], strict=True)
        ]
        results.append(equal(f'cub/box_{crop}', found, arrays[key]))
        found = np.full(arrays[f'out/ilsvrc/box_{crop}'].shape, -1.0)
        for row, boxes, count, size in zip(
            found,
            arrays['in/ilsvrc/xyxy'],
            arrays['in/ilsvrc/count'],
            arrays['in/ilsvrc/size_wh'],
            strict=True,
        ):
            geometry = ImageGeometry(tuple(size), (crop, crop), (crop, crop))
            row[:count] = gt_boxes_to_frame(boxes[:count], geometry, ilsvrc.gt_conversion)
        results.append(equal(f'ilsvrc/box_{crop}', found, arrays[f'out/ilsvrc/box_{crop}']))
    for key in [name for name in arrays if name.startswith('in/transform/image_')]:
        wanted = arrays[key.replace('in/transform/image', 'out/transform/tensor')]
        results.append(close(key, _test_transform(arrays[key], wanted.shape[-1]), wanted, 1e-5))
    return results


def _labels(labels: np.ndarray) -> Comparison:
    """The fixture holds no label file; what can be said is that its labels are 0-based indices."""
    return Comparison('cub/label is 0-based', float(labels.min() < 0 or labels.max() > 199), 0.0)


def _test_transform(image: np.ndarray, crop: int) -> np.ndarray:
    """Run an RGB image through the test pipeline and the data preprocessor of the configs."""
    pipeline = Compose(
        [
            TRANSFORMS.build(dict(type='mmcv.Resize', scale=(crop, crop), backend='pillow')),
            TRANSFORMS.build(dict(type='PackLocalizationInputs')),
        ]
    )
    height, width = image.shape[:2]
    packed = pipeline(dict(img=image[..., ::-1].copy(), img_shape=(height, width), ori_shape=(height, width)))
    preprocessor = MODELS.build(
        dict(
            type='mmpretrain.ClsDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            to_rgb=True,
        )
    )
    inputs = preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))['inputs']
    return torch.as_tensor(inputs)[0].numpy()
