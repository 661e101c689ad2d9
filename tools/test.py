"""Test a checkpoint with the data and the metrics of a config.

The exit status is 0, or 3 if the metrics are invalid, because the model gave numbers that are none.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_mm.cli.argument_types import output_file, output_folder
from wsol_mm.cli.launch import finish_launch
from wsol_mm.cli.refinement_option import add_refinement_option
from wsol_mm.cli.runner_options import (
    CHECKPOINT_HELP,
    RunnerArgumentParser,
    add_feature_option,
    add_runner_options,
    load_runner_config,
    main_process_errors,
    one_line_errors,
    weights_path,
)
from wsol_mm.evaluation.protocol_choice import use_protocols
from wsol_mm.feature_cache.settings import use_cached_features
from wsol_mm.utils.refinement_choice import use_refinement
from wsol_mm.utils.whole_files import remove_leftovers_of, write_json

from mmengine.config import Config

if TYPE_CHECKING:
    from wsol_mm.evaluation.metrics import DumpPredictions

#: Exit status if the metrics are invalid.
INVALID_STATUS = 3


def output_path(text: str) -> Path:
    """Check that an output file is of a type that can be written.

    Args:
        text: The argument.

    Returns:
        The same path.

    Raises:
        argparse.ArgumentTypeError: If the suffix is neither ``.json`` nor ``.pkl``, or the file cannot be
            written.
    """
    if not text.endswith(('.json', '.pkl')):
        raise argparse.ArgumentTypeError(
            f"expected a file that ends in .json (metrics) or .pkl (predictions), got '{text}'"
        )
    return output_file(text)


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
        'checkpoint', type=weights_path, help=f'after the config: {CHECKPOINT_HELP}; .pth or .safetensors'
    )
    parser.add_argument(
        '--out',
        nargs='+',
        type=output_path,
        default=[],
        metavar='FILE',
        help='write the metrics to a .json file, the predictions to a .pkl file, or both',
    )
    parser.add_argument(
        '--split',
        choices=('test', 'val'),
        default='test',
        help='evaluate the test split, or the validation split, on which thresholds are chosen',
    )
    parser.add_argument(
        '--show-dir', type=output_folder, metavar='DIR', help='draw maps and boxes into this folder'
    )
    parser.add_argument(
        '--interval', type=int, default=1, help='draw every N-th image (default: every image)'
    )
    parser.add_argument(
        '--protocol',
        nargs='+',
        metavar='NAME',
        help='evaluate under these protocols instead of all of the config: those of the config by their name '
        'or alias, with their settings, others (ts_cam, maxboxacc, ...) as published',
    )
    add_refinement_option(parser)
    add_feature_option(parser)
    args = parser.parse_args(arguments)
    if args.refine is not None and args.features is not None:
        parser.error('argument --refine: expected images, of which it makes views, got --features')
    if args.interval < 1:
        parser.error(f'argument --interval: expected an integer from 1, got {args.interval}')
    return args


def apply_test_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write the options of this script into the config.

    Args:
        cfg: Runner config; changed in place.
        args: The options.

    Raises:
        ValueError: If an option cannot be applied to this config.
    """
    # The runner would load it leniently, whatever is missing.
    cfg.load_from = None
    cfg.resume = False
    # The averaged weights are the checkpoint's weights: the hook would average nothing here.
    if cfg.get('custom_hooks'):
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if not is_ema_hook(hook)]
    if args.split == 'val':
        if not (cfg.get('val_dataloader') and cfg.get('val_evaluator')):
            raise ValueError(
                'argument --split val: expected val_dataloader and val_evaluator in the config, got none'
            )
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    # The checkpoint holds every weight: the files that training starts from are not needed.
    if 'pretrained' in cfg.model:
        cfg.model.pretrained = None
    if args.show_dir is not None:
        hooks = cfg.setdefault('default_hooks', {})
        hook = hooks.get('visualization') or dict(type='LocalizationVisualizationHook')
        hooks['visualization'] = dict(hook, enable=True, show_dir=str(args.show_dir), interval=args.interval)
    if args.protocol is not None:
        use_protocols(cfg, args.protocol)
    if args.refine is not None:
        use_refinement(cfg, args.refine)


def is_ema_hook(hook: object) -> bool:
    """Tell whether an entry of ``custom_hooks`` is MMEngine's ``EMAHook``, with or without a scope."""
    return isinstance(hook, dict) and str(hook.get('type')).split('.')[-1] == 'EMAHook'


def write_outputs(
    paths: Sequence[Path], metrics: Mapping[str, float | str], dumps: Sequence[DumpPredictions]
) -> None:
    """Write the metrics, which are small and printed already, and then the predictions; all that can be.

    Args:
        paths: Files of the command line.
        metrics: The metrics.
        dumps: What writes the predictions.

    Raises:
        OSError: If some cannot be written: the first of them.
    """
    writers = [partial(write_json, path, metrics) for path in paths if path.suffix == '.json']
    for path in paths:
        remove_leftovers_of([path])
    errors: list[OSError] = []
    for write in [*writers, *(dump.write for dump in dumps)]:
        try:
            write()
        except OSError as error:
            errors.append(error)
    if errors:
        raise errors[0]


@one_line_errors(ImportError)
def main() -> None:
    """Test, print the metrics, and write what the options ask for."""
    args = parse_arguments()
    from wsol_mm.apis.model_loading import check_trained
    from wsol_mm.engine.runner import LocalizationRunner
    from wsol_mm.evaluation.metrics import DumpPredictions
    from wsol_mm.utils.checkpoint_differences import read_fitting_checkpoint
    from wsol_mm.utils.model_wrappers import unwrapped

    from mmengine.dist import is_main_process

    cfg = load_runner_config(args)
    apply_test_options(cfg, args)
    if args.features is not None:
        use_cached_features(cfg, args.features)
    runner = LocalizationRunner.from_cfg(cfg)
    with main_process_errors():
        if args.checkpoint is None:
            check_trained(runner.model)
        else:
            read_fitting_checkpoint(args.checkpoint, runner.model)
    if args.checkpoint is not None:
        runner.load_checkpoint(args.checkpoint, strict=True)
    dumps = [DumpPredictions(out_file_path=str(path)) for path in args.out if path.suffix == '.pkl']
    runner.test_evaluator.metrics.extend(dumps)
    metrics = runner.test()
    if is_main_process():
        refinement = getattr(unwrapped(runner.model), 'refinement', None)
        named = metrics if refinement is None else {**metrics, 'refinement': str(refinement)}
        write_outputs(args.out, named, dumps)
    invalid = any(math.isnan(value) for value in metrics.values())
    del runner
    finish_launch()
    if invalid:
        raise SystemExit(INVALID_STATUS)


if __name__ == '__main__':
    main()
