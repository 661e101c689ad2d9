"""The models against their explicit-attention forms, through the converters."""

from benchmarks.explicit_attention import FORMS, NoExplicitForm, explicit_form
from tests.clip_samples import RANDOM_CLIP
from tests.methods import METHODS, Size
from wsol_mm.models.weights import convert_state_dict
from wsol_mm.registry import MODELS

import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

# Image size, patch size, depth, heads, width of a head, classes.
SHAPES = {
    '14x14': ((56, 56), 4, 3, 3, 8, 5),
    '24x24': ((96, 96), 4, 2, 2, 8, 3),
    'patch-8': ((56, 56), 8, 4, 5, 4, 4),
    'wide': ((24, 40), 4, 2, 4, 4, 7),
    'high': ((40, 16), 8, 4, 2, 6, 3),
}
PAIRS = [name for name, method in METHODS.items() if method.head in FORMS]
HEAD_OPTIONS = {
    'sat': dict(area_loss=dict(target_area=0.3)),
    'catr': dict(csm=dict(base_channels=3)),
    'cdtr': dict(csm=dict(base_channels=3), sba=None),
}
BATCH = 3


def random_weights(model: nn.Module) -> None:
    """Give every parameter a random value, large enough for uneven attention."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad or parameter.numel() == 1:
                continue  # a constant filter; scalars with a range, changed below
            parameter.normal_(std=0.3)
            if 'norm' in name and name.endswith('weight'):
                parameter.add_(1)
            if name == 'AutomaticWeightedLoss.params':
                parameter.abs_().add_(0.8)
        for parameter in model.parameters():
            if parameter.numel() == 1:
                parameter.mul_(0.9 + 0.1 * torch.rand(1))


def build_pair(method: str, shape: str, **head):
    """Return our model and the explicit form of it in float64, with the same weights."""
    img_size, patch_size, depth, heads, head_width, num_classes = SHAPES[shape]
    size = Size(depth, heads, heads * head_width, patch_size, img_size, num_classes)
    if method == 'scm' and shape == '24x24':
        head = {'iterations': (5, 2), **head}  # the explicit form takes seconds for 28
    if METHODS[method].reads_layers:
        head = {'ocm': dict(num_layers=depth - 1, area_loss=dict(ratio=0.3)), **head}
    head_config = METHODS[method].head_config(size, **{**HEAD_OPTIONS.get(method, {}), **head})
    ours = MODELS.build(METHODS[method].model_config(size, head=head_config)).double()
    explicit = explicit_form(ours).double()
    random_weights(explicit)
    ours.load_state_dict(convert_state_dict(method, explicit.state_dict()), strict=True)
    images = torch.randn(BATCH, 3, *img_size, dtype=torch.float64)
    labels = torch.randint(num_classes, (BATCH,))
    return ours, explicit, images, labels


def close(ours: torch.Tensor, explicit: torch.Tensor, tolerance: float = 1e-9) -> None:
    """Check the largest difference, relative to the largest value."""
    assert ours.shape == explicit.shape
    scale = explicit.abs().max()
    assert (ours - explicit).abs().max() <= tolerance * scale, (ours - explicit).abs().max() / scale


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', PAIRS)
def test_test_time(method, shape):
    ours, explicit, images, labels = build_pair(method, shape)
    ours.eval(), explicit.eval()
    with torch.no_grad():
        feats = ours.extract_feat(images, ours.head.predict_needs)
        logits, maps = explicit.predict(images)
        close(ours.head(feats), logits)
        if ours.head.class_agnostic:
            close(ours.head.localization_maps(feats, labels[:, None]), maps)
            return
        wanted = torch.stack((labels, logits.argmax(dim=1), logits.argmin(dim=1)), dim=1)
        expected = maps[torch.arange(BATCH)[:, None], wanted]
        close(ours.head.localization_maps(feats, wanted), expected)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', PAIRS)
def test_losses_and_gradients(method, shape):
    ours, explicit, images, labels = build_pair(method, shape)
    ours.train(), explicit.train()
    samples = [DataSample().set_gt_label(label) for label in labels.tolist()]
    found = ours.loss(images, samples)
    expected = explicit.losses(images, labels)
    total = sum(value for name, value in found.items() if 'loss' in name)
    close(total, sum(expected.values()))
    total.backward()
    sum(expected.values()).backward()
    gradients = {name: value.grad for name, value in explicit.named_parameters() if value.requires_grad}
    assert all(gradient is not None for gradient in gradients.values())
    converted = convert_state_dict(method, gradients)
    parameters = {name: value for name, value in ours.named_parameters() if value.requires_grad}
    assert set(converted) == set(parameters)
    scale = max(gradient.abs().max() for gradient in converted.values())
    for name, gradient in converted.items():
        difference = (parameters[name].grad - gradient).abs().max()
        # Biases of keys have no true gradient: compared with the largest gradient of all, too.
        assert difference <= 1e-8 * gradient.abs().max() + 1e-11 * scale, name


@pytest.mark.parametrize('prompt_index', ['batch', 'label'])
@pytest.mark.parametrize('normalize_map', [False, True])
def test_semantic_boost(prompt_index, normalize_map):
    """CLIP works in float32, so the comparison is coarser. Two passes there, one here; prompts once here."""
    sba = dict(
        clip=RANDOM_CLIP,
        class_names=['cat', 'dog', 'bird', 'fish', 'frog'],
        prompt_index=prompt_index,
        normalize_map=normalize_map,
        loss_weight=1e3,  # much above the other losses
    )
    ours, explicit, images, labels = build_pair('cdtr', '14x14', sba=sba)
    ours.float().train(), explicit.float().train()
    images = images.float()
    samples = [DataSample().set_gt_label(label) for label in labels.tolist()]
    found = ours.loss(images, samples)
    expected = explicit.losses(images, labels)
    close(found['loss_sba'], expected['sba'], 1e-5)
    sum(value for name, value in found.items() if 'loss' in name).backward()
    sum(expected.values()).backward()
    gradients = convert_state_dict('cdtr', {name: value.grad for name, value in explicit.named_parameters()})
    for name, parameter in ours.named_parameters():
        scale = gradients[name].abs().max()
        assert (parameter.grad - gradients[name]).abs().max() <= 1e-3 * scale + 1e-2, name


def test_catr_without_a_part_has_none():
    with pytest.raises(NoExplicitForm, match='a head with all parts, got one without csm'):
        build_pair('catr', '14x14', csm=None)
    with pytest.raises(NoExplicitForm, match='got one without ski'):
        build_pair('cdtr', '14x14', ski=None)
    ocm = dict(num_layers=2, map_loss=dict(pairing='sample'))
    with pytest.raises(NoExplicitForm, match='expected the losses of the OCM to be those of the reference'):
        build_pair('catr', '14x14', ocm=ocm)


def test_maps_are_of_every_kind():
    """The random weights make uneven attention, or the comparisons would say little."""
    _, explicit, images, _ = build_pair('ts-cam', '14x14')
    _, attentions = explicit.encode(images)
    attention = torch.stack(attentions)
    assert attention.shape == (3, BATCH, 3, 197, 197)
    assert attention.max() > 10 / 197
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(3, BATCH, 3, 197, dtype=torch.float64))


def test_drop_path_rates():
    ours, _, _, _ = build_pair('ts-cam', 'patch-8')
    explicit = type(explicit_form(ours))(num_classes=2, depth=4, drop_path_rate=0.3)
    assert [block.drop_path_rate for block in explicit.blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    explicit = FORMS['TSCAMHead'](
        num_classes=2,
        img_size=(8, 8),
        patch_size=4,
        embed_dims=4,
        depth=2,
        num_heads=1,
        drop_path_rate=1 - 1e-9,
    )
    images = torch.randn(2, 3, 8, 8)
    # All but nothing of the last block is kept in training, and all of it at test time.
    tokens = explicit.blocks[0](explicit.tokens(images))[0]
    assert torch.equal(explicit.blocks[1](tokens)[0], tokens)
    assert not torch.equal(explicit.eval().blocks[1](tokens)[0], tokens)


def test_refused_inputs():
    ours, explicit, _, _ = build_pair('ts-cam', '14x14')
    with pytest.raises(ValueError, match=r'images: expected the size \(56, 56\) \(h, w\), got \(64, 56\)'):
        explicit.predict(torch.zeros(1, 3, 64, 56))
    ours.head = nn.Linear(2, 2)
    with pytest.raises(NoExplicitForm, match='expected a head of .*TSCAMHead.*, got Linear'):
        explicit_form(ours)


def test_dropout_is_refused(build_localizer):
    with pytest.raises(NoExplicitForm, match='expected a backbone without dropout'):
        explicit_form(build_localizer(backbone=dict(drop_rate=0.1)))


def test_hybrid_backbones_have_none(build_localizer):
    with pytest.raises(NoExplicitForm, match='got TokenConformer'):
        explicit_form(build_localizer(hybrid=True))
