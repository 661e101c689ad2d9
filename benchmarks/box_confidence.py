"""Measure the rule behind the confidence of boxes, and how well it does.

    python -m benchmarks.box_confidence collect CONFIG CHECKPOINT --out tscam.npz --protocol maxboxacc \
        --threshold 0.2 --cfg-options test_dataloader.dataset.box_source=boxes.csv
    python -m benchmarks.box_confidence fit ilsvrc10=tscam.npz,found_s0.npz+found_s1.npz cub40=tscam_cub40.npz

`collect` predicts the classes of the test images of a config, whole images, and keeps what their maps show of
the boxes, and whether each has an IoU of at least 0.5 with an object. It does the same with images that show
nothing: grey, colours, noise, ramps. `fit` reads such files, data set by data set, those of several seeds of
a model joined by +, and prints for every model, as means over its seeds, the AUROC (a right box before a
wrong one) of

  class score  nothing but the score of the class
  CV           a rule of this file alone, by cross-validation
  transfer     the rule of all models of other data sets
  stored       the rule that the package has
  no object    the stored rule: a box of a photograph before one of an image that shows nothing; grey, colours
               and noise, which are known by their pixels, have the confidence 0

the shares of wrong boxes among the least certain ones and the others by the stored rule, and, at last, the
rule of all models, in which each counts alike, to be stored in
`wsol_mm/evaluation/functional/box_confidence.py`.
"""

import argparse
import json
from pathlib import Path

from wsol_mm.apis import LocalizationInferencer
from wsol_mm.cli.argument_types import output_file
from wsol_mm.cli.box_options import add_box_options
from wsol_mm.cli.refinement_option import add_refinement_option
from wsol_mm.cli.runner_options import RunnerArgumentParser, add_config_options, read_config
from wsol_mm.evaluation.functional import ImageGeometry, box_iou, frame_boxes_to_image
from wsol_mm.evaluation.functional.box_confidence import EVIDENCE, box_confidence
from wsol_mm.evaluation.functional.ranking import auroc, least_certain
from wsol_mm.evaluation.functional.score_maps import ConstantMapError
from wsol_mm.evaluation.map_boxes import frame_boxes_with_evidence, one_box
from wsol_mm.registry import DATASETS

import cv2
import numpy as np
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

#: How strongly large coefficients are drawn to 0: they must hold for other methods.
_PENALTY = 0.01
_FOLDS = 10
_SIDE = 224


def images_of_nothing(seed: int = 0) -> list[NDArray[np.uint8]]:
    """Images (224, 224, 3) without an object: grey, colours, noise of several strengths, blots and ramps."""
    rng = np.random.default_rng(seed)
    shape = (_SIDE, _SIDE, 3)
    grey = [np.full(shape, level) for level in range(0, 256, 17)]
    colours = [np.broadcast_to(rng.integers(0, 256, 3), shape) for _ in range(16)]
    noise = [rng.normal(128, strength, (_SIDE, _SIDE, 1)).repeat(3, 2) for strength in (5, 20, 40, 80) * 4]
    coloured = [rng.integers(0, 256, shape) for _ in range(16)]
    blots = [
        cv2.resize(
            rng.integers(0, 256, (n, n, 3)).astype(np.float32), shape[:2], interpolation=cv2.INTER_CUBIC
        )
        for n in range(2, 18)
    ]
    ramp = np.broadcast_to(np.linspace(0, 255, _SIDE)[:, None], shape[:2])
    ramps = [
        np.repeat((turned * share)[..., None], 3, 2)
        for turned in (ramp, ramp.T)
        for share in (0.25, 0.5, 0.75, 1)
    ]
    images = [*grey, *colours, *noise, *coloured, *blots, *ramps]
    return [np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8)) for image in images]


def collect(args: argparse.Namespace) -> None:
    """Write evidence (N, E) of the boxes of all images, whether they are right, and evidence of nothing."""
    cfg = read_config(args)
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'pipeline': []})
    entries = [dataset.get_data_info(index) for index in range(0, len(dataset), args.interval)]
    inferencer = LocalizationInferencer(
        cfg,
        args.checkpoint,
        args.device,
        protocol=args.protocol,
        threshold=args.threshold,
        refine=args.refine,
    )
    protocol = one_box(inferencer.protocol)

    def boxes_of(images: list) -> list:
        found = []
        for sample in inferencer(images, return_datasamples=True):
            geometry = ImageGeometry.from_metainfo(sample.metainfo, protocol.frame_size)
            try:
                boxes, evidence = frame_boxes_with_evidence(
                    sample.loc_maps[0].float().numpy(), geometry.frame, protocol
                )
            except ConstantMapError:  # no box
                found.append(None)
                continue
            box = frame_boxes_to_image(boxes, geometry)
            found.append((box, evidence[0], float(sample.pred_score.max()), sample.shows_nothing))
        return found

    found = boxes_of([entry['img_path'] for entry in entries])
    kept = [(*pair, entry) for pair, entry in zip(found, entries, strict=True) if pair is not None]
    right = [box_iou(box, np.asarray(entry['gt_bboxes'])).max() >= 0.5 for box, *_, entry in kept]
    nothing = [entry for entry in boxes_of(images_of_nothing()) if entry is not None]
    np.savez(
        args.out,
        evidence=[evidence for _, evidence, *_ in kept],
        class_score=[score for _, _, score, *_ in kept],
        right=right,
        nothing=np.reshape([evidence for _, evidence, *_ in nothing], (-1, len(EVIDENCE))),
        plain=np.array([plain for *_, plain in nothing], bool),
    )
    print(
        f'{len(right)} boxes of {len(entries)} images, {np.mean(right):.1%} right; {len(nothing)} of nothing'
    )


