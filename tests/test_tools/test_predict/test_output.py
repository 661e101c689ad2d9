"""Boxes for a folder: what is written, and what is refused."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from wsol_mm.apis import LocalizationInferencer, image_listing
from wsol_mm.apis.localization_inferencer import check_topk

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from ..conftest import CLASSES
from .conftest import TORN, write_photos


def test_coco_of_a_folder(predict, micro_project, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / 'new' / 'annotations.json'
    status, printed = predict('--out', out, '--labels', 'from-folder', '--batch-size', 7)
    assert status == 3
    assert '36 boxes in 36 images (0 without a box)' in printed and str(out) in printed
    assert '4 images cannot be used' in printed and all(path in printed for path in TORN)
    broken = [line.split('\t') for line in Path(f'{out}.broken.txt').read_text().splitlines()]
    assert [path for path, _ in broken] == sorted(TORN)
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, f'{out.name}.broken.txt']

    coco = COCO(str(out))
    entries = coco.loadImgs(coco.getImgIds())
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob('*.png'))
    assert [paths[entry['id'] - 1] for entry in entries] == [entry['file_name'] for entry in entries]
    # The boxes are those of the inferencer.
    inferencer = LocalizationInferencer(micro_project.config, checkpoint, device='cpu')
    files = [photos / entry['file_name'] for entry in entries]
    labels = [entry['file_name'].split('/')[0] for entry in entries]
    results = inferencer(files, labels=labels, progress=False)
    for annotation, result in zip(coco.loadAnns(coco.getAnnIds()), results, strict=True):
        x, y, width, height = annotation['bbox']
        # A last digit of the scores may depend on the batch, and a box with it, by a patch.
        np.testing.assert_allclose([[x, y, x + width, y + height]], result.boxes, atol=0.01)
        assert annotation['category_id'] == result.labels[0] + 1
        assert annotation['score'] == pytest.approx(result.scores[0], abs=1e-5)
        assert annotation['confidence'] == pytest.approx(result.confidences[0], abs=1e-3)
        assert 0 < annotation['confidence'] < 1
    info = json.loads(out.read_text())['info']
    assert info['description'].endswith('protocol ts_cam, threshold 0.1') and info['labels'] == 'from-folder'


def test_predicted_classes_and_scores(predict, tmp_path):
    assert predict('--out', tmp_path / 'all.csv', '--format', 'csv', '--topk', 2)[0] == 3
    rows = list(csv.DictReader((tmp_path / 'all.csv').read_text().splitlines()))
    assert len(rows) == 72
    scores = sorted(float(row['score']) for row in rows)
    limit = (scores[40] + scores[41]) / 2
    options = ['--format', 'csv', '--topk', 2, '--score-thr', limit]
    printed = predict('--out', tmp_path / 'some.csv', *options)[1]
    assert list(csv.DictReader((tmp_path / 'some.csv').read_text().splitlines())) == [
        row for row in rows if float(row['score']) >= limit
    ]
    images = len({row['path'] for row in rows if float(row['score']) >= limit})
    assert f'31 boxes in 36 images ({36 - images} without a box)' in printed


def test_uncertain_boxes_are_left_out_and_many_are_written(predict, tmp_path):
    assert predict('--out', tmp_path / 'many.json', '--boxes', 'many', '--threshold', 0.6)[0] == 3
    many = json.loads((tmp_path / 'many.json').read_text())
    assert 'boxes of all regions, threshold 0.6' in many['info']['description']
    confidences = {}
    for annotation in many['annotations']:
        confidences.setdefault(annotation['image_id'], []).append(annotation['confidence'])
    assert len(many['annotations']) >= len(confidences) == 36
    assert all(values == sorted(values, reverse=True) for values in confidences.values())
    ranked = sorted(value for values in confidences.values() for value in values)
    limit = (ranked[9] + ranked[10]) / 2
    options = ['--boxes', 'many', '--threshold', 0.6, '--min-confidence', limit]
    assert predict('--out', tmp_path / 'some.json', *options)[0] == 3
    kept = [annotation for annotation in many['annotations'] if annotation['confidence'] >= limit]
    some = json.loads((tmp_path / 'some.json').read_text())['annotations']
    assert [a['bbox'] for a in some] == [a['bbox'] for a in kept] and len(some) < len(many['annotations'])


@pytest.mark.parametrize(
    ('name', 'ending', 'count'), [('voc', 'xml', 36), ('yolo', 'txt', 38), ('labelme', 'json', 36)]
)
def test_folders_of_files(predict, photos, tmp_path, name, ending, count):
    assert predict('--out', tmp_path / name, '--format', name)[0] == 3
    files = sorted((tmp_path / name).rglob(f'*.{ending}'))
    assert len(files) == count
    if name == 'voc':
        file = tmp_path / name / CLASSES[0] / 'inside' / '0000.xml'
        assert len(ElementTree.parse(file).findall('object')) == 1
    elif name == 'yolo':
        assert (tmp_path / name / 'labels' / CLASSES[1] / '0001.txt').is_file()
        assert (tmp_path / name / 'classes.txt').read_text().split() == list(CLASSES)
        listed = (tmp_path / name / 'train.txt').read_text().splitlines()
        assert len(listed) == 36 and all((tmp_path / name / image).is_file() for image in listed)
    else:
        content = json.loads(files[0].read_text())
        assert (files[0].parent / content['imagePath']).resolve().is_relative_to(photos)
        assert (files[0].parent / content['imagePath']).is_file()


def test_maps_and_pictures(predict, tmp_path):
    small = tmp_path / 'two'
    write_photos(small, 2)
    options = ['--save-maps', tmp_path / 'maps', '--show-dir', tmp_path / 'drawn', '--topk', 2]
    status, printed = predict('--out', tmp_path / 'a.json', *options, folder=small)
    assert status == 0 and 'cannot be used' not in printed
    assert not Path(tmp_path / 'a.json.broken.txt').exists()
    maps = np.load(tmp_path / 'maps' / CLASSES[0] / 'inside' / '0000.png.npz')
    assert maps['maps'].shape == (2, 4, 4) and len(maps['labels']) == 2
    height, width, _ = cv2.imread(str(tmp_path / 'drawn' / CLASSES[1] / '0001.png')).shape
    assert height > 40 and width >= 48, 'the image, and a caption below it'
    assert json.loads((tmp_path / 'a.json').read_text())['info']['labels'] == 'predicted'


def test_one_image_file(predict, photos, tmp_path):
    path = photos / CLASSES[1] / '0001.png'
    options = ['--show-dir', tmp_path / 'drawn', '--save-maps', tmp_path / 'maps']
    status, printed = predict('--out', tmp_path / 'a.json', *options, folder=path)
    assert status == 0 and '1 boxes in 1 images' in printed
    (entry,) = json.loads((tmp_path / 'a.json').read_text())['images']
    assert entry == dict(id=1, file_name='0001.png', width=48, height=40)
    assert (tmp_path / 'drawn' / '0001.png').is_file() and (tmp_path / 'maps' / '0001.png.npz').is_file()
    assert predict('--out', tmp_path / 'labels', '--format', 'labelme', folder=path)[0] == 0
    file = tmp_path / 'labels' / '0001.json'
    assert (file.parent / json.loads(file.read_text())['imagePath']).resolve() == path
    torn = photos / TORN[0]
    status, printed = predict('--out', tmp_path / 'b.json', folder=torn)
    assert status == 3 and '0 boxes in 0 images' in printed and f'{torn.name}: ' in printed


def test_files_of_other_kinds_are_counted(predict, tmp_path, monkeypatch):
    folder = tmp_path / 'photos'
    write_photos(folder, 2)
    Image.new('RGB', (30, 20)).save(folder / 'moving.gif')
    (folder / CLASSES[0] / 'notes.txt').touch()
    logged = []
    monkeypatch.setattr(image_listing, 'print_log', lambda text, _: logged.append(text))
    assert '2 images' in predict('--out', tmp_path / 'a.json', folder=folder)[1]
    (text,) = logged
    assert f'{folder}: 2 file(s) are no images (.jpg .jpeg' in text and '1 .gif' in text and '1 .txt' in text


def test_images_of_two_kinds_with_one_stem(predict, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name in ('1.png', '1.jpg', '2.png'):
        Image.new('RGB', (30, 20), 'red').save(folder / name)
    assert predict('--out', tmp_path / 'voc', '--format', 'voc', folder=folder)[0] == 0
    assert sorted(path.name for path in (tmp_path / 'voc').iterdir()) == ['1.jpg.xml', '1.png.xml', '2.xml']


def test_unknown_class_folders(predict, tmp_path):
    folder = tmp_path / 'photos'
    write_photos(folder, 3)
    (folder / '003.Blue').rename(folder / 'blue')
    options = ['--out', tmp_path / 'a.json', '--labels', 'from-folder']
    status, _ = predict(*options, folder=folder)
    assert 'predict.py: error: ' in status and 'expected images in folders named after' in status
    assert 'got folder blue' in status
    assert '3 classes of the model (001.Red, 002.Green, 003.Blue)' in status
    Image.new('RGB', (30, 20)).save(folder / 'outside.png')
    assert 'folder blue, image outside.png in no folder' in predict(*options, folder=folder)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['photos'], 'nothing is left behind'


def test_what_stops_it_at_once(predict, tool, tmp_path, monkeypatch):
    (tmp_path / 'empty').mkdir()
    with monkeypatch.context() as context:
        context.setattr(
            'wsol_mm.apis.LocalizationInferencer', lambda *_, **__: pytest.fail('the model is loaded')
        )
        out = ['--out', tmp_path / 'a.json']
        assert 'expected a folder with images' in predict(*out, folder=tmp_path / 'empty')[0]
        assert 'got nothing there' in predict(*out, folder=tmp_path / 'none')[0]
        message = 'predict.py: error: --topk: expected an integer from 1 to 3, got 4: the model has 3 classes'
        assert predict(*out, '--topk', 4)[0] == message
        (tmp_path / 'a.json').write_text('mine')
        assert 'a.json: expected a path that does not exist' in predict(*out)[0]
        status, printed = predict('--out', tmp_path / 'a.json' / 'b.json')
        reason = f"'{tmp_path}/a.json' is not a folder"
        assert (
            status == 2
            and f"--out: expected a path that can be written, got '{tmp_path}/a.json/b.json': {reason}"
            in printed
        )
        assert '.lock' not in printed
    assert (tmp_path / 'a.json').read_text() == 'mine'
    assert (
        'threshold: expected a number in [0, 1) for protocol'
        in predict('--out', tmp_path / 'b.json', '--protocol', 'maxboxacc')[0]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'empty']


@pytest.mark.parametrize(
    ('topk', 'classes', 'message'),
    [
        (
            6,
            10,
            '--topk: expected an integer from 1 to 5, got 6: a prediction keeps the 5 best of the 10 classes',
        ),
        (4, 3, '--topk: expected an integer from 1 to 3, got 4: the model has 3 classes'),
        (0, 3, '--topk: expected an integer from 1 to 3, got 0'),
    ],
)
def test_the_limit_of_topk_is_explained(topk, classes, message):
    for accepted in (1, min(5, classes)):
        check_topk(accepted, classes)
    with pytest.raises(ValueError, match=message):
        check_topk(topk, classes, '--topk')


def test_a_mistake_leaves_no_journal_to_remove(predict, tmp_path):
    (tmp_path / 'file').write_text('mine')
    for option in ('--save-maps', '--show-dir'):
        status, printed = predict('--out', tmp_path / 'a.json', option, tmp_path / 'file')
        assert status == 2 and f"{option}: expected a folder, got the file '{tmp_path}/file'" in printed
    assert [path.name for path in tmp_path.iterdir()] == ['file']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--out', 'a.txt'], "--out: expected a .json file for coco, got 'a.txt'"),
        (['--out', 'a.xml', '--format', 'voc'], "--out: expected a folder for voc, got 'a.xml'"),
        (['--out', 'a.json', '--topk', '0'], '--topk: expected an integer from 1, got 0'),
        (['--out', 'a.json', '--score-thr', '2'], '--score-thr: expected a number in [0, 1], got 2.0'),
        (
            ['--out', 'a.json', '--min-confidence', 'x'],
            "--min-confidence: expected a number in [0, 1], got 'x'",
        ),
        (
            ['--out', 'a.json', '--labels', 'from-folder', '--topk', '2'],
            '--topk: expected 1 beside --labels from-folder, got 2',
        ),
        (['--out', 'a.json', '--num-workers', '-1'], '--num-workers: expected an integer from 0, got -1'),
        (['--out', 'a.json', '--show-dir', 'photos/drawn'], '--show-dir: expected a folder outside FOLDER'),
        (['--out', 'a.json', '--format', 'pdf'], "invalid choice: 'pdf'"),
        (['--out', 'a.json', '--threshold', '2'], '--threshold: expected a number in [0, 1), got 2.0'),
        (['--out', 'a.json', '--protocol', 'cam'], "--protocol: invalid choice: 'cam' (choose from"),
        (
            ['--out', '/dev/null/a.json'],
            "--out: expected a path that can be written, got '/dev/null/a.json': '/dev/null' is not a",
        ),
    ],
)
def test_wrong_options_stop_with_one_line(tool, micro_project, checkpoint, capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        tool.parse_arguments([str(micro_project.config), str(checkpoint), 'photos', *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and caught.value.code == 2
