"""Tests of wsol_mm.utils.checkpoint_io: what it reads, what it refuses, and MMEngine's use of it."""

import functools
import http.server
import os
import pickle
import re
import threading
import zipfile
from pathlib import Path

from wsol_mm.utils.checkpoint_io import CheckpointError, read_checkpoint, read_remote_checkpoint

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file


class Toy(BaseModel):
    """Linear model, for a checkpoint with everything that a runner saves."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.linear(torch.stack(inputs) if isinstance(inputs, list) else inputs)
        return dict(loss=out.square().mean()) if mode == 'loss' else [dict()] * len(out)


class ToyMetric(BaseMetric):
    """Returns numpy scalars, as metrics do."""

    default_prefix = 'toy'

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(score=np.float64(0.3), small=np.float32(0.2), count=3)


class ToyData(torch.utils.data.Dataset):
    """Two batches, with arrays in its meta information."""

    metainfo = dict(classes=('a', 'b'), palette=np.zeros((2, 3), np.uint8), factor=np.float32(3))

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.rand(2), data_samples=index)


def make_runner(folder: Path, epochs: int = 2, ema: bool = True, **kwargs) -> Runner:
    def loader():
        return dict(dataset=ToyData(), batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler'))

    checkpoint = dict(type='CheckpointHook', interval=1, save_best='toy/score', rule='greater')
    return Runner(
        Toy(),
        str(folder),
        train_dataloader=loader(),
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=[ToyMetric()],
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
            dict(type='MultiStepLR', milestones=[1, 2]),
            dict(type='ModuloStepLR', steps=[2]),
        ],
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        default_hooks=dict(checkpoint=checkpoint, logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[dict(type='EMAHook')] if ema else [],
        default_scope='wsol_mm',
        log_level='ERROR',
        experiment_name=folder.name,
        **kwargs,
    )


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    """Folder of a training of two epochs."""
    folder = tmp_path_factory.mktemp('runner')
    make_runner(folder).train()
    return folder


class Runs:
    """An object that runs code when it is unpickled without restrictions."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def test_runner_checkpoint_is_read_whole(work_dir):
    path = work_dir / 'epoch_2.pth'
    checkpoint = read_checkpoint(path)
    trusted = torch.load(path, weights_only=False)
    assert set(checkpoint) == set(trusted)
    assert {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers', 'ema_state_dict'} <= set(
        checkpoint
    )
    history = checkpoint['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.mean() == trusted['message_hub']['log_scalars']['train/loss'].mean()
    assert history.statistics('max') == trusted['message_hub']['log_scalars']['train/loss'].max()
    assert checkpoint['message_hub']['runtime_info']['best_score'] == np.float64(0.3)
    meta = checkpoint['meta']['dataset_meta']
    assert meta['classes'] == ('a', 'b') and meta['factor'] == 3 and meta['palette'].dtype == np.uint8
    assert checkpoint['optimizer']['param_groups'] == trusted['optimizer']['param_groups']


def test_runner_resumes(work_dir, monkeypatch):
    """Also where the installed MMEngine would fall back to unrestricted unpickling."""
    loads = []
    original = torch.load

    def load(*args, **kwargs):
        loads.append(kwargs.get('weights_only'))
        return original(*args, **kwargs)

    monkeypatch.setattr(torch, 'load', load)
    runner = make_runner(work_dir, epochs=3, resume=True)
    runner.train()
    assert loads and set(loads) == {True}
    assert runner.epoch == 3
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 6, 'history of all three epochs'


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_runner_loads_from(work_dir, tmp_path, suffix):
    state = read_checkpoint(work_dir / 'best_toy_score_epoch_1.pth')['state_dict']
    path = tmp_path / f'weights{suffix}'
    (save_file if suffix == '.safetensors' else torch.save)(state, path)
    runner = make_runner(tmp_path, ema=False, load_from=str(path))
    runner.load_or_resume()
    assert torch.equal(runner.model.linear.weight.cpu(), state['linear.weight'])


def test_kinds_of_files(tmp_path):
    state = {'weight': torch.arange(3.0)}
    torch.save(state, tmp_path / 'new.pth')
    torch.save(state, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / 'safe.safetensors')
    for path in tmp_path.iterdir():
        for name in (path, str(path)):
            assert torch.equal(read_checkpoint(name)['weight'], state['weight'])
    assert read_checkpoint(tmp_path / 'new.pth', map_location=None)['weight'].device.type == 'cpu'
    meta = read_checkpoint(tmp_path / 'new.pth', map_location='meta')
    assert meta['weight'].device.type == 'meta'


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save({}, tmp_path / 'empty.pth')
    assert read_checkpoint('~/empty.pth') == {}


def test_numpy_1_names_are_known(tmp_path):
    """Files written with numpy 1 name numpy.core, files of numpy 2 numpy._core."""
    content = dict(scalar=np.float64(0.5), array=np.arange(4, dtype=np.int32), flag=np.bool_(True))
    torch.save(content, tmp_path / 'own.pth')
    with zipfile.ZipFile(tmp_path / 'own.pth') as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for old, new in ((b'cnumpy.core', b'cnumpy._core'), (b'cnumpy._core', b'cnumpy.core')):
        with zipfile.ZipFile(tmp_path / 'renamed.pth', 'w') as archive:
            for name, data in entries.items():
                archive.writestr(name, data.replace(old, new))
        found = read_checkpoint(tmp_path / 'renamed.pth')
        assert found['scalar'] == 0.5 and found['flag'] and found['array'].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize(
    ('call', 'named'),
    [
        ((os.system, 'touch {marker}'), 'system'),
        ((eval, 'open("{marker}", "w")'), 'eval'),
        (
            (getattr, HistoryBuffer, '__init__'),
            'history_buffer.HistoryBuffer',
        ),
        ((getattr, dict, 'fromkeys'), 'dict'),
    ],
)
def test_foreign_code_is_refused_and_named(tmp_path, zipped, call, named):
    marker = tmp_path / 'ran'
    call = [part.format(marker=marker) if isinstance(part, str) else part for part in call]
    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict=Runs(*call)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    assert not marker.exists()
    assert f'{path}: expected weights' in str(error.value) and named in str(error.value)
    with pytest.raises(CheckpointError):
        CheckpointLoader.load_checkpoint(str(path))
    assert not marker.exists()


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('empty.pth', b''),
        ('page.pth', b'<html>not found</html>'),
        ('plain.pkl', pickle.dumps(dict(a=1))),
        ('short.pth', b'PK\x03\x04 and no more'),
        ('bad.safetensors', b'hello, this is no such file'),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f'{name}: expected a .*, got '):
        read_checkpoint(tmp_path / name)


