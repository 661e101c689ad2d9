"""Tests of wsol_mm.feature_cache, of CachedFeatures and of FeatureCacheHook."""

import json
import multiprocessing
import pickle
import shutil
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

from wsol_mm.datasets import CachedFeatures
from wsol_mm.engine.hooks import FeatureCacheHook
from wsol_mm.feature_cache import cache as cache_module
from wsol_mm.feature_cache import extraction as extraction_module
from wsol_mm.feature_cache.cache import CacheMismatchError, FeatureCache
from wsol_mm.feature_cache.extraction import as_records, extract_features
from wsol_mm.feature_cache.settings import splits_to_cache, use_cached_features, view_pipelines
from wsol_mm.registry import DATASETS, MODELS, TRANSFORMS

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope
from PIL import Image

SIDE, IMAGES = 32, 7
TEST = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(SIDE, SIDE), backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
TRAIN = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(40, 40), backend='pillow'),
    dict(type='RandomCrop', crop_size=SIDE),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield


@pytest.fixture
def cfg(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = tmp_path / 'images' / f'class{number % 2}' / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30 + number, 50, 3), np.uint8)).save(path)
    data = dict(type='FolderDataset', data_root=str(tmp_path), data_prefix='images')
    backbone = dict(
        type='TimmBackbone',
        model_name='vit_tiny_patch16_224',
        attention_layers=1,
        **dict(img_size=SIDE, patch_size=8, embed_dim=24, depth=2, num_heads=2),
    )
    head = dict(type='TriLiteHead', num_classes=2, in_channels=24, region_dropout=0.5)
    return Config(
        dict(
            model=dict(type='ImageLocalizer', backbone=backbone, head=head, frozen=['backbone.*']),
            train_dataloader=dict(dataset=dict(**data, pipeline=TRAIN)),
            val_dataloader=dict(dataset=dict(**data, pipeline=TEST, test_mode=True)),
            test_dataloader=dict(dataset=dict(**data, pipeline=TEST, test_mode=True)),
        )
    )


@pytest.fixture
def model(cfg):
    torch.manual_seed(0)
    return MODELS.build(cfg.model).eval()


def extract(cfg, model, folder, names=('plain', 'flip', 'crop', 'crop'), split='train', **options):
    views = [[TRANSFORMS.build(step) for step in view] for view in view_pipelines(cfg, names, split)]
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    options = dict(batch_size=2, num_workers=0, shard_size=3) | options
    return extract_features(model, dataset, views, folder, view_names=names, **options)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_cached_features_are_those_of_the_backbone(cfg, model, tmp_path):
    cache = extract(cfg, model, tmp_path / 'cache', dtype='float32')
    assert len(cache.shards) == 4 * 3
    dataset = CachedFeatures(str(tmp_path / 'cache'), cfg.train_dataloader.dataset, views=[0])
    images = DATASETS.build({**cfg.train_dataloader.dataset, 'pipeline': TEST})
    batch = default_collate([dataset[index] for index in range(IMAGES)])
    plain = default_collate([images[index] for index in range(IMAGES)])
    cached = model.data_preprocessor(batch)
    direct = model.extract_feat(model.data_preprocessor(plain)['inputs'], model.head.loss_needs)
    for name in ('pre_norm_map', 'pre_norm_cls_token'):
        torch.testing.assert_close(cached['inputs'][name], direct.require(name), rtol=1e-5, atol=1e-5)
    assert 'feature_map' not in cached['inputs']  # TriLite reads the tokens before the norm
    assert [sample.gt_label.item() for sample in batch['data_samples']] == [
        sample.gt_label.item() for sample in plain['data_samples']
    ]
    with torch.no_grad():
        found = model.predict(**cached)
        wanted = model.predict(**model.data_preprocessor(plain))
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own.loc_maps, other.loc_maps, rtol=1e-4, atol=1e-5)
        assert (own.ori_shape, own.img_shape, own.img_path) == (
            other.ori_shape,
            other.img_shape,
            other.img_path,
        )
        assert own.scale_factor == other.scale_factor


