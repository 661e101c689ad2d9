"""In a step of training, the host does not wait for the device."""

import contextlib
import math
import os
import signal

from tests.methods import METHODS, Size, labelled
from tests.toy_training import Toy, end_of, in_child, make_training
from wsol_mm.engine.step_reports import StepReports
from wsol_mm.models.layers import grid_graph
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_io import read_checkpoint

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SIZE = Size(layers=2, img_size=32)


class Copies(TorchDispatchMode):
    """Notes every operation between devices that the host waits for."""

    def __init__(self):
        super().__init__()
        self.waited_for = []
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        # Numbers () of the host are arguments of kernels, and no copies.
        tensors = [value for value in tree_leaves((args, kwargs, out)) if isinstance(value, torch.Tensor)]
        devices = {value.device.type for value in tensors if value.dim() or 'copy' in function.__name__}
        if len(devices) > 1:
            self.number += 1
            if not (kwargs or {}).get('non_blocking'):
                self.waited_for.append(function.__name__)
        return out


@pytest.fixture
def unreadable(monkeypatch):
    """A device from which nothing can be read: whatever asks for a value raises an error."""
    autocast, bincount = torch.autocast, torch.bincount

    def no_autocast(device_type, *args, **kwargs):
        return contextlib.nullcontext() if device_type == 'meta' else autocast(device_type, *args, **kwargs)

    def counts(values, minlength):
        # Of the grid's neighbours: once per size of the grid, and kept.
        return values.new_empty(minlength) if values.is_meta else bincount(values, minlength=minlength)

    monkeypatch.setattr(torch, 'autocast', no_autocast)
    monkeypatch.setattr(torch, 'bincount', counts)
    grid_graph.cache_clear()
    yield 'meta'
    grid_graph.cache_clear()


def batch(images=4):
    inputs = torch.randint(0, 256, (images, 3, SIZE.img_size, SIZE.img_size), dtype=torch.uint8)
    samples = [labelled(label) for label in range(images)]
    return dict(inputs=inputs, data_samples=samples)


def build(name, training):
    normalisation = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        return MODELS.build(METHODS[name].model_config(SIZE, training, data_preprocessor=normalisation))


@pytest.mark.parametrize('name', METHODS)
def test_no_method_reads_a_value(name, unreadable):
    model = build(name, training=True).train().to(unreadable)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
        wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, clip_grad=dict(max_norm=1.0)))
    if name == 'found':
        model.head._steps = 0  # it is read in the first step of a run
    model.train_step(batch(), wrapper)  # prompts of CLIP are encoded, the grid is made
    with Copies() as copies:
        losses = model.train_step(batch(), wrapper)
    assert losses['loss'].is_meta
    assert copies.waited_for == []
    # Images, and labels; of PSOL, its boxes and their weights too.
    assert copies.number == (4 if name == 'psol' else 2)


@pytest.mark.parametrize('name', METHODS)
def test_a_test_step_waits_for_its_results_alone(name, unreadable):
    """All work is on its way to the device before the first result is asked for, the maps."""
    model = build(name, training=False).eval().to(unreadable)
    data = batch()
    with (
        torch.no_grad(),
        Copies() as copies,
        pytest.raises(NotImplementedError, match='Cannot copy out of meta'),
    ):
        model.test_step(data)
    assert copies.waited_for == []
    # Images; labels, if the method has maps of classes.
    assert copies.number == (1 if model.head.class_agnostic else 2)
    assert not any(sample.gt_label.is_meta for sample in data['data_samples'])


def test_what_is_read_is_noticed(unreadable):
    with pytest.raises(RuntimeError, match='item'):
        float(torch.zeros((), device=unreadable))
    with pytest.raises(NotImplementedError):
        torch.zeros(2, device=unreadable).cpu()
    with Copies() as copies:
        torch.zeros(2).to(unreadable)
        torch.zeros(2).to(unreadable, non_blocking=True)
        torch.zeros(3, device=unreadable)[torch.tensor([0, 1])]
    assert len(copies.waited_for) == 2
    assert copies.number == 3


def test_images_travel_as_bytes_and_are_normalised_on_the_device():
    """The values are those of normalising before."""
    model = MODELS.build(
        METHODS['ts-cam'].model_config(
            SIZE, data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True)
        )
    )
    data = batch()
    expected = (data['inputs'].flip(1).float() - torch.tensor([1.0, 2, 3]).view(3, 1, 1)) / torch.tensor(
        [4.0, 5, 6]
    ).view(3, 1, 1)
    prepared = model.data_preprocessor(data, training=True)
    torch.testing.assert_close(prepared['inputs'], expected, rtol=0, atol=0)
    assert [sample.gt_label.tolist() for sample in prepared['data_samples']] == [[0], [1], [2], [3]]

    travelled = []
    preprocessor = model.to('meta').data_preprocessor
    cast_data = preprocessor.cast_data
    preprocessor.cast_data = lambda inputs: travelled.append(inputs.dtype) or cast_data(inputs)
    assert preprocessor(batch(), training=True)['inputs'].is_meta
    assert travelled == [torch.uint8]


class CountReads(Hook):
    """Counts the values that are read, step by step."""

    priority = 'VERY_HIGH'

    def __init__(self):
        self.reads = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.reads.append(0)


@pytest.fixture
def late(monkeypatch):
    """Reports are read a step later, as on a device."""
    own = StepReports.__init__
    monkeypatch.setattr(StepReports, '__init__', lambda self: own(self, delay=1))


