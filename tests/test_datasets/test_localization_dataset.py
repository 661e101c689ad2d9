"""What all data sets share: selection, few shots, damaged images, workers."""

import pickle

from wsol_mm.datasets import CUB, DatasetError, LocalizationDataset
from wsol_mm.registry import DATASETS

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

PIPELINE = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(16, 12), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]


def ids(dataset):
    return [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]


# ---------------------------------------------------------------------- selection


def test_class_selection_relabels(cub_root, tmp_path):
    dataset = CUB(str(cub_root), classes=['003.Crow', '001.Auk'])
    assert dataset.metainfo['classes'] == ('003.Crow', '001.Auk')
    labels = {path.split('/')[0]: dataset.get_data_info(i)['gt_label'] for i, path in enumerate(ids(dataset))}
    assert labels == {'001.Auk': 1, '003.Crow': 0}
    assert len(dataset) == 4
    (tmp_path / 'some.txt').write_text('003.Crow\r\n001.Auk\r\n')
    assert ids(CUB(str(cub_root), classes=str(tmp_path / 'some.txt'))) == ids(dataset)


@pytest.mark.parametrize('classes', [['004.Dove'], ['001.Auk', '001.Auk'], []])
def test_class_selection_refuses(cub_root, classes):
    with pytest.raises(
        ValueError,
        match='classes: expected different names out of the 3 classes .*, got (the unknown|repeated or no)',
    ):
        CUB(str(cub_root), classes=classes)


def test_shots_depend_on_seed_and_class_only(cub_root, edit_lines):
    drawn = CUB(str(cub_root), shots_per_class=1, shots_seed=3)
    assert [drawn.get_data_info(i)['gt_label'] for i in range(3)] == [0, 1, 2]
    assert len(drawn) == 3
    assert set(ids(drawn)) <= set(ids(CUB(str(cub_root))))
    assert ids(CUB(str(cub_root), shots_per_class=1, shots_seed=3)) == ids(drawn)
    assert len({tuple(ids(CUB(str(cub_root), shots_per_class=1, shots_seed=seed))) for seed in range(8)}) > 1
    # neither the other classes nor the order of the list matter
    assert ids(CUB(str(cub_root), shots_per_class=1, shots_seed=3, classes=['003.Crow'])) == ids(drawn)[2:]
    lines = (cub_root / 'images.txt').read_text().splitlines()
    (cub_root / 'images.txt').write_text('\n'.join(reversed(lines)))
    assert sorted(ids(CUB(str(cub_root), shots_per_class=1, shots_seed=3))) == sorted(ids(drawn))


def test_shots_that_are_not_there(cub_root):
    with pytest.raises(
        DatasetError, match=r'class with too few images \(3\): 001.Auk: expected at least 3 images, got 2'
    ):
        CUB(str(cub_root), shots_per_class=3)
    dataset = CUB(str(cub_root), shots_per_class=3, on_error='skip')
    assert len(dataset) == 6 and dataset.skipped == {'class with too few images': 3}


@pytest.mark.parametrize('shots', [0, -1, 1.5, 'all'])
def test_shots_argument(cub_root, shots):
    with pytest.raises(ValueError, match='shots_per_class: expected an integer from 1, or None, got'):
        CUB(str(cub_root), shots_per_class=shots)


def test_on_error_argument(cub_root):
    with pytest.raises(ValueError, match="on_error: expected 'raise' or 'skip', got 'ignore'"):
        CUB(str(cub_root), on_error='ignore', lazy_init=True)


def test_metainfo_classes_must_fit(cub_root):
    assert CUB(str(cub_root), metainfo=dict(classes=('a', 'b', 'c'))).metainfo['classes'] == ('a', 'b', 'c')
    with pytest.raises(ValueError, match='expected 3 names, as .* has classes, got 2'):
        CUB(str(cub_root), metainfo=dict(classes=('a', 'b')))


def test_indices_lazy_init_and_plain_lists(cub_root):
    full = CUB(str(cub_root))
    assert ids(CUB(str(cub_root), indices=2)) == ids(full)[:2]
    lazy = CUB(str(cub_root), lazy_init=True)
    assert not lazy._fully_initialized
    assert "Haven't been initialized" in repr(lazy)
    assert ids(lazy) == ids(full)
    assert ids(CUB(str(cub_root), serialize_data=False)) == ids(full)
    assert full.get_data_info(-1)['sample_idx'] == 5
    assert full.class_counts() == {0: 2, 1: 2, 2: 2}
    assert full.get_cat_ids(5) == [2]


