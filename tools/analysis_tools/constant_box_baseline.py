"""Score of the best constant box on the test images of a config: a baseline that does not look at them.

The box is the same for all images, in coordinates relative to the image, and is chosen on the very images
that it is scored on: as much as one can have from knowing where objects usually are. The score is the share
of images of which a ground-truth box is met with an IoU of 0.5 or more, as in MaxBoxAcc.
"""

import argparse
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from wsol_mm.cli.argument_types import output_file
from wsol_mm.cli.config_options import add_cfg_options
from wsol_mm.cli.runner_options import RunnerArgumentParser, config_path, one_line_errors, read_config
from wsol_mm.utils.whole_files import write_json

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from wsol_mm.datasets import LocalizationDataset

IOU_LEVEL = 0.5
_CHUNK = 2_000_000  # IoUs at a time: bounds the memory at about 100 MB


def relative_boxes(dataset: 'LocalizationDataset') -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ground-truth boxes relative to their images.

    Args:
        dataset: A data set; images without ``gt_bboxes`` are left out.

    Returns:
        Boxes (G, 4), x0 y0 x1 y1 from 0 to 1, and the number of the image of each (G,).

    Raises:
        ValueError: No image has a box, or the size of one with boxes is not known.
    """
    boxes, images = [], []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if len(info.get('gt_bboxes', ())):
            if 'width' not in info:
                raise ValueError(
                    f'{info["img_id"]}: expected the size of the image, got none. Data sets with '
                    'check_files=True and read_headers=True, or with a list of sizes, know it'
                )
            width, height = info['width'], info['height']  # of the image that the boxes lie in
            boxes.append(np.asarray(info['gt_bboxes'], np.float64) / (width, height, width, height))
            images.append(np.full(len(boxes[-1]), len(images)))
    if not boxes:
        raise ValueError('test_dataloader.dataset: expected images with boxes, got none')
    return np.concatenate(boxes), np.concatenate(images)


def box_scores(
    candidates: NDArray[np.float64], boxes: NDArray[np.float64], images: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of images that each candidate meets.

    Args:
        candidates: Boxes to score (K, 4).
        boxes: Ground-truth boxes (G, 4).
        images: Image of each ground-truth box (G,), ascending from 0.

    Returns:
        Scores (K,) from 0 to 1.
    """
    starts = np.flatnonzero(np.diff(images, prepend=-1))
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    scores = [np.zeros(0)]
    step = max(1, _CHUNK // len(boxes))
    for start in range(0, len(candidates), step):
        chunk = candidates[start : start + step, None]
        sides = np.minimum(chunk[..., 2:], boxes[:, 2:]) - np.maximum(chunk[..., :2], boxes[:, :2])
        common = np.prod(np.maximum(sides, 0), axis=2)
        union = np.prod(chunk[..., 2:] - chunk[..., :2], axis=2) + areas - common
        met = np.maximum.reduceat(common >= IOU_LEVEL * union, starts, axis=1)
        scores.append(met.mean(axis=1))
    return np.concatenate(scores)


def best_constant_box(
    boxes: NDArray[np.float64], images: NDArray[np.int64], grid: int = 20, most_own: int = 5000
) -> tuple[NDArray[np.float64], float]:
    """Search the best constant box.

    All boxes of a grid and the ground-truth boxes themselves are tried; the best ones are then improved by
    ever smaller moves of their sides.

    Args:
        boxes: Ground-truth boxes (G, 4), relative.
        images: Image of each (G,), ascending from 0.
        grid: Intervals of the grid along each axis.
        most_own: Try at most this many of the ground-truth boxes, evenly spaced.

    Returns:
        The box (4,), relative, and its score from 0 to 1.
    """
    spans = np.array(list(combinations(np.linspace(0, 1, grid + 1), 2)))
    gridded = np.concatenate([np.column_stack([np.broadcast_to(x, spans.shape), spans]) for x in spans])
    own = boxes[np.unique(np.linspace(0, len(boxes) - 1, most_own).astype(int))]
    candidates = np.concatenate([gridded[:, [0, 2, 1, 3]], own])
    scores = box_scores(candidates, boxes, images)
    # The best few go on: the one that wins in the end need not lead here.
    order = np.argsort(-scores, kind='stable')[:8]
    finals = [_climb(candidates[i], scores[i], boxes, images, 0.5 / grid) for i in order]
    return max(finals, key=lambda final: final[1])


def _climb(
    box: NDArray[np.float64],
    score: float,
    boxes: NDArray[np.float64],
    images: NDArray[np.int64],
    step: float,
) -> tuple[NDArray[np.float64], float]:
    moves = np.array(np.meshgrid(*[[-1, 0, 1]] * 4)).reshape(4, -1).T
    while step > 1e-3:
        around = np.clip(box + step * moves, 0, 1)
        scores = box_scores(around, boxes, images)
        best = int(scores.argmax())
        if scores[best] > score:
            box, score = around[best], scores[best]
        else:
            step /= 2
    return box, float(score)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    parser.add_argument('config', type=config_path, help='config file; its test_dataloader.dataset is read')
    parser.add_argument(
        '--out', type=output_file, metavar='FILE', help='also write box and score to this JSON file'
    )
    add_cfg_options(parser)
    return parser.parse_args(arguments)


@one_line_errors()
def main() -> None:
    """Search and print."""
    args = parse_arguments()
    from wsol_mm.registry import DATASETS

    from mmengine.registry import init_default_scope

    cfg = read_config(args)
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    boxes, images = relative_boxes(DATASETS.build({**cfg.test_dataloader.dataset, 'pipeline': []}))
    box, score = best_constant_box(boxes, images)
    place = ', '.join(f'{value:.3f}' for value in box)
    print(
        f'best constant box: {100 * score:.2f} % of {images[-1] + 1} images at IoU {IOU_LEVEL}, at ({place})'
    )
    if args.out is not None:
        write_json(args.out, {'BoxAcc': 100 * score, 'box': box.tolist()}, indent=None)


if __name__ == '__main__':
    main()
