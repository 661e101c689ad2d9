"""Localize the objects in all images of a folder and write the boxes as annotations.

A run that was interrupted, in whatever way, resumes when started again with the same arguments. The exit
status is 0, or 3 if all is done but some images cannot be used; these are listed in <OUT>.broken.txt.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_mm.annotation_formats import FORMATS, FROM_FOLDER, PREDICTED
from wsol_mm.cli.argument_types import new_output, output_folder
from wsol_mm.cli.box_options import add_box_options
from wsol_mm.cli.runner_options import (
    CHECKPOINT_HELP,
    RunnerArgumentParser,
    add_config_options,
    one_line_errors,
    read_config,
    weights_path,
)
from wsol_mm.utils.class_number import leaves_classes_open

if TYPE_CHECKING:
    from wsol_mm.apis.folder_prediction import FolderSummary, FolderTask

_BROKEN_STATUS = 3
_INTERRUPTED_STATUS = 130


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', type=weights_path, help=CHECKPOINT_HELP)
    parser.add_argument(
        'folder', type=Path, help='folder with images, subfolders included, or one image file'
    )
    parser.add_argument(
        '--out',
        type=new_output,
        required=True,
        help='file (coco: .json, csv: .csv) or folder (voc, yolo, labelme) to write; must not exist',
    )
    parser.add_argument('--format', choices=FORMATS, default='coco', help='default: coco')
    parser.add_argument(
        '--labels',
        choices=(PREDICTED, FROM_FOLDER),
        default=PREDICTED,
        help='which box to write: of the predicted class, or of the class that the first folder below FOLDER '
        'is named after',
    )
    parser.add_argument(
        '--topk', type=int, default=1, help='boxes of the K best predicted classes (default: 1)'
    )
    parser.add_argument(
        '--score-thr', type=float, default=0.0, help='leave out boxes of classes with a lower score'
    )
    add_box_options(parser)
    parser.add_argument(
        '--test-pipeline',
        action='store_true',
        help="use the config's test pipeline, which often crops the centre, instead of the whole image",
    )
    parser.add_argument(
        '--classes',
        type=Path,
        metavar='FILE',
        help='file of class names, one per line: what to find, for a model that is told so (GEM); otherwise '
        'how the classes are called, if the checkpoint does not say',
    )
    parser.add_argument(
        '--save-maps', type=output_folder, metavar='DIR', help='write localization maps (.npz)'
    )
    parser.add_argument('--show-dir', type=output_folder, metavar='DIR', help='draw maps and boxes')
    parser.add_argument('--batch-size', type=int, default=32, help='default: 32')
    parser.add_argument(
        '--num-workers',
        type=int,
        default=min(8, os.cpu_count() or 1),
        help='processes that load images, 0 to load in this one (default: one per core, 8 at most)',
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: the first GPU, if there is one)')
    args = parser.parse_args(arguments)
    check_output(parser, args)
    for name, lowest in (('topk', 1), ('batch_size', 1), ('num_workers', 0)):
        if getattr(args, name) < lowest:
            option = name.replace('_', '-')
            parser.error(f'argument --{option}: expected an integer from {lowest}, got {getattr(args, name)}')
    if not 0 <= args.score_thr <= 1:
        parser.error(f'argument --score-thr: expected a number in [0, 1], got {args.score_thr}')
    if args.labels == FROM_FOLDER and args.topk != 1:
        parser.error(f'argument --topk: expected 1 beside --labels {FROM_FOLDER}, got {args.topk}')
    return args


def check_output(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse an output that does not suit its format, and pictures among the images."""
    suffix = FORMATS[args.format].suffix
    if suffix is not None and args.out.suffix != suffix:
        parser.error(f"argument --out: expected a {suffix} file for {args.format}, got '{args.out}'")
    if suffix is None and args.out.suffix in ('.json', '.csv', '.xml', '.txt'):
        parser.error(f"argument --out: expected a folder for {args.format}, got '{args.out}'")
    if args.show_dir is not None and args.show_dir.resolve().is_relative_to(args.folder.resolve()):
        parser.error(
            'argument --show-dir: expected a folder outside FOLDER, whose images are to be localized, got '
            f"'{args.show_dir}'"
        )


def print_summary(summary: FolderSummary, task: FolderTask) -> None:
    """Print what came out, the broken images last."""
    usable = summary.num_images - summary.num_broken
    print(
        f'{summary.num_boxes} boxes in {usable} images ({summary.num_without_box} without a box): '
        f'{task.out.resolve()}'
    )
    if summary.num_broken:
        print(f'{summary.num_broken} images cannot be used, listed in {task.broken_file.resolve()}:')
        for path, reason in summary.broken:
            print(f'  {path}: {reason}')
        if summary.num_broken > len(summary.broken):
            print(f'  ... and {summary.num_broken - len(summary.broken)} more')


@one_line_errors(ImportError)
def main() -> None:
    """Predict, write, and say what came out."""
    args = parse_arguments()
    from wsol_mm.apis.folder_prediction import FolderTask, check_task, predict_folder
    from wsol_mm.apis.localization_inferencer import LocalizationInferencer, check_topk

    task = FolderTask(
        folder=args.folder,
        out=args.out,
        format=args.format,
        labels_from_folder=args.labels == FROM_FOLDER,
        topk=args.topk,
        score_thr=args.score_thr,
        maps_dir=args.save_maps,
        show_dir=args.show_dir,
    )
    # What can be told without the model, which takes its time to load.
    check_task(task)
    cfg = read_config(args)
    num_classes = cfg.get('model', {}).get('head', {}).get('num_classes')
    if num_classes is not None and not leaves_classes_open(cfg):
        check_topk(args.topk, num_classes, '--topk')
    inferencer = LocalizationInferencer(
        cfg,
        args.checkpoint,
        device=args.device,
        classes=args.classes,
        protocol=args.protocol,
        threshold=args.threshold,
        whole_image=not args.test_pipeline,
    )
    try:
        summary = predict_folder(inferencer, task, args.batch_size, args.num_workers)
    except KeyboardInterrupt:
        print(f'{Path(__file__).name}: stopped; the same command resumes', file=sys.stderr)
        raise SystemExit(_INTERRUPTED_STATUS) from None
    print_summary(summary, task)
    if summary.num_broken:
        raise SystemExit(_BROKEN_STATUS)


if __name__ == '__main__':
    main()
