"""Re-evaluate saved predictions, without model and images.

Either a file of predictions, which `tools/test.py CONFIG CHECKPOINT --out predictions.pkl` writes, under any
protocols: the numbers are those that the test itself would report. Or maps that were made elsewhere, one
NumPy file per image of the test data of a config, under any protocols. Or exported boxes, COCO annotations,
against the ground truth of these test data.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsol_mm.cli.argument_types import map_threshold, output_file
from wsol_mm.cli.config_options import add_cfg_options
from wsol_mm.cli.runner_options import RunnerArgumentParser, config_path, one_line_errors, read_config
from wsol_mm.evaluation.protocol_choice import use_protocols
from wsol_mm.evaluation.protocols import PRESETS, TUNED_ON, get_protocol

import mmengine
from mmengine.config import Config

if TYPE_CHECKING:
    from mmengine.evaluator import BaseMetric

#: How many problems are printed.
_NAMED = 10
#: Fields of every prediction that the metrics need.
NEEDED = ('gt_label', 'pred_topk', 'loc_maps', 'loc_labels')
_PREDICTIONS = 'predictions, as `tools/test.py CONFIG CHECKPOINT --out FILE.pkl` writes them'
# What unpickling a file raises that is damaged, or holds something of another program.
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    UnicodeDecodeError,
)


def predictions_file(text: str) -> Path:
    """Check that an argument names a file of predictions.

    Args:
        text: The argument.

    Returns:
        The same path.

    Raises:
        argparse.ArgumentTypeError: If there is no such file.
    """
    return _existing_file(text, _PREDICTIONS)


def annotations_file(text: str) -> Path:
    """Check that an argument names a file of annotations.

    Args:
        text: The argument.

    Returns:
        The same path.

    Raises:
        argparse.ArgumentTypeError: If there is no such file.
    """
    return _existing_file(text, 'COCO annotations (.json), as `tools/predict.py --format coco` writes them')


def _existing_file(text: str, accepted: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.exists():
        found = f"the folder '{path}'" if path.is_dir() else f"nothing at '{path}'"
        raise argparse.ArgumentTypeError(f'expected a file of {accepted}, got {found}')
    return path


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'predictions',
        nargs='?',
        type=predictions_file,
        metavar='PREDICTIONS.pkl',
        help='what tools/test.py --out wrote. A pickle file can run code: open only those you trust',
    )
    parser.add_argument(
        '--ann',
        type=annotations_file,
        metavar='FILE',
        help='COCO annotations (.json) to evaluate instead; needs --config',
    )
    parser.add_argument(
        '--maps',
        type=Path,
        metavar='PATH',
        help='localization maps to evaluate instead: a folder of .npy and .npz files named as the images, or '
        'an .npz archive, as tools/predict.py --save-maps and others write them; needs --config. A map '
        'shows what the test pipeline of the config leaves of the image',
    )
    parser.add_argument(
        '--maps-of',
        choices=('all', 'label'),
        default='all',
        help="what an image's only map is of: all classes, or its true class (default: all)",
    )
    parser.add_argument(
        '--scores',
        type=Path,
        metavar='FILE.csv',
        help='beside --maps, for Top-1 and Top-5 Loc: image and scores of all classes, or top1, top2, ...',
    )
    parser.add_argument(
        '--config',
        type=config_path,
        help='predictions: evaluate with its test_evaluator; maps, annotations: against its test data',
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--protocol',
        nargs='+',
        metavar='NAME',
        help=f'protocols: {", ".join(PRESETS)}; with --config also the aliases in it, with their settings',
    )
    parser.add_argument(
        '--tuned-on',
        choices=TUNED_ON,
        default='cub',
        help='data set on which the settings of the protocols were tuned; with --config the config says it',
    )
    parser.add_argument(
        '--threshold',
        nargs='+',
        type=map_threshold,
        metavar='TAU',
        help='thresholds for all protocols instead of their own; only one for a protocol with a fixed one',
    )
    parser.add_argument(
        '--out', type=output_file, metavar='FILE', help='also write the metrics to this JSON file'
    )
    args = parser.parse_args(arguments)
    given = [name for name in ('predictions', 'ann', 'maps') if getattr(args, name) is not None]
    if len(given) != 1:
        parser.error(f'expected one of PREDICTIONS.pkl, --maps PATH and --ann FILE, got {given or "none"}')
    if args.maps is None and args.scores is not None:
        parser.error('argument --scores: expected beside --maps, got no maps')
    if args.maps is not None and args.config is None:
        parser.error('argument --config: expected beside --maps, for the images and their boxes, got none')
    if args.ann is not None:
        if args.config is None:
            parser.error('argument --config: expected beside --ann, for the ground truth, got none')
        if args.protocol or args.threshold:
            given = '--protocol' if args.protocol else '--threshold'
            parser.error(
                f'argument {given}: expected beside predictions alone, got --ann, whose annotations are '
                'boxes already'
            )
    elif args.config is None and not args.protocol:
        parser.error('expected --protocol NAME ... or --config CONFIG, got neither')
    if args.threshold is not None and sorted(set(args.threshold)) != args.threshold:
        parser.error(f'argument --threshold: expected ascending numbers, got {args.threshold}')
    return args


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Read and check a file of predictions.

    Args:
        path: File that ``tools/test.py --out`` wrote.

    Returns:
        One dict per image, see ``LocalizationMetric.process``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else, or lacks what the metrics need.
    """
    try:
        with path.open('rb') as file:
            samples = pickle.load(file)
    except _PICKLE_ERRORS as error:
        raise ValueError(f'{path}: expected a file of {_PREDICTIONS}, got another file ({error})') from error
    if not isinstance(samples, list) or not samples or not all(isinstance(item, dict) for item in samples):
        raise ValueError(f'{path}: expected a list of {_PREDICTIONS}, got another {type(samples).__name__}')
    for number, sample in enumerate(samples):
        missing = [key for key in NEEDED if key not in sample]
        if missing:
            named = sample.get('img_path', number)
            raise ValueError(
                f'{path}, image {named}: expected {", ".join(missing)}, got {sorted(sample)}. A file of '
                f'{_PREDICTIONS}, of a model with a localization head, has them'
            )
    return samples


