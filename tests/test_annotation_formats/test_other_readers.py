"""What is written, read by the packages that users give it to: CVAT's own reader, and Ultralytics'."""

import json

from wsol_mm.annotation_formats import FORMATS, Annotations, ImageAnnotation
from wsol_mm.datasets import FolderDataset

import pytest
from mmengine.registry import DefaultScope
from PIL import Image

CLASSES = ['a cat', 'Zoë & dog']
BOXES = {'a cat/1.b.jpg': [10.25, 5.5, 60, 70], 'Zoë & dog/1.jpg': [0, 0, 128, 96], 'Zoë & dog/2.jpg': None}


@pytest.fixture
def written(tmp_path):
    """Photographs, and a function that writes their boxes in a format."""
    images = []
    for number, (path, box) in enumerate(BOXES.items(), start=1):
        file = tmp_path / 'photos' / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (128, 96), (200, 40 * number, 40)).save(file)
        labels = [] if box is None else [CLASSES.index(path.partition('/')[0])]
        stem = path.removesuffix('.jpg')
        boxes = [] if box is None else [box]
        half = [0.5] * len(labels)
        images.append(ImageAnnotation(number, path, stem, (128, 96), labels, half, boxes, half))
    annotations = Annotations(lambda: images, CLASSES, tmp_path / 'photos', 'test')

    def write(name):
        out = tmp_path / f'boxes{FORMATS[name].suffix or ""}'
        FORMATS[name].write(annotations, out)
        return out

    return write


def test_coco_through_the_reader_of_cvat(written, tmp_path):
    """In, with the score as an attribute, and out again, as CVAT's export of corrected boxes would be."""
    dataset = pytest.importorskip('datumaro.components.dataset').Dataset
    (tmp_path / 'set' / 'annotations').mkdir(parents=True)
    written('coco').rename(tmp_path / 'set' / 'annotations' / 'instances_default.json')
    (tmp_path / 'set' / 'images').symlink_to(tmp_path / 'photos')
    read = dataset.import_from(str(tmp_path / 'set'), 'coco_instances')
    names = [category.name for category in next(iter(read.categories().values())).items]
    assert names == CLASSES
    found = {
        item.id: [(a.label, a.get_bbox(), a.attributes['score']) for a in item.annotations] for item in read
    }
    assert found == {
        'a cat/1.b': [(0, [10.25, 5.5, 49.75, 64.5], 0.5)],
        'Zoë & dog/1': [(1, [0, 0, 128, 96], 0.5)],
        'Zoë & dog/2': [],
    }
    read.export(str(tmp_path / 'back'), 'coco_instances', save_media=False)
    (exported,) = (tmp_path / 'back').rglob('*.json')
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        data = FolderDataset(
            data_root=str(tmp_path),
            data_prefix='photos',
            box_source=str(exported),
            require_boxes=False,
            test_mode=True,
            pipeline=[],
        )
    for index in range(len(data)):
        info = data.get_data_info(index)
        box = BOXES[info['img_path'].partition('/photos/')[2]]
        found = [list(one) for one in info.get('gt_bboxes', [])]
        assert found == ([] if box is None else [pytest.approx(box)])
    assert {image['file_name'] for image in json.loads(exported.read_text())['images']} == BOXES.keys()


def test_coco_through_the_importer_of_fiftyone(written, tmp_path, monkeypatch):
    """As docs/predicting.md imports it; the data base, which needs MongoDB, is left out."""
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('FIFTYONE_DO_NOT_TRACK', 'true')
    coco = pytest.importorskip('fiftyone.utils.coco')
    file = written('coco')
    content = json.loads(file.read_text())
    content['annotations'][0]['confidence'] = 0.25
    for box in content['annotations']:
        box['score'] = box.pop('confidence', box['score'])
    file.write_text(json.dumps(content))
    found = {}
    with coco.COCODetectionDatasetImporter(
        data_path=str(tmp_path / 'photos'), labels_path=str(file)
    ) as importer:
        for path, _, labels in importer:
            boxes = labels['detections'].detections if labels else []
            found[path.partition('/photos/')[2]] = [(b.label, b.confidence, b.bounding_box) for b in boxes]
    shares = [10.25 / 128, 5.5 / 96, 49.75 / 128, 64.5 / 96]
    assert found == {
        'a cat/1.b.jpg': [('a cat', 0.25, pytest.approx(shares))],
        'Zoë & dog/1.jpg': [('Zoë & dog', 0.5, [0, 0, 1, 1])],
        'Zoë & dog/2.jpg': [],
    }


def test_yolo_through_the_check_of_ultralytics(written, tmp_path, monkeypatch):
    """As ``yolo detect train data=boxes/data.yaml`` begins, from any folder."""
    monkeypatch.setenv('YOLO_OFFLINE', 'true')
    monkeypatch.setenv('YOLO_CONFIG_DIR', str(tmp_path))
    utils = pytest.importorskip('ultralytics.data.utils')
    YOLODataset = pytest.importorskip('ultralytics.data.dataset').YOLODataset  # noqa: N806

    monkeypatch.chdir('/')
    data = utils.check_det_dataset(str(written('yolo') / 'data.yaml'), autodownload=False)
    assert data['names'] == dict(enumerate(CLASSES)) and data['nc'] == 2
    read = YOLODataset(img_path=data['train'], data=data, task='detect', imgsz=64, augment=False)
    found = {
        label['im_file'].partition('/images/')[2]: (label['cls'].ravel().tolist(), label['bboxes'].tolist())
        for label in read.labels
    }
    assert found['Zoë & dog/1.jpg'] == ([1], [[0.5, 0.5, 1, 1]])
    classes, boxes = found['a cat/1.b.jpg']
    centre = [35.125 / 128, 37.75 / 96, 49.75 / 128, 64.5 / 96]
    assert classes == [0] and boxes == [pytest.approx(centre, abs=1e-5)]
    assert found['Zoë & dog/2.jpg'] == ([], []) and len(found) == 3