def fitted(
    evidence: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coefficients (1 + E,) of a logistic regression, the intercept first, with an L2 penalty.

    The penalty is on coefficients of standardised evidence, relative to the sum of the weights.

    Args:
        evidence: (N, E).
        right: (N,) bool.
        weights: (N,), how much each box counts.
    """
    mean = np.average(evidence, axis=0, weights=weights)
    spread = np.sqrt(np.average((evidence - mean) ** 2, axis=0, weights=weights)) + 1e-12
    inputs = np.column_stack([np.ones(len(evidence)), (evidence - mean) / spread])
    penalty = np.diag([0.0, *[_PENALTY * weights.sum()] * evidence.shape[1]])
    coefficients = np.zeros(inputs.shape[1])
    for _ in range(50):
        likely = 1 / (1 + np.exp(-inputs @ coefficients))
        slope = inputs.T @ (weights * (likely - right)) + penalty @ coefficients
        curvature = (inputs * (weights * likely * (1 - likely))[:, None]).T @ inputs + penalty
        step = np.linalg.solve(curvature, slope)
        coefficients -= step
        if np.abs(step).max() < 1e-10:
            break
    scaled = coefficients[1:] / spread
    return np.array([coefficients[0] - scaled @ mean, *scaled])


def cross_validated(evidence: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Log-odds (N,), each by a rule that was fitted without its tenth of the boxes."""
    folds = np.random.default_rng(0).permutation(len(right)) % _FOLDS
    odds = np.empty(len(right))
    for fold in range(_FOLDS):
        rule = fitted(evidence[folds != fold], right[folds != fold], np.ones(np.count_nonzero(folds != fold)))
        odds[folds == fold] = rule[0] + evidence[folds == fold] @ rule[1:]
    return odds


def pooled(models: list[list[dict]]) -> NDArray[np.float64]:
    """Fit one rule to several models, in which each counts alike, and what shows nothing as wrong.

    Args:
        models: Of each, what :func:`collect` wrote of its seeds.

    Returns:
        Coefficients, see :func:`fitted`.
    """
    evidence, right, weights = [], [], []
    for seeds in models:
        for file in seeds:
            wrong = np.zeros(len(file['nothing']), bool)
            evidence += [file['evidence'], file['nothing']]
            right += [file['right'], wrong]
            # As much weight for nothing as for a tenth of the photographs.
            for count, weight in ((len(file['right']), 1000), (len(wrong), 100)):
                weights.append(np.full(count, weight / len(seeds) / max(count, 1)))
    return fitted(*(np.concatenate(parts) for parts in (evidence, right, weights)))


def judged(file: dict, transferred: NDArray[np.float64]) -> tuple[float, ...]:
    """Return what is printed of a file: its share of right boxes, AUROCs, and shares of wrong ones.

    Args:
        file: What :func:`collect` wrote.
        transferred: Coefficients of the rule of other data sets.
    """
    evidence, right = file['evidence'], file['right']
    stored = box_confidence(evidence)
    nothing = np.where(file['plain'], 0, box_confidence(file['nothing']))
    photographs = np.arange(len(right) + len(nothing)) < len(right)
    least, quarter = (least_certain(stored, share) for share in (0.1, 0.25))
    return (
        right.mean(),
        auroc(file['class_score'], right),
        auroc(cross_validated(evidence, right), right),
        auroc(transferred[0] + evidence @ transferred[1:], right),
        auroc(stored, right),
        auroc(np.concatenate([stored, nothing]), photographs),
        1 - right[least].mean(),
        1 - right[quarter].mean(),
        1 - np.delete(right, quarter).mean(),
    )


def fit(args: argparse.Namespace) -> None:
    """Print how rules do, and the rule of all models."""
    sets = {}
    for text in args.sets:
        name, _, models = text.partition('=')
        files = [model.split('+') for model in models.split(',')]
        sets[name] = {Path(seeds[0]).stem: [dict(np.load(seed)) for seed in seeds] for seeds in files}
    columns = ('right', 'class score', 'CV', 'transfer', 'stored', 'no object', 'wrong: 10 %', '25 %', 'rest')
    print(f'{"":20}' + ''.join(f'{column:>13}' for column in columns))
    for name, models in sets.items():
        others = [seeds for other in sets if other != name for seeds in sets[other].values()]
        rule = pooled(others) if others else np.full(1 + len(EVIDENCE), np.nan)
        for stem, seeds in models.items():
            means = np.mean([judged(seed, rule) for seed in seeds], axis=0)
            print(f'{stem:20}' + ''.join(f'{value:13.3f}' for value in means))
    rule = pooled([seeds for models in sets.values() for seeds in models.values()])
    print(json.dumps(dict(zip(('intercept', *EVIDENCE), rule.round(3).tolist(), strict=True)), indent=4))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = RunnerArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    collecting = steps.add_parser('collect', help='evidence of the boxes of a model')
    add_config_options(collecting)
    collecting.add_argument('checkpoint', help='weights')
    collecting.add_argument('--out', type=output_file, required=True, help='.npz file to write')
    collecting.add_argument('--interval', type=int, default=1, help='take every N-th test image (default: 1)')
    collecting.add_argument('--device', help='cpu, cuda, ... (default: the first GPU, if there is one)')
    add_box_options(collecting)
    add_refinement_option(collecting)
    collecting.set_defaults(step=collect)
    fitting = steps.add_parser('fit', help='rules, and how they do')
    fitting.add_argument(
        'sets', nargs='+', metavar='DATASET=FILE,FILE+FILE', help='what collect wrote, by data set and model'
    )
    fitting.set_defaults(step=fit)
    return parser.parse_args(arguments)


if __name__ == '__main__':
    options = parse_arguments()
    options.step(options)
