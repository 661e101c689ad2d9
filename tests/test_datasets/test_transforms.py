"""Transforms, and the pipelines of the base configs against the reference."""

import copy
from pathlib import Path

from wsol_mm.datasets import DatasetError
from wsol_mm.datasets.checks.image_files import decode_failure
from wsol_mm.datasets.transforms import LoadImageWithPillow, loading
from wsol_mm.registry import MODELS, TRANSFORMS

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from PIL import Image

CONFIGS = ['cub', 'ilsvrc', 'dogs', 'folder']


def load_config(repo_dir: Path, name: str) -> Config:
    return Config.fromfile(repo_dir / f'configs/_base_/datasets/{name}.py')


def pack(**results):
    item = dict(
        img=np.zeros((12, 16, 3), np.uint8),
        ori_shape=(30, 40),
        img_shape=(12, 16),
        gt_label=2,
        img_id='a/b.jpg',
    )
    return TRANSFORMS.build(dict(type='PackLocalizationInputs'))(item | results)


# ---------------------------------------------------------------------- packing


def test_pack():
    boxes = [[1, 2, 3, 4], [5.5, 6, 7, 8]]
    packed = pack(
        ori_gt_bboxes=boxes,
        gt_mask=np.ones((12, 16), np.uint8),
        scale_factor=(0.4, 0.4),
        img_shape=(12, 16, 3),
    )
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 12, 16) and packed['inputs'].dtype == torch.uint8
    assert sample.gt_label.tolist() == [2]
    assert sample.gt_bboxes.dtype == np.float64 and sample.gt_bboxes.tolist() == boxes
    assert sample.gt_mask.shape == (12, 16)
    assert sample.img_shape == (12, 16) and sample.img_id == 'a/b.jpg'
    assert {'gt_bboxes', 'gt_mask', 'gt_label'} == set(sample.keys())
    assert 'gt_bboxes' not in pack()['data_samples']
    assert pack(ori_gt_bboxes=[])['data_samples'].gt_bboxes.shape == (0, 4)


def test_pack_survives_device_moves_and_collation():
    batch = default_collate([pack(ori_gt_bboxes=[[1, 2, 3, 4]]) for _ in range(2)])
    assert batch['inputs'].shape == (2, 3, 12, 16)
    sample = batch['data_samples'][1].to('cpu')
    assert isinstance(sample.gt_bboxes, np.ndarray)
    assert sample.cpu().to_dict()['gt_bboxes'].tolist() == [[1, 2, 3, 4]]


def test_pack_refuses_boxes_that_transforms_may_have_changed():
    with pytest.raises(
        ValueError, match='expected boxes of the file on disk .*`ori_gt_bboxes`, got `gt_bboxes`'
    ):
        pack(gt_bboxes=np.zeros((1, 4)))


def test_pack_refuses_another_size():
    with pytest.raises(DatasetError, match='expected 30x40 .*, got 40x30'):
        pack(width=30, height=40)
    pack(width=40, height=30)


# ---------------------------------------------------------------------- loading


