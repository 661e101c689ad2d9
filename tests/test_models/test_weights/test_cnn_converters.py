"""Tests of the layouts of the WSOL benchmark's checkpoints, and of torchvision's ImageNet files.

The official names are written down here by the order of layers in docs/specifications/cnn_baselines.md.
"""

import re

import wsol_mm  # noqa: F401
from wsol_mm.models.weights import convert_state_dict, load_pretrained, official_methods
from wsol_mm.models.weights.layouts import COMMON_LAYOUTS, INCEPTION_V3, RESNET, find_layout
from wsol_mm.registry import MODELS

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import inception_v3, resnet50, vgg16

CONVS = [f'conv{group}_{index}' for group in range(1, 6) for index in range(1, 3 if group < 3 else 4)]
#: Layers of the reference: C is a convolution with its ReLU, P a pool, A attention dropout.
SEQUENCES = {
    ('cam', False): 'CCPCCPCCCPCCCPCCC',
    ('cam', True): 'CCPCCPCCCPCCCCCC',
    ('acol', False): 'CCPCCPCCCPCCCPCCCP',
    ('acol', True): 'CCPCCPCCCPCCCPCCCP',
    ('adl', False): 'CCPCCPCCCPACCCAPCCCA',
    ('adl', True): 'CCPCCPCCCPACCCACCCA',
}
POOLS = {
    ('cam', False): ('max2', 'max2', 'max2', 'max2', None),
    ('cam', True): ('max2', 'max2', 'max2', None, None),
    ('acol', False): ('max3', 'max3', 'max3', 'max3', ('max3_same', 'avg3_same')),
    ('acol', True): ('max3', 'max3', 'max3', 'max3_same', ('max3_same', 'avg3_same')),
    ('spg', False): ('max2', 'max2', 'max2', 'max3', None),
    ('spg', True): ('max2', 'max2', 'max2', None, None),
}
STAGES = {
    'vgg': dict(stages=('pool4', 'pool5')),
    'resnet': dict(stages=('layer3.0', 'layer3')),
    'inception': dict(stages=('maxpool3', 'Mixed_6d')),
}


def build(network: str, method: str, large: bool = False) -> nn.Module:
    """A network with the structure of the reference, and few channels where they are a setting."""
    trunk = 'cam' if method == 'adl' else method
    backbones = {
        'vgg': dict(type='VGG16', base_channels=1, pools=POOLS[trunk, large]),
        'resnet': dict(
            type='mmpretrain.ResNet', depth=50, stem_channels=4, base_channels=4, strides=(1, 2, 2, 1)
        ),
        'inception': dict(type='InceptionV3'),
    }
    channels = dict(vgg=8, resnet=128, inception=768)[network]
    head = dict(num_classes=5, in_channels=channels)
    if method == 'acol':
        head |= dict(type='ACoLHead', hidden_channels=(6, 7))
    elif method == 'spg':
        stages = dict(vgg=(8, 8), resnet=(64, 64), inception=(288, 768))[network]
        hidden = () if network == 'resnet' else (6, 7)
        head |= dict(
            type='SPGHead', hidden_channels=hidden, stage_channels=stages, b_channels=9, c_channels=10
        )
    else:
        hidden = dict(vgg=(6,), resnet=(), inception=(6, 7))[network]
        head |= dict(
            type='CAMHead', hidden_channels=hidden, classifier='conv' if network == 'inception' else 'linear'
        )
    stages = STAGES[network] if method == 'spg' else {}
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbones[network], head=head, **stages))
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.normal_()
    return model


def vgg_places(method: str, large: bool) -> dict[str, str]:
    """Return official names of the convolutions of VGG16 by their names here."""
    if method == 'spg':
        theirs = [f'features.{index}' for index in (0, 2, 5, 7, 10, 12, 14)]
        theirs += [f'SPG_A_{group}.{index}' for group in (1, 2) for index in (0, 2, 4)]
        return dict(zip(CONVS, theirs, strict=True))
    places, index = [], 0
    for layer in SEQUENCES[method, large]:
        if layer == 'C':
            places.append(f'features.{index}')
        index += 2 if layer == 'C' else 1
    return dict(zip(CONVS, places, strict=True))


