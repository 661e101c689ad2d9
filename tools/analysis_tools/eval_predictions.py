"""Re-evaluate saved predictions, without model and images.

Either a file of predictions, which `tools/test.py CONFIG CHECKPOINT --out predictions.pkl` writes, under any
protocols: the numbers are those that the test itself would report. Or maps that were made elsewhere, one
NumPy file per image of the test data of a config, under any protocols. Or exported boxes, COCO annotations,
against the ground truth of these test data.

The exit status is 0, or 3 if all is done but the maps or scores of some images cannot be used, or the metrics
are invalid.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsol_mm.cli.argument_types import FIGURE_SUFFIXES, map_threshold, output_file, output_file_of
from wsol_mm.cli.config_options import add_cfg_options
from wsol_mm.cli.runner_options import RunnerArgumentParser, config_path, one_line_errors, read_config
from wsol_mm.evaluation.protocol_choice import use_protocols, use_thresholds
from wsol_mm.evaluation.protocols import PRESETS, TUNED_ON
from wsol_mm.utils.json_text import read_json
from wsol_mm.utils.whole_files import write_json

from mmengine.config import Config

if TYPE_CHECKING:
    from wsol_mm.apis.map_evaluation import MapEvaluation

    import numpy as np
    from mmengine.evaluator import BaseMetric
    from numpy.typing import NDArray

#: How many problems are printed.
_NAMED = 10
_PROBLEM_STATUS = 3
#: Options that say how to read maps.
_MAP_OPTIONS = ('maps_of', 'maps_show', 'scores')
#: Fields of every prediction that the metrics need.
NEEDED = ('gt_label', 'pred_topk', 'loc_maps', 'loc_labels')
_PREDICTIONS = 'predictions, as `tools/test.py CONFIG CHECKPOINT --out FILE.pkl` writes them'
_ANNOTATIONS = 'COCO annotations (.json), as `tools/predict.py --format coco` writes them'


def existing_file(accepted: str) -> Callable[[str], Path]:
    """Return a type of arguments that name a file.

    Args:
        accepted: What should be in it.

    Returns:
        Makes a path of an argument; raises an ``argparse.ArgumentTypeError`` if there is no such file.
    """

    def check(text: str) -> Path:
        path = Path(text)
        if path.is_dir() or not path.exists():
            found = f"the folder '{path}'" if path.is_dir() else f"nothing at '{path}'"
            raise argparse.ArgumentTypeError(f'expected a file of {accepted}, got {found}')
        return path

    return check


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
        type=existing_file(_PREDICTIONS),
        metavar='PREDICTIONS.pkl',
        help='what tools/test.py --out wrote',
    )
    parser.add_argument(
        '--ann',
        type=existing_file(_ANNOTATIONS),
        metavar='FILE',
        help='COCO annotations (.json) to evaluate instead; needs --config',
    )
    parser.add_argument(
        '--maps',
        type=Path,
        metavar='PATH',
        help='localization maps to evaluate instead: a folder of .npy and .npz files named as the images, or '
        'an .npz archive, as tools/predict.py --save-maps and others write them; needs --config',
    )
    parser.add_argument(
        '--maps-show',
        choices=('input', 'image'),
        help='what the maps show: the input of the network, which is what the test pipeline of the config '
        'leaves of the image (default), or the whole image, as those of tools/predict.py without '
        '--test-pipeline',
    )
    parser.add_argument(
        '--maps-of',
        choices=('all', 'label'),
        help="what an image's only map is of, whatever label the file says: all classes, or the true class "
        '(default: as the file says; all classes, if it does not)',
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
    parser.add_argument(
        '--split',
        choices=('test', 'val'),
        default='test',
        help="the config's test or validation data and evaluator (default: test)",
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
    parser.add_argument(
        '--reliability-plot',
        type=output_file_of(*FIGURE_SUFFIXES),
        metavar='FILE',
        help='beside --ann: draw how often boxes of each confidence are right '
        f'({", ".join(FIGURE_SUFFIXES)})',
    )
    args = parser.parse_args(arguments)
    if args.reliability_plot is not None and args.ann is None:
        parser.error('argument --reliability-plot: expected beside --ann, got no annotations')
    given = [name for name in ('predictions', 'ann', 'maps') if getattr(args, name) is not None]
    if len(given) != 1:
        parser.error(f'expected one of PREDICTIONS.pkl, --maps PATH and --ann FILE, got {given or "none"}')
    for name in _MAP_OPTIONS:
        if args.maps is None and getattr(args, name) is not None:
            parser.error(f'argument --{name.replace("_", "-")}: expected beside --maps, got no maps')
    if args.config is None and args.split != 'test':
        parser.error('argument --split: expected beside --config, got no config')
    if args.maps is not None and args.config is None:
        parser.error('argument --config: expected beside --maps, for the images and their boxes, got none')
    if args.ann is not None:
        if args.config is None:
            parser.error('argument --config: expected beside --ann, for the ground truth, got none')
        if args.protocol or args.threshold:
            option = '--protocol' if args.protocol else '--threshold'
            parser.error(
                f'argument {option}: expected beside predictions alone, got --ann, whose annotations are '
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
        One dict per image, see ``LocalizationMetric``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else, or lacks what the metrics need.
    """
    from wsol_mm.utils.safe_pickle import read_pickle

    try:
        samples = read_pickle(path)
    except ValueError as error:
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


