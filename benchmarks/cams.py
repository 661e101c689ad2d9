"""Compare the maps of a trained classifier with the classifier alone.

    python -m benchmarks.cams --model resnet50 --batch-size 8

Random weights of a timm model, noise images. A step of ``plain`` is what a test does with the classifier
alone: normalisation, logits, the best classes, samples on the CPU. ``CAM``, ``GradCAM`` and ``LayerCAM``
also make the maps of the ground-truth class and of the five best classes, and copy them to the CPU.
``forward+backward`` is the forward and the backward pass of a training step, without the update. ``library``
is Grad-CAM of the package grad-cam for one class of each image, where it is installed. All take turns in one
process; ratios are medians of those within a round.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from importlib.util import find_spec

from wsol_mm.cli.runner_options import RunnerArgumentParser
from wsol_mm.models.heads.localization_head import PRED_TOPK
from wsol_mm.models.localizers import ClassifierLocalizer
from wsol_mm.registry import MODELS

import torch
from mmpretrain.structures import DataSample

from .comparison import quiet_logger, rounds_in_turns
from .options import add_timing_options, check_timing_options

#: The largest accepted ratio of two steps.
TARGETS = {
    ('CAM', 'plain'): 1.05,
    ('GradCAM', 'forward+backward'): 1.5,
    ('LayerCAM', 'forward+backward'): 1.5,
}
METHODS = ('CAM', 'GradCAM', 'LayerCAM')


def make_steps(model: str, batch_size: int, device: str) -> dict[str, Callable[[], None]]:
    """Return the steps by name."""
    classifier = MODELS.build(dict(type='TimmClassifier', model_name=model))
    localizers: dict[str, ClassifierLocalizer] = {}
    with quiet_logger():
        for method in METHODS:
            settings = dict(type='ClassifierLocalizer', classifier=classifier, cam=dict(type=method))
            localizers[method] = MODELS.build(settings).to(device).eval()
    # They share the network, but not the layer that they watch.
    layers = {name: localizer.backbone.layer for name, localizer in localizers.items()}
    if len(set(layers.values())) > 1:
        raise SystemExit(f'--model: expected a model with one default layer for {METHODS}, got {layers}')
    network, preprocessor = classifier.model, localizers['CAM'].data_preprocessor
    num_classes = localizers['CAM'].head.num_classes
    inputs = torch.randint(256, (batch_size, 3, *classifier.data_config['input_size']), dtype=torch.uint8)
    inputs = inputs.to(device)
    labels = torch.randint(num_classes, (batch_size,), device=device)

    def batch() -> dict:
        return {
            'inputs': inputs,
            'data_samples': [DataSample().set_gt_label(label) for label in labels.tolist()],
        }

    def plain() -> None:
        with torch.no_grad():
            data = preprocessor(batch(), False)
            logits = network(data['inputs'])
            scores, best = logits.softmax(dim=1).cpu(), logits.topk(PRED_TOPK, dim=1).indices.cpu()
        for sample, score, classes in zip(data['data_samples'], scores, best, strict=True):
            sample.set_pred_score(score).set_pred_label(classes[:1])
            sample.pred_topk = classes

    def forward_backward() -> None:
        network.zero_grad(set_to_none=True)
        logits = network(preprocessor(batch(), False)['inputs'])
        torch.nn.functional.cross_entropy(logits, labels).backward()

    def predict(localizer: ClassifierLocalizer) -> Callable[[], None]:
        def step() -> None:
            with torch.no_grad():
                localizer.test_step(batch())

        return step

    steps = {'plain': plain, 'forward+backward': forward_backward}
    steps |= {name: predict(localizer) for name, localizer in localizers.items()}
    if find_spec('pytorch_grad_cam') is not None:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        def library() -> None:
            data = preprocessor(batch(), False)
            with GradCAM(network, [network.get_submodule(layers['GradCAM'])]) as method:
                method(data['inputs'], [ClassifierOutputTarget(label) for label in labels.tolist()])

        steps['library'] = library
    return steps


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = RunnerArgumentParser(
        description=__doc__.partition('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--model', default='resnet50', help='model of timm')
    add_timing_options(parser, batch_size=8, repeats=7)
    parser.add_argument('--check', action='store_true', help='exit with 1 when a target is missed')
    args = parser.parse_args(arguments)
    check_timing_options(parser, args)
    return args


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = parse_arguments(arguments)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    steps = make_steps(args.model, args.batch_size, args.device)
    for step in steps.values():
        step()
    rounds = rounds_in_turns(steps, args.repeats, 1, args.device, args.clock)

    def ratio(name: str, to: str) -> float:
        return statistics.median(a / b for a, b in zip(rounds[name], rounds[to], strict=True))

    print(
        f'{args.model}, batch {args.batch_size}, {args.device}, {args.threads} thread(s), {args.clock} time'
    )
    print(f'| {"step":16} | {"ms":>8} | {"x plain":>8} | {"x forward+backward":>18} |')
    print(f'| {"-" * 16} | {"-" * 8} | {"-" * 8} | {"-" * 18} |')
    for name in steps:
        ms = 1e3 * statistics.median(rounds[name])
        ratios = ratio(name, 'plain'), ratio(name, 'forward+backward')
        print(f'| {name:16} | {ms:8.1f} | {ratios[0]:8.2f} | {ratios[1]:18.2f} |')
    missed = [
        f'missed: {name}: {found:.2f} x {to} (target {target:.2f})'
        for (name, to), target in TARGETS.items()
        if (found := ratio(name, to)) > target
    ]
    print('\n'.join(missed))
    return int(bool(args.check and missed))


if __name__ == '__main__':
    sys.exit(main())
