"""Every format is read by its own rules, and gives the boxes that were written."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from wsol_mm.annotation_formats import FORMATS, FROM_FOLDER, PREDICTED, Annotations, ImageAnnotation
from wsol_mm.datasets import FolderDataset
from wsol_mm.datasets.dataset_problems import DatasetProblems
from wsol_mm.datasets.readers.box_annotations import read_box_csv, read_coco_json, read_voc_xml
from wsol_mm.utils.file_names import printable

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

CLASSES = ('cat', 'Zoë & <dog>', 'bird')
IMAGES = (
    ImageAnnotation(1, 'cat/1.jpg', 'cat/1.jpg', (100, 80), [0], [0.875], [[10.25, 20.5, 60.125, 79.999]],
                    [0.625]),
    ImageAnnotation(2, 'cat/1.png', 'cat/1.png', (64, 48), [], [], [], []),
    # Number 3 was broken.
    ImageAnnotation(
        4, 'dog/in "here"/ä, b.jpg', 'dog/in "here"/ä, b', (301, 7), [1, 2], [0.5, 0.25],
        [[0.0, 0.0, 301.0, 7.0], [300.4, 1.2, 300.9, 1.4]], [0.125, 0.0],
    ),
)  # fmt: skip
EXPECTED = {image.path: image for image in IMAGES}


def write(name: str, folder: Path, images=IMAGES) -> Path:
    fmt = FORMATS[name]
    out = folder / f'annotations{fmt.suffix or ""}'
    if fmt.suffix is None:
        out.mkdir()
    fmt.write(Annotations(lambda: iter(images), CLASSES, folder / 'photos', 'by hand'), out)
    return out


def test_coco(tmp_path, capsys):
    coco = COCO(str(write('coco', tmp_path)))
    assert {category['id']: category['name'] for category in coco.loadCats(coco.getCatIds())} == {
        1: 'cat',
        2: 'Zoë & <dog>',
        3: 'bird',
    }
    assert coco.getImgIds() == [1, 2, 4] and coco.getAnnIds() == [1, 2, 3]
    for number in coco.getImgIds():
        (entry,) = coco.loadImgs(number)
        image = EXPECTED[entry['file_name']]
        assert (entry['id'], entry['width'], entry['height']) == (image.number, *image.size)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=number))
        assert [annotation['category_id'] - 1 for annotation in annotations] == image.labels
        assert [annotation['score'] for annotation in annotations] == image.scores
        assert [annotation['confidence'] for annotation in annotations] == image.confidences
        for annotation, box in zip(annotations, image.boxes, strict=True):
            x, y, width, height = annotation['bbox']
            np.testing.assert_allclose([x, y, x + width, y + height], box, atol=0.0051)
            assert annotation['area'] == pytest.approx(width * height, abs=0.005)
            assert annotation['iscrowd'] == 0 and annotation['segmentation'] == []
    capsys.readouterr()


def test_coco_is_read_as_a_box_source(tmp_path):
    found = read_coco_json(write('coco', tmp_path), DatasetProblems('test'))
    assert found['dog/in "here"/ä, b.jpg'].labels == ['Zoë & <dog>', 'bird']
    assert found['cat/1.jpg'].boxes == [pytest.approx([10.25, 20.5, 60.125, 79.999], abs=0.0051)]


def test_coco_without_any_box(tmp_path):
    content = json.loads(write('coco', tmp_path, [IMAGES[1]]).read_text())
    assert content['annotations'] == [] and len(content['images']) == 1
    assert content['info'] == {'description': 'by hand'}


@pytest.mark.parametrize('labels', [FROM_FOLDER, PREDICTED])
def test_coco_tells_where_the_labels_come_from(tmp_path, labels):
    annotations = Annotations(lambda: iter(IMAGES), CLASSES, tmp_path, 'by hand', labels)
    FORMATS['coco'].write(annotations, tmp_path / 'a.json')
    info = json.loads((tmp_path / 'a.json').read_text())['info']
    assert info == {'description': 'by hand', 'labels': labels}


def test_voc(tmp_path):
    out = write('voc', tmp_path)
    for image in IMAGES:
        file = out / f'{image.name}.xml'
        root = ElementTree.parse(file).getroot()
        assert f'{root.findtext("folder")}/{root.findtext("filename")}' == image.path
        objects = root.findall('object')
        assert [element.findtext('name') for element in objects] == [CLASSES[i] for i in image.labels]
        for element, (x0, y0, x1, y1) in zip(objects, image.boxes, strict=True):
            sides = {child.tag: int(child.text) for child in element.find('bndbox')}
            assert 1 <= sides['xmin'] <= sides['xmax'] <= image.size[0]
            assert 1 <= sides['ymin'] <= sides['ymax'] <= image.size[1]
            assert abs(sides['xmin'] - 1 - x0) <= 0.5 and abs(sides['ymin'] - 1 - y0) <= 0.5
            # A box of less than a pixel becomes one pixel.
            assert abs(sides['xmax'] - x1) <= (0.5 if x1 - x0 >= 1 else 1)
            assert abs(sides['ymax'] - y1) <= (0.5 if y1 - y0 >= 1 else 1)
        assert read_voc_xml(file, one_based=True).size == image.size
    assert read_voc_xml(out / 'cat/1.jpg.xml', one_based=True).boxes == [[10, 20, 60, 80]]


def test_yolo(tmp_path):
    out = write('yolo', tmp_path)
    names = (out / 'classes.txt').read_text(encoding='utf-8').splitlines()
    assert names == list(CLASSES)
    for image in IMAGES:
        lines = (out / 'labels' / f'{image.name}.txt').read_text().splitlines()
        size = np.array(image.size)
        for line, label, box in zip(lines, image.labels, image.boxes, strict=True):
            index, *numbers = line.split(' ')
            values = np.array(numbers, float)
            assert int(index) == label and len(values) == 4
            assert ((values >= 0) & (values <= 1)).all()
            centre, sides = values[:2] * size, values[2:] * size
            np.testing.assert_allclose([*(centre - sides / 2), *(centre + sides / 2)], box, atol=1e-3)


def test_yolo_is_laid_out_for_a_training(tmp_path):
    """As trainings look for labels: beside the images, ``images`` in the path replaced by ``labels``."""
    (tmp_path / 'photos' / 'cat').mkdir(parents=True)
    (tmp_path / 'photos' / 'cat' / '1.jpg').touch()
    out = write('yolo', tmp_path, [IMAGES[0]._replace(name='cat/1')])
    data = yaml.safe_load((out / 'data.yaml').read_text(encoding='utf-8'))
    assert data == dict(train='train.txt', val='train.txt', names=list(CLASSES))
    (line,) = (out / data['train']).read_text().splitlines()
    image = out / line
    assert image.is_file()
    assert (out / line.replace('/images/', '/labels/')).with_suffix('.txt').is_file()
    moved = out.rename(tmp_path / 'elsewhere')  # the link is relative
    assert (moved / line).is_file()


def test_label_studio(tmp_path):
    tasks = json.loads(write('label-studio', tmp_path).read_text())
    assert [task['id'] for task in tasks] == [1, 2, 4]
    for task, image in zip(tasks, IMAGES, strict=True):
        assert task['data']['image'].startswith('/data/local-files/?d=')
        (prediction,) = task['predictions']
        assert len(prediction['result']) == len(image.boxes) and ('score' in prediction) == bool(image.boxes)
        assert prediction.get('score', 1) == min(image.confidences, default=1)
        for region, (label, _, box, confidence) in zip(prediction['result'], image.rows(), strict=True):
            value = region['value']
            assert region['type'] == 'rectanglelabels' and value['rectanglelabels'] == [CLASSES[label]]
            assert (region['original_width'], region['original_height']) == image.size
            assert region['score'] == confidence
            corners = [value['x'], value['y'], value['x'] + value['width'], value['y'] + value['height']]
            np.testing.assert_allclose(np.array(corners) / 100 * [*image.size, *image.size], box, atol=1e-3)


@pytest.mark.parametrize('name', FORMATS)
def test_every_format_that_is_written_is_read_as_a_box_source(tmp_path, name):
    """Also images that differ in their extension alone, and names that addresses quote."""
    photos = tmp_path / 'photos'
    for image in IMAGES:
        (photos / image.path).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', image.size).save(photos / image.path)
    source = write(name, tmp_path)
    data = FolderDataset(
        str(photos), box_source=str(source), test_mode=True, require_boxes=False, classes=('cat', 'dog')
    )
    read = {data.get_data_info(i)['img_id']: data.get_data_info(i) for i in range(len(data))}
    assert set(read) == set(EXPECTED)
    for path, image in EXPECTED.items():
        if path.startswith('dog'):  # none of its boxes is of its class
            assert not len(read[path].get('gt_bboxes', ()))
            continue
        np.testing.assert_allclose(
            np.reshape(read[path].get('gt_bboxes', []), (-1, 4)),
            np.reshape(image.boxes, (-1, 4)),
            atol=0.51 if name == 'voc' else 0.006,
        )


@pytest.mark.parametrize('name', ['coco', 'yolo', 'voc', 'labelme'])
def test_supervision_reads_what_is_written(tmp_path, name):
    supervision = pytest.importorskip('supervision')
    images = [IMAGES[0]._replace(path='1.jpg', name='1'), IMAGES[1]._replace(path='2.png', name='2')]
    photos = tmp_path / 'photos'
    photos.mkdir()
    for image in images:
        Image.new('RGB', image.size).save(photos / image.path)
    out = write(name, tmp_path, images)
    data = supervision.DetectionDataset
    if name == 'coco':
        found = data.from_coco(str(photos), str(out))
    elif name == 'yolo':
        found = data.from_yolo(str(out / 'images'), str(out / 'labels'), str(out / 'data.yaml'))
    elif name == 'voc':
        found = data.from_pascal_voc(str(photos), str(out))
    else:
        found = data.from_labelme(str(photos), str(out))
    (detections,) = [detections for _, _, detections in found if len(detections)]
    assert len(found) == 2 and found.classes[detections.class_id[0]] == 'cat'
    np.testing.assert_allclose(detections.xyxy, IMAGES[0].boxes, atol=1.1 if name == 'voc' else 0.01)


def test_labelme(tmp_path):
    out = write('labelme', tmp_path)
    for image in IMAGES:
        file = out / f'{image.name}.json'
        content = json.loads(file.read_text())
        assert content['version'].startswith('5.') and content['imageData'] is None
        assert (content['imageWidth'], content['imageHeight']) == image.size
        # labelme looks for the image from the place of the file.
        assert (file.parent / content['imagePath']).resolve() == tmp_path / 'photos' / image.path
        assert [shape['label'] for shape in content['shapes']] == [CLASSES[i] for i in image.labels]
        for shape, (_, score, box, confidence) in zip(content['shapes'], image.rows(), strict=True):
            assert shape['shape_type'] == 'rectangle'
            assert shape['description'] == f'confidence {confidence:.3f}, class score {score:.3f}'
            np.testing.assert_allclose(np.ravel(shape['points']), box, atol=0.0051)


def test_csv(tmp_path):
    out = write('csv', tmp_path)
    with open(out, encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    boxes = [
        (image.path, box, CLASSES[label], score, confidence)
        for image in IMAGES
        for label, score, box, confidence in image.rows()
    ]
    for row, (path, box, name, score, confidence) in zip(rows, boxes, strict=True):
        assert (row['path'], row['label'], float(row['score'])) == (path, name, score)
        assert float(row['confidence']) == confidence
        np.testing.assert_allclose([float(row[key]) for key in ('x0', 'y0', 'x1', 'y1')], box, atol=0.0051)
    problems = DatasetProblems('test')
    found = read_box_csv(out, problems)
    assert found[IMAGES[2].path].labels == ['Zoë & <dog>', 'bird'] and not problems


@pytest.mark.parametrize('name', FORMATS)
def test_file_names_that_are_no_text(tmp_path, name):
    """Bytes of an old encoding, and control characters, which XML cannot hold."""
    path = b'caf\xe9\x07\n.jpg'.decode('utf-8', 'surrogateescape')
    out = write(name, tmp_path, [IMAGES[0]._replace(path=path, name=path[:-4])])
    if name == 'voc':
        (file,) = out.rglob('*.xml')
        assert ElementTree.parse(file).findtext('filename') == 'caf\ufffd\ufffd\ufffd.jpg'
    elif name == 'coco':
        assert json.loads(out.read_text())['images'][0]['file_name'] == path
    elif name == 'csv':
        assert b'caf\xe9\x07' in out.read_bytes()


def test_printable_keeps_what_can_be_printed():
    assert printable('ä 👩‍🔬.jpg') == 'ä 👩‍🔬.jpg'
    assert printable('a\nb') == 'a\ufffdb'
