"""Tests of wsol_mm.apis.folder_labelling."""

import json
from dataclasses import replace

from wsol_mm.apis import folder_labelling
from wsol_mm.apis.folder_labelling import LabellingTask, label_folder
from wsol_mm.datasets.dataset_problems import DatasetError

import numpy as np
import pytest
import timm
import torch
from PIL import Image

CONFIG = 'trilite_vit-t-frozen_folder'


@pytest.fixture(scope='module')
def task(tmp_path_factory):
    """Two classes of three images, one image that does not decode, and weights of the backbone."""
    folder = tmp_path_factory.mktemp('labelling')
    rng = np.random.default_rng(0)
    for name in ('cat', 'dog'):
        (folder / 'photos' / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
            Image.fromarray(pixels).save(folder / 'photos' / name / f'{number}.png')
    whole = (folder / 'photos/cat/0.png').read_bytes()
    (folder / 'photos/cat/broken.png').write_bytes(whole[: len(whole) // 2])
    torch.manual_seed(0)
    torch.save(timm.create_model('vit_tiny_patch16_224').state_dict(), folder / 'weights.pth')
    return LabellingTask(
        folder=folder / 'photos',
        out=folder / 'labelled',
        config=CONFIG,
        weights=str(folder / 'weights.pth'),
        img_size=32,
        options={'train_cfg.max_epochs': 2},
        batch_size=4,
        num_workers=0,
    )


@pytest.fixture(scope='module')
def summary(task):
    return label_folder(task)


def test_every_usable_image_gets_a_box_of_its_own_class(task, summary):
    written = json.loads(task.boxes.read_text())
    names = {category['id']: category['name'] for category in written['categories']}
    files = {image['id']: image['file_name'] for image in written['images']}
    pairs = {(files[box['image_id']], names[box['category_id']]) for box in written['annotations']}
    assert pairs == {(f'{name}/{number}.png', name) for name in ('cat', 'dog') for number in range(3)}
    assert (summary.num_boxes, summary.num_broken) == (6, 1)
    assert (task.out / 'broken.txt').read_text() == 'cat/broken.png\n'
    assert Image.open(task.sheet).size[0] > 300


def test_a_second_call_keeps_what_is_there(task, summary):
    before = {
        path: path.read_bytes() for path in task.out.rglob('*') if path.suffix in ('.json', '.npy', '.pth')
    }
    assert label_folder(task) is None
    assert {path: path.read_bytes() for path in before} == before


def test_a_call_that_was_stopped_goes_on(task, summary, tmp_path, monkeypatch):
    stopped = replace(task, out=tmp_path / 'stopped')
    for part in ('_train', '_predict'):
        with monkeypatch.context() as patch:

            def stop(*args, **kwargs):
                raise KeyboardInterrupt

            patch.setattr(folder_labelling, part, stop)
            with pytest.raises(KeyboardInterrupt):
                label_folder(stopped)
    label_folder(stopped)
    assert stopped.boxes.read_bytes() == task.boxes.read_bytes()


def test_sharpened_maps(task, summary, tmp_path):
    """The network is trained as without; its maps are seen at two sizes."""
    refined = replace(task, out=tmp_path / 'refined', refine=['32', '64', 'flip'])
    label_folder(refined)
    about = json.loads(refined.boxes.read_text())['info']['description']
    assert 'views of 32, 64 pixels, mirrored too' in about
    assert 'views' not in json.loads(task.boxes.read_text())['info']['description']
    assert 'refinement' not in (refined.out / 'config.py').read_text()
    with pytest.raises(ValueError, match="refine: expected sides of views .*, got 'sharp'"):
        label_folder(replace(refined, out=tmp_path / 'other', refine=['sharp']))
    with pytest.raises(FileNotFoundError, match='expected the weights of SAM, .*got no file at no_sam.pth'):
        label_folder(replace(refined, out=tmp_path / 'other', refine=['sam=no_sam.pth']))
    assert not (tmp_path / 'other' / 'features').exists()


def test_other_settings_are_refused(task, summary):
    message = (
        r'config.py: expected the work of the same images and settings, got .*: was .*seed=0.*, now .*seed=1'
    )
    with pytest.raises(ValueError, match=message):
        label_folder(replace(task, seed=1))


def test_settings_without_a_model_claim_no_folder(task, tmp_path):
    other = replace(task, out=tmp_path / 'other')
    with pytest.raises(ValueError, match='inputs: expected a height and a width that are multiples of'):
        label_folder(replace(other, img_size=100))
    assert not (other.out / 'config.py').exists()


def test_boxes_of_other_settings_are_refused(task, summary):
    """Formats may share the name of the file."""
    paths = (task.boxes, task.sheet, task.box_settings)
    before = [path.read_bytes() for path in paths]
    other = replace(task, threshold=0.9)
    for changed, differing in (
        (replace(task, refine=['flip']), r'refine \(was null, now \["flip"\]\)'),
        (other, r'threshold \(was 0\.\d+, now 0\.9\)'),
        (replace(task, format='label-studio'), r'format \(was "coco", now "label-studio"\)'),
    ):
        with pytest.raises(
            ValueError, match=rf'boxes.json: expected boxes of the same .*: {differing}\. They are made anew'
        ):
            label_folder(changed)
    assert [path.read_bytes() for path in paths] == before
    task.boxes.unlink()
    label_folder(other)
    assert b'threshold 0.9' in task.boxes.read_bytes()
    for path, content in zip(paths, before, strict=True):
        path.write_bytes(content)


def test_what_cannot_be_labelled_is_named(task, tmp_path):
    other = replace(task, out=tmp_path / 'other')
    with pytest.raises(
        ValueError, match="config: expected one of a head on a frozen TimmBackbone, .*'sat_deit-s_cub'"
    ):
        label_folder(replace(other, config='sat_deit-s_cub'))
    with pytest.raises(ValueError, match='expected a model of timm, such as'):
        label_folder(replace(other, backbone='vit_tiny_patch16_223'))
    for inside in (task.folder, task.folder / 'new' / 'labelled'):
        with pytest.raises(ValueError, match='out: expected a folder outside .*, whose folders are classes'):
            label_folder(replace(task, out=inside))
    assert not (task.folder / 'new').exists()
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DatasetError, match='expected a folder of images per class in .*, got none'):
        label_folder(replace(other, folder=tmp_path / 'empty'))
