"""Every config builds its model, optimizer settings and metrics, and keeps the rules of the folder."""

import copy
import re
from pathlib import Path

import wsol_mm  # noqa: F401
from tests.clip_samples import RANDOM_CLIP
from wsol_mm.registry import DATASETS, HOOKS, METRICS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from wsol_mm.utils.model_image_size import use_model_image_size

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from PIL import Image

CONFIG_DIR = Path(__file__).resolve().parents[2] / 'configs'
ALL_CONFIGS = sorted(path for path in CONFIG_DIR.glob('*/*.py') if path.parent.name != '_base_')
#: Trained classifiers that are tested as they are.
TYPES = {path: Config.fromfile(path).model.type for path in ALL_CONFIGS}
NO_TRAINING = [path for path in ALL_CONFIGS if TYPES[path] == 'ClassifierLocalizer']
#: Models that are told names.
ZERO_SHOT = [path for path in ALL_CONFIGS if TYPES[path] == 'CLIPLocalizer']
CONFIGS = [path for path in ALL_CONFIGS if path not in NO_TRAINING + ZERO_SHOT]
#: Kinds of model of which a training and a test step ran: others of the same kind are only built.
MODELS_RUN = set()
#: Names of the methods by folder, as the names of their configs have them.
METHODS = {path.parent.name: path.parent.name.replace('_', '-') for path in CONFIG_DIR.glob('*/metafile.yml')}
BACKBONES = sorted(path.stem for path in CONFIG_DIR.glob('_base_/models/*.py'))


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config(path):
    cfg = Config.fromfile(path)
    assert 'num_classes' not in cfg.data_preprocessor  # the head's says it
    shorten_backbone(cfg)
    use_model_image_size(cfg)
    shrink_clip(cfg)
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model, 'pretrained': None})
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    for scheduler in cfg.param_scheduler:
        settings = {key: value for key, value in scheduler.items() if key != 'convert_to_iter_based'}
        PARAM_SCHEDULERS.build({**settings, 'optimizer': optimizer})
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert DATASETS.get(loader.dataset.type) is not None
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)
    METRICS.build(cfg.test_evaluator)
    for hook in cfg.default_hooks.values():
        if hook['type'] == 'LocalizationVisualizationHook':
            HOOKS.build(hook)
    if kind_of_model(cfg) not in MODELS_RUN:
        run_steps(model, optimizer, cfg.test_dataloader.dataset.pipeline)
        MODELS_RUN.add(kind_of_model(cfg))


def kind_of_model(cfg):
    """Return a text of what runs: the backbone, and the rest but for its numbers."""

    def without_numbers(value):
        if isinstance(value, dict):
            return {key: without_numbers(part) for key, part in value.items() if key != 'class_names'}
        return None if isinstance(value, int | float) and not isinstance(value, bool) else value

    crops = any(transform.type == 'TenCrop' for transform in cfg.test_dataloader.dataset.pipeline)
    return repr((cfg.model.backbone, without_numbers(cfg.model), crops))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_name_says_method_backbone_and_data_set(path):
    method, backbones = METHODS[path.parent.name], '|'.join(map(re.escape, BACKBONES))
    found = re.fullmatch(rf'{method}_({backbones})_[a-z0-9-]+(_[a-z0-9-]+)?', path.stem)
    assert found, f'{path.name} is not {method}_<one of {BACKBONES}>_<data set>[_<variant>].py'
    base = Config.fromfile(CONFIG_DIR / '_base_/models' / f'{found[1]}.py').model
    model = Config.fromfile(path).model
    assert model.backbone.get('arch') == base.backbone.get('arch')
    if model.head.get('back_end') is None:  # a head may take over the last stages of a network
        assert model.head.get('in_channels') == base.get('head', {}).get('in_channels')


@pytest.mark.parametrize('path', NO_TRAINING, ids=lambda path: path.stem)
def test_config_without_training(path):
    assert re.fullmatch(r'cam_[a-z0-9-]+_[a-z0-9-]+_[a-z0-9-]+', path.stem)
    cfg = Config.fromfile(path)
    assert not cfg.get('train_cfg') and not cfg.train_dataloader
    weights = 'pretrained' if 'pretrained' in cfg.model.classifier else 'checkpoint_path'
    assert cfg.model.classifier[weights]
    cfg.model.classifier[weights] = None
    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model}).eval()
    mean = cfg.model.classifier.get('mean', [123.675, 116.28, 103.53])
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(mean)
    METRICS.build(cfg.test_evaluator)
    use_model_image_size(cfg)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (224, 224)
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        (sample,) = model.test_step(dict(inputs=images, data_samples=[DataSample().set_gt_label(999)]))
    assert sample.loc_maps.shape[0] == 6 and sample.loc_maps.std() > 0


