"""Cases of SAT's data side: its test pipeline, ground-truth boxes in the crop, IoU."""

from pathlib import Path
from tempfile import TemporaryDirectory

from wsol_mm.datasets import CUB
from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry, box_iou, gt_boxes_to_frame
from wsol_mm.registry import MODELS
from wsol_mm.structures import CENTER_CROP

import numpy as np
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope
from PIL import Image

from . import Case, Comparison, close, equal, register

_DATA_CONFIG = Path(__file__).resolve().parents[3] / 'configs' / 'sat' / '_base_' / 'cub.py'


@register('sat', lambda case: {'in/wh', 'in/boxes', 'in/offsets'} <= {*case.arrays})
def check_gt_boxes(case: Case) -> list[Comparison]:
    """Boxes of all loaders, at every resize and crop size of the case."""
    arrays, results = dict(case.arrays), []
    conversion = get_protocol('sat').gt_conversion
    offsets = arrays['in/offsets']
    for key in [name for name in arrays if name.endswith('/all')]:
        resize, crop = (int(part[1:]) for part in key.split('/')[1].split('_'))
        found = [
            gt_boxes_to_frame(
                arrays['in/boxes'][start:stop],
                ImageGeometry(tuple(size.tolist()), (resize, resize), (crop, crop)),
                conversion,
            )
            for size, start, stop in zip(arrays['in/wh'], offsets, offsets[1:], strict=False)
        ]
        stem = key.removesuffix('all')
        results += [
            equal(key, np.concatenate(found), arrays[key]),
            equal(f'{stem}ilsvrc', np.concatenate(found), arrays[f'{stem}ilsvrc']),
            equal(f'{stem}first', np.stack([boxes[0] for boxes in found]), arrays[f'{stem}first']),
        ]
    return results


@register('sat', lambda case: {*case.arrays} == {'in/pred', 'in/gt', 'out/iou'})
def check_iou(case: Case) -> list[Comparison]:
    """IoU of pixel boxes, degenerate ones too."""
    inclusive = get_protocol('sat').inclusive_iou
    pairs = zip(case.arrays['in/pred'], case.arrays['in/gt'], strict=True)
    found = [box_iou(box[None], truth[None], inclusive)[0, 0] for box, truth in pairs]
    return [close('iou', found, case.arrays['out/iou'], 1e-9)]


@register('sat', lambda case: 'resize_size' in case.meta.get('args', ()) and 'in/img0' in case.arrays)
def check_test_pipeline(case: Case) -> list[Comparison]:
    """Images and lists on disk, through data set, pipeline of the configs and data preprocessor."""
    settings = Config.fromfile(_DATA_CONFIG)
    resize, crop = case.meta['args']['resize_size'], case.meta['args']['crop_size']
    pipeline = settings.test_dataloader.dataset.pipeline
    for transform in pipeline:
        if transform.type == 'Resize':
            transform.scale = (resize, resize)
        elif transform.type == 'TenCrop':
            transform.crop_size = crop
    images = [case.arrays[name] for name in sorted(case.arrays) if name.startswith('in/img')]
    with TemporaryDirectory() as folder, DefaultScope.overwrite_default_scope('wsol_mm'):
        root = Path(folder)
        _write_lists(root, images)
        dataset = CUB(folder, split='test', list_dir='', test_mode=True, pipeline=pipeline)
        batch = default_collate([dataset[i] for i in range(len(images))])
        normalised = MODELS.build(settings.data_preprocessor)(batch)['inputs'].numpy()
    conversion, results = get_protocol('sat').gt_conversion, []
    for i, sample in enumerate(batch['data_samples']):
        boxes = gt_boxes_to_frame(sample.gt_bboxes, ImageGeometry.from_metainfo(sample.metainfo), conversion)
        # inputs are BGR, the reference's arrays RGB
        crops = batch['inputs'][i].numpy()[:, ::-1]
        results += [
            equal(f'img{i}/tencrop', crops, case.arrays[f'out/img{i}/tencrop']),
            close(f'img{i}/center', normalised[i, CENTER_CROP], case.arrays[f'out/img{i}/center'], 1e-6),
            equal(f'img{i}/box', boxes[0], case.arrays[f'out/img{i}/box']),
        ]
    return results


def _write_lists(root: Path, images: list[np.ndarray]) -> None:
    """Write images and lists in the form that SAT's loader of CUB reads; every box is 5, 6, w - 9, h - 4."""
    folder = root / 'test' / '001.Bird'
    folder.mkdir(parents=True)
    names, boxes = [], []
    for i, image in enumerate(images):
        height, width = image.shape[:2]
        Image.fromarray(image).save(folder / f'{i}.png')
        names.append(f'001.Bird/{i}.png;0')
        boxes.append(f'5 6 {width - 9} {height - 4} {height} {width}')
    (root / 'test_list.txt').write_text('\n'.join(names))
    (root / 'test_gt.txt').write_text('\n'.join(boxes))
