"""The model index and the data set index are complete and true of the files that they name."""

import subprocess
import tarfile

from wsol_mm.registry import DATASETS, MODELS

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.apis.model import ModelHub

DATASET_CONFIGS = {'cub': 'cub.py', 'ilsvrc': 'ilsvrc.py'}


@pytest.fixture(scope='module')
def model_hub(repo_dir):
    """mmpretrain's hub with the models of this repository alone, read by its own parser."""

    class Hub(ModelHub):
        _models_dict = {}

        @classmethod
        def _register_mmpretrain_models(cls):
            """mmpretrain's own models have no part in this."""

    Hub.register_model_index(repo_dir / 'model-index.yml', config_prefix=repo_dir)
    return Hub


def user_configs(repo_dir):
    return sorted(path for path in repo_dir.glob('configs/*/*.py') if path.parent.name != '_base_')


def imported_metafiles(repo_dir):
    return yaml.safe_load((repo_dir / 'model-index.yml').read_text())['Import']


def test_model_index_imports_every_metafile_once(repo_dir):
    metafiles = {path.relative_to(repo_dir).as_posix() for path in repo_dir.glob('configs/*/metafile.yml')}
    assert sorted(imported_metafiles(repo_dir)) == sorted(metafiles)


def test_every_config_is_listed_under_its_own_name(repo_dir, model_hub):
    listed = {name: model.config for name, model in model_hub._models_dict.items()}
    assert listed == {path.stem: str(path) for path in user_configs(repo_dir)}


def test_names_are_unique(repo_dir):
    names = [
        model['Name'].lower()
        for path in repo_dir.glob('configs/*/metafile.yml')
        for model in yaml.safe_load(path.read_text())['Models']
    ]
    assert len(names) == len(set(names)) > 40


def test_models_build_by_name(repo_dir, model_hub):
    """One of every method; every other config is built from its file in tests/test_configs."""
    trained = [path for path in user_configs(repo_dir) if 'no-training' not in path.read_text()]
    names = {path.parent.name: path.stem for path in trained}
    assert {f'configs/{folder}/metafile.yml' for folder in names} == set(imported_metafiles(repo_dir))
    for name in names.values():
        cfg = model_hub.get(name).config
        if cfg.model.type == 'CLIPLocalizer':
            continue  # its weights would be fetched; built with random ones there, too
        if 'sba' in cfg.model.head:
            cfg.model.head.sba = None  # the weights of CLIP would be fetched
        with DefaultScope.overwrite_default_scope('wsol_mm'), torch.device('meta'):
            model = MODELS.build({**cfg.model, 'pretrained': None})
        assert model.head.num_classes == cfg.model.head.num_classes


def test_metafiles_say_whose_numbers_they_are(repo_dir):
    for path in repo_dir.glob('configs/*/metafile.yml'):
        content = yaml.safe_load(path.read_text())
        (collection,) = content['Collections']
        assert (repo_dir / collection['README']).is_file()
        assert collection['Paper']['URL'].startswith('https://')
        for model in content['Models']:
            assert model['In Collection'] == collection['Name']
            for result in model.get('Results', []):
                assert all(0 < value <= 100 for value in result['Metrics'].values())
                # Nothing was trained on the full data sets for this library.
                assert all(name.endswith(' (published)') for name in result['Metrics']), model['Name']


def test_published_numbers_in_metafiles_are_those_of_the_readme(repo_dir):
    for path in repo_dir.glob('configs/*/metafile.yml'):
        rows = [
            line for line in (path.parent / 'README.md').read_text().splitlines() if line.startswith('| ')
        ]
        for model in yaml.safe_load(path.read_text())['Models']:
            for result in model.get('Results', []):
                (row,) = [line for line in rows if f'({model["Name"]}.py)' in line]
                cells = [cell.strip() for cell in row.split('|')]
                missing = [value for value in result['Metrics'].values() if str(value) not in cells]
                numbers = [float(cell) for cell in cells if cell.replace('.', '').isdigit()]
                assert all(value in numbers for value in missing), f'{model["Name"]}: {missing} not in {row}'


