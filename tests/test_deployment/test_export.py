"""Export of every method: ONNX and torch.export compute what PyTorch computes, for batches of any size."""

import json

import wsol_mm  # noqa: F401
from tests.methods import CONFORMER, METHODS, ZERO_SHOT, Size
from wsol_mm.deployment.checking import output_deviation, worst_deviations
from wsol_mm.deployment.deployed_localizer import DeployedLocalizer
from wsol_mm.deployment.export import export_program, write_onnx, write_program
from wsol_mm.models.heads import LocalizationHead
from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.registry import MODELS

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

NUM_CLASSES = 7
SHAPE = (32, 48)
SIZE = Size(layers=2, num_classes=NUM_CLASSES)
CONFORMER_SUFFIX = '_conformer'
MODEL_NAMES = [
    *(name for name, method in METHODS.items() if MODELS.get(method.head).exportable),
    *ZERO_SHOT,
    *(name + CONFORMER_SUFFIX for name, method in METHODS.items() if method.hybrid_options is not None),
]


def build_model(method: str, **preprocessor):
    """Build a tiny model with random weights."""
    torch.manual_seed(0)
    name, hybrid, _ = method.partition(CONFORMER_SUFFIX)
    method = (METHODS | ZERO_SHOT)[name]
    # The weights of models of timm and of CLIP say how their images were normalised.
    own = (
        {}
        if method.backbone in ('TimmBackbone', 'CLIPVisionTransformer')
        else dict(mean=[120, 115, 100], std=[50, 60, 70])
    )
    config = method.model_config(SIZE, data_preprocessor=dict(to_rgb=True) | own | preprocessor)
    if hybrid:
        config |= dict(backbone=CONFORMER, head=method.head_config(SIZE, **method.hybrid_options))
    model = MODELS.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def onnx_runner(path):
    """Return a function that runs an ONNX file, and its session."""
    onnxruntime = pytest.importorskip('onnxruntime')
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    names = [value.name for value in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True))), session


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name.endswith(CONFORMER_SUFFIX) else name
        for name in MODEL_NAMES
    ],
)
def exported(request):
    """A model of every method, with the program that is made of it."""
    deployed = DeployedLocalizer(build_model(request.param), topk=5)
    return deployed, export_program(deployed, SHAPE)


def test_a_program_is_the_model(exported, tmp_path):
    deployed, program = exported
    write_program(program, tmp_path / 'new' / 'model.pt2', {'head': 'x'})
    extra = {'wsol_mm': ''}
    loaded = torch.export.load(tmp_path / 'new' / 'model.pt2', extra_files=extra).module()
    worst = worst_deviations(
        deployed,
        lambda arrays: [out.detach().numpy() for out in loaded(*map(torch.from_numpy, arrays))],
        SHAPE,
    )
    assert max(worst.values()) <= 1e-6
    assert json.loads(extra['wsol_mm']) == {'head': 'x'}


def test_an_onnx_file_is_the_model(exported, tmp_path):
    pytest.importorskip('onnxscript')
    deployed, program = exported
    write_onnx(program, deployed, tmp_path / 'model.onnx', {'head': 'x'})
    run, session = onnx_runner(tmp_path / 'model.onnx')
    worst = worst_deviations(deployed, run, SHAPE, batch_sizes=(1, 3))
    assert list(worst) == ['scores', 'maps', 'map_labels']
    assert max(worst.values()) <= 1e-4, worst
    assert [value.name for value in session.get_outputs()] == ['scores', 'maps', 'map_labels']
    assert session.get_inputs()[0].shape[1:] == [3, *SHAPE]
    assert json.loads(session.get_modelmeta().custom_metadata_map['wsol_mm']) == {'head': 'x'}
    assert [path.name for path in tmp_path.iterdir()] == ['model.onnx']  # the weights are in it


@MODELS.register_module()
class _Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return x * self.gain


class _StageHead(LocalizationHead):
    """Needs what the localizer adds, of a backbone that gives nothing but maps."""

    predict_needs = frozenset({'images', 'stages'})

    def forward(self, feats):
        return feats.feature_map.mean(dim=(2, 3))[:, : self.num_classes]

    def localization_maps(self, feats, labels):
        (stage,) = feats.require('stages')
        seen = nn.functional.adaptive_avg_pool2d(feats.require('images'), stage.shape[2:])
        places = labels[..., None, None].expand(-1, -1, *stage.shape[2:])
        return stage.gather(1, places) + seen.mean(dim=1, keepdim=True)


