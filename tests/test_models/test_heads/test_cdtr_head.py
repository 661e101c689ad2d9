"""Tests of wsol_mm.models.heads.cdtr_head."""

from tests.clip_samples import RANDOM_CLIP
from wsol_mm.models.heads import CATRHead, CDTRHead
from wsol_mm.models.layers.deformable_conv import deform_conv2d
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch.utils._python_dispatch import TorchDispatchMode

LAYERS, HEADS, CLASSES = 4, 2, 5
SBA = dict(class_names=list('abcde'), clip=RANDOM_CLIP)
LABELS = torch.tensor([4, 0, 2])


def build(**kwargs) -> CDTRHead:
    torch.manual_seed(0)
    options = dict(num_layers=LAYERS, num_heads=HEADS, ocm=dict(num_layers=3), sba=SBA) | kwargs
    head = CDTRHead(CLASSES, in_channels=8, **options)
    for parameter in head.parameters():
        parameter.data.normal_(std=0.5)
    return head


@pytest.fixture
def feats() -> Features:
    torch.manual_seed(1)
    attention = torch.randn(3, LAYERS, HEADS, 1 + 16).softmax(dim=-1)
    return Features(
        torch.randn(3, 8, 4, 4, requires_grad=True),
        torch.randn(3, 8),
        attention.requires_grad_(),
        extras={'images': torch.randn(3, 3, 32, 32)},
    )


def samples() -> list[DataSample]:
    return [DataSample().set_gt_label(int(label)) for label in LABELS]


def maps_of(head: CDTRHead, feats: Features) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Attention, class maps of the head and of the CSM."""
    head_maps = F.conv2d(feats.feature_map, head.semantic_conv.weight, head.semantic_conv.bias, padding=1)
    csm_maps = head.csm.maps(head.csm(head.attention_rows(feats)))
    return head.attention_map(feats), head_maps, csm_maps


def test_kernel_integrator_is_the_mean_of_a_deformable_convolution(feats):
    head = build().train()
    attention, head_maps, csm_maps = maps_of(head, feats)
    offsets = F.conv2d(
        head_maps * attention[:, None], head.ski.offset_conv.weight, head.ski.offset_conv.bias, padding=1
    )
    logits = deform_conv2d(csm_maps, offsets, head.ski.weight, padding=1).mean(dim=(2, 3))
    torch.testing.assert_close(head.raw_losses(feats, samples())['ski'], F.cross_entropy(logits, LABELS))


def test_object_map_has_the_gradient_of_the_attention_alone(feats, monkeypatch):
    head = build().train()
    # Prompts that the images are close to: a similarity below the clamp has no gradient.
    prompts = F.normalize(head.sba.clip.image_features(feats.extras['images']), dim=-1)
    monkeypatch.setattr(head.sba, 'prompt_features', lambda labels: prompts)
    attention, head_maps, csm_maps = maps_of(head, feats)
    rows = torch.arange(3)
    fixed = (head_maps[rows, LABELS] + csm_maps[rows, LABELS]).detach()
    maps = attention * fixed
    expected = head.sba(feats.extras['images'], maps, LABELS)
    found = head.raw_losses(feats, samples())['sba']
    torch.testing.assert_close(found, expected)
    inputs = (feats.class_attention, feats.feature_map)
    gradients = torch.autograd.grad(found, inputs, allow_unused=True)
    wanted = torch.autograd.grad(expected, feats.class_attention)[0]
    torch.testing.assert_close(gradients[0], wanted)
    assert gradients[1] is None, 'class maps give no gradient'
    assert wanted.abs().sum() > 0


def test_weights_of_the_losses(feats):
    head = build(sba=SBA | dict(loss_weight=2.4)).train()
    head.loss_weighting.params.data = torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0])
    losses = head.loss(feats, samples())
    torch.testing.assert_close(losses['loss_sba'], 2.4 * losses['sba'])
    expected = 0.5 / 4 * losses['ski'] + torch.tensor(5.0).log()
    torch.testing.assert_close(losses['loss_ski'], expected)


def test_it_is_catr_without_its_two_parts(feats):
    torch.manual_seed(0)
    plain = CATRHead(CLASSES, in_channels=8, num_layers=LAYERS, num_heads=HEADS, ocm=dict(num_layers=3))
    head = build(ski=None, sba=None)
    assert 'images' in build().loss_needs and 'images' not in head.loss_needs
    assert head.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(head.state_dict())
    losses, expected = head.train().loss(feats, samples()), plain.train().loss(feats, samples())
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    maps = head.eval().localization_maps(feats, LABELS[:, None])
    torch.testing.assert_close(maps, plain.eval().localization_maps(feats, LABELS[:, None]))


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(ski=None), ['cls', 'csm', 'area', 'map']),
        (dict(sba=None), ['cls', 'csm', 'area', 'map', 'ski']),
        (dict(ocm=None), ['cls', 'csm', 'ski']),
        (dict(csm=None, ski=None), ['cls', 'area', 'map']),
    ],
)
def test_parts_can_be_left_out(feats, options, names):
    head = build(**options).train()
    assert head.weighted_losses == names
    assert len(head.loss_weighting.params) == len(names)
    losses = head.loss(feats, samples())
    assert ('loss_sba' in losses) == (head.sba is not None)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, f'{name} is not used'


def test_clip_is_needed_for_training_alone(feats, monkeypatch):
    head = build().eval()
    monkeypatch.setattr('wsol_mm.models.clip.FrozenCLIP.load', lambda self: pytest.fail('CLIP was loaded'))
    head.predict(feats._replace(extras={'images': None}), samples())
    assert not [name for name in head.state_dict() if 'clip' in name.lower()]
    assert not [name for name, _ in head.named_modules() if 'clip' in name.lower()]


class UsedOperations(TorchDispatchMode):
    """Notes the names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_training_can_be_deterministic_on_a_gpu(feats):
    """With deterministic=True PyTorch refuses these operations on a GPU."""
    refused = {'kthvalue', 'cumsum', 'histc', 'bincount', 'median', 'put_', '_adaptive_avg_pool2d_backward'}
    refused |= {'grid_sampler_2d_backward', 'upsample_bicubic2d_backward', '_upsample_bicubic2d_aa_backward'}
    head = build().train()
    with UsedOperations() as used:
        losses = head.loss(feats, samples())
        sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert 'convolution_backward' in used.names
    assert not used.names & refused


def test_localizer_hands_over_the_images():
    arch = dict(embed_dims=8, num_layers=LAYERS, num_heads=HEADS, feedforward_channels=16)
    backbone = dict(type='TokenVisionTransformer', arch=arch, img_size=32, patch_size=8)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=build()))
    losses = model.train()(torch.randn(3, 3, 32, 32), samples(), mode='loss')
    assert losses['loss_sba'].isfinite()


def test_kernel_integrator_needs_the_csm():
    with pytest.raises(ValueError, match='ski: expected None where csm is None'):
        build(csm=None)
