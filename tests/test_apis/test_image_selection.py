"""Images chosen for figures: of the test data, of files and folders."""

from wsol_mm.apis.image_selection import ImageSelection, spread_indices
from wsol_mm.datasets import UnreadableImage

import pytest
from mmengine.config import Config
from PIL import Image


def test_indices_are_spread_over_the_data():
    assert spread_indices(100, 3) == [0, 50, 99]
    assert spread_indices(3, 10) == [0, 1, 2]
    assert spread_indices(9, 1) == [0]


@pytest.fixture
def cfg(small_model):
    return Config.fromfile(small_model.config)


def test_files_and_folders(cfg, tmp_path):
    for name in ('b.JPG', 'a.png', 'sub/c.webp'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('RGB', (50, 60)).save(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('no image')
    images = ImageSelection(cfg, [str(tmp_path / 'sub/c.webp'), tmp_path])
    (batch,) = images.batches(8)
    assert [sample.img_path.rpartition('/')[2] for sample in batch['data_samples']] == [
        'c.webp',
        'a.png',
        'b.JPG',
        'c.webp',
    ]
    assert images.classes is None
    assert len(ImageSelection(cfg, [tmp_path], count=2)) == 2
    # A file is taken as it is given.
    with pytest.raises(
        UnreadableImage,
        match='notes.txt: expected a usable image, got an unusable one: UnidentifiedImageError',
    ):
        ImageSelection(cfg, [tmp_path / 'notes.txt'])[0]
    with pytest.raises(FileNotFoundError, match='nowhere'):
        ImageSelection(cfg, [tmp_path / 'nowhere'])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty: expected a folder with images .*.jpg, .jpeg, .*got none'):
        ImageSelection(cfg, [tmp_path / 'empty'])


def test_files_need_no_masks(cfg, tmp_path):
    Image.new('RGB', (50, 60)).save(tmp_path / 'a.png')
    cfg.test_dataloader.dataset.pipeline.insert(3, dict(type='LoadLocalizationMask'))
    assert ImageSelection(cfg, [tmp_path])[0]['inputs'].shape == (3, 32, 32)