def official_name(name: str, network: str, method: str, large: bool) -> str:
    """Return what a weight here is called in the reference."""
    name = name.removeprefix('backbone.')
    if network == 'vgg' and name.startswith('conv'):
        layer, _, kind = name.rpartition('.')
        return f'{vgg_places(method, large)[layer]}.{kind}'
    if network == 'resnet' and method == 'adl':
        blocks = {3: (0, 2, 3, 4, 5, 6), 4: (0, 2, 3)}
        return re.sub(
            r'^layer([34])\.(\d)', lambda m: f'layer{m[1]}.{blocks[int(m[1])][int(m[2])]}', name
        ).replace('head.fc', 'fc')
    if network == 'resnet' and method == 'spg':
        name = re.sub(r'^layer3\.0\.', 'SPG_A1.0.', name)
        name = re.sub(r'^layer3\.(\d)', lambda m: f'SPG_A2.{int(m[1]) - 1}', name)
    hidden = dict(vgg=('SPG_A_3.0', 'SPG_A_3.2'), inception=('SPG_A3_1b.0', 'SPG_A3_2b.0'), resnet=('', ''))[
        network
    ]
    if network == 'vgg' and method in ('cam', 'adl'):
        hidden = ('conv6', '')
    for ours, theirs in (
        ('head.convs_a.0.0', 'classifier_A.0'),
        ('head.convs_a.1.0', 'classifier_A.2'),
        ('head.semantic_conv_a', 'classifier_A.4'),
        ('head.convs_b.0.0', 'classifier_B.0'),
        ('head.convs_b.1.0', 'classifier_B.2'),
        ('head.semantic_conv_b', 'classifier_B.4'),
        ('head.convs.0.0', hidden[0]),
        ('head.convs.1.0', hidden[1]),
        ('head.semantic_conv', 'SPG_A_4' if network == 'vgg' else 'SPG_A4'),
        ('head.fc', 'fc'),
        ('head.b1.0', 'SPG_B_1a.0'),
        ('head.b2.0', 'SPG_B_2a.0'),
        ('head.b_shared', 'SPG_B_shared'),
        ('head.c.', 'SPG_C.'),
    ):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def official_state(model: nn.Module, *which) -> dict[str, Tensor]:
    return {official_name(name, *which): value for name, value in model.state_dict().items()}


@pytest.mark.parametrize('large', [False, True])
@pytest.mark.parametrize('method', ['cam', 'acol', 'spg', 'adl'])
@pytest.mark.parametrize('network', ['vgg', 'resnet', 'inception'])
def test_converted_weights_arrive_at_their_places(network, method, large):
    if large and network != 'vgg':
        pytest.skip('the same names for both sizes')
    model = build(network, method, large)
    state = official_state(model, network, method, large)
    assert len(state) == len(model.state_dict())
    checkpoint = dict(architecture='any', epoch=3, state_dict=state, optimizer={'param_groups': []})
    converted = convert_state_dict(method, checkpoint)
    for name, value in model.state_dict().items():
        assert torch.equal(converted[name], value), name
    assert set(converted) == set(model.state_dict())


def test_indices_of_the_specification():
    """The table of section 2.1, which the sequences above must give."""
    found = {key: [int(place.split('.')[1]) for place in vgg_places(*key).values()] for key in SEQUENCES}
    common = [0, 2, 5, 7, 10, 12, 14]
    assert found['cam', False] == found['acol', True] == [*common, 17, 19, 21, 24, 26, 28]
    assert found['cam', True] == [*common, 17, 19, 21, 23, 25, 27]
    assert found['adl', False] == [*common, 18, 20, 22, 26, 28, 30]
    assert found['adl', True] == [*common, 18, 20, 22, 25, 27, 29]


def test_methods_that_share_networks():
    methods = official_methods()
    assert methods['cam'] is methods['has'] is methods['cutmix'] is methods['adl']
    state = official_state(build('vgg', 'cam'), 'vgg', 'cam', False)
    for method in ('has', 'cutmix'):
        assert 'head.fc.weight' in convert_state_dict(method, state)