def test_files_may_be_elsewhere(cub_root):
    dataset = CUB(str(cub_root), split='test', data_prefix='/nowhere', check_files=False)
    info = dataset.get_data_info(0)
    assert info['img_path'].startswith('/nowhere/001.Auk') and 'width' not in info


def test_a_new_data_set_is_a_few_lines(tmp_path, write_image):
    class Two(LocalizationDataset):
        def load_entries(self, problems):
            boxes = np.array([[1.0, 1, 5, 5], [2, 2, 2, 9]])
            return [
                dict(img_id='a.png', gt_label=0, gt_bboxes=boxes),
                dict(img_id='b.png', gt_label=1, gt_bboxes=np.zeros((0, 4))),
                dict(img_id='c.png', gt_label=1, gt_bboxes=boxes[:1], width=30, height=40),
                dict(img_id='d.png', gt_label=1),
            ], ['x', 'y']

    for name in 'abcd':
        write_image(tmp_path / f'{name}.png')
    dataset = Two(str(tmp_path), on_error='skip')
    assert ids(dataset) == ['a.png', 'b.png', 'd.png']
    np.testing.assert_array_equal(dataset.get_data_info(0)['gt_bboxes'], [[1, 1, 5, 5]])
    assert dataset.get_data_info(1)['gt_bboxes'].shape == (0, 4)
    assert dataset.skipped == {'degenerate box': 1, 'size that differs from the list': 1}
    # in a test set every image needs a box
    dataset = Two(str(tmp_path), on_error='skip', test_mode=True)
    assert ids(dataset) == ['a.png'] and dataset.skipped['image without box'] == 2
    # ... unless it may go without, and then counts for classification only
    dataset = Two(str(tmp_path), on_error='skip', test_mode=True, require_boxes=False)
    assert ids(dataset) == ['a.png', 'b.png', 'd.png'] and 'image without box' not in dataset.skipped
    assert ['gt_bboxes' in dataset.get_data_info(i) for i in range(3)] == [True, False, False]
    with pytest.raises(DatasetError, match='expected 30x40 .*, got 40x30'):
        Two(str(tmp_path))
    assert ids(Two(str(tmp_path), on_error='skip', read_headers=False)) == [
        'a.png',
        'b.png',
        'c.png',
        'd.png',
    ]


# ---------------------------------------------------------------------- damaged images


@pytest.mark.parametrize('loader', ['LoadImageWithPillow', 'pillow', 'cv2'])
def test_damaged_image_at_run_time(cub_root, truncate, loader):
    pipeline = PIPELINE
    if loader != 'LoadImageWithPillow':
        pipeline = [dict(type='LoadImageFromFile', imdecode_backend=loader), *PIPELINE[1:]]
    config = dict(type='CUB', data_root=str(cub_root), pipeline=pipeline)
    strict = DATASETS.build(config)
    tolerant = DATASETS.build(dict(config, on_error='skip'))
    test = DATASETS.build(dict(config, test_mode=True, with_boxes=True))
    damaged = truncate(cub_root / 'images/001.Auk/Auk_0002.jpg')
    assert strict[0]['data_samples'].img_id.endswith('Auk_0001.jpg')
    with pytest.raises(DatasetError, match=r'Auk_0002.jpg: expected a usable image, .*truncated.*on_error='):
        strict[1]
    # training goes on with the next good image
    sample = tolerant[1]['data_samples']
    assert sample.img_id == '002.Bee_eater/Bee_eater_0001.jpg' and sample.gt_label.item() == 1
    truncate(cub_root / 'images/003.Crow/Crow_0002.jpg')
    assert tolerant[5]['data_samples'].img_id == '001.Auk/Auk_0001.jpg'  # round the end
    # a test goes on whatever on_error says, keeps place, label and boxes, and says so
    item = test[1]
    sample = item['data_samples']
    assert item['inputs'].shape == (3, 12, 16) and item['inputs'].max() == 0
    assert sample.img_path == str(damaged) and sample.gt_label.item() == 0 and sample.sample_idx == 1
    assert 'truncated' in sample.load_error
    assert (sample.ori_shape, sample.img_shape, sample.scale_factor) == ((30, 40), (12, 16), (0.4, 0.4))
    np.testing.assert_array_equal(sample.gt_bboxes, [[1, 2.5, 21, 12.75]])
    assert 'load_error' not in test[0]['data_samples']