def build_metrics(args: argparse.Namespace, samples: Sequence[dict[str, Any]]) -> list[BaseMetric]:
    """Build the metrics that are asked for.

    Without a config these are the protocols, and PxAP where the predictions have masks.

    Args:
        args: The options.
        samples: The predictions.

    Returns:
        The metrics.

    Raises:
        ValueError: If a protocol is unknown, or does not take the thresholds.
    """
    from wsol_mm.registry import METRICS

    from mmengine.registry import init_default_scope

    if args.config is None:
        cfg = Config(
            dict(test_evaluator=[dict(type='LocalizationMetric', protocols=[], tuned_on=args.tuned_on)])
        )
        if all('gt_mask' in sample for sample in samples):
            cfg.test_evaluator.append(dict(type='PixelAveragePrecision'))
    else:
        cfg = read_config(args)
        init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    if args.protocol is not None:
        use_protocols(cfg, args.protocol)
    evaluators = cfg.get('test_evaluator') or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    if not evaluators:
        raise ValueError(f'{args.config}: expected a test_evaluator, got none')
    if args.threshold is not None:
        for settings in evaluators:
            if 'protocols' in settings:
                settings['protocols'] = [
                    with_thresholds(entry, args.threshold) for entry in settings['protocols']
                ]
    return [METRICS.build(settings) for settings in evaluators]


def with_thresholds(protocol: str | dict[str, Any], thresholds: list[float]) -> dict[str, Any]:
    """Give a protocol of a metric other thresholds.

    Args:
        protocol: Name, or :func:`get_protocol` arguments.
        thresholds: The thresholds.

    Returns:
        :func:`get_protocol` arguments.

    Raises:
        ValueError: If the protocol does not take them.
    """
    settings = {**(dict(name=protocol) if isinstance(protocol, str) else protocol), 'thresholds': thresholds}
    try:
        get_protocol(**settings)
    except ValueError as error:
        name = settings.get('alias', settings['name'])
        raise ValueError(f'argument --threshold: protocol {name}: {error}') from error
    return settings


