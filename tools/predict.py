"""Localize the objects in all images of a folder and write the boxes as annotations.

A run that was interrupted, in whatever way, resumes when started again with the same arguments. The exit
status is 0, or 3 if all is done but some images cannot be used; these are listed in <OUT>.broken.txt. Several
processes share the work with --shard, or tools/dist_predict.sh.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_mm.annotation_formats import FORMATS, FROM_FOLDER, PREDICTED
from wsol_mm.cli.argument_types import new_output, output_folder, shard_of, share
from wsol_mm.cli.box_options import add_box_options
from wsol_mm.cli.launch import LaunchedProcess, launched_process
from wsol_mm.cli.prediction_summary import BROKEN_STATUS, print_summary
from wsol_mm.cli.refinement_option import add_refinement_option
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
    from wsol_mm.apis.folder_prediction import FolderTask
    from wsol_mm.apis.localization_inferencer import LocalizationInferencer

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
        'folder',
        help='folder with images, subfolders included, or one image file; a list of their paths (.txt, .csv, '
        ".parquet); tar files ('photos-*.tar', 'photos-{000..127}.tar'). A path, or an address that fsspec "
        'knows (s3://...)',
    )
    parser.add_argument(
        '--root',
        metavar='DIR',
        help='folder, or address, of the paths in a list (default: that of the list)',
    )
    parser.add_argument(
        '--column', metavar='NAME', help='column of the paths in a .csv or .parquet list (default: path)'
    )
    parser.add_argument(
        '--out',
        type=new_output,
        required=True,
        help='file (coco: .json, csv: .csv, parquet: .parquet) or folder (voc, yolo, labelme) to write; must '
        'not exist',
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
        '--boxes',
        choices=('one', 'many'),
        default='one',
        help='of each class the one box that the protocol measures, or boxes of all regions of its map',
    )
    parser.add_argument(
        '--score-thr',
        type=share,
        default=0.0,
        metavar='S',
        help='leave out boxes of classes with a lower score, in [0, 1]',
    )
    parser.add_argument(
        '--min-confidence',
        type=share,
        default=0.0,
        metavar='C',
        help='leave out boxes with a lower confidence, in [0, 1]',
    )
    add_box_options(parser)
    add_refinement_option(parser)
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
        default=_loaders(),
        help='processes that load images, 0 to load in this one; half as many, 1 to 16, make boxes (default: '
        'one per core, 8 at most)',
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: the first GPU, if there is one)')
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        '--shard',
        type=shard_of,
        metavar='I/N',
        help='predict the I-th of N parts of the images only; tools/misc/merge_predictions.py puts the parts '
        'together when all are there',
    )
    parts.add_argument(
        '--launcher',
        choices=('none', 'pytorch'),
        default='none',
        help='pytorch: a shard for each process of torchrun, put together at the end '
        '(see tools/dist_predict.sh)',
    )
    args = parser.parse_args(arguments)
    check_output(parser, args)
    for name, lowest in (('topk', 1), ('batch_size', 1), ('num_workers', 0)):
        if getattr(args, name) < lowest:
            option = name.replace('_', '-')
            parser.error(f'argument --{option}: expected an integer from {lowest}, got {getattr(args, name)}')
    if args.labels == FROM_FOLDER and args.topk != 1:
        parser.error(f'argument --topk: expected 1 beside --labels {FROM_FOLDER}, got {args.topk}')
    return args


def check_output(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse an output that does not suit its format, and pictures among the images."""
    suffix = FORMATS[args.format].suffix
    if suffix is not None and args.out.suffix != suffix:
        parser.error(f"argument --out: expected a {suffix} file for {args.format}, got '{args.out}'")
    if suffix is None and args.out.suffix in ('.json', '.csv', '.parquet', '.xml', '.txt'):
        parser.error(f"argument --out: expected a folder for {args.format}, got '{args.out}'")
    if args.show_dir is not None and args.show_dir.resolve().is_relative_to(Path(args.folder).resolve()):
        parser.error(
            'argument --show-dir: expected a folder outside FOLDER, whose images are to be localized, got '
            f"'{args.show_dir}'"
        )


def _loaders() -> int:
    """Return how many processes load images: one per core that this process has, 8 at most."""
    return max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get('LOCAL_WORLD_SIZE', '1'))))


@one_line_errors(ImportError)
def main() -> None:
    """Predict, write, and say what came out."""
    args = parse_arguments()
    from wsol_mm.apis.folder_prediction import FolderTask, check_task
    from wsol_mm.apis.localization_inferencer import LocalizationInferencer, check_topk
    from wsol_mm.apis.prediction_shards import Shard

    process = launched_process(args.launcher) if args.launcher != 'none' else None
    if process is not None and _is_done(args.out):
        return
    shard = args.shard if process is None else (process.rank + 1, process.count)
    task = FolderTask(
        folder=args.folder,
        out=args.out,
        format=args.format,
        labels_from_folder=args.labels == FROM_FOLDER,
        topk=args.topk,
        boxes=args.boxes,
        score_thr=args.score_thr,
        min_confidence=args.min_confidence,
        maps_dir=args.save_maps,
        show_dir=args.show_dir,
        shard=None if shard is None else Shard(*shard),
        root=args.root,
        column=args.column,
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
        device=args.device or _own_device(process),
        classes=args.classes,
        protocol=args.protocol,
        threshold=args.threshold,
        whole_image=not args.test_pipeline,
        refine=args.refine,
    )
    try:
        num_broken = run(inferencer, task, args, process)
    except KeyboardInterrupt:
        print(f'{Path(__file__).name}: stopped; the same command resumes', file=sys.stderr)
        raise SystemExit(_INTERRUPTED_STATUS) from None
    # torchrun would take the status for a failure and start again: dist_predict.sh gives it.
    if num_broken and process is None:
        raise SystemExit(BROKEN_STATUS)


def run(
    inferencer: LocalizationInferencer,
    task: FolderTask,
    args: argparse.Namespace,
    process: LaunchedProcess | None,
) -> int:
    """Predict all images, or a shard of them, and say what came out.

    Args:
        inferencer: The model.
        task: What to do.
        args: The options.
        process: Which process of a launcher this is, if of one.

    Returns:
        Number of images that cannot be used.
    """
    from wsol_mm.apis.folder_prediction import predict_folder, predict_shard
    from wsol_mm.apis.prediction_shards import merge_shards, wait_for_shards

    loading = (args.batch_size, args.num_workers)
    if task.shard is None:
        summary = predict_folder(inferencer, task, *loading)
        print_summary(summary, task.out)
        return summary.num_broken
    first = process is None or process.rank == 0
    summary = predict_shard(inferencer, task, *loading, progress=first)
    if process is None or not first:
        print_summary(summary, task.out, f'shard {task.shard.number} of {task.shard.count}')
        return summary.num_broken
    wait_for_shards(task.out, task.shard.count)
    summary = merge_shards(task.out)
    print_summary(summary, task.out)
    return summary.num_broken


def _is_done(out: Path) -> bool:
    """Tell whether processes that torchrun has started again come too late: the output is there."""
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')) > 0 and out.exists()


def _own_device(process: LaunchedProcess | None) -> str | None:
    """Return the GPU of a process among several, if there are GPUs."""
    import torch

    return f'cuda:{process.local_rank}' if process is not None and torch.cuda.is_available() else None


if __name__ == '__main__':
    main()