def test_class_attention_is_read_without_a_map(cfg, tmp_path):
    cfg.model.head = dict(type='ClassAttentionHead', num_classes=2)
    model = MODELS.build(cfg.model).eval()
    cache = extract(cfg, model, tmp_path / 'cache', names=('plain',), dtype='float32')
    assert cache.record['class_attention'].shape == (1, 2, 4, 4)
    dataset = CachedFeatures(str(tmp_path / 'cache'), cfg.train_dataloader.dataset)
    images = DATASETS.build({**cfg.train_dataloader.dataset, 'pipeline': TEST})
    with torch.no_grad():
        (found,) = model.test_step(default_collate([dataset[3]]))
        (wanted,) = model.test_step(default_collate([images[3]]))
    assert found.loc_maps.shape == (1, 4, 4) and found.loc_maps.std() > 0
    torch.testing.assert_close(found.loc_maps, wanted.loc_maps)
    torch.testing.assert_close(found.pred_score, wanted.pred_score)


def test_views_differ_as_they_should(cfg, model, tmp_path):
    cache = extract(cfg, model, tmp_path / 'cache', dtype='float32')
    plain, flip, crop, other = (cache.read(view, 1)[0]['pre_norm_map'] for view in range(4))
    image = DATASETS.build({**cfg.train_dataloader.dataset, 'pipeline': TEST})[1]['inputs']
    mirrored = model.data_preprocessor(dict(inputs=[image.flip(2)]))['inputs']
    expected = model.extract_feat(mirrored, {'pre_norm_map'}).require('pre_norm_map')[0]
    np.testing.assert_allclose(flip, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(plain, flip)
    assert not np.allclose(crop, other)


def test_a_killed_extraction_goes_on_to_the_same_bytes(cfg, model, tmp_path, monkeypatch):
    extract(cfg, model, tmp_path / 'whole')
    whole = content(tmp_path / 'whole')
    write = FeatureCache.write
    for stop in (0, 1, 5, 11):
        folder, written = tmp_path / f'stopped{stop}', []

        def write_some(self, *args, stop=stop, written=written):
            if len(written) == stop:
                raise KeyboardInterrupt
            written.append(args)
            write(self, *args)

        monkeypatch.setattr(FeatureCache, 'write', write_some)
        with pytest.raises(KeyboardInterrupt):
            extract(cfg, model, folder)
        monkeypatch.setattr(FeatureCache, 'write', write)
        with pytest.raises(FileNotFoundError, match=rf'expected all shards of .*, got all but {12 - stop};'):
            CachedFeatures(str(folder), cfg.train_dataloader.dataset)
        extract(cfg, model, folder)
        assert content(folder) == whole


def saved_objects():
    """An array whose entries are pickled."""
    with BytesIO() as stream:
        np.save(stream, np.array([None] * 4), allow_pickle=True)
        return stream.getvalue()


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('layout.json', b'{'),
        ('layout.json', b'[1]'),
        ('layout.json', b'{"record": 3, "shard_size": 4}'),
        ('layout.json', b'{"record": [["a", "|O", []]], "shard_size": 4}'),
        ('layout.json', b'{"record": [["a", "<f2", []]], "shard_size": 0}'),
        ('key.json', b'\xff'),
        ('key.json', b'[' * 10**5),
        ('view0_000000.npy', b''),
        ('view0_000000.npy', b'hello'),
        (
            'view0_000000.npy',
            b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
        ),
        ('view0_000000.npy', None),
        ('view0_000000.json', b''),
        ('view0_000000.json', b'[]'),
        ('view0_000000.json', b'{"a": 1}'),
        ('view0_000000.json', b'[1, 2, 3, 4, 5, 6, 7]'),
        ('view0_000000.json', b'{"images": [{}, {}, {}, {}], "crc32": [1, 2, 3]}'),
    ],
)
def test_damaged_files_are_named(cfg, model, tmp_path, name, content):
    folder = tmp_path / 'cache'
    extract(cfg, model, folder, names=['plain'])
    path = folder / name
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    with pytest.raises(ValueError, match='expected') as caught:
        FeatureCache.open(folder).read(0, 0)
    assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)


