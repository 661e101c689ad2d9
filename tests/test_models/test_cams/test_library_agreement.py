"""Our maps against the package grad-cam's own, run in its own way."""

from copy import deepcopy

from tests.trained_classifiers import FAMILIES
from wsol_mm.models.cams import library_cams
from wsol_mm.registry import MODELS

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

library = pytest.importorskip('pytorch_grad_cam', reason='needs grad-cam')

LIBRARY_NAMES = {'KPCACAM': 'KPCA_CAM'}
GRADIENT = ['GradCAM', 'LayerCAM', 'GradCAMPlusPlus', 'HiResCAM', 'XGradCAM', 'GradCAMElementWise']
COMPONENTS = ['EigenGradCAM', 'SegEigenCAM', 'EigenCAM', 'FEM', 'KPCACAM']
RERUN = ['ScoreCAM', 'AblationCAM']
NETWORKS = ['resnet', 'convnext', 'vit', 'swin', 'efficientnet']


def build(name, cam):
    classifier = MODELS.build(FAMILIES[name].config)
    settings = dict(type=cam, map_topk=1)
    return MODELS.build(dict(type='ClassifierLocalizer', classifier=classifier, cam=settings)).eval()


def library_maps(model, cam, images, labels):
    """Return the rectified maps (B, K, h, w) of the package before it normalises and enlarges them."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network, size = deepcopy(model.backbone.model), tuple(images.shape[-2:])
    layer, layout = network.get_submodule(model.backbone.layer), model.backbone._layout
    reshape = None if layout.kind == 'channels_first' else lambda output: layout.to_map(output, size)
    kept = []

    class Raw(getattr(library, LIBRARY_NAMES.get(cam, cam))):
        def get_cam_image(self, *args):
            image = super().get_cam_image(*args)
            kept.append(np.maximum(image, 0))
            return image

    for column in labels.T.tolist():
        method = Raw(network, [layer], reshape_transform=reshape)
        method(images, [ClassifierOutputTarget(label) for label in column])
    return torch.from_numpy(np.float32(np.stack(kept, axis=1)))


def compare(name, cam, **tolerances):
    model = build(name, cam)
    images = torch.randn(2, 3, *model.backbone.data_config['input_size'])
    samples = model.predict(images, [DataSample().set_gt_label(3), DataSample().set_gt_label(5)])
    ours = torch.stack([sample.loc_maps for sample in samples])
    labels = torch.stack([sample.loc_labels for sample in samples])
    assert model.head.class_agnostic == (labels.tolist() == [[-1], [-1]])
    theirs = library_maps(model, cam, images, labels.clamp(min=0))
    assert theirs.abs().max() > 0
    scale = theirs.abs().max()
    torch.testing.assert_close(ours / scale, theirs / scale, **{**dict(rtol=1e-4, atol=1e-5), **tolerances})


@pytest.mark.parametrize('cam', [*GRADIENT, *COMPONENTS])
@pytest.mark.parametrize('name', NETWORKS)
def test_maps_are_those_of_the_package(name, cam):
    compare(name, cam)


@pytest.mark.parametrize('cam', RERUN)
@pytest.mark.parametrize('name', ['resnet', 'efficientnet'])
def test_maps_of_methods_that_run_the_network_again(name, cam):
    compare(name, cam)


def test_score_cam_of_a_transformer():
    compare('vit', 'ScoreCAM', atol=1e-3)


def test_the_network_runs_once_for_all_classes():
    model = build('resnet', 'ScoreCAM')
    channels, calls = model.head.in_channels, []
    model.backbone.model.register_forward_hook(lambda *_: calls.append(1))
    model.predict(
        torch.randn(1, 3, *model.backbone.data_config['input_size']), [DataSample().set_gt_label(1)]
    )
    assert len(calls) == 1 + -(-channels // model.head.batch_size)


def test_a_rerunning_method_alone_says_what_it_lacks():
    model = build('resnet', 'ScoreCAM')
    feats = model.extract_feat(torch.randn(1, 3, 160, 160), model.head.predict_needs)
    with pytest.raises(ValueError, match='cam: expected a call of ClassifierLocalizer.predict'):
        model.head.localization_maps(feats, torch.zeros(1, 1, dtype=torch.int64))


def test_batch_size_is_checked():
    with pytest.raises(ValueError, match='cam.batch_size: expected an integer from 1, got 0'):
        MODELS.build(dict(type='ScoreCAM', num_classes=2, in_channels=3, batch_size=0))


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(library_cams, 'find_spec', lambda name: None)
    with pytest.raises(
        ImportError, match='cam.type: expected the package grad-cam, .* EigenCAM .* pip install grad-cam'
    ):
        MODELS.build(dict(type='EigenCAM', num_classes=2, in_channels=3))
