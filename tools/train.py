"""Train the model of a config.

SIGTERM and Ctrl-C stop it after the step in hand, with a checkpoint from which `--resume` goes on; the exit
status is then 143 or 130.
"""

import argparse
import logging
from contextlib import nullcontext
from pathlib import Path

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.cli.launch import finish_launch, is_first_process
from wsol_mm.cli.runner_options import (
    RunnerArgumentParser,
    add_feature_option,
    add_runner_options,
    checkpoint_path,
    load_runner_config,
    main_process_errors,
    one_line_errors,
)
from wsol_mm.feature_cache.settings import use_cached_features
from wsol_mm.utils.process_lock import process_lock

from mmengine.config import Config
from mmengine.logging import print_log

# Held in the work directory, in which one training at a time can be.
LOCK = '.train.lock'


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_runner_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        type=lambda text: text if text == 'auto' else checkpoint_path(text),
        metavar='CHECKPOINT',
        help='resume from the newest checkpoint in the work directory that reads, or from the one given',
    )
    parser.add_argument(
        '--epochs',
        type=integer_within(1),
        metavar='N',
        help='train for N epochs, and fit the schedule of the learning rate to them',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU'
    )
    parser.add_argument(
        '--amp-dtype',
        choices=('float16', 'bfloat16'),
        help='the same in this precision, on a GPU; bfloat16 needs no loss scale',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the training step (torch.compile); options of it: the setting `compile` of the config',
    )
    parser.add_argument(
        '--checkpoint-interval',
        type=integer_within(1),
        metavar='STEPS',
        help='save a checkpoint every so many steps, not epochs; --resume goes on within the epoch',
    )
    parser.add_argument('--no-validate', action='store_true', help='no validation during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by batch size x processes over auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--seed', type=integer_within(0), help='random seed, instead of randomness.seed of the config'
    )
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='use deterministic algorithms of cuDNN and PyTorch (slower); operations without one fail',
    )
    add_feature_option(parser)
    parser.add_argument(
        '--num-views',
        type=integer_within(1),
        metavar='N',
        help='train on the first N views of the cached features (default: all of them)',
    )
    return parser.parse_args(arguments)


def check_trainable(cfg: Config) -> None:
    """Refuse a config that describes no training.

    Args:
        cfg: Runner config.

    Raises:
        ValueError: If it has no ``train_cfg``.
    """
    if cfg.get('train_cfg') is None:
        raise ValueError(
            f'{cfg.filename}: expected a config of a training, got one without train_cfg: a '
            f'{cfg.model.get("type")} needs none. Test it with tools/test.py'
        )


def apply_train_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write the options of this script into the config.

    Args:
        cfg: Runner config; changed in place.
        args: The options.

    Raises:
        ValueError: If an option cannot be applied to this config.
    """
    from wsol_mm.engine.training_checkpoints import training_checkpoints

    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    # The runner would load the pretrained weights, only for those of the checkpoint to replace them; their
    # file may be gone by now.
    goes_on = cfg.get('resume') and (cfg.get('load_from') or training_checkpoints(Path(cfg.work_dir)))
    if goes_on and cfg.model.get('pretrained'):
        cfg.model.pretrained = None
    if args.checkpoint_interval is not None:
        hooks = cfg.setdefault('default_hooks', {})
        hook = hooks.get('checkpoint') or dict(type='CheckpointHook')
        hooks['checkpoint'] = dict(hook, by_epoch=False, interval=args.checkpoint_interval)
    if args.epochs is not None:
        set_epochs(cfg, args.epochs)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp or args.amp_dtype is not None:
        use_mixed_precision(cfg, args.amp_dtype)
    if args.compile and not cfg.get('compile'):
        cfg.compile = True
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError(
                'argument --auto-scale-lr: expected auto_scale_lr = dict(base_batch_size=...) in the config, '
                'got none'
            )
        cfg.auto_scale_lr.enable = True
    randomness = cfg.setdefault('randomness', {})
    if args.seed is not None:
        randomness['seed'] = args.seed
    if args.deterministic:
        randomness['deterministic'] = True


def use_mixed_precision(cfg: Config, dtype: str | None = None) -> None:
    """Replace the plain optimizer wrapper by the one for mixed precision on this machine.

    Args:
        cfg: Runner config; changed in place.
        dtype: ``float16`` or ``bfloat16``; that of the wrapper if None.

    Raises:
        ValueError: If the config asks for another wrapper than the plain one, or there is no such precision.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    if dtype == 'float16' and not on_gpu:
        raise ValueError('argument --amp-dtype: expected bfloat16 without a GPU, got float16')
    if dtype == 'bfloat16' and on_gpu and not torch.cuda.is_bf16_supported():
        raise ValueError('argument --amp-dtype: expected float16 on this GPU, got bfloat16')
    amp_wrapper = 'AmpOptimWrapper' if on_gpu else 'CPUAmpOptimWrapper'
    found = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if found not in ('OptimWrapper', amp_wrapper):
        raise ValueError(
            f'argument --amp: expected OptimWrapper as optimizer wrapper of the config, got {found}'
        )
    cfg.optim_wrapper.type = amp_wrapper
    if on_gpu and dtype is not None:
        cfg.optim_wrapper.dtype = dtype
        # The range of bfloat16 is that of float32.
        if dtype == 'bfloat16':
            cfg.optim_wrapper.loss_scale = dict(enabled=False)