@pytest.mark.parametrize('path', ZERO_SHOT, ids=lambda path: path.stem)
def test_config_that_is_told_names(path):
    assert re.fullmatch(r'gem_clip-vit-b-16_(cub|ilsvrc|folder)(_[a-z0-9-]+)?', path.stem)
    cfg = Config.fromfile(path)
    assert not cfg.get('train_cfg') and not cfg.train_dataloader
    assert cfg.model.clip == dict(model='ViT-B-16-quickgelu', pretrained='openai')
    assert cfg.model.backbone == dict(type='CLIPVisionTransformer', depth=7, ss_attn_iter=1)
    resize = cfg.test_dataloader.dataset.pipeline[1]
    assert (resize.scale, resize.interpolation, resize.backend) == ((448, 448), 'bicubic', 'pillow')
    cfg.model.clip = copy.deepcopy(RANDOM_CLIP)
    cfg.model.clip['model']['vision_cfg']['layers'] = 6  # all have the second path
    names = {'cub': 200, 'ilsvrc': 1000, 'folder': None}[path.stem.split('_')[2]]
    if names is None:
        assert cfg.model.get('class_names') is None
        cfg.model.class_names = ['cat', 'dog']
    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model}).eval()
    assert model.head.num_classes == (names or 2)
    assert len(DATASETS.get(cfg.test_dataloader.dataset.type).METAINFO.get('classes', ())) in (0, names)
    for transform in cfg.test_dataloader.dataset.pipeline:
        TRANSFORMS.build(transform)
    METRICS.build(cfg.test_evaluator)
    assert [hook.type for hook in cfg.custom_hooks] == ['ClassNamesHook']
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        (sample,) = model.test_step(dict(inputs=images, data_samples=[DataSample().set_gt_label(1)]))
    assert sample.loc_maps.shape == (1 + min(5, model.head.num_classes), 4, 4) and sample.loc_maps.std() > 0


def shorten_backbone(cfg):
    """Leave two layers of a transformer of timm: widths and names are those of the whole."""
    if cfg.model.backbone.type == 'TimmBackbone':
        cfg.model.backbone.depth = 2


def shrink_clip(cfg):
    """Let a small CLIP with random weights stand for that of the config, and names for the data set's."""
    if cfg.model.head.get('sba') is not None:
        names = [f'thing {i}' for i in range(cfg.model.head.num_classes)]
        cfg.model.head.sba.update(clip=RANDOM_CLIP, class_names=names)


def run_steps(model, optimizer, test_pipeline):
    """Run a training and a test step on noise of 4x4 patches, in ten crops where the pipeline makes them."""
    torch.manual_seed(0)
    side = 56 if getattr(model.backbone, 'patch_size', 16) == (14, 14) else 64
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(label) for label in (0, 1)]
    for sample in samples:
        sample.pseudo_map = torch.rand(4, 4)  # where another model has found something, for who reads it
        sample.pseudo_box, sample.pseudo_box_weight = torch.tensor([0.2, 0.1, 0.7, 0.9]), torch.ones(1)
    batch = dict(inputs=images, data_samples=samples)
    losses = model.train().train_step(batch, optimizer)
    assert all(value.isfinite() for value in losses.values()), losses
    if any(transform.type == 'TenCrop' for transform in test_pipeline):
        batch['inputs'] = images[:, None].expand(-1, 10, -1, -1, -1)
    with torch.no_grad():
        samples = model.eval().test_step(batch)
    assert samples[0].loc_maps.isfinite().all()
    # Of a backbone with random weights all patches are alike, and one object.
    assert samples[0].loc_maps.std() > 0 or getattr(model.head, 'as_mask', False)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_checkpoints_are_chosen_by_what_the_validation_reports(path):
    cfg = Config.fromfile(path)
    metric = METRICS.build(cfg.val_evaluator)
    labels = [-1] if MODELS.get(cfg.model.head.type).class_agnostic else range(5)
    sample = dict(
        gt_label=torch.tensor([0]),
        pred_topk=torch.arange(5),
        loc_maps=torch.rand(len(labels), 14, 14),
        loc_labels=torch.tensor(labels),
        ori_shape=(200, 300),
        img_shape=(224, 224),
        scale_factor=(256 / 300, 256 / 200),
        sample_idx=0,
    )
    # what the validation images have; on a folder of one's own they need no boxes
    if any(transform.type == 'LoadLocalizationMask' for transform in cfg.val_dataloader.dataset.pipeline):
        sample['gt_mask'] = np.zeros((224, 224), np.uint8)
        sample['gt_mask'][50:100, 50:100] = 1
    elif cfg.val_dataloader.dataset.type != 'FolderDataset':
        sample['gt_bboxes'] = np.array([[1.0, 2, 150, 100]])
    metric.process(None, [sample])
    found = metric.evaluate(1)
    saved = cfg.default_hooks.checkpoint.get('save_best') or ()
    for name in [saved] if isinstance(saved, str) else saved:
        assert name in found, f'{name} is none of {sorted(found)}'


