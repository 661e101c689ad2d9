"""The tools on a config that names a trained classifier: nothing to train, no checkpoint."""

import json
import shutil

import numpy as np
import pytest

CONFIG = """
_base_ = 'micro config.py'
model = dict(
    _delete_=True,
    type='ClassifierLocalizer',
    classifier=dict(type='TimmClassifier', model_name='test_resnet', num_classes=3),
    cam=dict(type='GradCAM'),
)
train_cfg = None
train_dataloader = None
optim_wrapper = None
param_scheduler = None
"""


@pytest.fixture
def config(micro_project):
    """The config of a timm classifier and Grad-CAM, beside the micro config."""
    path = micro_project.config.parent / 'classifier.py'
    path.write_text(CONFIG)
    return path


def test_test_and_pictures(micro_project, config, tmp_path):
    metrics = tmp_path / 'metrics.json'
    done = micro_project.run(
        'test.py',
        config,
        'none',
        '--work-dir',
        tmp_path / 'w',
        '--out',
        metrics,
        '--show-dir',
        tmp_path / 'pictures',
    )
    assert done.returncode == 0, done.stderr
    assert {'ts_cam/GT-known_Loc', 'maxboxacc/MaxBoxAcc', 'Top-1_Cls'} <= json.loads(
        metrics.read_text()
    ).keys()
    assert "maps of the layer found by default, 'layer4'" in done.stdout + done.stderr
    assert len(list((tmp_path / 'pictures').rglob('*.*'))) == 9


def test_predict(micro_project, config, tmp_path):
    images = tmp_path / 'images'
    images.mkdir()
    source = next(path for path in micro_project.folder.rglob('images/*/*') if path.is_file())
    shutil.copy(source, images / f'one{source.suffix}')
    options = ['--out', tmp_path / 'boxes.json', '--save-maps', tmp_path / 'maps', '--num-workers', 0]
    done = micro_project.run('predict.py', config, 'none', images, *options, '--threshold', 0.2)
    assert done.returncode == 0, done.stderr
    (saved,) = (tmp_path / 'maps').glob('*.npz')
    assert any(np.isfinite(value).all() for value in np.load(saved).values() if value.dtype.kind == 'f')
    assert len(json.loads((tmp_path / 'boxes.json').read_text())['images']) == 1


def test_train_and_a_missing_checkpoint_are_one_line(micro_project, config, tmp_path):
    done = micro_project.run('train.py', config, '--work-dir', tmp_path / 'w')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'expected a config of a training, got one without train_cfg' in done.stderr
    done = micro_project.run('test.py', micro_project.config, 'none', '--work-dir', tmp_path / 'w')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'expected a file or an address with the weights of ImageLocalizer, got none' in done.stderr


def test_export(micro_project, config, tmp_path):
    pytest.importorskip('onnxscript')
    onnx = pytest.importorskip('onnx')
    options = ['--out', tmp_path / 'model.onnx', '--topk', 2, '--verify']
    cam = ['--cfg-options', 'model.cam.type=CAM']
    done = micro_project.run('deployment/export_onnx.py', config, *options, *cam)
    assert done.returncode == 0, done.stderr
    exported = onnx.load(tmp_path / 'model.onnx')
    # Older runtimes refuse newer formats.
    assert exported.ir_version <= 10 and [opset.version for opset in exported.opset_import] == [18]
    shape = exported.graph.input[0].type.tensor_type.shape
    assert [side.dim_value for side in shape.dim][1:] == [3, 160, 160]  # the classifier's own size
    done = micro_project.run('deployment/export_onnx.py', config, *options)
    assert done.returncode == 1 and 'cam.type: expected a method that needs no gradients' in done.stderr


def test_flops(micro_project, config):
    options = ['--shape', 160, '--topk', 2]
    cam = ['--cfg-options', 'model.cam.type=CAM']
    done = micro_project.run('analysis_tools/get_flops.py', config, *options, *cam)
    assert done.returncode == 0, done.stderr
    assert 'with maps of 2 classes' in done.stdout
    done = micro_project.run('analysis_tools/get_flops.py', config, *options)
    assert done.returncode == 1 and 'cam.type: expected a method without gradients' in done.stderr