def test_a_flipped_bit_is_found(cfg, model, tmp_path):
    """Anywhere in the features, and in the digits of their meta fields."""
    extract(cfg, model, tmp_path, names=['plain'])
    path = tmp_path / 'view0_000000.npy'
    fields = path.with_suffix('.json')
    images = len(FeatureCache.open(tmp_path).images_of(0))

    def read():
        cache = FeatureCache.open(tmp_path)
        return [cache.read(0, index) for index in range(images)]

    read()
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    features = len(whole) - images * FeatureCache.open(tmp_path).record.itemsize
    for place in rng.integers(8 * features, 8 * len(whole), 20):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r'record \d and its entry .* got others \(CRC-32\)') as caught:
            read()
        assert str(caught.value).startswith(str(path))
    path.write_bytes(whole)
    text = fields.read_text()
    digit = text.index('"ori_shape": [') + len('"ori_shape": [')
    fields.write_text(f'{text[:digit]}{9 - int(text[digit])}{text[digit + 1 :]}')
    with pytest.raises(ValueError, match=r'record 0 and its entry .* got others \(CRC-32\)'):
        read()


def flip_a_bit(path, itemsize, place):
    """Damage a record in place, as a disk would: file and header stay."""
    with path.open('r+b') as file:
        file.seek(-itemsize * place - 1, 2)  # the last byte of the record, counted from the end
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def test_every_record_is_compared_before_its_first_use(cfg, model, tmp_path, monkeypatch):
    """And not again, in no process, until a file has changed when its shard is opened again."""
    extract(cfg, model, tmp_path, names=['plain'])
    cache = FeatureCache.open(tmp_path)
    compared = []
    sum_of = cache_module._sum_of
    monkeypatch.setattr(cache_module, '_sum_of', lambda *args: compared.append(args) or sum_of(*args))

    child = multiprocessing.get_context('fork').Process(target=cache.read, args=(0, 1))
    child.start()
    child.join()
    assert child.exitcode == 0
    first, again = cache.read(0, 0)[0].tobytes(), cache.read(0, 0)[0].tobytes()
    cache.read(0, 1)
    assert len(compared) == 1 and first == again  # the child compared record 1
    copied = pickle.loads(pickle.dumps(cache))
    copied.read(0, 1)
    assert len(compared) == 2

    # Others of the shard have been used: what is damaged is found all the same.
    path, itemsize = cache.path(0, 0), cache.record.itemsize
    flip_a_bit(path, itemsize, 0)
    with pytest.raises(CacheMismatchError, match=r'record 2 and its entry .* got others \(CRC-32\)'):
        cache.read(0, 2)
    # Record 1 was used, and is damaged since. It is compared again, as its file has changed.
    flip_a_bit(path, itemsize, 1)
    cache._open.cache_clear()
    with pytest.raises(CacheMismatchError, match=r'record 1 and its entry .* got others \(CRC-32\)'):
        cache.read(0, 1)
    assert cache.read(0, 0)[0].tobytes() == first


def test_several_processes_write_the_same_bytes(cfg, model, tmp_path, monkeypatch):
    extract(cfg, model, tmp_path / 'one')
    monkeypatch.setattr(extraction_module, 'get_world_size', lambda: 2)
    for rank in (1, 0):
        monkeypatch.setattr(extraction_module, 'get_rank', lambda rank=rank: rank)
        extract(cfg, model, tmp_path / 'two')
    assert content(tmp_path / 'two') == content(tmp_path / 'one')


def test_a_changed_weight_image_size_view_or_type_is_refused_by_name(cfg, model, tmp_path):
    folder = tmp_path / 'cache'
    extract(cfg, model, folder)
    with pytest.raises(
        CacheMismatchError,
        match='cache: expected the features of this run, got others: dtype: expected float32, got',
    ):
        extract(cfg, model, folder, dtype='float32')
    with pytest.raises(CacheMismatchError, match='view_names: expected .*plain.*; views: expected'):
        extract(cfg, model, folder, names=('plain',))
    smaller = Config(cfg.to_dict())
    smaller.train_dataloader.dataset.pipeline[2]['crop_size'] = 16
    with pytest.raises(CacheMismatchError, match=r'views\[0\]: expected .*16, 16.* got .*32, 32'):
        extract(smaller, model, folder)
    with torch.no_grad():
        model.backbone.model.norm.weight[0] += 1e-3
    with pytest.raises(CacheMismatchError, match='weights: expected'):
        extract(cfg, model, folder)