def test_what_the_localizer_adds_is_deployed_too():
    torch.manual_seed(0)
    model = ImageLocalizer(
        dict(type='mmpretrain.ResNet', depth=18),
        _StageHead(num_classes=7, in_channels=512),
        data_preprocessor=dict(mean=[120, 115, 100], std=[50, 60, 70], to_rgb=True),
        stages=('layer2',),
        inserts=[dict(type='_Gain', after='backbone.layer1')],
    ).eval()
    deployed = DeployedLocalizer(model, topk=2)
    images, *_ = deployed.example_inputs((32, 64), 2)
    scores, maps, labels = deployed(images)
    samples = model.test_step(dict(inputs=images.flip(1), data_samples=[DataSample(), DataSample()]))
    for index, sample in enumerate(samples):
        torch.testing.assert_close(scores[index], sample.pred_score)
        assert torch.equal(labels[index], sample.loc_labels[:2])
        torch.testing.assert_close(maps[index], sample.loc_maps[:2])
    program = export_program(deployed, (32, 64))
    assert 'inserts.0.gain' in program.state_dict
    torch.testing.assert_close(program.module()(images)[1], maps, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('method', ['ts-cam', 'lctr'])
def test_classes_as_an_input(method, tmp_path):
    pytest.importorskip('onnxscript')
    deployed = DeployedLocalizer(build_model(method), maps='labels', topk=2)
    write_onnx(export_program(deployed, SHAPE), deployed, tmp_path / 'model.onnx', {})
    run, session = onnx_runner(tmp_path / 'model.onnx')
    assert max(worst_deviations(deployed, run, SHAPE).values()) <= 1e-4
    assert [value.name for value in session.get_inputs()] == ['images', 'labels']
    # Another number of classes than in the example of the export.
    images, _ = deployed.example_inputs(SHAPE, 2)
    labels = torch.tensor([[6], [0]])
    with torch.no_grad():
        scores, maps = deployed(images, labels)
    found = run([images.numpy(), labels.numpy()])
    assert found[1].shape == maps.shape == (2, 1, 4, 6)
    np.testing.assert_allclose(found[0], scores, atol=1e-5)
    np.testing.assert_allclose(found[1], maps, atol=1e-4 * float(maps.abs().max()))


@pytest.mark.parametrize('to_rgb', [True, False])
@pytest.mark.parametrize('method', ['ts-cam', 'sat'])
def test_outputs_are_those_of_a_test(method, to_rgb):
    """The deployed model takes RGB; the pipelines hand BGR to the model."""
    model = build_model(method, to_rgb=to_rgb)
    deployed = DeployedLocalizer(model, topk=3)
    images = torch.randint(0, 256, (2, 3, *SHAPE), dtype=torch.uint8)
    samples = model.test_step({'inputs': list(images.flip(1))})
    with torch.no_grad():
        scores, maps, labels = deployed(images.float())
    for index, sample in enumerate(samples):
        torch.testing.assert_close(scores[index], sample.pred_score)
        if method == 'sat':
            assert labels[index].tolist() == [-1]
            torch.testing.assert_close(maps[index], sample.loc_maps)
        else:
            assert labels[index].tolist() == sample.pred_topk[:3].tolist()
            torch.testing.assert_close(maps[index], sample.loc_maps[:3])


def test_a_model_may_be_used_after_its_export():
    """What layers keep for a grid are real tensors, not those of the recording."""
    model = build_model('scm_conformer')
    deployed = DeployedLocalizer(model)
    inputs = deployed.example_inputs((48, 48), 2)
    export_program(deployed, (48, 48))
    with torch.no_grad():
        assert deployed(*inputs)[0].isfinite().all()


@pytest.mark.parametrize(
    ('method', 'options', 'message'),
    [
        ('ts-cam', dict(maps='every'), r"maps: expected one of \('topk', 'labels'\), got 'every'"),
        ('sat', dict(maps='labels'), 'SATHead has one map for all classes'),
        ('ts-cam', dict(topk=8), 'topk: expected an integer from 1 to 7, the number of classes, got 8'),
    ],
)
def test_what_cannot_be_deployed_is_refused(method, options, message):
    with pytest.raises(ValueError, match=message):
        DeployedLocalizer(build_model(method), **options)


def test_a_model_without_normalisation_is_refused():
    with pytest.raises(ValueError, match='data_preprocessor: expected mean and std of three channels'):
        DeployedLocalizer(build_model('ts-cam', mean=None, std=None))


def test_deviations_are_measured_by_the_range_of_the_output():
    scores, maps = np.array([[0.5, 0.5]]), np.array([[[[2e-3]]], [[[4.0]]]])
    assert output_deviation('scores', scores, scores + 1e-3) == pytest.approx(1e-3)
    # 1e-6 is little beside 4, and much beside 2e-3.
    assert output_deviation('maps', maps, maps + 1e-6) == pytest.approx(5e-4)
    assert output_deviation('map_labels', np.array([1, 2]), np.array([1, 2])) == 0
    assert output_deviation('map_labels', np.array([1, 2]), np.array([2, 1])) == np.inf
    assert output_deviation('maps', maps, maps[:1]) == np.inf
    assert output_deviation('maps', maps, maps * np.nan) == np.inf
