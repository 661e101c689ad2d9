"""What tools/deployment/export_onnx.py and export_torch.py share: options, model, facts and check."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wsol_mm.deployment.choices import BATCH_SIZES, MAP_CHOICES, TOLERANCE

from mmengine.config import Config

from .argument_types import output_file_of
from .runner_options import RunnerArgumentParser, add_config_options, checkpoint_path, read_config

if TYPE_CHECKING:
    from wsol_mm.deployment.checking import RunFunction
    from wsol_mm.deployment.deployed_localizer import DeployedLocalizer

    from torch import nn

#: Classes with maps, unless another number is asked for.
_TOPK = 5


class ExportJob(NamedTuple):
    """What is exported.

    Attributes:
        model: The model.
        shape: Height and width of its images.
        facts: What travels with the file, see :func:`deployment_facts`.
    """

    model: DeployedLocalizer
    shape: tuple[int, int]
    facts: dict[str, Any]


def parse_export_arguments(
    description: str, suffix: str, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse the command line of an export.

    Args:
        description: Text of the help.
        suffix: What the file must end in.
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=description)
    add_config_options(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        type=checkpoint_path,
        help='checkpoint file, .pth or .safetensors; without one the weights are random, for a trial, or '
        'those that the model of the config has without training',
    )
    parser.add_argument(
        '--out',
        type=output_file_of(suffix),
        required=True,
        metavar=f'FILE{suffix}',
        help='file to write',
    )
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        metavar='SIDE',
        help="side of the images, or height and width, multiples of the patch size (default: the backbone's "
        'img_size, or 224)',
    )
    parser.add_argument(
        '--maps',
        choices=MAP_CHOICES,
        default='topk',
        help='maps of the best classes, or of classes given as a second input (default: topk)',
    )
    parser.add_argument(
        '--topk',
        type=int,
        metavar='K',
        help='maps of the K best classes (default: 5, or all of fewer)',
    )
    parser.add_argument(
        '--verify',
        action='store_true',
        help=f'compare the file with PyTorch at batch sizes {" and ".join(map(str, BATCH_SIZES))}; it must '
        f'agree to {TOLERANCE:g}',
    )
    parser.add_argument(
        '--allow-non-finite',
        action='store_true',
        help='export weights that hold NaN or infinity, too, with a warning',
    )
    args = parser.parse_args(arguments)
    if args.shape is not None and (len(args.shape) > 2 or min(args.shape) < 1):
        parser.error(f'argument --shape: expected one or two positive integers, got {args.shape}')
    return args


def prepare_export(args: argparse.Namespace) -> ExportJob:
    """Build what the options ask for.

    Args:
        args: Of :func:`parse_export_arguments`.

    Returns:
        Model, size of the images and facts.

    Raises:
        ValueError: If the size of the images is no multiple of the patches, the checkpoint does not fit the
            model or holds NaN, or the model cannot give what is asked for.
    """
    from wsol_mm.apis.model_loading import build_localizer, load_localizer
    from wsol_mm.deployment.deployed_localizer import DeployedLocalizer

    cfg = read_config(args)
    if args.checkpoint is None:
        model = build_localizer(cfg)
        classes = getattr(model, 'class_names', None)
    else:
        model, classes = load_localizer(cfg, args.checkpoint, device='cpu', finite=not args.allow_non_finite)
    trained_with = getattr(model.backbone, 'data_config', {}).get('input_size', 224)
    shape = args.shape or cfg.model.get('backbone', {}).get('img_size', trained_with)
    sides = [shape] if isinstance(shape, int) else list(shape)
    height, width = sides * 2 if len(sides) == 1 else sides
    patch = patch_sides(model.backbone)
    if height % patch[0] or width % patch[1]:
        # The backbone would pad such images, and the maps would cover more than the image.
        raise ValueError(
            f'--shape: expected height and width in multiples of {patch[0]} and {patch[1]}, the sides of a '
            f'patch, got {height}x{width}'
        )
    topk = min(_TOPK, model.head.num_classes) if args.topk is None else args.topk
    deployed = DeployedLocalizer(model, args.maps, topk)
    return ExportJob(deployed, (height, width), deployment_facts(cfg, deployed, (height, width), classes))


def patch_sides(backbone: nn.Module) -> tuple[int, int]:
    """Return height and width of the patches of a backbone; 1 and 1 of one without patches."""
    own = getattr(backbone, 'patch_size', None)
    if own is None:
        projection = getattr(getattr(backbone, 'patch_embed', None), 'projection', None)
        own = getattr(projection, 'stride', (1, 1))
    return own


def deployment_facts(
    cfg: Config, model: DeployedLocalizer, shape: tuple[int, int], classes: Sequence[str] | None
) -> dict[str, Any]:
    """Collect what one must know to use an exported model.

    Args:
        cfg: Config of the model.
        model: The model.
        shape: Height and width of its images.
        classes: Names of the classes.

    Returns:
        ``head``, ``input`` (in words), ``shape``, ``maps``, ``class_agnostic``, ``classes`` (or None),
        ``test_pipeline`` (how an image gets to this size; None if the config has no test data) and
        ``protocols`` (how the config turns maps into boxes; None if it does not say).
    """
    cfg = cfg.to_dict()
    loader, evaluators = cfg.get('test_dataloader') or {}, cfg.get('test_evaluator') or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    protocols = [protocol for metric in evaluators for protocol in metric.get('protocols', ())]
    return dict(
        head=type(model.head).__name__,
        input='images: RGB, 0 to 255, float32, (batch, 3, height, width)',
        shape=list(shape),
        maps=model.maps,
        class_agnostic=model.head.class_agnostic,
        classes=None if classes is None else list(classes),
        test_pipeline=loader.get('dataset', {}).get('pipeline'),
        protocols=protocols or None,
    )


def check_and_report(job: ExportJob, run: RunFunction) -> bool:
    """Compare an exported model with PyTorch, and print the deviations.

    Args:
        job: What was exported.
        run: Runs the exported model.

    Returns:
        Whether all are within the tolerance.
    """
    from wsol_mm.deployment.checking import worst_deviations

    worst = worst_deviations(job.model, run, job.shape)
    text = ', '.join(f'{name} {value:.1e}' for name, value in worst.items())
    good = max(worst.values()) <= TOLERANCE
    verdict = 'agrees with PyTorch' if good else 'DIFFERS from PyTorch'
    print(f'{verdict} at batch sizes {" and ".join(map(str, BATCH_SIZES))}: largest deviations {text}')
    return good
