"""The number of classes of a folder's config is that of the data, or of the checkpoint."""

from tests.conftest import REPO_DIR
from wsol_mm.apis.model_loading import build_localizer, load_localizer
from wsol_mm.utils.class_number import leaves_classes_open, use_classes_of_data
from wsol_mm.utils.config_settings import load_config, merge_options

import pytest
import torch
from mmengine.config import Config

FOLDER_CONFIGS = [
    path
    for path in sorted(REPO_DIR.glob('configs/*/*_folder.py'))
    if 'num_classes' in path.read_text() and path.parent.name != '_base_'
]


@pytest.fixture
def data_root(tmp_path):
    for split, names in (('train', 'abcd'), ('val', 'ab')):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
    return tmp_path


def read(data_root, config='ts_cam/ts-cam_vit-t_folder.py', **options):
    return load_config(REPO_DIR / 'configs' / config, {'data_root': str(data_root), **options})


@pytest.mark.parametrize('path', FOLDER_CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_a_folder_leaves_it_open(path):
    assert leaves_classes_open(Config.fromfile(path))


def test_data_say_it(data_root):
    cfg = read(data_root)
    use_classes_of_data(cfg)
    assert cfg.model.head.num_classes == 4 and not leaves_classes_open(cfg)
    flat = read(data_root / 'val', val_fraction=0.5)
    use_classes_of_data(flat)
    assert flat.model.head.num_classes == 2 and not leaves_classes_open(flat)


def test_who_has_chosen_is_asked_no_more(data_root):
    for number in (2, 5):
        cfg = read(data_root, **{'model.head.num_classes': number})
        use_classes_of_data(cfg)
        assert cfg.model.head.num_classes == number
    other = Config.fromfile(REPO_DIR / 'configs/ts_cam/ts-cam_deit-s_cub.py')
    use_classes_of_data(other)
    assert other.model.head.num_classes == 200


def test_missing_data_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='expected a folder with a folder per class, got nothing at'):
        use_classes_of_data(read(tmp_path / 'nowhere'))


def small(data_root):
    cfg = read(data_root)
    cfg.model.backbone.arch = dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8)
    cfg.model.head.in_channels = 8
    return cfg


def test_the_checkpoint_says_it(data_root, tmp_path):
    cfg = small(data_root)
    use_classes_of_data(cfg)
    meta = dict(dataset_meta=dict(classes=('a', 'b', 'c', 'd')))
    torch.save(dict(state_dict=build_localizer(cfg).state_dict(), meta=meta), tmp_path / 'four.pth')
    model, classes = load_localizer(small('nowhere'), tmp_path / 'four.pth', device='cpu')
    assert model.head.num_classes == 4 and classes == ('a', 'b', 'c', 'd')
    chosen = small('nowhere')
    merge_options(chosen, {'model.head.num_classes': 3})
    with pytest.raises(ValueError, match='expected the weights of the model of the config'):
        load_localizer(chosen, tmp_path / 'four.pth', device='cpu')
