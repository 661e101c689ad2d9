"""The detector that is trained on exported boxes."""

import importlib.util
import json
import re

import cv2
import numpy as np
import pytest
import torch

from ..conftest import CLASSES

SIZE = (48, 40)


@pytest.fixture(scope='module')
def detector_tool(repo_dir):
    spec = importlib.util.spec_from_file_location('train_detector', repo_dir / 'demo' / 'train_detector.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Photographs of coloured rectangles, and their boxes as predict.py writes them."""
    folder = tmp_path_factory.mktemp('detector')
    generator = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 13):
        image = generator.integers(0, 120, (*SIZE[::-1], 3), np.uint8)
        x, y = generator.integers(0, 20, 2).tolist()
        image[y : y + 18, x : x + 20, number % 3] = 255
        (folder / 'photos').mkdir(exist_ok=True)
        cv2.imwrite(str(folder / 'photos' / f'{number}.png'), image)
        images.append(dict(id=number, file_name=f'{number}.png', width=SIZE[0], height=SIZE[1]))
        box = dict(bbox=[x, y, 20, 18], category_id=number % 3 + 1, confidence=number / 12)
        annotations.append(dict(id=number, image_id=number, **box))
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    coco = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'boxes.json').write_text(json.dumps(coco))
    return folder


def test_it_learns_and_detects(detector_tool, micro_project, checkpoint, exported, monkeypatch, capsys):
    out = exported / 'detected.json'
    arguments = [micro_project.config, checkpoint, exported / 'boxes.json', exported / 'photos']
    options = ['--detect', exported / 'photos', '--out', out, '--topk', 2, '--epochs', 4, '--batch-size', 4]
    options += ['--min-confidence', 0.5, '--device', 'cpu', '--hold-out', 0.3]
    monkeypatch.setattr('sys.argv', ['train_detector.py', *map(str, arguments + options)])
    detector_tool.main()
    printed = capsys.readouterr().out
    assert '7 images with boxes to train on' in printed  # of twelve
    assert 'held out: 2 images, mean IoU ' in printed
    # A bar of progress may stand before them in their line.
    losses = [float(loss) for loss in re.findall(r'epoch \d: loss (\S+)', printed)]
    assert len(losses) == 4 and losses[-1] < losses[0]
    coco = json.loads(out.read_text())
    assert [entry['file_name'] for entry in coco['images']] == sorted(f'{n}.png' for n in range(1, 13))
    assert [category['name'] for category in coco['categories']] == list(CLASSES)
    for entry in coco['annotations']:
        x, y, width, height = entry['bbox']
        assert 0 <= x <= x + width <= SIZE[0] + 0.01 and 0 <= y <= y + height <= SIZE[1] + 0.01
        assert entry['score'] == entry['confidence'] and 0 < entry['score'] < 1
    assert max(np.bincount([entry['image_id'] for entry in coco['annotations']], minlength=1)) <= 2


def test_boxes_on_the_grid_and_back(detector_tool, micro_project, checkpoint, exported):
    from wsol_mm.apis import LocalizationInferencer

    inferencer = LocalizationInferencer(micro_project.config, checkpoint, 'cpu')
    boxes = detector_tool.read_boxes(exported / 'boxes.json', CLASSES, 0.0)
    assert len(boxes) == 12 and list(boxes) == sorted(boxes)
    x, y, *_ = json.loads((exported / 'boxes.json').read_text())['annotations'][0]['bbox']
    assert boxes['1.png'].tolist() == [[x, y, x + 20, y + 18, 1]]
    files = [exported / 'photos' / f'{number}.png' for number in (1, 2, 3)]
    seen = detector_tool.see(inferencer, files, 2)
    height, width = seen.maps.shape[2:]
    assert len(seen.maps) == 3 and seen.sizes == [SIZE] * 3
    on_grid = seen.to_grid(0, boxes['1.png'][:, :4])
    expected = np.array([x, y, x + 20, y + 18]) * [width / 48, height / 40, width / 48, height / 40]
    np.testing.assert_allclose(on_grid[0].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(seen.to_image(0, on_grid), boxes['1.png'][:, :4], rtol=1e-5)
    part = seen.of([files[2], files[0]])
    assert part.files == [files[2], files[0]] and torch.equal(part.maps, seen.maps[[2, 0]])
    with pytest.raises(ValueError, match='expected boxes with a confidence from 1.5, got none'):
        detector_tool.read_boxes(exported / 'boxes.json', CLASSES, 1.5)


def test_how_held_out_boxes_are_found(detector_tool):
    from wsol_mm.annotation_formats import ImageAnnotation

    def image(*boxes):
        return ImageAnnotation(1, 'a.png', 'a.png', SIZE, [0] * len(boxes), [0.5] * len(boxes), boxes, [])

    found = [image([0, 0, 10, 10], [20, 0, 30, 10]), image([0, 0, 10, 5]), image()]
    boxes = [np.array([rows], float) for rows in ([0, 0, 10, 10, 1], [0, 0, 10, 10, 2], [0, 0, 9, 9, 0])]
    boxes[0] = np.concatenate([[[20, 0, 30, 10, 1]], boxes[0]])
    expected = 'held out: 3 images, mean IoU 0.500, 66.7% at IoU 0.3, 66.7% at IoU 0.5, 33.3% at IoU 0.7'
    assert detector_tool.agreement(found, boxes) == expected


def test_how_far_the_detector_sees(detector_tool, monkeypatch):
    """A change in a corner of a map reaches 12 cells, and not the five of the head alone."""
    monkeypatch.setattr(torch.nn, 'GroupNorm', lambda *_: torch.nn.Identity())  # sees everything
    torch.manual_seed(0)
    backbone = detector_tool.NarrowedMaps(8)
    maps = torch.randn(1, 8, 14, 14)
    other = maps.clone()
    other[..., 0, 0] += 1
    changed = (backbone(maps) != backbone(other)).any(dim=1)[0]
    assert changed.nonzero().amax(dim=0).tolist() == [sum(detector_tool.DILATIONS)] * 2


def test_a_file_for_every_folder(detector_tool, monkeypatch, capsys, micro_project):
    words = [micro_project.config, 'c.pth', 'b.json', 'p', '--detect', 'p', 'q', '--out', 'd.json']
    with pytest.raises(SystemExit):
        detector_tool.parse_arguments(list(map(str, words)))
    assert 'argument --out: expected 2 files, as --detect has, got 1' in capsys.readouterr().err
