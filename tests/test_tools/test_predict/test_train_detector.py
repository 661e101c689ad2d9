"""The detector that is trained on exported boxes."""

import importlib.util
import json

import cv2
import numpy as np
import pytest

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
    options += ['--min-confidence', 0.5, '--device', 'cpu']
    monkeypatch.setattr('sys.argv', ['train_detector.py', *map(str, arguments + options)])
    detector_tool.main()
    printed = capsys.readouterr().out
    assert '7 images with boxes to train on' in printed  # of twelve
    losses = [float(line.rpartition(' ')[2]) for line in printed.splitlines() if line.startswith('epoch ')]
    assert len(losses) == 4 and losses[-1] < losses[0]
    coco = json.loads(out.read_text())
    assert [entry['file_name'] for entry in coco['images']] == sorted(f'{n}.png' for n in range(1, 13))
    assert [category['name'] for category in coco['categories']] == list(CLASSES)
    for entry in coco['annotations']:
        x, y, width, height = entry['bbox']
        assert 0 <= x <= x + width <= SIZE[0] + 0.01 and 0 <= y <= y + height <= SIZE[1] + 0.01
        assert entry['score'] == entry['confidence'] and 0 < entry['score'] < 1
    assert max(np.bincount([entry['image_id'] for entry in coco['annotations']], minlength=1)) <= 2


def test_boxes_in_the_pixels_of_the_network(detector_tool, micro_project, checkpoint, exported):
    from wsol_mm.apis import LocalizationInferencer

    inferencer = LocalizationInferencer(micro_project.config, checkpoint, 'cpu')
    data = detector_tool.ExportedBoxes(exported / 'boxes.json', exported / 'photos', inferencer, 0.0)
    assert len(data) == 12
    item, target = data[0]
    height, width = item['inputs'].shape[-2:]
    x, y, *_ = json.loads((exported / 'boxes.json').read_text())['annotations'][0]['bbox']
    expected = np.array([x, y, x + 20, y + 18]) * [width / 48, height / 40, width / 48, height / 40]
    np.testing.assert_allclose(target['boxes'][0].numpy(), expected, rtol=1e-5)
    assert target['labels'].tolist() == [1]
    with pytest.raises(ValueError, match='expected boxes with a confidence from 1.5, got none'):
        detector_tool.ExportedBoxes(exported / 'boxes.json', exported / 'photos', inferencer, 1.5)
