"""Train a detector on exported boxes, and detect with it: the round after predict.py and review.py.

    python demo/train_detector.py CONFIG CHECKPOINT boxes.json photos/train --detect photos/val \
        --out detected.json

Several folders to detect in have as many files to write.

The detector is torchvision's RetinaNet on the backbone of the localizer that made the boxes, which is not
trained any further: nothing is downloaded. Boxes below --min-confidence, and images without a box, are left
out. The result is COCO, as predict.py writes it; --topk detections of an image, whose score is their
confidence too.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from functools import partial
from pathlib import Path

from wsol_mm.annotation_formats import FORMATS, PREDICTED, Annotations, ImageAnnotation
from wsol_mm.apis import LocalizationInferencer
from wsol_mm.apis.image_listing import images_at
from wsol_mm.cli.argument_types import integer_within, new_output, share
from wsol_mm.cli.runner_options import RunnerArgumentParser, add_config_options, one_line_errors, read_config
from wsol_mm.evaluation.functional import suppress_overlapping
from wsol_mm.utils.json_text import read_json
from wsol_mm.utils.whole_files import whole_file

import numpy as np
import torch
import torchvision
from mmengine.dataset import default_collate
from mmpretrain.utils import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator


class FrozenFeatures(nn.Module):
    """The feature map of a localizer, as torchvision's detectors take it."""

    def __init__(self, localizer: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.localizer = localizer.requires_grad_(False)
        self.out_channels = out_channels

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Feature maps (B, D, h, w) of normalised images."""
        return self.localizer.eval().extract_feat(images, needs=()).feature_map


class ExportedBoxes(Dataset):
    """Images with boxes of a COCO file, as the localizer sees them.

    Args:
        file: The COCO file.
        folder: Its images.
        inferencer: The localizer.
        min_confidence: Boxes that are less certain are left out.
    """

    def __init__(
        self, file: Path, folder: Path, inferencer: LocalizationInferencer, min_confidence: float
    ) -> None:
        coco = read_json(file, 'COCO annotations')
        names = {entry['id']: inferencer.classes.index(entry['name']) for entry in coco['categories']}
        boxes = defaultdict(list)
        for entry in coco['annotations']:
            if entry.get('confidence', 1.0) >= min_confidence:
                boxes[entry['image_id']].append((*entry['bbox'], names[entry['category_id']]))
        self.images = [
            (str(folder / entry['file_name']), np.array(boxes[entry['id']]))
            for entry in coco['images']
            if boxes[entry['id']]
        ]
        if not self.images:
            raise ValueError(f'{file}: expected boxes with a confidence from {min_confidence:g}, got none')
        self.pipeline = inferencer.pipeline

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[dict, dict]:
        path, boxes = self.images[index]
        item = self.pipeline(path)
        sample = item['data_samples']
        shares = np.divide(sample.img_shape[::-1], sample.ori_shape[::-1])
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1) * np.tile(shares, 2)
        labels = torch.from_numpy(boxes[:, 4]).long()
        return item, {'boxes': torch.from_numpy(corners).float(), 'labels': labels}


def build_detector(inferencer: LocalizationInferencer) -> RetinaNet:
    """Build a detector on the backbone of a localizer.

    Args:
        inferencer: The localizer.

    Returns:
        The detector of the same classes, for images of the same size.
    """
    if not torchvision.extension._has_ops():  # a torchvision built for another torch
        torchvision.ops.boxes.nms = lambda boxes, scores, iou: torch.from_numpy(
            suppress_overlapping(boxes.numpy(), scores.numpy(), iou)
        )
    item = inferencer.pipeline(np.zeros((64, 64, 3), np.uint8))
    batch = inferencer.model.data_preprocessor(default_collate([item]))
    features = inferencer.model.extract_feat(batch['inputs'], needs=()).feature_map
    side = batch['inputs'].shape[-1]
    sizes = tuple(int(side * share) for share in (0.15, 0.25, 0.4, 0.6, 0.85))
    return RetinaNet(
        FrozenFeatures(inferencer.model, features.shape[1]),
        num_classes=len(inferencer.classes),
        anchor_generator=AnchorGenerator((sizes,), ((0.5, 1.0, 2.0),)),
        # Images come normalised, and of the size that the backbone takes.
        min_size=side,
        max_size=side,
        size_divisible=1,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        score_thresh=0.02,
    ).to(next(inferencer.model.parameters()).device)


def prepared(inferencer: LocalizationInferencer, items: list[dict]) -> list[Tensor]:
    """Images as the backbone takes them."""
    return list(inferencer.model.data_preprocessor(default_collate(items))['inputs'])


def train(inferencer: LocalizationInferencer, data: ExportedBoxes, args: argparse.Namespace) -> RetinaNet:
    """Train a detector, with turned images as well.

    Args:
        inferencer: The localizer.
        data: Images with boxes.
        args: The options.

    Returns:
        The detector.
    """
    torch.manual_seed(args.seed)
    detector = build_detector(inferencer)
    loader = DataLoader(
        data, args.batch_size, shuffle=True, collate_fn=lambda pairs: tuple(zip(*pairs, strict=True))
    )
    steps = args.epochs * len(loader)
    parameters = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, args.lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, steps, pct_start=0.1)
    detector.train()
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for items, targets in track(loader, f'Epoch {epoch}'):
            images = prepared(inferencer, items)
            device, width = images[0].device, images[0].shape[-1]
            targets = [{key: value.to(device) for key, value in target.items()} for target in targets]
            if torch.rand(()) < 0.5:
                images = [image.flip(-1) for image in images]
                for target in targets:
                    target['boxes'][:, [0, 2]] = width - target['boxes'][:, [2, 0]]
            loss = sum(detector(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss)
        print(f'epoch {epoch}: loss {total / len(loader):.4f}', flush=True)
    return detector.eval()


@torch.no_grad()
def detect(
    detector: RetinaNet, inferencer: LocalizationInferencer, folder: Path, topk: int, batch_size: int
) -> list[ImageAnnotation]:
    """Detect objects in all images of a folder.

    Args:
        detector: The detector.
        inferencer: The localizer that it was built on.
        folder: The images.
        topk: Largest number of detections of an image.
        batch_size: Images at a time.

    Returns:
        The annotation of every image.
    """
    files = [Path(file) for file, _ in images_at(folder)]
    annotations = []
    for start in track(range(0, len(files), batch_size), 'Detecting'):
        items = [inferencer.pipeline(str(file)) for file in files[start : start + batch_size]]
        for item, found in zip(items, detector(prepared(inferencer, items)), strict=True):
            sample = item['data_samples']
            shares = np.divide(sample.ori_shape[::-1], sample.img_shape[::-1])
            boxes = (found['boxes'][:topk].cpu().double().numpy() * np.tile(shares, 2)).tolist()
            scores = found['scores'][:topk].tolist()
            path = files[len(annotations)].relative_to(folder).as_posix()
            size = sample.ori_shape[::-1]
            labels = found['labels'][:topk].tolist()
            number = len(annotations) + 1
            annotations.append(ImageAnnotation(number, path, path, size, labels, scores, boxes, scores))
    return annotations


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
    data = ExportedBoxes(args.boxes, args.folder, inferencer, args.min_confidence)
    print(f'{len(data)} images with boxes to train on', flush=True)
    detector = train(inferencer, data, args)
    for folder, out in zip(args.detect, args.out, strict=True):
        found = detect(detector, inferencer, folder, args.topk, args.batch_size)
        about = f'RetinaNet on {args.boxes.name}'
        annotations = Annotations(partial(iter, found), inferencer.classes, folder, about, PREDICTED)
        with whole_file(out) as part:
            FORMATS['coco'].write(annotations, part)
        print(f'{sum(len(image.boxes) for image in found)} boxes in {len(found)} images: {out.resolve()}')


if __name__ == '__main__':
    main()