@pytest.mark.parametrize(
    ('network', 'method', 'other'), [('vgg', 'cam', 'acol'), ('inception', 'spg', 'cam')]
)
def test_checkpoints_of_another_method_are_refused(network, method, other):
    state = official_state(build(network, method), network, method, False)
    with pytest.raises(ValueError, match=other):
        convert_state_dict(other, state)


# -------------------------------------------------------------------- ImageNet


@pytest.mark.parametrize('method', ['cam', 'acol', 'spg'])
def test_imagenet_vgg16(method, tmp_path):
    source, model = build('vgg', 'cam'), build('vgg', method)
    with torch.device('meta'):
        names = list(vgg16(weights=None).state_dict())
    convs = {f'features.{index}' for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
    assert {name.rpartition('.')[0] for name in names if name.startswith('features')} == convs
    own = official_state(source, 'vgg', 'cam', False)
    state = {name: own[name] if name.startswith('features') else torch.randn(2) for name in names}
    torch.save(state, tmp_path / 'vgg16.pth')
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_pretrained(model, tmp_path / 'vgg16.pth')
    for name, value in model.state_dict().items():
        expected = source.state_dict()[name] if name.startswith('backbone') else before[name]
        assert torch.equal(value, expected), name
    assert len(report.loaded) == 26 and {name.split('.')[0] for name in report.skipped} == {'classifier'}


@pytest.mark.parametrize(
    ('method', 'classes', 'kept'), [('cam', 5, True), ('cam', 7, False), ('acol', 5, False)]
)
def test_imagenet_resnet50(method, classes, kept, tmp_path):
    """The classifier is kept where it has as many classes, and where the head has such a one."""
    source, model = build('resnet', 'cam'), build('resnet', method)
    with torch.device('meta'):
        names = list(resnet50(weights=None).state_dict())
    state = official_state(source, 'resnet', 'cam', False)
    assert set(state) == set(names)
    state |= {'fc.weight': torch.randn(classes, 128), 'fc.bias': torch.randn(classes)}
    torch.save(state, tmp_path / 'resnet50.pth')
    report = load_pretrained(model, tmp_path / 'resnet50.pth')
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, source.backbone.state_dict()[name]), name
    assert ('head.fc.weight' in report.loaded) == kept
    if kept:
        assert torch.equal(model.head.fc.weight, state['fc.weight'])


def test_imagenet_inception_v3(tmp_path):
    source, model = build('inception', 'spg'), build('inception', 'spg')
    with torch.device('meta'):
        reference = inception_v3(weights=None, init_weights=False).state_dict()
    own = source.backbone.state_dict()
    state = {name: own.get(name, torch.zeros(1)) for name in reference}
    torch.save(state, tmp_path / 'inception.pth')
    report = load_pretrained(model, tmp_path / 'inception.pth')
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, own[name]), name
    kept = [name for name in reference if not name.startswith(('Mixed_7', 'AuxLogits', 'fc'))]
    assert len(report.loaded) == len(kept) == 420


def test_files_are_recognised_by_their_names():
    with torch.device('meta'):
        files = {
            'VGG16': vgg16(weights=None),
            'ResNet': resnet50(weights=None),
            'Inception v3': inception_v3(weights=None, init_weights=False),
        }
    for name, network in files.items():
        assert name in find_layout(network.state_dict(), COMMON_LAYOUTS).name
    assert RESNET in COMMON_LAYOUTS and INCEPTION_V3 in COMMON_LAYOUTS


@pytest.mark.parametrize(
    ('network', 'method'), [('vgg', 'cam'), ('resnet', 'cam'), ('inception', 'cam'), ('resnet', 'spg')]
)
def test_own_checkpoints_start_a_training_whole(network, method, tmp_path):
    source, model = build(network, method), build(network, method)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'own.pth')
    load_pretrained(model, tmp_path / 'own.pth')
    for name, value in model.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def test_a_plain_classifier_does_not_start_a_convolutional_one(tmp_path):
    """A bias of the same length would fit."""
    source, model = build('resnet', 'cam'), build('resnet', 'spg')
    before = model.head.semantic_conv.bias.clone()
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'resnet.pth')
    load_pretrained(model, tmp_path / 'resnet.pth')
    assert torch.equal(model.head.semantic_conv.bias, before)
    assert torch.equal(model.backbone.conv1.weight, source.backbone.conv1.weight)
