"""Tests of wsol_mm.datasets.transforms.pseudo_maps, on images and on cached features."""

from wsol_mm.datasets import CachedFeatures
from wsol_mm.datasets.readers.saved_maps import MapProblem
from wsol_mm.datasets.transforms import LoadPseudoMap
from wsol_mm.feature_cache.extraction import extract_features
from wsol_mm.registry import DATASETS, MODELS, TRANSFORMS

import numpy as np
import pytest
import torch

MAPS = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)


def item(**changes) -> dict:
    common = dict(img_id='cat/a.png', img_shape=(32, 32), ori_shape=(30, 40), gt_label=1)
    return {**common, 'scale_factor': (32 / 40, 32 / 30), **changes}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / 'maps' / 'cat'
    folder.mkdir(parents=True)
    np.savez(folder / 'a.png.npz', maps=MAPS, labels=np.array([3, 1]))
    np.save(folder / 'b.npy', MAPS[0])
    np.savez(folder / 'c.png.npz', maps=MAPS[:1], labels=np.array([3]))
    return str(tmp_path / 'maps')


def load(source, size=4, maps_of: str = 'label', **changes) -> np.ndarray:
    return LoadPseudoMap(source, size, maps_of, num_classes=5)(item(**changes))['pseudo_map']


def test_the_map_of_the_image_s_class(source):
    assert np.array_equal(load(source), MAPS[1])
    assert np.array_equal(load(source, gt_label=3), MAPS[0])
    assert np.array_equal(load(source, img_id='cat/b.png'), MAPS[0])  # of all classes
    assert np.array_equal(load(source, maps_of='all', img_id='cat/c.png'), MAPS[0])
    assert load(source, size=(6, 2)).shape == (2, 6)


def test_maps_of_several_methods_are_averaged_in_their_own_ranges(source, tmp_path):
    other = tmp_path / 'other' / 'cat'
    other.mkdir(parents=True)
    np.save(other / 'a.npy', np.eye(4, dtype=np.float32) * 100)
    np.save(other / 'b.npy', np.ones((4, 4), np.float32))  # without contrast: it says nothing
    both = [source, str(other.parent)]
    scaled = (MAPS[1] - 16) / 15
    np.testing.assert_allclose(load(both), (scaled + np.eye(4)) / 2, rtol=1e-6)
    assert load(both).dtype == np.float32
    np.testing.assert_allclose(load(both, img_id='cat/b.png'), MAPS[0] / 30, rtol=1e-6)
    with pytest.raises(MapProblem, match='cat/c.png: expected one map in .*other, got none'):
        load(both, img_id='cat/c.png', maps_of='all')
    with pytest.raises(ValueError, match=r'source: expected a folder or several, got \[\]'):
        load([])


def test_it_is_flipped_with_the_image(source):
    assert np.array_equal(load(source, flip=True, flip_direction='horizontal'), MAPS[1][:, ::-1])
    assert np.array_equal(load(source, flip=True, flip_direction='vertical'), MAPS[1][::-1])
    assert np.array_equal(load(source, flip=False, flip_direction=None), MAPS[1])


def test_problems(source, tmp_path):
    with pytest.raises(MapProblem, match='cat/d.png: expected one map in .*maps, got none'):
        load(source, img_id='cat/d.png')
    with pytest.raises(MapProblem, match=r'expected a map of class 2, .*, got \[3, 1\]\. Make maps of'):
        load(source, gt_label=2)
    with pytest.raises(MapProblem, match='expected one map of all classes, got 2'):
        load(source, maps_of='all')
    with pytest.raises(
        ValueError, match='expected a pipeline that resizes once, .*, got 28x28 pixels of 40x30'
    ):
        load(source, img_shape=(28, 28))
    np.save(tmp_path / 'maps' / 'cat' / 'a.png.npy', MAPS[0])
    with pytest.raises(MapProblem, match=r'cat/a.png: expected one map in .*, got \[.*a.png.npy'):
        load(source)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(size=0), 'size: expected an integer from 1 or .*, got 0'),
        (dict(size=(4, 0)), r'got \(4, 0\)'),
        (dict(size=4, maps_of='best'), r"maps_of: expected one of \('label', 'all'\), got 'best'"),
    ],
)
def test_wrong_arguments(source, arguments, message):
    with pytest.raises(ValueError, match=message):
        LoadPseudoMap(source, **arguments)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match='source: expected a folder of maps, got nothing at'):
        load(str(tmp_path / 'nothing'))


def test_images_and_cached_features_get_the_same_maps(tmp_path, write_image):
    for name in ('a', 'b'):
        write_image(tmp_path / 'images' / name / '0.png')
        (tmp_path / 'maps' / name).mkdir(parents=True)
        np.savez(tmp_path / 'maps' / name / '0.png.npz', maps=MAPS, labels=np.array([0, 1]))
    plain = [
        dict(type='LoadImageWithPillow'),
        dict(type='Resize', scale=(32, 32), backend='pillow'),
        dict(type='PackLocalizationInputs'),
    ]
    flip = [*plain[:-1], dict(type='RandomFlip', prob=1.0, direction='horizontal'), plain[-1]]
    loader = dict(type='LoadPseudoMap', source=str(tmp_path / 'maps'), size=4)
    data = dict(type='FolderDataset', data_root=str(tmp_path), data_prefix='images')
    images = DATASETS.build(dict(**data, pipeline=[*flip[:-1], loader, flip[-1]]))
    backbone = dict(
        type='TimmBackbone',
        model_name='vit_tiny_patch16_224',
        attention_layers=1,
        **dict(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2),
    )
    head = dict(type='FOUNDHead', num_classes=2, pseudo_masks=dict(type='SavedMapMasks', target_area=0.3))
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head, frozen=['backbone.*']))
    views = [[TRANSFORMS.build(step) for step in view] for view in (plain, flip)]
    options = dict(view_names=('plain', 'flip'), batch_size=2, num_workers=0)
    extract_features(model, images, views, tmp_path / 'cache', **options)
    for view, expected in ((0, MAPS), (1, MAPS[..., ::-1])):
        cached = CachedFeatures(
            str(tmp_path / 'cache'), dict(**data, pipeline=[*plain[:-1], loader, plain[-1]]), views=[view]
        )
        for label in (0, 1):
            found = cached[label]['data_samples'].pseudo_map
            assert torch.equal(found, torch.from_numpy(expected[label].copy()))
    assert torch.equal(images[1]['data_samples'].pseudo_map, torch.from_numpy(MAPS[1][:, ::-1].copy()))
    batch = [cached[index] for index in range(2)]
    inputs = {name: torch.stack([one['inputs'][name] for one in batch]) for name in batch[0]['inputs']}
    losses = model.loss(inputs, [one['data_samples'] for one in batch])
    assert losses['pseudo_area'].item() == pytest.approx(0.3, abs=1 / 32)
