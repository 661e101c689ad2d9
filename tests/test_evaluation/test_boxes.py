from wsol_mm.evaluation.functional import (
    ImageGeometry,
    box_areas,
    box_intersections,
    box_iou,
    frame_boxes_to_image,
    frame_in_image,
    gt_boxes_to_frame,
)

import numpy as np
import pytest


def test_iou_continuous_and_inclusive():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    gt_boxes = np.array([[5, 0, 15, 10]])
    assert box_iou(boxes, gt_boxes) == pytest.approx(np.array([[50 / 150], [0.0]]))
    # 11 x 11 pixels each, 6 x 11 shared
    assert box_iou(boxes, gt_boxes, inclusive=True) == pytest.approx(np.array([[66 / (242 - 66)], [0.0]]))


def test_touching_boxes_share_pixels_only_inclusively():
    a, b = np.array([[0, 0, 4, 4]]), np.array([[4, 4, 8, 8]])
    assert box_intersections(a, b).item() == 0
    assert box_intersections(a, b, inclusive=True).item() == 1


def test_degenerate_boxes_give_zero():
    point = np.array([[3, 3, 3, 3]])
    assert box_iou(point, point).item() == 0
    assert box_iou(point, point, inclusive=True).item() == 1
    inverted = np.array([[5, 5, 3, 3]])
    assert box_iou(np.array([[0, 0, 9, 9]]), inverted, inclusive=True).item() == 0
    assert box_areas(point[0]) == 0


def test_geometry_from_metainfo():
    squash = ImageGeometry.from_metainfo(
        dict(ori_shape=(375, 500), img_shape=(224, 224), scale_factor=(224 / 500, 224 / 375))
    )
    assert squash == ((500, 375), (224, 224), (224, 224))
    assert (squash.kind, squash.offset) == ('squash', (0, 0))
    crop = ImageGeometry.from_metainfo(
        dict(ori_shape=(375, 500), img_shape=(224, 224), scale_factor=(256 / 500, 256 / 375))
    )
    assert (crop.kind, crop.offset, crop.resized) == ('squash_crop', (16, 16), (256, 256))
    short = ImageGeometry.from_metainfo(
        dict(ori_shape=(375, 500), img_shape=(224, 224), scale_factor=(341 / 500, 256 / 375))
    )
    assert (short.kind, short.offset, short.resized) == ('short_side_crop', (58, 16), (341, 256))
    framed = ImageGeometry.from_metainfo(
        dict(ori_shape=(100, 100), img_shape=(112, 112), scale_factor=(1.28, 1.28)), frame_size=224
    )
    assert framed == ((100, 100), (256, 256), (224, 224))


@pytest.mark.parametrize('key', ['ori_shape', 'img_shape'])
def test_geometry_names_the_missing_key(key):
    metainfo = dict(ori_shape=(10, 10), img_shape=(10, 10))
    del metainfo[key]
    with pytest.raises(KeyError, match=key):
        ImageGeometry.from_metainfo(metainfo)


def test_truncate_xywh_truncates_size_first():
    geometry = ImageGeometry((100, 100), (200, 200), (200, 200))
    # x, y, w, h = 10.9, 20.9, 30.9, 40.9 -> 10, 20, 30, 40 -> corners 10, 20, 40, 60, times two
    box = gt_boxes_to_frame([[10.9, 20.9, 41.8, 61.8]], geometry, 'truncate_xywh')
    assert box.tolist() == [[20, 40, 80, 120]]
    # without the first truncation the corners keep their decimals until they are scaled
    box = gt_boxes_to_frame([[10.9, 20.9, 41.8, 61.8]], geometry, 'truncate')
    assert box.tolist() == [[21, 41, 83, 123]]


def test_upper_ends_are_clamped_to_the_last_pixel():
    geometry = ImageGeometry((100, 100), (224, 224), (224, 224))
    assert gt_boxes_to_frame([[0, 0, 100, 100]], geometry, 'truncate').tolist() == [[0, 0, 223, 223]]


