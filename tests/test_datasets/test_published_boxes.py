"""List files to boxes in the evaluation frame, against what TS-CAM's loaders deliver."""

from wsol_mm.datasets import CUB, ILSVRC
from wsol_mm.evaluation.functional import ImageGeometry, gt_boxes_to_frame

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope='module')
def reference(repo_dir):
    with np.load(repo_dir / 'tests/data/parity/ts_cam/gt_boxes_transform.npz') as arrays:
        return dict(arrays)


def frame_boxes(info, side):
    geometry = ImageGeometry((info['width'], info['height']), (side, side), (side, side))
    return gt_boxes_to_frame(info['gt_bboxes'], geometry, 'truncate_xywh')


@pytest.mark.parametrize('side', [224, 384])
def test_cub(reference, tmp_path, side):
    labels, sizes, boxes = (reference[f'{key}'] for key in ('out/cub/label', 'in/cub/size_wh', 'in/cub/xywh'))
    (tmp_path / 'images').mkdir()
    for index, size in enumerate(sizes.tolist()):
        Image.new('L', size).save(tmp_path / f'images/{index}.png')
    numbered = range(len(labels))
    lists = {
        'images.txt': [f'{i} {i}.png' for i in numbered],
        'image_class_labels.txt': [f'{i} {labels[i] + 1}' for i in numbered],
        'train_test_split.txt': [f'{i} 0' for i in numbered],
        'bounding_boxes.txt': [f'{i} ' + ' '.join(str(value) for value in boxes[i]) for i in numbered],
    }
    for name, lines in lists.items():
        (tmp_path / name).write_text('\n'.join(lines))
    dataset = CUB(str(tmp_path), split='test', test_mode=True)
    assert len(dataset) == len(labels)
    num_cut = 0
    for index in numbered:
        info = dataset.get_data_info(index)
        assert info['gt_label'] == labels[index]
        expected = reference[f'out/cub/box_{side}'][index]
        x, y, w, h = boxes[index]
        if (x + w <= sizes[index][0] and y + h <= sizes[index][1]) or (boxes[index] % 1 == 0).all():
            np.testing.assert_array_equal(frame_boxes(info, side), [expected])
        else:
            # Of a box with fractions that was cut at the border, truncation may take one pixel of the file.
            # The boxes of CUB-200-2011 are whole numbers.
            pixel = side / sizes[index].min()
            np.testing.assert_allclose(frame_boxes(info, side), [expected], rtol=0, atol=np.ceil(pixel))
            num_cut += 1
    assert num_cut < 6


@pytest.mark.parametrize('side', [224, 384])
def test_ilsvrc(reference, tmp_path, side):
    lines = []
    (tmp_path / 'val/n00000001').mkdir(parents=True)
    for index, size in enumerate(reference['in/ilsvrc/size_wh'].tolist()):
        Image.new('L', size).save(tmp_path / f'val/n00000001/ILSVRC2012_val_{index:08d}.JPEG')
        numbers = reference['in/ilsvrc/xyxy'][index][: reference['in/ilsvrc/count'][index]].reshape(-1)
        lines.append(f'n00000001/ILSVRC2012_val_{index:08d}.JPEG 0 ' + ' '.join(map(str, numbers)))
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    dataset = ILSVRC(str(tmp_path), split='val', box_source='list.txt', test_mode=True)
    assert len(dataset) == len(lines)
    for index in range(len(lines)):
        count = reference['in/ilsvrc/count'][index]
        expected = reference[f'out/ilsvrc/box_{side}'][index][:count]
        np.testing.assert_array_equal(frame_boxes(dataset.get_data_info(index), side), expected)
