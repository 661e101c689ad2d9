"""Cases of the scm data pipeline: list files and images to boxes in the frame and to test tensors."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from wsol_mm.datasets import CUB, ILSVRC
from wsol_mm.datasets.localization_dataset import LocalizationDataset
from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry, gt_boxes_to_frame

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from . import Case, Comparison, close, equal, register
from .ground_truth_boxes import _test_transform
from .model_runs import quiet

CONFIGS = Path(__file__).resolve().parents[3] / 'configs' / 'scm'


@register('scm', lambda case: case.meta.get('kind') == 'data pipeline')
def check_data(case: Case) -> list[Comparison]:
    """Boxes of both data sets through files, test pipeline and evaluator; test tensors."""
    arrays = dict(case.arrays)
    sizes = arrays['in/sizes_wh']
    counts = arrays['in/ilsvrc_n_boxes']
    scope = DefaultScope.overwrite_default_scope('wsol_mm')
    with tempfile.TemporaryDirectory() as folder, scope, quiet():
        cub = write_cub(Path(folder, 'cub'), sizes, arrays['in/cub_boxes_xywh'])
        found = np.concatenate(boxes_in_frame(cub, 'scm_deit-s_cub.py', 'cub'))
        results = [equal('cub_gt_boxes_224', found, arrays['out/cub_gt_boxes_224'])]
        ilsvrc = write_ilsvrc(Path(folder, 'ilsvrc'), sizes, arrays['in/ilsvrc_boxes_xyxy'], counts)
        found = np.full(arrays['out/ilsvrc_gt_boxes_224'].shape, -1.0)
        for row, boxes in zip(found, boxes_in_frame(ilsvrc, 'scm_deit-s_ilsvrc.py', 'ilsvrc'), strict=True):
            row[: len(boxes)] = boxes
        results.append(equal('ilsvrc_gt_boxes_224', found, arrays['out/ilsvrc_gt_boxes_224']))
    for key in [name for name in arrays if name.startswith('in/image_')]:
        wanted = arrays[key.replace('in/image', 'out/test_tensor_56')]
        results.append(close(key, _test_transform(arrays[key], wanted.shape[-1]), wanted, 1e-5))
    listed = {'out/cub_gt_boxes_224', 'out/ilsvrc_gt_boxes_224'}
    for name in case.arrays:
        if name.startswith('out/') and name not in listed and not name.startswith('out/test_tensor_56_'):
            results.append(Comparison(f'{name} (not checked)', float('inf'), 0.0))
    return results


def test_pipeline(config: str) -> list[dict]:
    """Return the test pipeline of a config."""
    return Config.fromfile(CONFIGS / config).test_dataloader.dataset.pipeline


def boxes_in_frame(dataset: LocalizationDataset, config: str, name: str) -> list[np.ndarray]:
    """Return the boxes of every image as the evaluator of the config converts them, in order of the files."""
    evaluator = Config.fromfile(CONFIGS / config).test_evaluator
    conversion = get_protocol(evaluator.protocols[0], name).gt_conversion
    results = {}
    for item in map(dataset.__getitem__, range(len(dataset))):
        sample = item['data_samples']
        geometry = ImageGeometry.from_metainfo(sample.metainfo)
        results[int(Path(sample.img_path).stem)] = gt_boxes_to_frame(sample.gt_bboxes, geometry, conversion)
    return [results[index] for index in range(len(results))]


def write_cub(root: Path, sizes: np.ndarray, boxes: np.ndarray) -> CUB:
    """Write blank images and lists in the layout of CUB, and return the test set over them."""
    (root / 'images').mkdir(parents=True)
    for index, size in enumerate(sizes.tolist()):
        Image.new('RGB', size).save(root / 'images' / f'{index}.png')
    lists = {
        'images.txt': lambda i: f'{i + 1} {i}.png',
        'image_class_labels.txt': lambda i: f'{i + 1} 1',
        'train_test_split.txt': lambda i: f'{i + 1} 0',
        'bounding_boxes.txt': lambda i: f'{i + 1} {numbers(boxes[i])}',
    }
    for name, line in lists.items():
        (root / name).write_text('\n'.join(map(line, range(len(sizes)))))
    return CUB(str(root), split='test', test_mode=True, pipeline=test_pipeline('scm_deit-s_cub.py'))


def write_ilsvrc(root: Path, sizes: np.ndarray, boxes: np.ndarray, counts: np.ndarray) -> ILSVRC:
    """Write blank images and a list of boxes in the layout of ILSVRC, and return the validation set."""
    (root / 'val' / 'n00000001').mkdir(parents=True)
    lines = []
    for index, size in enumerate(sizes.tolist()):
        Image.new('RGB', size).save(root / 'val' / 'n00000001' / f'{index}.JPEG')
        lines.append(f'n00000001/{index}.JPEG 0 {numbers(boxes[index, : counts[index]].ravel())}')
    (root / 'boxes.txt').write_text('\n'.join(lines))
    return ILSVRC(
        str(root),
        split='val',
        box_source='boxes.txt',
        clip_boxes=True,
        test_mode=True,
        pipeline=test_pipeline('scm_deit-s_ilsvrc.py'),
    )


def numbers(values: Sequence[float]) -> str:
    """Return numbers as list files have them."""
    return ' '.join(str(float(value)) for value in values)
