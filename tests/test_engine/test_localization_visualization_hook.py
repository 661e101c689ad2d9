from types import SimpleNamespace

from wsol_mm.engine.hooks import LocalizationVisualizationHook
from wsol_mm.registry import HOOKS, VISUALIZERS
from wsol_mm.visualization import LocalizationVisualizer

import mmcv
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from mmpretrain.structures import DataSample
from PIL import Image


class Recorder:
    """Stands for the visualizer and keeps what it is asked to draw."""

    def __init__(self):
        self.drawn = []

    def add_datasample(self, name, data_sample, protocol, out_file, step):
        self.drawn.append((name, protocol.name, protocol.thresholds, out_file, step))


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(Visualizer, 'get_current_instance', lambda: recorder)
    return recorder


def outputs(start, number):
    return [
        DataSample(metainfo=dict(img_path=f'/data/a/{i}.jpg', img_id=f'a/{i}.jpg'))
        for i in range(start, start + number)
    ]


def test_every_nth_image_over_batches(recorder, tmp_path):
    hook = LocalizationVisualizationHook(enable=True, interval=3, show_dir=str(tmp_path))
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(batch_size=4))
    hook.after_test_iter(runner, 0, None, outputs(0, 4))
    hook.after_test_iter(runner, 1, None, outputs(4, 4))
    assert [entry[0] for entry in recorder.drawn] == ['a_0.jpg', 'a_3.jpg', 'a_6.jpg']
    assert recorder.drawn[0][1:] == ('ts_cam', (0.1,), str(tmp_path / 'a_0.jpg.png'), 0)


def test_validation_goes_to_the_backends_under_the_epoch(recorder):
    hook = LocalizationVisualizationHook(
        enable=True, interval=1, protocol=dict(name='maxboxacc'), threshold=0.3
    )
    runner = SimpleNamespace(val_dataloader=SimpleNamespace(batch_size=1), epoch=7)
    hook.after_val_iter(runner, 0, None, outputs(0, 1))
    assert recorder.drawn == [('a_0.jpg', 'maxboxacc', (0.3,), None, 7)]


def test_damaged_image_is_drawn_black(tmp_path, monkeypatch):
    samples = []
    for name in ('dog/1.png', 'dog/1.jpg'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new('RGB', (60, 40), 'white').save(path)
        metainfo = dict(img_path=str(path), img_id=name, ori_shape=(40, 60), img_shape=(32, 32))
        sample = DataSample(metainfo=dict(metainfo, scale_factor=(32 / 60, 32 / 40)))
        sample.loc_maps, sample.loc_labels = torch.ones(1, 2, 2), torch.tensor([0])
        samples.append(sample.set_pred_score(torch.tensor([0.25, 0.75])).set_pred_label(1))
    (tmp_path / 'dog/1.jpg').write_bytes(b'no image')
    samples[1].set_metainfo(dict(load_error='truncated'))
    monkeypatch.setattr(Visualizer, 'get_current_instance', LocalizationVisualizer)
    hook = LocalizationVisualizationHook(enable=True, interval=1, show_dir=str(tmp_path / 'pictures'))
    hook.after_test_iter(SimpleNamespace(test_dataloader=SimpleNamespace(batch_size=2)), 0, None, samples)
    # Neither picture replaces the other.
    white, black = (mmcv.imread(tmp_path / f'pictures/dog_1.{end}.png') for end in ('png', 'jpg'))
    assert white.shape == black.shape
    assert white[30:40, 30:60].mean() > black[30:40, 30:60].mean() + 100


def test_disabled_by_default(recorder):
    hook = LocalizationVisualizationHook()
    hook.after_test_iter(
        SimpleNamespace(test_dataloader=SimpleNamespace(batch_size=1)), 0, None, outputs(0, 1)
    )
    assert recorder.drawn == []


def test_errors():
    with pytest.raises(ValueError, match='interval'):
        LocalizationVisualizationHook(interval=0)
    with pytest.raises(ValueError, match="threshold: expected .* for protocol 'maxboxacc'"):
        LocalizationVisualizationHook(protocol='maxboxacc')


def test_registered():
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        assert HOOKS.get('LocalizationVisualizationHook') is LocalizationVisualizationHook
        assert VISUALIZERS.get('LocalizationVisualizer') is not None
