"""The best constant box: its score and search, and the score that the embedded data set leaves it."""

import importlib.util
import json

from wsol_mm.datasets.shapes.embedded_shapes import draw_shape_image

import numpy as np
import pytest


@pytest.fixture(scope='module')
def baseline(repo_dir):
    path = repo_dir / 'tools' / 'analysis_tools' / 'constant_box_baseline.py'
    spec = importlib.util.spec_from_file_location('constant_box_baseline', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scores_count_images_with_a_box_met(baseline):
    # The second image has two boxes and counts once; an IoU of exactly 0.5 counts.
    boxes = np.array([[0, 0, 0.5, 1], [0, 0, 1, 0.5], [0, 0, 1, 1], [0.9, 0.9, 1, 1]])
    images = np.array([0, 1, 1, 2])
    candidates = np.array([[0, 0, 1, 1], [0, 0, 0.5, 1], [0.9, 0.9, 1, 1]])
    np.testing.assert_allclose(baseline.box_scores(candidates, boxes, images), [2 / 3, 2 / 3, 1 / 3])


def test_search_finds_a_box_between_the_grid_lines(baseline):
    # A small box that no box of the grid meets, and that every image has.
    boxes = np.tile([0.512, 0.262, 0.538, 0.288], (4, 1))
    box, score = baseline.best_constant_box(boxes, np.arange(4), most_own=1)
    assert score == 1
    np.testing.assert_allclose(box, boxes[0], atol=0.03)


def test_search_improves_on_every_candidate(baseline):
    rng = np.random.default_rng(3)
    corners = np.sort(rng.random((60, 2, 2)), axis=1).reshape(60, 4)
    boxes = corners[np.prod(corners[:, 2:] - corners[:, :2], axis=1) > 0.02]
    images = np.arange(len(boxes))
    _, score = baseline.best_constant_box(boxes, images)
    assert score >= baseline.box_scores(boxes, boxes, images).max()


def test_embedded_data_set_is_not_solved_by_place(baseline):
    boxes = []
    for label in range(10):
        for number in range(151, 191):  # the test pictures of the default set
            image, (x, y, width, height) = draw_shape_image(label, number, size=64)
            size = np.tile(image.shape[1::-1], 2)
            boxes.append(np.array([x, y, x + width, y + height]) / size)
    assert baseline.best_constant_box(np.array(boxes), np.arange(len(boxes)))[1] < 0.4


class Items(list):
    """Stands for a data set."""

    get_data_info = list.__getitem__


def test_boxes_are_relative_to_the_size_that_the_data_set_gives(baseline):
    # No file is looked at: its stored size may be that of the image before it is turned.
    turned = dict(img_id='a.jpg', width=30, height=40, gt_bboxes=np.array([[0, 20, 30, 40]]))
    boxes, images = baseline.relative_boxes(Items([dict(img_id='b.jpg'), turned]))
    assert boxes.tolist() == [[0, 0.5, 1, 1]] and images.tolist() == [0]
    with pytest.raises(ValueError, match='c.jpg: expected the size of the image, got none'):
        baseline.relative_boxes(Items([dict(img_id='c.jpg', gt_bboxes=np.ones((1, 4)))]))
    with pytest.raises(ValueError, match='test_dataloader.dataset: expected images with boxes, got none'):
        baseline.relative_boxes(Items([dict(img_id='b.jpg')]))


def test_command_line(run_here, micro_project, tmp_path):
    out = tmp_path / 'out' / 'baseline.json'
    printed = run_here('analysis_tools/constant_box_baseline.py', micro_project.config, '--out', out)
    assert 'of 9 images at IoU 0.5' in printed
    written = json.loads(out.read_text())
    assert 0 < written['BoxAcc'] <= 100 and len(written['box']) == 4
