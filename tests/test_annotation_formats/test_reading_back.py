"""What the writers write, the readers of the data sets match, for any name that a file system allows."""

from pathlib import Path

from wsol_mm.annotation_formats import FORMATS, Annotations, ImageAnnotation
from wsol_mm.apis.image_listing import walk_images
from wsol_mm.datasets import FolderDataset
from wsol_mm.datasets.readers.saved_maps import SavedMaps
from wsol_mm.utils.file_names import LONGEST_NAME, fitting_name

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

LATIN = b'caf\xe9'.decode('utf-8', 'surrogateescape')
CLASSES = ('a cat', ' blank before and behind ', 'Zoë & <dog>', 'with, comma "quoted"', LATIN, 'line\nfeed')
NAMES = [
    *('a.jpg', 'a.png', 'A.JPG', 'x.jpg', 'x.jpg.png', 'plain.jpg', 'dots.in.it.jpg', f'{LATIN}.jpg'),
    *('with blank.jpg', ' before.jpg', 'comma, "quote".jpg', 'line\nfeed.jpg', 'back\\slash.jpg', '日本.png'),
    *('l' * 251 + '.jpg', 'm' * 250 + '.webp', '日' * 83 + 'ab.jpg', 'n' * 251 + '.jpg', 'n' * 251 + '.png'),
    *('~tilde.jpg', '#hash.jpg', '-dash.jpg', "it's.jpg", 'inside/a.jpg', 'inside/b.jpg', '100%.jpg'),
]


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    for label in CLASSES:
        for name in NAMES:
            file = root / 'val' / label / name
            file.parent.mkdir(parents=True, exist_ok=True)
            kind = {'.png': 'PNG', '.webp': 'WEBP'}.get(file.suffix, 'JPEG')
            Image.new('RGB', (60, 40)).save(file, kind)
    return root


def annotations(root):
    """A box of its own for every image."""
    classes = sorted(CLASSES)
    images = [
        ImageAnnotation(
            number,
            image.path,
            image.name,
            size=(60, 40),
            labels=[classes.index(image.path.partition('/')[0])],
            scores=[0.5],
            boxes=[[number % 30, number // 30, 40, 30]],
            confidences=[0.5],
        )
        for number, image in enumerate(walk_images(root / 'val'))
    ]
    return Annotations(lambda: images, classes, root / 'val', 'test'), images


@pytest.mark.parametrize('name', ['voc', 'coco', 'csv', 'yolo', 'labelme', 'label-studio'])
def test_boxes_come_back(photos, name):
    written, images = annotations(photos)
    out = photos / f'boxes{FORMATS[name].suffix or ""}'
    if FORMATS[name].suffix is None:
        out.mkdir(exist_ok=True)
    FORMATS[name].write(written, out)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        data = FolderDataset(
            data_root=str(photos), data_prefix='val', box_source=out.name, test_mode=True, pipeline=[]
        )
    assert len(data) == len(images) == len(CLASSES) * len(NAMES)
    expected = {image.path: image.boxes for image in images}
    for index in range(len(data)):
        info = data.get_data_info(index)
        np.testing.assert_allclose(info['gt_bboxes'], expected[info['img_id']], atol=1e-3)


@pytest.mark.parametrize('name', ['yolo', 'labelme'])
def test_every_image_has_its_file(photos, tmp_path, name):
    written, images = annotations(photos)
    FORMATS[name].write(written, tmp_path)
    folder = tmp_path / 'labels' if name == 'yolo' else tmp_path
    assert len([file for file in folder.rglob('*') if file.is_file()]) == len(images)


def test_maps_come_back(tmp_path):
    """They are called after the whole name of the image."""
    ids = [f'cat/{name}' for name in NAMES]
    for number, img_id in enumerate(ids):
        file = tmp_path / fitting_name(img_id, '.npz')
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file.open('wb'), maps=np.full((1, 2, 2), number), labels=np.zeros(1, int))
    maps = SavedMaps(tmp_path, ids)
    assert [int(maps.read(img_id, 3)[0][0, 0, 0]) for img_id in ids] == list(range(len(ids)))
    assert maps.unused == []


def test_names_that_fit_are_as_they_are():
    assert fitting_name('a/b.jpg', '.npz') == 'a/b.jpg.npz'
    assert fitting_name('a/' + 'b' * 251, '.npz') == 'a/' + 'b' * 251 + '.npz'
    for last in ('b' * 252, '日' * 85, LATIN * 60, 'b' * 251 + 'c'):
        made = Path(fitting_name(f'a/{last}', '.npz'))
        assert (
            len(str(made.name).encode('utf-8', 'surrogateescape')) <= LONGEST_NAME and made.suffix == '.npz'
        )
        assert last == LATIN * 60 or str(made).encode()  # cut between letters
        assert fitting_name(f'a/{last}', '.npz') == str(made) != fitting_name(f'a/{last[:-1]}x', '.npz')