def read_chosen_config(args: argparse.Namespace) -> Config:
    """Read the config, with the chosen split in the place of the test, and set its scope.

    Args:
        args: The options.

    Returns:
        The config; an empty one, if none is given.

    Raises:
        ValueError: If the config has no such data.
    """
    from mmengine.registry import init_default_scope

    cfg = Config() if args.config is None else read_config(args)
    if args.split == 'val':
        cfg.test_dataloader, cfg.test_evaluator = cfg.get('val_dataloader'), cfg.get('val_evaluator')
    if (args.maps or args.ann) and not (cfg.get('test_dataloader') or {}).get('dataset'):
        raise ValueError(f'{args.config}: expected {args.split}_dataloader.dataset, got none')
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    return cfg


def build_metrics(args: argparse.Namespace, cfg: Config, with_masks: bool = False) -> list[BaseMetric]:
    """Build the metrics that are asked for.

    Where the config has no evaluator, as that of a data set alone, these are the protocols, and PxAP if there
    are masks.

    Args:
        args: The options.
        cfg: The config; changed in place.
        with_masks: Whether the data have masks.

    Returns:
        The metrics.

    Raises:
        ValueError: If a protocol is unknown, or does not take the thresholds.
    """
    from wsol_mm.registry import METRICS

    if not cfg.get('test_evaluator'):
        if args.protocol is None:
            raise ValueError(
                f'{args.config}: expected {args.split}_evaluator, or --protocol beside, got neither'
            )
        cfg.test_evaluator = [dict(type='LocalizationMetric', protocols=[], tuned_on=args.tuned_on)]
        if with_masks:
            cfg.test_evaluator.append(dict(type='PixelAveragePrecision'))
    if args.protocol is not None:
        use_protocols(cfg, args.protocol)
    if args.threshold is not None:
        try:
            use_thresholds(cfg, args.threshold)
        except ValueError as error:
            raise ValueError(f'argument --threshold: {error}') from error
    evaluators = cfg.test_evaluator
    return [METRICS.build(item) for item in ([evaluators] if isinstance(evaluators, dict) else evaluators)]