def set_epochs(cfg: Config, epochs: int) -> None:
    """Change the length of a training, and with it what depends on it.

    A part of the schedule that ended with the training ends with it again; the others keep their length (a
    warm-up), and milestones keep their share of the training.

    Args:
        cfg: Runner config; changed in place.
        epochs: Epochs to train for.

    Raises:
        ValueError: If it is trained by iterations, or a part of the schedule begins behind the new end.
    """
    before = cfg.train_cfg.get('max_epochs')
    if before is None:
        raise ValueError('argument --epochs: expected a config with train_cfg.max_epochs, got one without')
    cfg.train_cfg.max_epochs = epochs
    if 'val_begin' in cfg.train_cfg:
        cfg.train_cfg.val_begin = min(cfg.train_cfg.val_begin, epochs)
    for index, scheduler in enumerate(cfg.get('param_scheduler') or []):
        if not scheduler.get('by_epoch', True):
            continue
        begin = scheduler.get('begin', 0)
        if begin >= epochs:
            raise ValueError(
                f'argument --epochs: expected more than {begin}, where param_scheduler.{index} begins, got '
                f'{epochs}'
            )
        for key in {'T_max', 'epochs'} & {*scheduler}:
            if begin + scheduler[key] == before:
                scheduler[key] = epochs - begin
        if scheduler.get('end') == before:
            scheduler['end'] = epochs
        for key in {'milestones', 'steps', 'step_size'} & {*scheduler}:
            at = scheduler[key]
            scaled = [max(1, round(one * epochs / before)) for one in ([at] if isinstance(at, int) else at)]
            scheduler[key] = scaled[0] if isinstance(at, int) else scaled


def warn_of_another_length(cfg: Config) -> None:
    """Say so where the learning rate is to fall over another number of epochs than are trained.

    Args:
        cfg: Runner config.
    """
    epochs = cfg.train_cfg.get('max_epochs')
    for index, scheduler in enumerate(cfg.get('param_scheduler') or []):
        for key in {'T_max', 'epochs'} & {*scheduler}:
            begin = scheduler.get('begin', 0)
            if scheduler.get('by_epoch') and epochs and begin + scheduler[key] != epochs:
                if epochs <= begin:
                    print_log(
                        f'train_cfg.max_epochs is {epochs}, but {scheduler["type"]} begins to lower the '
                        f'learning rate after {begin}: it does not fall',
                        logger='current',
                        level=logging.WARNING,
                    )
                    continue
                keys = [key, 'end'] if 'end' in scheduler else [key]
                values = {key: epochs - begin, 'end': epochs}
                options = ' '.join(f'param_scheduler.{index}.{name}={values[name]}' for name in keys)
                print_log(
                    f'train_cfg.max_epochs is {epochs}, but {scheduler["type"]} lowers the learning rate '
                    f'until epoch {begin + scheduler[key]}; for the whole curve: --cfg-options {options}',
                    logger='current',
                    level=logging.WARNING,
                )


@one_line_errors(ImportError)
def main() -> None:
    """Train, and keep logs, config and checkpoints in the work directory."""
    args = parse_arguments()
    cfg = load_runner_config(args)
    check_trainable(cfg)
    apply_train_options(cfg, args)
    if args.features is not None:
        use_cached_features(cfg, args.features, args.num_views)
    # Before anything is written there.
    Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    lock = process_lock(Path(cfg.work_dir, LOCK)) if is_first_process(args.launcher) else nullcontext()
    with lock:
        train(cfg)
        finish_launch()


def train(cfg: Config) -> None:
    """Build the training of a config, and run it.

    Args:
        cfg: Runner config.

    Raises:
        SystemExit: If a signal has stopped it, with 128 plus the number of the signal.
        ValueError: If a checkpoint does not fit.
    """
    from wsol_mm.engine.runner import LocalizationRunner
    from wsol_mm.utils.checkpoint_differences import read_fitting_checkpoint

    runner = LocalizationRunner.from_cfg(cfg)
    if cfg.get('load_from'):
        # MMEngine would train from random weights if nothing fits.
        with main_process_errors():
            read_fitting_checkpoint(cfg.load_from, runner.model, strict=False)
    warn_of_another_length(cfg)
    try:
        runner.train()
    except ValueError as error:
        if cfg.get('resume') and 'parameter group' in str(error):
            raise ValueError(
                f'argument --resume: expected a checkpoint of this model and optimizer, got another: {error}'
            ) from error
        raise
    except SystemExit:  # all processes stop
        del runner
        finish_launch()
        raise


if __name__ == '__main__':
    main()
