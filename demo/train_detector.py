"""Train a detector on exported boxes, and detect with it: the round after predict.py and review.py.

    python demo/train_detector.py CONFIG CHECKPOINT boxes.json photos/train --detect photos/val \
        --out detected.json

Several folders to detect in have as many files to write.

The detector is torchvision's FCOS on the feature maps of the localizer that made the boxes, which are
computed once and not trained any further: nothing is downloaded. Boxes below --min-confidence, and images
without a box, are left out. The result is COCO, as predict.py writes it; --topk detections of an image, whose
score is their confidence too. To choose settings, --hold-out 0.2 leaves a fifth of the images out of
training, and says how well their boxes are found.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from wsol_mm.annotation_formats import FORMATS, PREDICTED, Annotations, ImageAnnotation
from wsol_mm.apis import LocalizationInferencer
from wsol_mm.apis.image_listing import images_at
from wsol_mm.cli.argument_types import integer_within, new_output, share
from wsol_mm.cli.runner_options import RunnerArgumentParser, add_config_options, one_line_errors, read_config
from wsol_mm.evaluation.functional import box_iou, suppress_overlapping
from wsol_mm.utils.json_text import read_json
from wsol_mm.utils.whole_files import whole_file

import numpy as np
import torch
import torchvision
from mmengine.dataset import default_collate
from mmpretrain.utils import track
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead

#: Channels in the detector.
WIDTH = 64
#: Of the convolutions before its head. An object is most of a map wide, and the head sees five cells alone.
DILATIONS = (2, 4, 6)


class NarrowedMaps(nn.Sequential):
    """The backbone of a detector whose images are feature maps already: narrower ones that look further.

    It is the dilated encoder of YOLOF (Chen et al., CVPR 2021), which detects on one map as well.

    Args:
        channels: Of the maps.
    """

    out_channels = WIDTH

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, WIDTH, 1), nn.GroupNorm(32, WIDTH), nn.ReLU(), *map(DilatedBlock, DILATIONS)
        )


class DilatedBlock(nn.Module):
    """A residual bottleneck around a dilated convolution.

    Args:
        dilation: Distance of its nine cells.
    """

    def __init__(self, dilation: int) -> None:
        super().__init__()
        inner = WIDTH // 2
        self.layers = nn.Sequential(
            nn.Conv2d(WIDTH, inner, 1),
            nn.GroupNorm(16, inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation),
            nn.GroupNorm(16, inner),
            nn.ReLU(),
            nn.Conv2d(inner, WIDTH, 1),
            nn.GroupNorm(32, WIDTH),
            nn.ReLU(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Add what is around to maps (N, WIDTH, h, w)."""
        return maps + self.layers(maps)


class SeenImages(NamedTuple):
    """What a localizer has made of images.

    Attributes:
        files: The images.
        sizes: Width and height of each.
        maps: Feature maps (N, D, h, w), float16, on the CPU.
    """

    files: list[Path]
    sizes: list[tuple[int, int]]
    maps: Tensor

    def of(self, files: list[Path]) -> SeenImages:
        """Return the part of some of the images, in their order."""
        numbers = {file: number for number, file in enumerate(self.files)}
        chosen = [numbers[file] for file in files]
        return SeenImages(files, [self.sizes[number] for number in chosen], self.maps[chosen])

    def to_grid(self, number: int, boxes: NDArray[np.floating]) -> Tensor:
        """Bring boxes (M, 4) in pixels of an image onto the grid of its map."""
        scale = np.divide(self.maps.shape[:1:-1], self.sizes[number])
        return torch.from_numpy(boxes * np.tile(scale, 2)).float()

    def to_image(self, number: int, boxes: Tensor) -> NDArray[np.float64]:
        """Bring boxes (M, 4) on the grid into pixels of their image."""
        scale = np.divide(self.sizes[number], self.maps.shape[:1:-1])
        return boxes.cpu().double().numpy() * np.tile(scale, 2)


@torch.no_grad()
def see(inferencer: LocalizationInferencer, files: list[Path], batch_size: int) -> SeenImages:
    """Compute the feature maps of images; they stay in memory, 75 kB each of a ViT-T with 14 x 14 patches.

    Args:
        inferencer: The localizer, which shows its network whole images.
        files: The images.
        batch_size: Images at a time.

    Returns:
        The maps.
    """
    sizes, maps = [], []
    for start in track(range(0, len(files), batch_size), 'Looking'):
        items = [inferencer.pipeline(str(file)) for file in files[start : start + batch_size]]
        images = inferencer.model.data_preprocessor(default_collate(items))['inputs']
        maps.append(inferencer.model.extract_feat(images, needs=()).feature_map.half().cpu())
        sizes += [item['data_samples'].ori_shape[::-1] for item in items]
    return SeenImages(files, sizes, torch.cat(maps))


