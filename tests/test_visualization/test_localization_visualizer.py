from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.box_protocol import with_one_threshold
from wsol_mm.visualization.localization_visualizer import (
    GT_COLOR,
    PREDICTION_COLOR,
    LocalizationVisualizer,
)

import mmcv
import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SIDE = 96


def make_sample(img_path='', **fields):
    sample = DataSample(
        metainfo=dict(
            img_path=str(img_path),
            ori_shape=(SIDE, 2 * SIDE),
            img_shape=(SIDE, SIDE),
            scale_factor=(0.5, 1.0),
        )
    )
    loc_map = torch.zeros(1, SIDE, SIDE)
    loc_map[0, 24:72, 24:72] = 1
    sample.loc_maps, sample.loc_labels = loc_map, torch.tensor([1])
    sample.set_pred_score(torch.tensor([0.25, 0.75])).set_pred_label(1)
    for name, value in fields.items():
        sample.set_field(value, name)
    return sample


def has_color(picture, color):
    return (np.abs(picture.astype(int) - color).sum(axis=2) < 30).any()


def test_picture_shows_both_boxes(tmp_path):
    visualizer = LocalizationVisualizer()
    visualizer.dataset_meta = dict(classes=('cat', 'dog'))
    sample = make_sample(gt_bboxes=np.array([[60.0, 30.0, 150.0, 80.0]])).set_gt_label(1)
    image = np.full((SIDE, 2 * SIDE, 3), 128, np.uint8)
    out_file = tmp_path / 'sub' / 'picture.png'
    picture = visualizer.add_datasample(
        'x', sample, get_protocol('ts_cam'), image=image, out_file=str(out_file)
    )
    assert picture.shape[0] > SIDE and picture.shape[1] == 2 * SIDE
    assert has_color(picture, GT_COLOR) and has_color(picture, PREDICTION_COLOR)
    assert np.array_equal(mmcv.imread(str(out_file))[..., ::-1], picture)


def test_the_caption_covers_nothing():
    sample = make_sample().set_gt_label(1)
    draw = LocalizationVisualizer().add_datasample
    image = np.full((SIDE, 2 * SIDE, 3), 128, np.uint8)
    one = draw('x', sample, get_protocol('ts_cam'), image=image)
    sample.set_pred_score(torch.tensor([0.5, 0.5]))
    other = draw('x', sample, get_protocol('ts_cam'), image=image)
    assert np.array_equal(one[:SIDE], other[:SIDE]) and not np.array_equal(one[SIDE:], other[SIDE:])


def test_a_caption_wider_than_the_picture():
    sample = make_sample().set_gt_label(0)
    visualizer = LocalizationVisualizer()
    visualizer.dataset_meta = dict(classes=('a name that is wider than the picture, by far', 'dog'))
    image = np.full((SIDE, 2 * SIDE, 3), 128, np.uint8)
    picture = visualizer.add_datasample('x', sample, get_protocol('ts_cam'), image=image)
    assert picture.shape[1] > 2 * SIDE
    assert (picture[:, -1] == picture[-1, -1]).all(), 'the text ends before the picture does'


def test_backends_receive_the_picture(tmp_path):
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    visualizer = LocalizationVisualizer(vis_backends=backends, save_dir=str(tmp_path))
    image = np.full((SIDE, 2 * SIDE, 3), 128, np.uint8)
    picture = visualizer.add_datasample('a_b', make_sample(), get_protocol('ts_cam'), image=image, step=3)
    local = list(tmp_path.rglob('*.png'))
    assert len(local) == 1 and np.array_equal(mmcv.imread(str(local[0]))[..., ::-1], picture)
    visualizer.close()
    events = EventAccumulator(str(next(tmp_path.rglob('events.out.*')).parent)).Reload()
    assert events.Tags()['images'] == ['a_b'] and events.Images('a_b')[0].step == 3


def test_unlabelled_image_without_boxes():
    picture = LocalizationVisualizer().add_datasample(
        'x',
        make_sample(),
        with_one_threshold('maxboxacc', 0.3),
        image=np.zeros((SIDE, 2 * SIDE, 3), np.uint8),
    )
    assert has_color(picture, PREDICTION_COLOR) and not has_color(picture, GT_COLOR)


@pytest.mark.parametrize('classes', [None, (), ('cat',)])
def test_class_without_a_name(classes):
    visualizer = LocalizationVisualizer()
    visualizer.dataset_meta = dict(classes=classes)
    text = visualizer._class_text(make_sample().set_gt_label(0))
    assert text.endswith('predicted: class 1 (0.75)')
    assert text.startswith('label: cat' if classes else 'label: class 0')


def test_unreadable_image(tmp_path):
    file = tmp_path / 'broken.jpg'
    file.write_bytes(b'no image')
    with pytest.raises(ValueError, match='broken.jpg'):
        LocalizationVisualizer().add_datasample('x', make_sample(file), get_protocol('ts_cam'))