@pytest.mark.parametrize('folder', sorted({path.parent for path in ALL_CONFIGS}), ids=lambda path: path.name)
def test_folder_has_readme_and_metafile(folder):
    assert (folder / 'README.md').is_file()
    metafile = yaml.safe_load((folder / 'metafile.yml').read_text())
    index = yaml.safe_load((CONFIG_DIR.parent / 'model-index.yml').read_text())
    assert f'configs/{folder.name}/metafile.yml' in index['Import']
    collections = {collection['Name'] for collection in metafile['Collections']}
    assert {name.lower() for name in collections} == {METHODS[folder.name]}
    for model in metafile['Models']:
        assert (CONFIG_DIR.parent / model['Config']).is_file(), model['Config']
        assert model['In Collection'] in collections


def test_folder_config_needs_no_boxes(tmp_path):
    for split in ('train', 'val'):
        for name in ('cat', 'dog'):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new('RGB', (40, 30)).save(tmp_path / split / name / 'a.png')
    cfg = Config.fromfile(CONFIG_DIR / 'ts_cam/ts-cam_deit-s_folder.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        dataset = DATASETS.build({**loader.dataset, 'data_root': str(tmp_path)})
        assert len(dataset) == 2 and 'gt_bboxes' not in dataset[0]['data_samples']


def test_cub_v2_differs_from_cub_in_what_is_chosen_only():
    cub, v2 = (Config.fromfile(CONFIG_DIR / f'ts_cam/ts-cam_deit-s_{name}.py') for name in ('cub', 'cub-v2'))
    cub_v2 = Config.fromfile(CONFIG_DIR / '_base_/datasets/cub-v2.py').cub_v2
    assert v2.val_dataloader.dataset == dict(**cub_v2, pipeline=cub.val_dataloader.dataset.pipeline)
    assert v2.default_hooks.checkpoint.save_best == 'maxboxacc_v2/MaxBoxAccV2'
    for evaluator in (v2.val_evaluator, v2.test_evaluator):
        assert evaluator.protocols == ['maxboxacc', 'maxboxacc_v2']
    cub, v2 = cub.to_dict(), v2.to_dict()
    for cfg in (cub, v2):
        del cfg['val_dataloader']['dataset'], cfg['default_hooks']['checkpoint']['save_best']
        del cfg['val_evaluator'], cfg['test_evaluator']
    del v2['cub_v2']
    assert v2 == cub


@pytest.mark.parametrize(('data', 'validation'), [('cub', 'cub-v2'), ('ilsvrc', 'imagenet-v2')])
def test_validation_sets_join_any_data_set(tmp_path, data, validation):
    """The line that is in the comment of their files is all that a config needs."""
    base = CONFIG_DIR / f'_base_/datasets/{validation}.py'
    (line,) = re.findall(r'^# (val_dataloader = .*)', base.read_text(), re.MULTILINE)
    path = tmp_path / 'config.py'
    path.write_text(f"_base_ = ['{CONFIG_DIR}/_base_/datasets/{data}.py', '{base}']\n{line}\n")
    cfg, alone = Config.fromfile(path), Config.fromfile(CONFIG_DIR / f'_base_/datasets/{data}.py')
    dataset = cfg.val_dataloader.pop('dataset')
    pipeline = alone.val_dataloader.pop('dataset').pipeline
    settings = Config.fromfile(base).to_dict()[validation.replace('-', '_')]
    assert dataset == dict(**settings, pipeline=pipeline)
    assert cfg.val_dataloader == alone.val_dataloader and cfg.test_dataloader == alone.test_dataloader


@pytest.mark.parametrize('path', sorted(CONFIG_DIR.glob('_base_/**/*.py')), ids=lambda path: path.stem)
def test_common_bases_name_no_method(path):
    # 'has' and 'found' are words, too
    names = {*METHODS, *METHODS.values()} - {'has', 'found'}
    pattern = rf'(?<![a-z0-9])({"|".join(names)})(?![a-z0-9])|({"|".join(names)})head'
    text = f'{path.name}\n{path.read_text()}'
    found = re.search(pattern, text.lower()) or re.search(r'HaS|has[_/]|HideAndSeek', text)
    assert not found, f'{found[0]!r} belongs below configs/<method>/'


def test_variants_are_short():
    for path in CONFIG_DIR.glob('*/*_deit-b*.py'):
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith('#')]
        assert len(lines) < 10, path.name