def evaluate_maps(args: argparse.Namespace) -> dict[str, float]:
    """Evaluate maps against the test data of the config; problems are printed and count as wrong.

    Args:
        args: The options.

    Returns:
        The metrics; without scores, those that need no predicted class.

    Raises:
        ValueError: If no map can be used, or a protocol needs predicted classes and there are none.
    """
    from wsol_mm.apis.saved_maps import SavedMaps, read_scores, saved_map_samples
    from wsol_mm.registry import DATASETS

    from mmengine.evaluator import Evaluator

    evaluator = Evaluator(build_metrics(args, ()))
    dataset = DATASETS.build(read_config(args).test_dataloader.dataset)
    classes, maps = dataset.metainfo['classes'], SavedMaps(args.maps)
    evaluator.dataset_meta = dataset.metainfo
    best = None if args.scores is None else read_scores(args.scores, classes)
    if best is None:
        for metric in evaluator.metrics:
            for protocol in getattr(metric, 'protocols', ()):
                chosen_by_class = protocol.threshold_choice == 'top1'
                if chosen_by_class or (args.maps_of == 'label' and protocol.map_source != 'label'):
                    raise ValueError(
                        f'--scores: expected a file, as protocol {protocol.name!r} reads predicted classes '
                        '(pred_topk), got none'
                    )
    problems = []
    for sample, problem in saved_map_samples(dataset, maps, best, args.maps_of == 'label'):
        problems += [problem] if problem else []
        evaluator.process([sample])
    metrics = evaluator.evaluate(len(dataset))
    for title, found in (
        (f'{len(problems)} of {len(dataset)} images count as wrong', problems),
        (f'{len(maps.without_image)} maps are of no image of the test data', maps.without_image),
    ):
        if found:
            more = f'\n  ... and {len(found) - _NAMED} more' if len(found) > _NAMED else ''
            print(f'Warning: {title}:\n  ' + '\n  '.join(found[:_NAMED]) + more)
    if best is None:
        left_out = [name for name in metrics if 'Top-' in name or '/error/' in name]
        print(f'No --scores, so no {", ".join(left_out)}')
        metrics = {name: value for name, value in metrics.items() if name not in left_out}
    return metrics


def evaluate_annotations(args: argparse.Namespace) -> dict[str, float]:
    """Count annotations against the test data of the config; see :func:`annotation_accuracy`.

    Args:
        args: The options.

    Returns:
        The metrics.

    Raises:
        ValueError: If the file is no JSON, or cannot be used with these data.
    """
    from wsol_mm.evaluation.annotation_accuracy import annotation_accuracy, labels_are_given
    from wsol_mm.registry import DATASETS

    from mmengine.registry import init_default_scope

    cfg = read_config(args)
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    try:
        coco = json.loads(args.ann.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{args.ann}: expected COCO annotations, got no valid JSON ({error})') from error
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'pipeline': []})
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    try:
        values = annotation_accuracy(coco, entries, dataset.metainfo['classes'])
    except ValueError as error:
        raise ValueError(f'{args.ann}: {error}') from error
    if values['images'] < len(entries):
        print(
            f'{len(entries) - values["images"]} of {len(entries)} test images are not in {args.ann}: left out'
        )
    if not values['images_with_boxes']:
        mend = '; test_dataloader.dataset.box_source names them' if hasattr(dataset, 'box_source') else ''
        print(f'Warning: no ground-truth boxes in the test data of {args.config}, so no BoxAcc{mend}')
    if labels_are_given(coco):
        print('The labels of these annotations were given: no classification, and no Top-1 Loc')
    return values


@one_line_errors(KeyError)
def main() -> None:
    """Evaluate, print, and write what the options ask for."""
    args = parse_arguments()
    if args.ann is not None:
        metrics = evaluate_annotations(args)
    elif args.maps is not None:
        metrics = evaluate_maps(args)
    else:
        from mmengine.evaluator import Evaluator

        samples = read_predictions(args.predictions)
        evaluator = Evaluator(build_metrics(args, samples))
        metrics = evaluator.offline_evaluate(samples)
    width = max(map(len, metrics))
    for name, value in metrics.items():
        print(
            f'{name:<{width}}  {value:10.4f}' if isinstance(value, float) else f'{name:<{width}}  {value:>5}'
        )
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        mmengine.dump(metrics, args.out, file_format='json', indent=2)


if __name__ == '__main__':
    main()