def test_changed_images_are_refused(cfg, model, tmp_path):
    extract(cfg, model, tmp_path / 'cache')
    image = tmp_path / 'images' / 'class0' / '0.png'
    image.write_bytes(image.read_bytes() + b'\0')
    with pytest.raises(CacheMismatchError, match='features of the 7 images of .*, got those of 7 others'):
        CachedFeatures(str(tmp_path / 'cache'), cfg.train_dataloader.dataset)
    image.unlink()
    with pytest.raises(CacheMismatchError, match='expected features of the 6 images of'):
        CachedFeatures(str(tmp_path / 'cache'), cfg.train_dataloader.dataset)


def test_a_run_reads_what_there_is(cfg, model, tmp_path):
    assert splits_to_cache(cfg) == ['train', 'test']
    extract(cfg, model, tmp_path / 'cache' / 'test', names=('plain',), split='test')
    before, cfg_of_images = cfg.train_dataloader.dataset.to_dict(), Config(cfg.to_dict())
    use_cached_features(cfg, tmp_path / 'cache')
    assert cfg.train_dataloader.dataset.to_dict() == before
    assert cfg.val_dataloader.dataset == cfg.test_dataloader.dataset
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert len(dataset) == IMAGES
    assert dataset.metainfo['classes'] == ('class0', 'class1')
    assert cfg.custom_hooks == [dict(type='FeatureCacheHook')]
    extract(cfg_of_images, model, tmp_path / 'cache' / 'train')
    use_cached_features(cfg_of_images, tmp_path / 'cache', num_views=2)
    assert DATASETS.build(cfg_of_images.train_dataloader.dataset).views == [0, 1]
    assert DATASETS.build(cfg_of_images.test_dataloader.dataset).views == [0]
    with pytest.raises(FileNotFoundError, match=r"expected cached features of \['train', 'test'\], got none"):
        use_cached_features(cfg, tmp_path / 'images')


def test_the_hook_compares_backbone_and_weights(cfg, model, tmp_path):
    extract(cfg, model, tmp_path / 'cache')
    dataset = CachedFeatures(str(tmp_path / 'cache'), cfg.train_dataloader.dataset)
    runner = SimpleNamespace(model=model, test_dataloader=SimpleNamespace(dataset=dataset))
    FeatureCacheHook().before_test(runner)
    runner.model = MODELS.build(cfg.model)
    with pytest.raises(CacheMismatchError, match='weights: expected'):
        FeatureCacheHook().before_test(runner)
    runner.model = model
    model.head.tokens = 'normed'
    with pytest.raises(
        CacheMismatchError, match=r"needs: expected \('cls_token',\), got \('pre_norm_cls_token'"
    ):
        FeatureCacheHook().before_test(runner)


def test_settings_that_weights_do_not_show_are_compared(cfg, model, tmp_path):
    extract(cfg, model, tmp_path / 'cache', names=('plain',))
    state = model.state_dict()
    for change, found in (
        (dict(num_heads=3), 'backbone: expected TimmBackbone'),
        (dict(position_interpolation='dinov2'), 'backbone: expected .*"position_interpolation": "dinov2"'),
    ):
        other = MODELS.build({**cfg.model, 'backbone': {**cfg.model.backbone, **change}})
        other.load_state_dict(state)
        with pytest.raises(CacheMismatchError, match=found):
            extract(cfg, other, tmp_path / 'cache', names=('plain',))
    same = MODELS.build(cfg.model)
    same.load_state_dict(state)
    extract(cfg, same, tmp_path / 'cache', names=('plain',))