def read_boxes(file: Path, classes: Sequence[str], min_confidence: float) -> dict[str, NDArray[np.float64]]:
    """Read the boxes of a COCO file.

    Args:
        file: The file.
        classes: Classes of the detector.
        min_confidence: Boxes that are less certain are left out.

    Returns:
        By file name x0 y0 x1 y1 in pixels and class index, (M, 5), of the images that have a box.

    Raises:
        ValueError: If no box is left.
    """
    coco = read_json(file, 'COCO annotations')
    labels = {entry['id']: classes.index(entry['name']) for entry in coco['categories']}
    names = {entry['id']: entry['file_name'] for entry in coco['images']}
    boxes = defaultdict(list)
    for entry in coco['annotations']:
        if entry.get('confidence', 1.0) >= min_confidence:
            x, y, width, height = entry['bbox']
            label = labels[entry['category_id']]
            boxes[names[entry['image_id']]].append((x, y, x + width, y + height, label))
    if not boxes:
        raise ValueError(f'{file}: expected boxes with a confidence from {min_confidence:g}, got none')
    return {name: np.array(rows, float) for name, rows in sorted(boxes.items())}


def build_detector(channels: int, grid: Sequence[int], num_classes: int) -> FCOS:
    """Build a detector of objects on feature maps.

    Args:
        channels: Of the maps.
        grid: Their height and width.
        num_classes: Classes of objects.

    Returns:
        The detector; a cell of the map is its pixel.
    """
    if not torchvision.extension._has_ops():  # a torchvision built for another torch
        torchvision.ops.boxes.nms = lambda boxes, scores, iou: torch.from_numpy(
            suppress_overlapping(boxes.numpy(), scores.numpy(), iou)
        )
    detector = FCOS(
        NarrowedMaps(channels),
        num_classes=num_classes,
        # Two cells wide, as torchvision rounds half of it; the radius is in these units.
        anchor_generator=AnchorGenerator(((2,),), ((1.0,),)),
        center_sampling_radius=0.75,
        min_size=min(grid),
        max_size=max(grid),
        size_divisible=1,
        image_mean=[0.0] * channels,
        image_std=[1.0] * channels,
        score_thresh=0.02,
        topk_candidates=100,  # of an image with few objects; more take longer than the network
    )
    detector.head = FCOSHead(WIDTH, 1, num_classes, num_convs=2)
    return detector


def train(
    seen: SeenImages, boxes: list[NDArray[np.float64]], num_classes: int, args: argparse.Namespace
) -> FCOS:
    """Train a detector, with mirrored maps as well.

    Args:
        seen: The images.
        boxes: Of each, x0 y0 x1 y1 in pixels and class index, (M, 5).
        num_classes: Classes of objects.
        args: The options.

    Returns:
        The detector, on the device that is asked for.
    """
    torch.manual_seed(args.seed)
    grid = seen.maps.shape[2:]
    detector = build_detector(seen.maps.shape[1], grid, num_classes).to(args.device)
    targets = [
        {'boxes': seen.to_grid(number, rows[:, :4]), 'labels': torch.from_numpy(rows[:, 4]).long()}
        for number, rows in enumerate(boxes)
    ]
    loader = DataLoader(range(len(targets)), args.batch_size, shuffle=True)
    steps = args.epochs * len(loader)
    optimizer = torch.optim.AdamW(detector.parameters(), args.lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, steps, pct_start=0.1)
    detector.train()
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for numbers in track(loader, f'Epoch {epoch}'):
            maps = seen.maps[numbers].to(args.device).float()
            wanted = [{key: value.to(args.device) for key, value in targets[i].items()} for i in numbers]
            if torch.rand(()) < 0.5:
                maps = maps.flip(-1)
                for target in wanted:
                    target['boxes'] = target['boxes'][:, [2, 1, 0, 3]]
                    target['boxes'][:, [0, 2]] = grid[1] - target['boxes'][:, [0, 2]]
            loss = sum(detector(list(maps), wanted).values())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f'epoch {epoch}: loss {total / len(loader):.4f}', flush=True)
    return detector.eval()


