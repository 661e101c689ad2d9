"""Tests of wsol_mm.models.backbones.inception_v3."""

from wsol_mm.models.backbones import InceptionV3

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import inception_v3


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    model = InceptionV3()
    model.init_weights()
    return model.eval()


def test_sizes_of_all_stages(model):
    """Those of docs/specifications/cnn_baselines.md, section 2.3."""
    sizes = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: sizes.update({name: tuple(out.shape[1:])}))
        for name, layer in model.named_children()
    ]
    with torch.no_grad():
        feats = model(torch.zeros(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    assert [sizes[name][1] for name in ('Conv2d_1a_3x3', 'Conv2d_2a_3x3', 'Conv2d_2b_3x3')] == [112, 110, 110]
    assert [sizes[name][1] for name in ('maxpool1', 'Conv2d_4a_3x3', 'maxpool2')] == [56, 54, 28]
    assert [sizes[f'Mixed_5{x}'] for x in 'bcd'] == [(256, 28, 28), (288, 28, 28), (288, 28, 28)]
    assert sizes['maxpool3'] == (288, 14, 14)
    assert {sizes[f'Mixed_6{x}'] for x in 'abcde'} == {(768, 14, 14)}
    assert feats.feature_map.shape == (1, 768, 14, 14)


def test_twice_the_size(model):
    large = InceptionV3(output_stride=8).eval()
    large.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert large(torch.zeros(1, 3, 112, 112)).grid == (14, 14)


def test_mixed_6a_is_torchvisions_with_stride_1_and_padding(model):
    block, x = model.Mixed_6a, torch.randn(1, 288, 9, 8)

    def unit(unit, x, **kwargs):
        x = F.conv2d(x, unit.conv.weight, **kwargs)
        norm = unit.bn
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3).relu()

    double = unit(block.branch3x3dbl_2, unit(block.branch3x3dbl_1, x), padding=1)
    parts = (
        unit(block.branch3x3, x, padding=1),
        unit(block.branch3x3dbl_3, double, padding=1),
        F.max_pool2d(x, 3, 1, 1),
    )
    with torch.no_grad():
        torch.testing.assert_close(block(x), torch.cat(parts, dim=1))


def test_names_are_torchvisions(model):
    with torch.device('meta'):
        reference = inception_v3(weights=None, init_weights=False).state_dict()
    own = model.state_dict()
    kept = {name for name in reference if not name.startswith(('Mixed_7', 'AuxLogits', 'fc'))}
    assert set(own) == kept
    assert all(own[name].shape == reference[name].shape for name in kept)


def test_initialisation(model):
    weight = model.Mixed_6b.branch1x1.conv.weight
    bound = (6 / (768 + 192)) ** 0.5
    assert bound * 0.99 < weight.abs().max() <= bound
    assert (model.Mixed_6b.branch1x1.bn.weight == 1).all()


def test_errors():
    with pytest.raises(ValueError, match=r'output_stride: expected one of \(8, 16\), got 32'):
        InceptionV3(output_stride=32)
