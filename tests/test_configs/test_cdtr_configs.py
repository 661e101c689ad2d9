"""The constants of CATR's and CDTR's variants, and what their smaller configs change.

See docs/specifications/cdtr.md, section 2.0, and docs/specifications/cdtr.md, section 7.
"""

from pathlib import Path

import wsol_mm  # noqa: F401
from tests.clip_samples import RANDOM_CLIP
from wsol_mm.evaluation import get_protocol
from wsol_mm.registry import MODELS, PARAM_SCHEDULERS

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

CONFIG_DIR = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield


def load(name: str) -> Config:
    return Config.fromfile(CONFIG_DIR / name.split('_')[0] / f'{name}.py')


def build(cfg: Config):
    with torch.device('meta'):
        return MODELS.build({**cfg.model, 'pretrained': None, 'data_preprocessor': None})


@pytest.mark.parametrize('method', ['catr', 'cdtr'])
@pytest.mark.parametrize(
    ('data', 'classes', 'width', 'layers', 'ratio'),
    [('cub', 200, 16, 9, 0.25), ('ilsvrc', 1000, 512, 10, 0.1)],
)
def test_constants_of_the_variants(method, data, classes, width, layers, ratio):
    head = build(load(f'{method}_deit-s_{data}')).head
    assert head.num_classes == classes
    assert head.csm.encoder[0].out_channels == width
    assert head.ocm.branch_conv.out_channels == layers
    assert head.area_loss.ratio == ratio
    assert head.weighted_losses == ['cls', 'csm', 'area', 'map', *(['ski'] if method == 'cdtr' else [])]
    if method == 'cdtr':
        assert head.sba.loss_weight == {'cub': 2.4, 'ilsvrc': 0.01}[data]
        assert head.sba.normalize_map == (data == 'ilsvrc')
        assert head.sba.prompt_index == 'batch'


@pytest.mark.parametrize(
    ('name', 'batch', 'images', 'epochs', 'lr', 'threshold'),
    [
        ('cdtr_deit-s_cub', 128, 512, 110, 5e-5, 0.2),
        ('cdtr_deit-s_ilsvrc', 64, 256, 14, 2.5e-4, 0.19),
        ('catr_deit-s_cub', 128, 512, 80, 5e-5, 0.1),
        ('catr_deit-s_ilsvrc', 128, 512, 14, 5e-4, 0.15),
    ],
)
def test_recipes(name, batch, images, epochs, lr, threshold):
    cfg = load(name)
    assert cfg.train_dataloader.batch_size == batch and cfg.auto_scale_lr.base_batch_size == images
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == epochs
    (protocol,) = cfg.test_evaluator.protocols
    settings = dict(name=protocol) if isinstance(protocol, str) else dict(protocol)
    assert get_protocol(**settings, tuned_on=cfg.test_evaluator.tuned_on).thresholds == (threshold,)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler[0], optimizer=optimizer))
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    # The first two epochs both have the warm-up's start; the sixth is the last of the warm-up.
    assert rates[:3] == pytest.approx([1e-6, 1e-6, 1e-6 + (lr - 1e-6) / 5])
    assert rates[5] == pytest.approx(1e-6 + (lr - 1e-6) * 4 / 5)


def test_weight_decay():
    """It is on matrices alone, and the weights of the losses are trained without it.

    See docs/specifications/cdtr.md, section 7.
    """
    cfg = load('cdtr_deit-s_cub')
    cfg.model.head.sba.update(clip=RANDOM_CLIP)
    model = build(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decay = {id(parameter): group['weight_decay'] for group in groups for parameter in group['params']}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        expected = 0 if parameter.dim() < 2 or name in ('backbone.cls_token', 'backbone.pos_embed') else 0.05
        assert decay[id(parameter)] == expected, name


@pytest.mark.parametrize('part', ['csm', 'ocm', 'ski', 'sba'])
def test_ablations_lack_one_part(part):
    method = 'catr' if part in ('csm', 'ocm') else 'cdtr'
    full, without = load(f'{method}_deit-s_cub').to_dict(), load(f'{method}_deit-s_cub_no-{part}').to_dict()
    assert getattr(build(Config(without)).head, part) is None
    del without['model']['head'][part]
    full['model']['head'].pop(part, None)
    assert without == full


def test_folder_config_names_classes_by_label():
    cfg = load('cdtr_vit-t_folder')
    assert cfg.model.head.sba.prompt_index == 'label'
    assert {'type': 'ClassNamesHook'} in [dict(hook) for hook in cfg.custom_hooks]


@pytest.mark.parametrize('name', ['deit-s_cub', 'deit-s_ilsvrc', 'vit-t_cub', 'vit-t_cub40'])
def test_prompts_are_about_the_classes_of_the_data(name):
    cfg = load(f'cdtr_{name}')
    assert 'class_names' not in cfg.model.head.sba
    assert {'type': 'ClassNamesHook'} in [dict(hook) for hook in cfg.custom_hooks]