def one_epoch(folder, interval, **options):
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True))
    settings = dict(
        train_cfg=dict(by_epoch=True, max_epochs=1),
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9), clip_grad=dict(max_norm=1.0)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1),
            logger=dict(type='LoggerHook', interval=interval),
            finite_loss=dict(type='FiniteLossHook'),
        ),
        experiment_name=f'epoch {folder}',
    )
    training = make_training(folder, **{**settings, **options})
    training._train_dataloader |= loader
    return training


def test_log_values_are_fetched_where_they_are_logged(tmp_path, late, monkeypatch):
    """A training of 12 steps: logged after 5, 10 and the last, not read anywhere else."""
    counter = CountReads()
    training = one_epoch(tmp_path, 5, custom_hooks=[counter])

    def counted(function):
        def method(*args, **kwargs):
            if counter.reads:
                counter.reads[-1] += 1
            return function(*args, **kwargs)

        return method

    with monkeypatch.context() as patch:
        for name in ('item', 'tolist', 'cpu', '__float__', '__int__', '__bool__', '__index__'):
            patch.setattr(torch.Tensor, name, counted(getattr(torch.Tensor, name)))
        training.train()
    *steps, last = counter.reads
    assert steps == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert last >= 1  # the checkpoint is saved in it, too


def scalars(folder):
    hub = read_checkpoint(folder / 'epoch_1.pth')['message_hub']['log_scalars']
    return {name: buffer.data[0] for name, buffer in hub.items() if not name.endswith('time')}


def test_the_log_holds_the_same_numbers(tmp_path):
    for interval in (1, 5, 100):
        one_epoch(tmp_path / str(interval), interval).train()
    expected = scalars(tmp_path / '1')
    assert set(expected) == {'train/lr', 'train/loss', 'train/loss_fit', 'train/grad_norm'}
    assert len(expected['train/loss_fit']) == 12
    for interval in ('5', '100'):
        found = scalars(tmp_path / interval)
        assert set(found) == set(expected)
        assert all((found[name] == expected[name]).all() for name in expected)


class BadLoss(Toy):
    """Its loss is infinite in one step; its gradients, and so its weights, stay finite."""

    def __init__(self, step):
        super().__init__()
        self.step, self.steps = step, 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        result = super().forward(inputs, data_samples, mode)
        if mode == 'loss':
            self.steps += 1
            if self.steps == self.step:
                result['loss_fit'] = result['loss_fit'] + math.inf
        return result


@pytest.mark.parametrize('step', [4, 7, 12])
@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_bad_loss_that_is_read_late_is_in_no_checkpoint(tmp_path, late, step, by_epoch):
    hooks = dict(
        checkpoint=dict(type='CheckpointHook', interval=1 if by_epoch else 3, by_epoch=by_epoch),
        finite_loss=dict(type='FiniteLossHook'),
    )
    training = one_epoch(tmp_path / 'run', 5, model=BadLoss(step), default_hooks=hooks)
    with pytest.raises(
        ValueError, match=rf'step {step} \(epoch 1\): expected a finite loss, got loss_fit = inf'
    ):
        training.train()
    saved = [path.name for path in (tmp_path / 'run').glob('*.pth')]
    assert sorted(saved) == ([] if by_epoch else [f'iter_{k}.pth' for k in (3, 6, 9) if k < step])
    # Read in the next step, or before the checkpoint.
    assert training.iter in (step - 1, step)


class Interrupt(Hook):
    """Sends a signal after a step."""

    def __init__(self, step):
        self.step = step

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize('step', [1, 6])
def test_a_training_that_reads_late_ends_the_same(tmp_path, late, step):
    """Stopped by a signal and resumed, or not."""
    assert in_child(lambda: make_training(tmp_path / 'whole').train()) == 0
    hooks = [Interrupt(step)]
    assert in_child(lambda: make_training(tmp_path / 'run', custom_hooks=hooks).train()) == 143
    assert read_checkpoint(tmp_path / 'run' / 'interrupted.pth')['meta']['iter'] == step
    assert in_child(lambda: make_training(tmp_path / 'run', resume=True).train()) == 0
    found, expected = end_of(tmp_path / 'run'), end_of(tmp_path / 'whole')
    assert found.pop('best') == expected.pop('best')
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def two_processes(folder, run):
    """Run a function of the rank in two processes; return their exit statuses."""

    def process(rank):
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{folder / "meeting"}', rank=rank, world_size=2
        )
        run(rank)

    def both():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                process(1)
                status = 0
            finally:
                os._exit(status)
        process(0)
        assert os.waitpid(child, 0)[1] == 0

    return in_child(both, quiet=False)


@pytest.mark.parametrize('delay', [0, 1])
def test_what_one_process_reports_all_hear(tmp_path, delay):
    """A bad loss in the first, a signal in the second, in one collective each step."""

    def run(rank):
        calls = []
        own = torch.distributed.all_reduce
        torch.distributed.all_reduce = lambda *args, **kwargs: calls.append(1) or own(*args, **kwargs)
        reports = StepReports(delay)
        heard = []
        for step in range(4):
            value = math.nan if (rank, step) == (0, 1) else 1.0
            reports.send(str(step), {'loss': torch.tensor(value)}, 15 if (rank, step) == (1, 2) else 0)
            heard.append([(report.where, report.is_finite, report.stop) for report in reports.receive()])
        heard.append([(report.where, report.is_finite, report.stop) for report in reports.receive(True)])
        expected = [('0', True, 0), ('1', False, 0), ('2', True, 15), ('3', True, 0)]
        assert [entry for entries in heard for entry in entries] == expected
        assert [len(entries) for entries in heard] == ([0, 1, 1, 1, 1] if delay else [1, 1, 1, 1, 0])
        assert len(calls) == 4

    assert two_processes(tmp_path, run) == 0
