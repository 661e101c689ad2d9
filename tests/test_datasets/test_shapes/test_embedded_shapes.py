"""The embedded data set: layout, boxes, reproducibility, and what may be overwritten."""

import json

from wsol_mm.datasets import CUB
from wsol_mm.datasets.shapes.embedded_shapes import (
    SPEC_FILE,
    EmbeddedShapesSpec,
    _draw_object,
    draw_shape_image,
    write_embedded_shapes,
)
from wsol_mm.datasets.shapes.parts import SHAPE_CLASSES

import cv2
import numpy as np
import pytest

SPEC = EmbeddedShapesSpec(seed=7, train_per_class=2, test_per_class=1, size=64)
# Mean colours of three pictures and their boxes: other versions of OpenCV and NumPy draw the same, too.
KNOWN_PICTURES = {
    (0, 1): ((32, 8, 71, 57), (102.49, 109.40, 131.03)),
    (3, 2): ((42, 66, 45, 76), (126.37, 103.01, 53.60)),
    (8, 4): ((70, 43, 45, 38), (153.37, 154.03, 130.68)),
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('embedded') / 'a set'
    assert write_embedded_shapes(root, SPEC)
    return root


def contents(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob('*') if path.is_file()
    }


def test_cub_loader_reads_the_layout(root):
    train = CUB(str(root), split='train', with_boxes=True)
    test = CUB(str(root), split='test')
    assert (len(train), len(test)) == (20, 10)
    assert list(train.metainfo['classes']) == [f'{i:03d}.{c.name}' for i, c in enumerate(SHAPE_CLASSES, 1)]
    assert [item['gt_label'] for item in (test.get_data_info(i) for i in range(10))] == list(range(10))
    item = train.get_data_info(5)  # the second picture of the third class
    image, (x, y, width, height) = draw_shape_image(2, 2, seed=7, size=64)
    np.testing.assert_array_equal(item['gt_bboxes'], [[x, y, x + width, y + height]])
    np.testing.assert_array_equal(cv2.imread(item['img_path'])[..., ::-1], image)


def test_list_files_have_the_lines_of_cub(root):
    assert (root / 'images.txt').read_text().splitlines()[3] == '4 002.wasp/wasp_0001.png'
    assert (root / 'image_class_labels.txt').read_text().splitlines()[3] == '4 2'
    assert (root / 'train_test_split.txt').read_text().splitlines()[:4] == ['1 1', '2 1', '3 0', '4 1']
    assert (root / 'classes.txt').read_text().splitlines()[9] == '10 010.vase'
    fields = (root / 'bounding_boxes.txt').read_text().splitlines()[3].split()
    assert fields[0] == '4'
    assert [float(field) for field in fields[1:]] == list(draw_shape_image(1, 1, seed=7, size=64)[1])


def test_same_bytes_from_several_processes(root, tmp_path):
    steps = []
    write_embedded_shapes(tmp_path / 'b', SPEC, workers=2, on_progress=lambda *step: steps.append(step))
    assert contents(tmp_path / 'b') == contents(root)
    assert steps == [(done, 30) for done in range(1, 31)]


def test_pictures_differ_by_class_number_and_seed():
    first = draw_shape_image(0, 1, seed=0, size=64)[0]
    for other in (
        draw_shape_image(1, 1, seed=0, size=64)[0],
        draw_shape_image(0, 2, seed=0, size=64)[0],
        draw_shape_image(0, 1, seed=1, size=64)[0],
    ):
        assert first.shape != other.shape or (first != other).mean() > 0.5


@pytest.mark.parametrize('label', range(10))
def test_box_is_tight_and_inside(label):
    boxes = []
    for number in range(1, 9):
        image, (x, y, width, height) = draw_shape_image(label, number, size=64)
        assert image.dtype == np.uint8 and min(image.shape[:2]) == 64 and max(image.shape[:2]) <= 86
        assert x >= 1 and y >= 1 and x + width < image.shape[1] and y + height < image.shape[0]
        assert 0.35 * 64 < max(width, height) < 0.92 * 64
        boxes.append((x, y, width, height))
    assert (np.ptp(boxes, axis=0) >= 8).all()  # place and size vary


@pytest.mark.parametrize('label', range(10))
def test_object_is_painted_exactly_within_its_mask(label):
    blank = np.full((160, 200, 3), 1, np.uint8)
    canvas = blank.copy()
    mask = _draw_object(np.random.default_rng(label), canvas, SHAPE_CLASSES[label], unit=160)
    assert set(np.unique(mask)) == {0, 255}
    painted = (canvas != blank).any(axis=2)
    assert not painted[mask == 0].any() and painted[mask == 255].mean() > 0.99
    # Both colours of the pattern are there, well apart: the class shows in texture, not in shape alone.
    grey = canvas[mask == 255].astype(float).mean(axis=1)
    assert np.percentile(grey, 95) - np.percentile(grey, 5) > 25


def test_known_pictures():
    for (label, number), (box, colour) in KNOWN_PICTURES.items():
        image, found = draw_shape_image(label, number)
        assert found == box
        np.testing.assert_allclose(image.mean((0, 1)), colour, atol=0.5)


def test_complete_set_is_left_alone(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    assert not write_embedded_shapes(root, SPEC)
    assert {path: path.stat().st_mtime_ns for path in root.rglob('*')} == before


def test_another_set_is_replaced_only_by_force(tmp_path):
    small, other = (EmbeddedShapesSpec(seed, 1, 1, size=48) for seed in (0, 1))
    write_embedded_shapes(tmp_path, small)
    with pytest.raises(FileExistsError, match='another embedded data set'):
        write_embedded_shapes(tmp_path, other)
    assert write_embedded_shapes(tmp_path, other, force=True)
    assert json.loads((tmp_path / SPEC_FILE).read_text())['seed'] == 1
    assert len(CUB(str(tmp_path))) == 10


def test_interrupted_set_is_written_again(tmp_path):
    spec = EmbeddedShapesSpec(0, 1, 1, size=48)
    write_embedded_shapes(tmp_path, spec)
    whole = contents(tmp_path)
    (tmp_path / SPEC_FILE).unlink()
    (tmp_path / 'images' / '003.fish' / 'fish_0001.png').unlink()
    (tmp_path / 'classes.txt').unlink()
    assert write_embedded_shapes(tmp_path, spec)
    assert contents(tmp_path) == whole


def test_damaged_marker_counts_as_another_set(tmp_path):
    spec = EmbeddedShapesSpec(0, 1, 1, size=48)
    (tmp_path / SPEC_FILE).write_text('{')
    with pytest.raises(FileExistsError, match='force'):
        write_embedded_shapes(tmp_path, spec)


@pytest.mark.parametrize('force', [False, True])
@pytest.mark.parametrize('path', ['notes.txt', 'images/001.Black_footed_Albatross/a.jpg', 'images.txt'])
def test_foreign_files_are_never_touched(tmp_path, path, force):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text('mine')
    with pytest.raises(FileExistsError, match='expected an empty or a new folder, got'):
        write_embedded_shapes(tmp_path, EmbeddedShapesSpec(0, 1, 1, size=48), force=force)
    assert contents(tmp_path) == {path: b'mine'}


@pytest.mark.parametrize(
    'settings', [{'seed': -1}, {'train_per_class': 0}, {'test_per_class': 10000}, {'size': 47}]
)
def test_spec_names_what_is_out_of_range(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=rf'{name}: expected an integer from \d+ to \d+, got {value}'):
        EmbeddedShapesSpec(**settings)


def test_other_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match='label: expected an integer from 0 to 9, got 10'):
        draw_shape_image(10, 1)
    with pytest.raises(ValueError, match='workers: expected an integer from 1, got 0'):
        write_embedded_shapes(tmp_path, SPEC, workers=0)