def test_one_cache_serves_several_heads(cfg, model, tmp_path):
    cache = extract(cfg, model, tmp_path / 'cache', names=('plain',), also=['keys', 'class_attention'])
    assert cache.key.needs == ('class_attention', 'keys', 'pre_norm_cls_token', 'pre_norm_map')
    dataset = CachedFeatures(str(tmp_path / 'cache'), cfg.train_dataloader.dataset)
    assert set(dataset[0]['inputs']) == set(cache.key.needs)
    loader = SimpleNamespace(dataset=dataset)
    FeatureCacheHook().before_test(SimpleNamespace(model=model, test_dataloader=loader))
    assert set(dataset[0]['inputs']) == {'pre_norm_cls_token', 'pre_norm_map'}
    with pytest.raises(ValueError, match='spatial_mask'):
        extract(cfg, model, tmp_path / 'other', also=['spatial_mask'])


def test_too_large_values_and_too_small_disks_are_errors(cfg, model, tmp_path, monkeypatch):
    record = np.dtype([('keys', np.float16, (2,))])
    with pytest.raises(
        ValueError, match="dtype: expected a type that holds all values of 'keys', got float16"
    ):
        as_records({'keys': torch.tensor([[1.0, 1e6]])}, record)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(OSError, match='expected 0 MB of free disk, got 0 MB'):
        extract(cfg, model, tmp_path / 'cache')


def test_a_key_survives_its_file(cfg, model, tmp_path):
    cache = extract(cfg, model, tmp_path / 'cache', names=('plain',))
    assert FeatureCache.open(tmp_path / 'cache').key == cache.key
    assert json.loads((tmp_path / 'cache' / 'key.json').read_text())['num_images'] == IMAGES
    changed = replace(cache.key, num_images=8, dtype='float32')
    assert changed.differences(cache.key) == [
        'num_images: expected 8, got 7',
        'dtype: expected float32, got float16',
    ]
    with pytest.raises(FileNotFoundError, match='expected cached features, got no key.json'):
        FeatureCache.open(tmp_path)
    (tmp_path / 'cache' / 'key.json').write_text('{"backbone": "ViT"}')
    with pytest.raises(
        CacheMismatchError, match=r"key.json: expected an object of \['backbone', .* got \['backbone'\]"
    ):
        FeatureCache.open(tmp_path / 'cache')


def test_views_of_the_training_have_its_size(cfg):
    cfg.train_dataloader.dataset.pipeline[2]['crop_size'] = 16
    plain, flip, crop = view_pipelines(cfg, ['plain', 'flip', 'crop'])
    assert plain[1]['scale'] == flip[1]['scale'] == (16, 16)
    assert crop == cfg.train_dataloader.dataset.pipeline
    assert view_pipelines(cfg, ['plain'], 'test') == [cfg.test_dataloader.dataset.pipeline]


def test_only_views_that_are_used_must_be_there_and_those_of_the_config(cfg, model, tmp_path):
    extract(cfg, model, tmp_path / 'cache' / 'train')
    cfg.train_dataloader.dataset.pipeline.pop(3)  # crops that are not mirrored
    other = Config(cfg.to_dict())
    use_cached_features(other, tmp_path / 'cache')
    with pytest.raises(
        CacheMismatchError,
        match=r'features of this run, got others: views\[2\]: expected .*; views\[3\]: ',
    ):
        DATASETS.build(other.train_dataloader.dataset)
    for path in (tmp_path / 'cache' / 'train').glob('view[23]_*'):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'all shards of the views \[0, 1, 2, 3\], got all but 6'):
        DATASETS.build(other.train_dataloader.dataset)
    use_cached_features(cfg, tmp_path / 'cache', num_views=2)
    first = DATASETS.build(cfg.train_dataloader.dataset)
    assert first.views == [0, 1]
    assert all(first[index]['inputs'] for index in range(len(first)))


def test_views_are_named(cfg):
    with pytest.raises(
        ValueError, match=r"views: expected names of \('plain', 'flip', 'crop'\), got \['mirror'\]"
    ):
        view_pipelines(cfg, ['mirror'])