@torch.no_grad()
def detect(detector: FCOS, seen: SeenImages, folder: Path, args: argparse.Namespace) -> list[ImageAnnotation]:
    """Detect objects in images.

    Args:
        detector: The detector.
        seen: The images.
        folder: What their names are relative to.
        args: The options.

    Returns:
        The annotation of every image.
    """
    annotations = []
    for start in track(range(0, len(seen.files), args.batch_size), 'Detecting'):
        maps = seen.maps[start : start + args.batch_size].to(args.device).float()
        for number, found in enumerate(detector(list(maps)), start):
            boxes = seen.to_image(number, found['boxes'][: args.topk]).tolist()
            scores = found['scores'][: args.topk].tolist()
            labels = found['labels'][: args.topk].tolist()
            path = seen.files[number].relative_to(folder).as_posix()
            size = seen.sizes[number]
            annotations.append(ImageAnnotation(number + 1, path, path, size, labels, scores, boxes, scores))
    return annotations


def agreement(found: list[ImageAnnotation], boxes: list[NDArray[np.float64]]) -> str:
    """Say how well the first detection of images fits one of their boxes (M, 5)."""
    pairs = zip(found, boxes, strict=True)
    ious = [
        box_iou(np.reshape(image.boxes[:1], (-1, 4)), rows[:, :4]).max(initial=0) for image, rows in pairs
    ]
    shares = ', '.join(f'{np.mean(np.array(ious) >= level):.1%} at IoU {level}' for level in (0.3, 0.5, 0.7))
    return f'held out: {len(ious)} images, mean IoU {np.mean(ious):.3f}, {shares}'


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = RunnerArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='weights of the localizer')
    parser.add_argument('boxes', type=Path, help='COCO file to train on, as predict.py or review.py write it')
    parser.add_argument('folder', type=Path, help='its images')
    parser.add_argument(
        '--detect', type=Path, nargs='+', required=True, metavar='FOLDER', help='images to detect in'
    )
    parser.add_argument(
        '--out', type=new_output, nargs='+', required=True, help='COCO file to write, for each of the folders'
    )
    parser.add_argument('--min-confidence', type=share, default=0.0, help='boxes to train on (default: all)')
    parser.add_argument(
        '--topk', type=integer_within(1), default=1, help='detections of an image (default: 1)'
    )
    parser.add_argument(
        '--hold-out', type=share, default=0.0, help='of the images with boxes (default: none)'
    )
    parser.add_argument('--epochs', type=integer_within(1), default=6, help='default: 6')
    parser.add_argument('--batch-size', type=integer_within(1), default=16, help='default: 16')
    parser.add_argument('--lr', type=float, default=1e-3, help='default: 0.001')
    parser.add_argument('--seed', type=integer_within(0), default=0, help='default: 0')
    parser.add_argument('--device', help='cpu, cuda, ... (default: the first GPU, if there is one)')
    args = parser.parse_args(arguments)
    if len(args.out) != len(args.detect):
        parser.error(
            f'argument --out: expected {len(args.detect)} files, as --detect has, got {len(args.out)}'
        )
    return args


@one_line_errors(KeyError)
def main() -> None:
    """Train, detect, and write what was found."""
    args = parse_arguments()
    inferencer = LocalizationInferencer(read_config(args), args.checkpoint, args.device)
    args.device = next(inferencer.model.parameters()).device
    boxes = read_boxes(args.boxes, inferencer.classes, args.min_confidence)
    print(f'{len(boxes)} images with boxes to train on', flush=True)
    images = [args.folder / name for name in boxes]
    folders = [[Path(file) for file, _ in images_at(folder)] for folder in args.detect]
    seen = see(inferencer, list(dict.fromkeys(chain(images, *folders))), args.batch_size)
    order = np.random.default_rng(args.seed).permutation(len(images))
    held, kept = (sorted(part) for part in np.split(order, [round(args.hold_out * len(images))]))
    if not kept:
        raise ValueError(
            f'hold_out: expected images left to train on, got {args.hold_out:g} of {len(images)}'
        )
    rows = list(boxes.values())
    detector = train(
        seen.of([images[i] for i in kept]), [rows[i] for i in kept], len(inferencer.classes), args
    )
    if held:
        found = detect(detector, seen.of([images[i] for i in held]), args.folder, args)
        print(agreement(found, [rows[i] for i in held]), flush=True)
    for folder, files, out in zip(args.detect, folders, args.out, strict=True):
        found = detect(detector, seen.of(files), folder, args)
        about = f'FCOS on {args.boxes.name}'
        annotations = Annotations(partial(iter, found), inferencer.classes, folder, about, PREDICTED)
        with whole_file(out) as part:
            FORMATS['coco'].write(annotations, part)
        print(f'{sum(len(image.boxes) for image in found)} boxes in {len(found)} images: {out.resolve()}')


if __name__ == '__main__':
    main()
