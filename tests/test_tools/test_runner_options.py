"""Options of tools/train.py and tools/test.py: what they write into a config, and what they refuse."""

import importlib.util
import sys
from types import ModuleType

from wsol_mm.evaluation.protocol_choice import use_protocols

import pytest
import torch
from mmengine.config import Config


def load_tool(repo_dir, name: str) -> ModuleType:
    """Import a script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(f'tools_{name}', repo_dir / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def train_tool(repo_dir) -> ModuleType:
    return load_tool(repo_dir, 'train')


@pytest.fixture(scope='module')
def evaluate_tool(repo_dir) -> ModuleType:
    return load_tool(repo_dir, 'test')


@pytest.fixture
def here(micro_project, monkeypatch):
    """Be in the folder of the micro project, without a GPU."""
    monkeypatch.chdir(micro_project.folder)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setenv('LOCAL_RANK', '0')  # so that what the tools set is undone
    return micro_project


@pytest.fixture
def train_config(here, train_tool):
    """Return a function that gives the config for options of tools/train.py."""

    def read(*options: str) -> Config:
        args = train_tool.parse_arguments([str(here.config), *options])
        cfg = train_tool.load_runner_config(args)
        train_tool.apply_train_options(cfg, args)
        return cfg

    return read


@pytest.fixture
def evaluate_config(here, evaluate_tool):
    """Return a function that gives the config for options of tools/test.py."""
    checkpoint = here.folder / 'any.pth'
    checkpoint.touch()

    def read(*options: str) -> Config:
        args = evaluate_tool.parse_arguments([str(here.config), str(checkpoint), *options])
        cfg = evaluate_tool.load_runner_config(args)
        evaluate_tool.apply_test_options(cfg, args)
        return cfg

    return read


def test_defaults_of_train(train_config):
    cfg = train_config()
    assert cfg.work_dir == 'work_dirs/micro config'
    assert cfg.launcher == 'none'
    assert cfg.resume is False
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert cfg.val_cfg is not None
    assert cfg.randomness == dict(seed=0, deterministic=False)
    assert 'enable' not in cfg.auto_scale_lr


def test_work_dir_comes_from_option_then_config_then_name(train_config):
    assert train_config('--cfg-options', 'work_dir=from/config').work_dir == 'from/config'
    cfg = train_config('--work-dir', 'from/option', '--cfg-options', 'work_dir=from/config')
    assert cfg.work_dir == 'from/option'


def test_cfg_options_change_the_config(train_config):
    cfg = train_config('--cfg-options', 'train_dataloader.batch_size=7', 'val_evaluator.protocols=[scm,sat]')
    assert cfg.train_dataloader.batch_size == 7
    assert cfg.val_evaluator.protocols == ['scm', 'sat']


def test_dataloaders_fit_the_machine(train_config, monkeypatch):
    loader = train_config('--cfg-options', 'train_dataloader.num_workers=0').train_dataloader
    assert (loader.num_workers, loader.persistent_workers, loader.pin_memory) == (0, False, False)
    many = ['--cfg-options', 'train_dataloader.num_workers=3', 'train_dataloader.persistent_workers=True']
    assert train_config(*many).train_dataloader.persistent_workers is True
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    pinned = train_config('--cfg-options', 'train_dataloader.pin_memory=True').train_dataloader
    assert pinned.pin_memory is True


@pytest.mark.parametrize('options', [['--resume'], ['--resume', 'auto']])
def test_resume_latest(train_config, options):
    cfg = train_config(*options, '--cfg-options', 'load_from=other.pth')
    assert (cfg.resume, cfg.load_from) == (True, None)


def test_resume_named(train_config, here):
    (here.folder / 'epoch_1.pth').touch()
    cfg = train_config('--resume', 'epoch_1.pth')
    assert (cfg.resume, cfg.load_from) == (True, 'epoch_1.pth')


def test_resuming_needs_no_pretrained_weights(train_config, here):
    pretrained = 'model.pretrained=/no/file.pth'
    (here.folder / 'epoch_1.pth').touch()
    assert train_config('--resume', 'epoch_1.pth', '--cfg-options', pretrained).model.pretrained is None
    by_config = ['--cfg-options', pretrained, 'resume=True', 'load_from=epoch_1.pth']
    assert train_config(*by_config).model.pretrained is None
    assert 'pretrained' not in train_config('--resume', 'epoch_1.pth').model


def test_pretrained_weights_stay_where_a_training_starts(train_config, here):
    options = ['--work-dir', 'resumed', '--cfg-options', 'model.pretrained=/no/file.pth']
    assert train_config('--resume', *options).model.pretrained == '/no/file.pth'
    (here.folder / 'resumed').mkdir()
    (here.folder / 'resumed' / 'epoch_1.pth').touch()
    assert train_config(*options).model.pretrained == '/no/file.pth'
    assert train_config(*options, 'load_from=epoch_1.pth').model.pretrained == '/no/file.pth'
    assert train_config('--resume', *options).model.pretrained is None


def test_no_validate(train_config):
    cfg = train_config('--no-validate')
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None


def test_amp_follows_the_device(train_config, monkeypatch):
    assert train_config('--amp').optim_wrapper.type == 'CPUAmpOptimWrapper'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert train_config('--amp').optim_wrapper.type == 'AmpOptimWrapper'


def test_precision_of_amp(train_config, monkeypatch):
    assert train_config('--amp-dtype', 'bfloat16').optim_wrapper.type == 'CPUAmpOptimWrapper'
    with pytest.raises(ValueError, match='--amp-dtype: expected bfloat16 without a GPU, got float16'):
        train_config('--amp-dtype', 'float16')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)
    wrapper = train_config('--amp-dtype', 'bfloat16').optim_wrapper
    assert (wrapper.type, wrapper.dtype) == ('AmpOptimWrapper', 'bfloat16')
    assert wrapper.loss_scale == dict(enabled=False)
    wrapper = train_config('--amp-dtype', 'float16').optim_wrapper
    assert wrapper.dtype == 'float16' and 'loss_scale' not in wrapper
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: False)
    with pytest.raises(ValueError, match='--amp-dtype: expected float16 on this GPU, got bfloat16'):
        train_config('--amp-dtype', 'bfloat16')


def test_compile(train_config):
    assert 'compile' not in train_config()
    assert train_config('--compile').compile is True
    options = train_config('--compile', '--cfg-options', 'compile.mode=max-autotune')
    assert options.compile == dict(mode='max-autotune')


def test_amp_refuses_another_wrapper(train_config):
    with pytest.raises(ValueError, match='--amp: expected OptimWrapper .*, got ApexOptimWrapper'):
        train_config('--amp', '--cfg-options', 'optim_wrapper.type=ApexOptimWrapper')


def test_auto_scale_lr(train_config):
    assert train_config('--auto-scale-lr').auto_scale_lr == dict(base_batch_size=8, enable=True)


def test_auto_scale_lr_needs_a_base(train_config, here, train_tool):
    args = train_tool.parse_arguments([str(here.config), '--auto-scale-lr'])
    with pytest.raises(ValueError, match='auto_scale_lr = dict.base_batch_size=...'):
        train_tool.apply_train_options(Config(dict(randomness=dict(seed=0))), args)


def test_seed_and_deterministic(train_config):
    assert train_config('--seed', '5', '--deterministic').randomness == dict(seed=5, deterministic=True)


def test_dumped_config_keeps_the_options(train_config, tmp_path):
    cfg = train_config('--amp', '--seed', '9', '--work-dir', 'somewhere')
    cfg.dump(tmp_path / 'dumped.py')
    dumped = Config.fromfile(tmp_path / 'dumped.py')
    assert dumped.randomness.seed == 9
    assert dumped.optim_wrapper.type == 'CPUAmpOptimWrapper'


def test_defaults_of_test(evaluate_config, here):
    cfg = evaluate_config()
    assert cfg.load_from is None  # loaded strictly, not by the runner
    assert cfg.resume is False
    assert cfg.default_hooks.visualization.enable is False
    assert cfg.test_evaluator.protocols == ['ts_cam', 'maxboxacc']


def test_test_asks_for_no_pretrained_weights(evaluate_config):
    assert evaluate_config('--cfg-options', 'model.pretrained=/no/file.pth').model.pretrained is None
    assert 'pretrained' not in evaluate_config().model


def test_show_dir_keeps_what_the_config_says_of_the_hook(evaluate_config):
    cfg = evaluate_config(
        '--show-dir', 'pictures', '--cfg-options', 'default_hooks.visualization.protocol=scm'
    )
    assert cfg.default_hooks.visualization == dict(
        type='LocalizationVisualizationHook', enable=True, show_dir='pictures', interval=1, protocol='scm'
    )
    assert evaluate_config('--show-dir', 'a', '--interval', '9').default_hooks.visualization.interval == 9


def test_split_val_tests_what_training_validates_on(evaluate_config, evaluate_tool):
    cfg = evaluate_config('--split', 'val')
    assert cfg.test_dataloader == cfg.val_dataloader
    assert cfg.test_evaluator == cfg.val_evaluator
    without = Config({'model': {}, 'test_evaluator': {}})
    args = evaluate_tool.argparse.Namespace(
        checkpoint='x.pth', split='val', show_dir=None, protocol=None, interval=1
    )
    with pytest.raises(ValueError, match='--split val: expected val_dataloader and val_evaluator'):
        evaluate_tool.apply_test_options(without, args)


def test_protocol_replaces_those_of_every_localization_metric(evaluate_config, evaluate_tool):
    assert evaluate_config('--protocol', 'scm', 'sat').test_evaluator.protocols == ['scm', 'sat']
    cfg = Config(
        dict(
            test_evaluator=[
                dict(type='wsol_mm.LocalizationMetric', protocols=['ts_cam']),
                dict(type='PixelMetric'),
            ]
        )
    )
    use_protocols(cfg, ['maxboxacc'])
    assert cfg.test_evaluator == [
        dict(type='wsol_mm.LocalizationMetric', protocols=['maxboxacc']),
        dict(type='PixelMetric'),
    ]


def test_no_averaging_of_weights_in_a_test(evaluate_tool):
    hooks = [dict(type='mmengine.EMAHook', momentum=0.1), dict(type='Other')]
    cfg = Config(dict(model=dict(), custom_hooks=hooks))
    args = evaluate_tool.argparse.Namespace(split='test', show_dir=None, protocol=None, refine=None)
    evaluate_tool.apply_test_options(cfg, args)
    assert cfg.custom_hooks == hooks[1:]


def test_protocol_needs_a_known_name_and_a_localization_metric(evaluate_config, evaluate_tool):
    with pytest.raises(ValueError, match="protocols: expected names of .*'maxboxacc'.*, got 'cam'"):
        evaluate_config('--protocol', 'cam')
    for evaluator, found in ((None, 'no metric'), (dict(type='Accuracy'), 'Accuracy')):
        with pytest.raises(
            ValueError, match=f'expected a LocalizationMetric in test_evaluator .*, got {found}'
        ):
            use_protocols(Config(dict(test_evaluator=evaluator)), ['scm'])


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        ('train', ['no config.py'], "argument config: expected a config file, got nothing at 'no config.py'"),
        ('train', ['cub'], "argument config: expected a config file, got the folder 'cub'"),
        (
            'train',
            ['cub/images.txt'],
            'argument config: expected a config that ends in .py, .json, .yaml, .yml, got',
        ),
        (
            'train',
            ['CONFIG', '--resume', 'no.pth'],
            "argument --resume: expected a checkpoint file, got nothing at 'no.pth'",
        ),
        ('train', ['CONFIG', '--launcher', 'ssh'], "argument --launcher: invalid choice: 'ssh'"),
        ('train', ['CONFIG', '--seed', '-1'], "argument --seed: expected an integer from 0, got '-1'"),
        (
            'train',
            ['CONFIG', '--cfg-options', 'model.head.num_classes', '10'],
            "argument --cfg-options: expected words like key=value, got 'model.head.num_classes'",
        ),
        ('train', ['CONFIG', '--fast'], 'unrecognized arguments: --fast'),
        (
            'test',
            ['CONFIG', 'no.pth'],
            "argument checkpoint: expected a checkpoint file, got nothing at 'no.pth'",
        ),
        (
            'test',
            ['CONFIG', 'CONFIG', '--out', 'a.csv'],
            'argument --out: expected a file that ends in .json (metrics) or .pkl',
        ),
        (
            'test',
            ['CONFIG', 'CONFIG', '--interval', '0'],
            'argument --interval: expected an integer from 1, got 0',
        ),
    ],
)
def test_wrong_arguments_are_one_line(here, train_tool, evaluate_tool, capsys, tool, arguments, message):
    arguments = [str(here.config) if argument == 'CONFIG' else argument for argument in arguments]
    with pytest.raises(SystemExit) as caught:
        {'train': train_tool, 'test': evaluate_tool}[tool].parse_arguments(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f'error: {message}' in error
    assert error.count('\n') == 1


def test_a_config_that_cannot_take_an_option_is_one_line(here, train_tool, monkeypatch):
    options = ['--amp', '--cfg-options', 'optim_wrapper.type=ApexOptimWrapper']
    monkeypatch.setattr('sys.argv', ['train.py', str(here.config), *options])
    with pytest.raises(SystemExit) as caught:
        train_tool.main()
    assert caught.value.code == (
        'train.py: error: argument --amp: expected OptimWrapper as optimizer wrapper of the config, '
        'got ApexOptimWrapper'
    )


@pytest.mark.parametrize(
    ('scheduler', 'options'),
    [
        (dict(type='CosineAnnealingLR', begin=0, end=12, T_max=12), 'T_max=2 param_scheduler.1.end=2'),
        (dict(type='WarmupInCosineLR', epochs=80), 'epochs=2'),
        (dict(type='CosineAnnealingLR', begin=1, end=2, T_max=1), None),
        (dict(type='ModuloStepLR', steps=[30], end=60), None),
    ],
)
def test_a_learning_rate_over_other_epochs_is_said(train_tool, monkeypatch, scheduler, options):
    messages = []
    monkeypatch.setattr(train_tool, 'print_log', lambda message, logger, level: messages.append(message))
    entries = [dict(type='LinearLR', by_epoch=True, end=1), dict(scheduler, by_epoch=True)]
    train_tool.warn_of_another_length(Config(dict(train_cfg=dict(max_epochs=2), param_scheduler=entries)))
    if options is None:
        assert not messages
    else:
        (message,) = messages
        assert message.startswith('train_cfg.max_epochs is 2, but')
        assert message.endswith(f'--cfg-options param_scheduler.1.{options}')


def test_checkpoints_by_steps(train_config):
    before = train_config().default_hooks.checkpoint
    checkpoint = train_config('--checkpoint-interval', '50').default_hooks.checkpoint
    assert dict(checkpoint) == dict(before) | dict(by_epoch=False, interval=50)


def test_no_advice_that_cannot_be_followed(train_tool, monkeypatch):
    """With one epoch of warm-up and no other, there is no curve whose end could be named."""
    messages = []
    monkeypatch.setattr(train_tool, 'print_log', lambda message, logger, level: messages.append(message))
    entries = [
        dict(type='LinearLR', by_epoch=True, end=1),
        dict(type='CosineAnnealingLR', by_epoch=True, begin=1, end=8, T_max=7),
    ]
    for epochs, end in ((1, 'begins to lower the learning rate after 1: it does not fall'), (2, 'T_max=1 ')):
        messages.clear()
        train_tool.warn_of_another_length(
            Config(dict(train_cfg=dict(max_epochs=epochs), param_scheduler=entries))
        )
        assert len(messages) == 1 and end in messages[0]
        assert ('--cfg-options' in messages[0]) == (epochs == 2)


def test_epochs_set_the_schedule_too(train_tool):
    schedule = [
        dict(type='LinearLR', by_epoch=True, begin=0, end=1),
        dict(type='CosineAnnealingLR', by_epoch=True, begin=1, end=12, T_max=11),
        dict(type='WarmupInCosineLR', by_epoch=True, epochs=12),
        dict(type='MultiStepLR', by_epoch=True, milestones=[3, 6]),
        dict(type='ModuloStepLR', by_epoch=True, steps=[9], end=12),
        dict(type='StepLR', by_epoch=False, step_size=50),
    ]
    cfg = Config(dict(train_cfg=dict(max_epochs=12, val_begin=10), param_scheduler=schedule))
    train_tool.set_epochs(cfg, 4)
    assert cfg.train_cfg == dict(max_epochs=4, val_begin=4)
    assert [
        {key: entry[key] for key in entry if key not in ('type', 'by_epoch')} for entry in cfg.param_scheduler
    ] == [
        dict(begin=0, end=1),
        dict(begin=1, end=4, T_max=3),
        dict(epochs=4),
        dict(milestones=[1, 2]),
        dict(steps=[3], end=4),
        dict(step_size=50),
    ]
    with pytest.raises(ValueError, match='expected more than 1, where param_scheduler.1 begins, got 1'):
        train_tool.set_epochs(cfg, 1)
    with pytest.raises(ValueError, match='expected a config with train_cfg.max_epochs, got one without'):
        train_tool.set_epochs(Config(dict(train_cfg=dict(max_iters=5))), 1)


def test_a_missing_package_of_a_backend_is_one_line(train_tool, monkeypatch, repo_dir):
    def needs_wandb(args):
        raise ImportError('Please run "pip install wandb" to install wandb')

    monkeypatch.setattr(train_tool, 'load_runner_config', needs_wandb)
    monkeypatch.setattr(sys, 'argv', ['train.py', str(repo_dir / 'configs/ts_cam/ts-cam_vit-t_folder.py')])
    with pytest.raises(SystemExit, match='^train.py: error: Please run "pip install wandb"'):
        train_tool.main()