def test_truncated_file_is_named(work_dir, tmp_path):
    whole = (work_dir / 'epoch_2.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        CheckpointError, match=r'cut\.pth: expected a checkpoint, got another file or a damaged one'
    ):
        read_checkpoint(tmp_path / 'cut.pth')


def test_a_flipped_bit_changes_nothing_or_is_named(work_dir, tmp_path):
    """Anywhere in the file: what is read is what was written, or an error that names the file."""
    whole = (work_dir / 'epoch_2.pth').read_bytes()
    expected = text_of(read_checkpoint(work_dir / 'epoch_2.pth'))
    places, found = np.random.default_rng(0).integers(0, 8 * len(whole), 400), 0
    path = tmp_path / 'flipped.pth'
    for place in places.tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        outcome = read_or_error(path)
        if isinstance(outcome, str):
            assert outcome.startswith(f'{path}: expected') and '\n' not in outcome
            found += 1
        else:
            assert text_of(outcome) == expected
    assert found > 100


def read_or_error(path):
    try:
        return read_checkpoint(path)
    except CheckpointError as error:
        return str(error)


def text_of(content):
    return re.sub(' object at 0x[0-9a-f]+', '', repr(content))


def test_other_content_is_named(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match=r'list\.pth: expected a dict of weights, got a list'):
        read_checkpoint(tmp_path / 'list.pth')


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'absent\.pth: expected a checkpoint, got nothing there'):
        read_checkpoint(tmp_path / 'absent.pth')


@pytest.fixture
def served_folder(tmp_path):
    """A folder and the address at which it is served on this machine."""
    folder = tmp_path / 'served'
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_remote_file_is_downloaded_once_and_read_safely(served_folder, tmp_path, monkeypatch):
    folder, address = served_folder
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    save_file({'weight': torch.ones(2)}, folder / 'remote.safetensors')
    found = CheckpointLoader.load_checkpoint(f'{address}/remote.safetensors?download=true', 'cpu')
    assert found['weight'].tolist() == [1, 1]
    (folder / 'remote.safetensors').unlink()
    assert read_remote_checkpoint(f'{address}/remote.safetensors')['weight'].tolist() == [1, 1]
    torch.save(Runs(os.system, f'touch {tmp_path}/ran'), folder / 'evil.pth')
    with pytest.raises(CheckpointError, match='system'):
        CheckpointLoader.load_checkpoint(f'{address}/evil.pth')
    assert not (tmp_path / 'ran').exists()


def read_in_process(rank: int, address: str, folder: Path) -> None:
    os.environ['LOCAL_RANK'] = str(rank)
    store = f'file://{folder}/store'
    torch.distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=2)
    torch.hub.set_dir(str(folder / 'hub'))
    weight = read_remote_checkpoint(f'{address}/shared.safetensors')['weight']
    (folder / f'{rank}.txt').write_text(str(weight.tolist()))
    torch.distributed.destroy_process_group()


def test_one_of_two_processes_downloads(served_folder, tmp_path):
    folder, address = served_folder
    save_file({'weight': torch.ones(2)}, folder / 'shared.safetensors')
    torch.multiprocessing.spawn(read_in_process, args=(address, tmp_path), nprocs=2)
    assert [(tmp_path / f'{rank}.txt').read_text() for rank in range(2)] == ['[1.0, 1.0]'] * 2