@pytest.mark.parametrize('mode', ['RGB', 'L', 'RGBA', 'LA', 'P', 'CMYK', '1'])
def test_loader_equals_pillow(tmp_path, write_image, mode):
    path = tmp_path / ('a.jpg' if mode in ('CMYK',) else 'a.png')
    write_image(path, mode=mode)
    results = TRANSFORMS.build(dict(type='LoadImageWithPillow'))(dict(img_path=str(path)))
    with Image.open(path) as image:
        expected = np.asarray(image.convert('RGB'))
    np.testing.assert_array_equal(results['img'][:, :, ::-1], expected)
    assert results['img'].flags.c_contiguous
    assert results['img_shape'] == results['ori_shape'] == (30, 40)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_upper_bits_of_16_bit_grey_images(tmp_path, suffix):
    path = tmp_path / f'grey{suffix}'
    values = np.random.default_rng(0).integers(0, 65536, (30, 40), dtype=np.uint16)
    Image.fromarray(values).save(path)
    found = TRANSFORMS.build(dict(type='LoadImageWithPillow'))(dict(img_path=str(path)))['img']
    for channel in found.transpose(2, 0, 1):
        np.testing.assert_array_equal(channel, values // 256)


@pytest.mark.parametrize(
    ('pixels', 'reason'),
    [(np.ones((4, 5), np.float32), 'floating-point'), (np.full((4, 5), 70000, np.int32), '32 bits')],
)
def test_other_depths_are_refused(tmp_path, pixels, reason):
    path = tmp_path / 'deep.tif'
    Image.fromarray(pixels).save(path)
    with pytest.raises(
        DatasetError, match=f'deep.tif: expected a usable image.* of 8 or 16 bits, got {reason}'
    ):
        TRANSFORMS.build(dict(type='LoadImageWithPillow'))(dict(img_path=str(path)))
    assert reason in decode_failure(path)


def test_loader_equals_mmcv_on_photographs(shared_dir):
    paths = sorted((shared_dir / 'data/cub40/images').glob('*/*.jpg'))[::60]
    paths += sorted((shared_dir / 'data/ilsvrc_val650/val').glob('*/*'))[::30]
    loaders = [
        TRANSFORMS.build(dict(type='LoadImageWithPillow')),
        TRANSFORMS.build(
            dict(type='LoadImageFromFile', imdecode_backend='pillow', color_type='color_ignore_orientation')
        ),
        TRANSFORMS.build(dict(type='LoadImageFromFile', color_type='color_ignore_orientation')),
    ]
    for path in paths:
        first, *others = (loader(dict(img_path=str(path)))['img'] for loader in loaders)
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_loader_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = (250, 10, 10)
    Image.fromarray(pixels).save(tmp_path / 'a.jpg', exif=exif, quality=100, subsampling=0)
    plain = TRANSFORMS.build(dict(type='LoadImageWithPillow'))(dict(img_path=str(tmp_path / 'a.jpg')))
    turned = TRANSFORMS.build(dict(type='LoadImageWithPillow', apply_exif=True))(
        dict(img_path=str(tmp_path / 'a.jpg'))
    )
    assert plain['ori_shape'] == (8, 16) and turned['ori_shape'] == (16, 8)
    np.testing.assert_array_equal(np.rot90(plain['img'], -1), turned['img'])


def test_loader_errors(tmp_path, write_image, truncate):
    loader = TRANSFORMS.build(dict(type='LoadImageWithPillow'))
    with pytest.raises(
        DatasetError, match='none.jpg: expected a usable image, got an unusable one: FileNotFoundError'
    ):
        loader(dict(img_path=str(tmp_path / 'none.jpg')))
    path = truncate(write_image(tmp_path / 'a.jpg'))
    with pytest.raises(
        DatasetError, match='a.jpg: expected a usable image, .*: OSError: image file is truncated'
    ):
        loader(dict(img_path=str(path)))


def test_mask_loader_refuses():
    loader = TRANSFORMS.build(dict(type='LoadLocalizationMask'))
    with pytest.raises(ValueError, match='x.jpg: expected `mask_paths`, got none. Data sets with masks'):
        loader(dict(img_path='x.jpg'))
    with pytest.raises(ValueError, match='does not crop, got 20x20 pixels of 40x30, scaled by 1, 1'):
        loader(dict(img_path='x.jpg', mask_paths=['m.png'], img_shape=(20, 20), ori_shape=(30, 40)))


# ---------------------------------------------------------------------- pipelines of the base configs


@pytest.mark.parametrize('name', CONFIGS)
def test_base_configs(repo_dir, name, tmp_path, write_image):
    config = load_config(repo_dir, name)
    path = write_image(tmp_path / 'a.jpg', width=300, height=260)
    for key, steps in (('train_dataloader', 5), ('val_dataloader', 3), ('test_dataloader', 3)):
        loader = config[key]
        assert loader.sampler == dict(type='DefaultSampler', shuffle=key == 'train_dataloader')
        assert loader.persistent_workers and loader.pin_memory and loader.num_workers > 0
        assert bool(loader.dataset.get('test_mode')) == (key != 'train_dataloader')
        pipeline = Compose([TRANSFORMS.build(step) for step in copy.deepcopy(loader.dataset.pipeline)])
        assert len(pipeline.transforms) == steps
        packed = pipeline(dict(img_path=str(path), gt_label=1, img_id='a.jpg', sample_idx=0))
        assert packed['inputs'].shape == (3, 224, 224)
        sample = packed['data_samples']
        assert sample.ori_shape == (260, 300) and sample.img_shape == (224, 224)
        side = 256 if key == 'train_dataloader' else 224
        assert sample.scale_factor == (side / 300, side / 260)
    preprocessor = MODELS.build(config.data_preprocessor)
    assert preprocessor.num_classes is None  # needed for one-hot labels only; the model has the number


def test_test_pipeline_equals_the_reference(repo_dir, tmp_path):
    """Fixture of TS-CAM: resize by Pillow, to tensor, normalise (at 96x96)."""
    config = load_config(repo_dir, 'cub')
    steps = copy.deepcopy(config.test_dataloader.dataset.pipeline)
    steps[1].scale = (96, 96)
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    preprocessor = MODELS.build(config.data_preprocessor)
    with np.load(repo_dir / 'tests/data/parity/ts_cam/gt_boxes_transform.npz') as arrays:
        for index in range(2):
            path = tmp_path / f'{index}.png'
            Image.fromarray(arrays[f'in/transform/image_{index}']).save(path)
            batch = default_collate([pipeline(dict(img_path=str(path), gt_label=0))])
            tensor = preprocessor(batch)['inputs'][0].numpy()
            np.testing.assert_allclose(tensor, arrays[f'out/transform/tensor_{index}'], rtol=0, atol=1e-5)


def test_train_pipeline_against_plain_pillow(repo_dir, tmp_path, write_image):
    """Every training crop is some 224x224 window of the 256x256 image, flipped or not; all kinds occur."""
    path = write_image(tmp_path / 'a.png', width=320, height=240, seed=5)
    steps = copy.deepcopy(load_config(repo_dir, 'cub').train_dataloader.dataset.pipeline)
    steps[2].crop_size = 248
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    with Image.open(path) as image:
        full = np.asarray(image.resize((256, 256), Image.BILINEAR))
    windows = {
        (y, x, flip): np.ascontiguousarray(full[y : y + 248, x : x + 248][:, :: -1 if flip else 1]).tobytes()
        for y in range(9)
        for x in range(9)
        for flip in (False, True)
    }
    by_content = {content: key for key, content in windows.items()}
    seen = set()
    np.random.seed(0)
    for _ in range(60):
        packed = pipeline(dict(img_path=str(path), gt_label=0))
        content = np.ascontiguousarray(packed['inputs'].numpy()[::-1].transpose(1, 2, 0)).tobytes()
        key = by_content[content]
        assert packed['data_samples'].flip == key[2]
        seen.add(key)
    assert {key[2] for key in seen} == {False, True}
    assert {key[0] for key in seen} == {key[1] for key in seen} == set(range(9))


@pytest.mark.parametrize(
    ('resize', 'scale_factor'),
    [
        (dict(type='Resize', scale=(256, 256), backend='pillow'), (256 / 400, 256 / 300)),
        (dict(type='ResizeEdge', scale=256, edge='short', backend='pillow'), (341 / 400, 256 / 300)),
    ],
)
def test_geometry_survives_a_central_crop(tmp_path, write_image, resize, scale_factor):
    """The geometries of other methods: evaluation needs the scale of the resize and the shape of the crop."""
    path = write_image(tmp_path / 'a.jpg', width=400, height=300)
    steps = [
        dict(type='LoadImageWithPillow'),
        resize,
        dict(type='CenterCrop', crop_size=224),
        dict(type='PackLocalizationInputs'),
    ]
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    boxes = np.array([[10.0, 20, 300, 200]])
    sample = pipeline(dict(img_path=str(path), gt_label=0, ori_gt_bboxes=boxes))['data_samples']
    assert sample.ori_shape == (300, 400)
    assert sample.img_shape == (224, 224)
    assert sample.scale_factor == pytest.approx(scale_factor, abs=1e-12)
    np.testing.assert_array_equal(sample.gt_bboxes, boxes)


def test_other_colours_than_a_viewer_shows_are_said_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(loading, '_SAID', set())
    monkeypatch.setattr(loading, 'print_log', lambda text, *_: said.append(text))
    for name in 'abc':
        Image.fromarray(np.full((2, 2), 4000, np.uint16)).save(tmp_path / f'{name}.png')
        Image.new('RGBA', (2, 2), (9, 9, 9, 0)).save(tmp_path / f'{name}.webp', lossless=True, exact=True)
    for loader, count in ((LoadImageWithPillow(), 2), (LoadImageWithPillow(True, 4095, [1, 2, 3]), 0)):
        said.clear()
        for name in ('a.png', 'b.png', 'a.webp', 'b.webp'):
            item = loader.transform({'img_path': str(tmp_path / name)})
            if count == 0:
                assert item['img'][0, 0].tolist() == ([250] * 3 if name.endswith('png') else [3, 2, 1])
                assert item['white'] == 4095 and item['background'] == (1, 2, 3)
            else:
                assert 'white' not in item and 'background' not in item
        assert [text.partition(': ')[0] for text in said] == [
            str(tmp_path / name) for name in ('a.png', 'a.webp')[:count]
        ]
    for wrong in (dict(white=0), dict(white=2**16), dict(background=(1, 2)), dict(background=(1, 2, 256))):
        with pytest.raises(ValueError, match=f'{next(iter(wrong))}: expected'):
            LoadImageWithPillow(**wrong)