@pytest.mark.parametrize('options', [dict(), dict(verify_images=True, read_headers=False)])
def test_damaged_image_found_at_start_up(cub_root, truncate, options):
    truncate(cub_root / 'images/001.Auk/Auk_0002.jpg')
    (cub_root / 'images/002.Bee_eater/Bee_eater_0001.jpg').write_text('no image')
    with pytest.raises(
        DatasetError, match=r'image that does not decode \(2\): .*Auk_0002.jpg: OSError.*truncat'
    ):
        CUB(str(cub_root), **options)
    dataset = CUB(str(cub_root), on_error='skip', **options)
    assert len(dataset) == 4 and dataset.skipped == {'image that does not decode': 2}


def test_large_data_sets_have_headers_read_only_with_boxes(cub_root, truncate, monkeypatch):
    monkeypatch.setattr('wsol_mm.datasets.localization_dataset._HEADERS_LIMIT', 5)
    truncate(cub_root / 'images/001.Auk/Auk_0002.jpg')
    info = CUB(str(cub_root)).get_data_info(1)
    assert info['img_id'].endswith('Auk_0002.jpg') and 'width' not in info
    with pytest.raises(DatasetError, match='Auk_0002.jpg: OSError'):
        CUB(str(cub_root), with_boxes=True)


def test_unreadable_header_is_found_where_there_are_boxes(cub_root):
    (cub_root / 'images/002.Bee_eater/Bee_eater_0003.jpg').write_bytes(b'')
    with pytest.raises(
        DatasetError, match='image that does not decode.*Bee_eater_0003.jpg: UnidentifiedImageError'
    ):
        CUB(str(cub_root), split='test')
    assert len(CUB(str(cub_root), split='test', on_error='skip')) == 2


def test_all_images_damaged(cub_root):
    dataset = CUB(str(cub_root), on_error='skip', pipeline=PIPELINE)
    short = CUB(str(cub_root), on_error='skip', pipeline=PIPELINE, max_refetch=1)
    for path in cub_root.glob('images/*/*.jpg'):
        path.write_bytes(b'')
    with pytest.raises(DatasetError, match='expected a usable image among 6 from index 2, got none'):
        dataset[2]
    with pytest.raises(DatasetError, match='expected a usable image among 2 from index 2, got none'):
        short[2]


def test_errors_of_the_pipeline_are_not_blamed_on_the_image(cub_root):
    def broken(results):
        raise AttributeError('of the transform')

    for on_error in ('raise', 'skip'):
        with pytest.raises(AttributeError, match='of the transform'):
            CUB(str(cub_root), on_error=on_error, pipeline=[PIPELINE[0], broken])[0]


def test_stand_in_needs_a_loader(cub_root, truncate):
    def load(results):
        raise OSError('cannot read')

    dataset = CUB(str(cub_root), split='test', test_mode=True, on_error='skip', pipeline=[load])
    truncate(cub_root / 'images/001.Auk/Auk_0003.jpg')
    with pytest.raises(DatasetError, match='The pipeline has no LoadImageFromFile'):
        dataset[0]


# ---------------------------------------------------------------------- through the pipeline and the workers


def test_boxes_reach_the_sample_untouched(cub_root):
    pipeline = [*PIPELINE[:2], dict(type='RandomFlip', prob=1.0, direction='horizontal'), PIPELINE[2]]
    sample = CUB(str(cub_root), split='test', pipeline=pipeline)[2]['data_samples']
    np.testing.assert_array_equal(sample.gt_bboxes, [[3, 3.5, 23, 13.75]])
    assert sample.gt_bboxes.dtype == np.float64
    assert sample.flip is True


def test_pipelines_need_no_default_scope(cub_root):
    with DefaultScope.overwrite_default_scope(None):
        dataset = CUB(str(cub_root), split='test', pipeline=PIPELINE)
    assert dataset[0]['inputs'].shape == (3, 12, 16)


def test_dataset_pickles(cub_root):
    dataset = CUB(str(cub_root), split='test', pipeline=PIPELINE)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[1]['inputs'], dataset[1]['inputs'])


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_give_the_same_items(cub_root, method):
    dataset = CUB(str(cub_root), split='test', test_mode=True, pipeline=PIPELINE)
    loader = DataLoader(
        dataset, batch_size=2, num_workers=1, multiprocessing_context=method, collate_fn=pseudo_collate
    )
    batches = list(loader)
    images = [image for batch in batches for image in batch['inputs']]
    samples = [sample for batch in batches for sample in batch['data_samples']]
    assert len(images) == len(samples) == 3
    for index, (image, sample) in enumerate(zip(images, samples, strict=True)):
        expected = dataset[index]
        assert torch.equal(image, expected['inputs'])
        assert sample.metainfo == expected['data_samples'].metainfo
        np.testing.assert_array_equal(sample.gt_bboxes, expected['data_samples'].gt_bboxes)
        assert sample.gt_label.equal(expected['data_samples'].gt_label)