def evaluate_maps(args: argparse.Namespace) -> MapEvaluation:
    """Evaluate maps against the data of the config, and print what is wrong with them.

    Args:
        args: The options.

    Returns:
        What came out.

    Raises:
        ValueError: If no map can be used, or something that a protocol needs is not there.
    """
    from wsol_mm.apis.class_scores import read_scores
    from wsol_mm.apis.inference_pipeline import whole_image_transforms
    from wsol_mm.apis.map_evaluation import evaluate_maps
    from wsol_mm.datasets.readers.saved_maps import SavedMaps
    from wsol_mm.registry import DATASETS

    cfg = read_chosen_config(args)
    settings = cfg.test_dataloader.dataset
    if args.maps_show == 'image':
        settings.pipeline = whole_image_transforms(settings.pipeline)
    with_masks = any(transform['type'] == 'LoadLocalizationMask' for transform in settings.pipeline)
    metrics = build_metrics(args, cfg, with_masks)
    dataset = DATASETS.build(settings)
    img_ids = [dataset.get_data_info(position)['img_id'] for position in range(len(dataset))]
    maps = SavedMaps(args.maps, img_ids)
    best = None if args.scores is None else read_scores(args.scores, dataset.metainfo['classes'], img_ids)
    result = evaluate_maps(metrics, dataset, maps, best, args.maps_of)
    print_findings(f'of {result.images} images count as wrong', result.problems)
    print_findings('maps are of no image of the data set', maps.unused)
    if best is not None:
        print_findings(f'lines of {args.scores} are of no image of the data set', best.unused)
    for note in result.notes:
        print(note)
    if result.left_out:
        missing = 'No --scores' if best is None else f'--scores has {best.ranks} classes per image'
        print(f'{missing}, so no {", ".join(result.left_out)}')
    return result


def print_findings(title: str, findings: Sequence[str]) -> None:
    """Print how many findings there are and the first of them; nothing if there are none."""
    if findings:
        more = len(findings) - _NAMED
        lines = [*findings[:_NAMED], *([f'... and {more} more'] if more > 0 else [])]
        print('\n  '.join([f'Warning: {len(findings)} {title}:', *lines]))


def evaluate_annotations(
    args: argparse.Namespace,
) -> tuple[dict[str, float], tuple[NDArray[np.float64], NDArray[np.bool_]] | None]:
    """Count annotations against the test data of the config; see :func:`annotation_accuracy`.

    Args:
        args: The options.

    Returns:
        The metrics, and, if they are to be drawn, the confidences (N,) and whether each box is right.

    Raises:
        ValueError: If the file is no JSON, or cannot be used with these data.
    """
    from wsol_mm.evaluation.annotation_accuracy import annotation_accuracy, certainties, labels_are_given
    from wsol_mm.registry import DATASETS

    cfg = read_chosen_config(args)
    coco = read_json(args.ann, 'COCO annotations')
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'pipeline': []})
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    try:
        values = annotation_accuracy(coco, entries, dataset.metainfo['classes'])
        certain = None if args.reliability_plot is None else certainties(coco, entries)
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
    return values, certain


@one_line_errors(KeyError)
def main() -> None:
    """Evaluate, print, and write what the options ask for."""
    args = parse_arguments()
    problems, certain = 0, None
    if args.ann is not None:
        metrics, certain = evaluate_annotations(args)
    elif args.maps is not None:
        result = evaluate_maps(args)
        metrics, problems = result.metrics, len(result.problems)
    else:
        from mmengine.evaluator import Evaluator

        samples = read_predictions(args.predictions)
        with_masks = all('gt_mask' in sample for sample in samples)
        evaluator = Evaluator(build_metrics(args, read_chosen_config(args), with_masks))
        metrics = evaluator.offline_evaluate(samples)
    width = max(map(len, metrics))
    for name, value in metrics.items():
        print(
            f'{name:<{width}}  {value:10.4f}' if isinstance(value, float) else f'{name:<{width}}  {value:>5}'
        )
    if args.out is not None:
        write_json(args.out, metrics)
    if certain is not None:
        from wsol_mm.visualization.reliability_plot import draw_reliability

        draw_reliability(args.reliability_plot, *certain)
    if problems or any(math.isnan(value) for value in metrics.values()):
        raise SystemExit(_PROBLEM_STATUS)


if __name__ == '__main__':
    main()
