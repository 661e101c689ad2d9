"""Settings of the heads on frozen backbones that publications or their weights prescribe."""

import pytest
from mmengine.config import Config


@pytest.fixture(scope='module')
def load(repo_dir):
    return lambda path: Config.fromfile(repo_dir / 'configs' / path)


@pytest.mark.parametrize(
    ('backbone', 'interpolation'),
    [('dino-s', 'dinov2'), ('dino-s8', 'dinov2'), ('dinov2-s', 'dinov2'), ('dinov2-reg-s', 'timm')],
)
def test_positions_are_interpolated_as_published(load, backbone, interpolation):
    settings = load(f'_base_/models/{backbone}.py').model.backbone
    assert settings.get('position_interpolation', 'timm') == interpolation


def test_weights_of_openai_have_their_activation(load):
    model = load('_base_/models/clip-b.py').model
    assert 'quickgelu' in model.backbone.model_name and model.pretrained.endswith(model.backbone.model_name)


@pytest.mark.parametrize(('backbone', 'tokens'), [('dinov2-s', 'pre_norm'), ('dino-s', 'normed')])
@pytest.mark.parametrize(
    ('data', 'batch', 'lr', 'factor', 'dropouts', 'weight', 'epochs'),
    [('cub', 128, 5e-5, 10, (0.5, 0.5), 100, 200), ('ilsvrc', 256, 5e-6, 50, (0.25, 0.25), 500, 100)],
)
def test_trilite(load, backbone, tokens, data, batch, lr, factor, dropouts, weight, epochs):
    cfg = load(f'trilite/trilite_{backbone}_{data}.py')
    head, optimizer = cfg.model.head, cfg.optim_wrapper
    assert head.get('tokens', 'pre_norm') == tokens
    assert (head.region_dropout, head.dropout) == dropouts
    assert head.get('background_loss', {}).get('loss_weight', head.num_classes / 2) == weight
    assert (cfg.train_dataloader.batch_size, optimizer.optimizer.lr, cfg.train_cfg.max_epochs) == (
        batch,
        lr,
        epochs,
    )
    assert optimizer.paramwise_cfg.custom_keys['head.classifier'].lr_mult == factor


@pytest.mark.parametrize(
    ('backbone', 'features', 'threshold'),
    [
        ('dino-s', 'keys', 0.2),
        ('dinov2-s', 'tokens', 0.4),
        ('dinov2-reg-s', 'tokens', 0.4),
        ('dinov3-s', 'tokens', 0.4),
    ],
)
@pytest.mark.parametrize('data', ['cub', 'ilsvrc', 'folder'])
def test_tokencut(load, backbone, features, threshold, data):
    head = load(f'tokencut/tokencut_{backbone}_{data}.py').model.head
    assert (head.get('features', 'keys'), head.threshold) == (features, threshold)