def test_dataset_index(repo_dir):
    index = yaml.safe_load((repo_dir / 'dataset-index.yml').read_text())
    assert index.keys() == DATASET_CONFIGS.keys()
    for name, entry in index.items():
        assert entry.keys() == {'dataset', 'download_root', 'data_root', 'script'}
        assert (repo_dir / entry['script']).is_file()
        cfg = Config.fromfile(repo_dir / 'configs/_base_/datasets' / DATASET_CONFIGS[name])
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            assert loader.dataset.data_root == entry['data_root']


def run_script(repo_dir, name, *arguments):
    command = ['bash', str(repo_dir / 'tools/dataset_converters' / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_odl_cub_unpacks_to_what_the_data_set_reads(repo_dir, tmp_path):
    source = tmp_path / 'CUB-200-2011'
    (source / 'images/001.A').mkdir(parents=True)
    (source / 'images/001.A/a.jpg').write_bytes(b'no picture')
    for name, line in (
        ('images', '1 001.A/a.jpg'),
        ('image_class_labels', '1 1'),
        ('train_test_split', '1 0'),
        ('bounding_boxes', '1 1.0 2.0 3.0 4.0'),
        ('classes', '1 001.A'),
    ):
        (source / f'{name}.txt').write_text(f'{line}\n')
    raw = tmp_path / 'data/OpenDataLab___CUB-200-2011/raw'
    raw.mkdir(parents=True)
    with tarfile.open(raw / 'CUB-200-2011.tar.gz', 'w:gz') as archive:
        archive.add(source, 'CUB-200-2011/CUB-200-2011')
    data_root = tmp_path / 'data/CUB 200'
    result = run_script(repo_dir, 'odl_cub.sh', tmp_path / 'data', data_root)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in data_root.iterdir()} == {path.name for path in source.iterdir()}
    dataset = DATASETS.build(
        dict(type='CUB', data_root=str(data_root), split='test', test_mode=True, read_headers=False)
    )
    assert len(dataset) == 1


def test_odl_ilsvrc_joins_the_parts_of_the_archive(repo_dir, tmp_path):
    source = tmp_path / 'ImageNet-1K'
    for name in ('train/n1/a.JPEG', 'val/b.JPEG', 'test/c.JPEG'):
        (source / name).parent.mkdir(parents=True)
        (source / name).write_bytes(b'no picture')
    whole = tmp_path / 'whole.tar.gz'
    with tarfile.open(whole, 'w:gz') as archive:
        archive.add(source, 'ImageNet-1K')
    raw = tmp_path / 'data/ImageNet-1K/raw'
    raw.mkdir(parents=True)
    content = whole.read_bytes()
    (raw / 'ImageNet-1K.tar.gz.00').write_bytes(content[:100])
    (raw / 'ImageNet-1K.tar.gz.01').write_bytes(content[100:])
    result = run_script(repo_dir, 'odl_ilsvrc.sh', tmp_path / 'data', tmp_path / 'data/ILSVRC2012')
    assert result.returncode == 0, result.stderr
    root = tmp_path / 'data/ILSVRC2012'
    assert {path.relative_to(root).as_posix() for path in root.rglob('*')} == {
        'train',
        'train/n1',
        'train/n1/a.JPEG',
        'val',
        'val/b.JPEG',
    }


@pytest.mark.parametrize('name', ['odl_cub.sh', 'odl_ilsvrc.sh'])
def test_odl_scripts_say_what_is_missing(repo_dir, tmp_path, name):
    result = run_script(repo_dir, name, tmp_path, tmp_path / 'root')
    assert result.returncode == 1 and 'raw/*.tar.gz' in result.stderr and str(tmp_path) in result.stderr
    assert run_script(repo_dir, name, tmp_path).returncode == 2