def test_box_in_the_cut_margin_becomes_degenerate():
    geometry = ImageGeometry((256, 256), (256, 256), (224, 224))
    assert gt_boxes_to_frame([[0, 0, 10, 10]], geometry, 'truncate').tolist() == [[0, 0, -6, -6]]


def test_clipped_conversion_keeps_fractions_and_the_right_edge():
    # 400x200 squashed to 256x256, of which 16..240 is the frame.
    geometry = ImageGeometry((400, 200), (256, 256), (224, 224))
    boxes = [[100, 51, 203, 101], [0, 0, 400, 200], [390, 5, 399, 12]]
    expected = [[48, 49.28, 113.92, 113.28], [0, 0, 224, 224], [224, 0, 224, 0]]
    np.testing.assert_allclose(gt_boxes_to_frame(boxes, geometry, 'clipped'), expected)


def test_integer_conversion_multiplies_first():
    geometry = ImageGeometry((500, 375), (224, 224), (224, 224))
    box = gt_boxes_to_frame([[60.9, 27.2, 385.8, 331.2]], geometry, 'integer')
    assert box.tolist() == [[60 * 224 // 500, 27 * 224 // 375, 385 * 224 // 500, 331 * 224 // 375]]
    full = gt_boxes_to_frame([[0, 0, 500, 375]], geometry, 'integer')
    assert full.tolist() == [[0, 0, 499 * 224 // 500, 374 * 224 // 375]]


def test_continuous_conversion_uses_the_unrounded_side_and_the_wider_offset():
    geometry = ImageGeometry((500, 375), (341, 256), (224, 224))
    width = 500 * 256 / 375
    box = gt_boxes_to_frame([[100, 50, 300, 350]], geometry, 'continuous')[0]
    offset = np.array([round((width - 223) / 2), round((256 - 223) / 2)] * 2)
    expected = np.array([100, 50, 300, 350]) * 256 / 375 - offset
    assert box == pytest.approx(np.clip(expected, 0, 224))


@pytest.mark.parametrize(('width', 'height'), [(258, 257), (299, 300), (500, 499), (439, 440), (300, 300)])
def test_nearly_square_images_are_resized_by_their_shorter_side(width, height):
    """Their resized size is square, but the scale of their boxes is that of the unrounded sides."""
    short = min(width, height)
    scale = 256 / short
    geometry = ImageGeometry((width, height), (256 * width // short, 256 * height // short), (224, 224))
    assert geometry.resized == (256, 256) and geometry.keeps_aspect
    box = np.array([50.0, 60, 200, 210])
    sides = np.array([width, height]) * scale
    offset = np.array([round((side - 223) / 2) for side in sides] * 2)
    found = gt_boxes_to_frame(box[None], geometry, 'continuous')[0]
    assert found == pytest.approx(np.clip(box * scale - offset, 0, 224))


def test_squashed_images_do_not_keep_their_aspect():
    assert not ImageGeometry((500, 375), (256, 256), (224, 224)).keeps_aspect
    assert ImageGeometry((500, 375), (341, 256), (224, 224)).keeps_aspect
    assert ImageGeometry((375, 500), (256, 342), (224, 224)).keeps_aspect  # rounded up
    # in a squashed frame, boxes are squashed, however little
    box = gt_boxes_to_frame(
        [[0, 0, 258, 257]], ImageGeometry((258, 257), (224, 224), (224, 224)), 'continuous'
    )
    assert box.tolist() == [[0, 0, 224, 224]]


def test_unknown_conversion():
    with pytest.raises(ValueError, match=r"conversion: expected one of \(.*'clipped'.*\), got 'other'"):
        gt_boxes_to_frame([[0, 0, 1, 1]], ImageGeometry((2, 2), (2, 2), (2, 2)), 'other')


def test_frame_boxes_return_to_the_image():
    geometry = ImageGeometry((512, 256), (256, 256), (224, 224))
    boxes = frame_boxes_to_image([[0, 0, 224, 224], [-40, 10, 300, 20]], geometry)
    assert boxes.tolist() == [[32, 16, 480, 240], [0, 26, 512, 36]]
    assert frame_in_image(geometry) == (32, 16, 480, 240)
