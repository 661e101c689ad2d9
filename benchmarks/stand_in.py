"""A network that sleeps and returns real maps, so that what goes on around it is measured without a GPU."""

import time
from collections.abc import Collection
from functools import cache

from wsol_mm.models.heads import LocalizationHead
from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.structures import Features

import cv2
import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

NUM_CLASSES = 1000
NUM_MAPS = 5
GRID = 14
#: Different predictions; a run repeats them.
POOL = 64


class Sleeper:
    """What sleeps as long as a network of the given speed computes.

    Args:
        images_per_second: The speed.

    Attributes:
        busy: Seconds in which it slept.
    """

    def __init__(self, images_per_second: float) -> None:
        self.seconds = 1 / images_per_second
        self.busy = 0.0

    def compute(self, number: int, since: float | None = None) -> None:
        """Sleep for so many images; less if the network has been at work since a moment."""
        start = time.perf_counter() if since is None else since
        time.sleep(max(0.0, start + self.seconds * number - time.perf_counter()))
        self.busy += time.perf_counter() - start


class OnDevice(BaseDataPreprocessor):
    """Leaves images as they are: a GPU would normalise them."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return a batch as it is."""
        return data


@cache
def prediction_pool() -> tuple[Tensor, Tensor]:
    """Make different predictions: their best classes (P, M), and the maps of these (P, M, h, w).

    The maps are noise, blurred more or less: from many regions to a few.
    """
    rng = np.random.default_rng(0)
    classes = np.stack([rng.permutation(NUM_CLASSES)[:NUM_MAPS] for _ in range(POOL)])
    maps = rng.standard_normal((POOL, NUM_MAPS, GRID, GRID)).astype(np.float32)
    for of_image in maps:
        side = int(rng.integers(0, 4)) * 2 + 1
        of_image[:] = [cv2.GaussianBlur(one, (side, side), 0) for one in of_image]
    return torch.from_numpy(classes), torch.from_numpy(maps)


class SleepingBackbone(nn.Module):
    """Takes predictions of the pool, of which the first pixel of an image chooses one, and sleeps.

    Args:
        images_per_second: Its speed.
    """

    gives: frozenset[str] = frozenset({'classes', 'logits'})

    def __init__(self, images_per_second: float) -> None:
        super().__init__()
        self.sleeper = Sleeper(images_per_second)
        self.classes, self.maps = prediction_pool()

    def forward(self, images: Tensor, needs: Collection[str] = ()) -> Features:
        """Return maps (B, M, h, w) as features of images (B, 3, H, W), their classes and logits."""
        start = time.perf_counter()
        chosen = images[:, 0, 0, 0].long() % POOL
        classes = self.classes[chosen]
        falling = torch.arange(NUM_MAPS, 0, -1.0).expand(len(images), -1)
        logits = torch.zeros(len(images), NUM_CLASSES).scatter_(1, classes, falling)
        feats = Features(self.maps[chosen], extras={'classes': classes, 'logits': logits})
        self.sleeper.compute(len(images), start)
        return feats


class PooledHead(LocalizationHead):
    """Takes what the backbone has chosen."""

    predict_needs = frozenset({'classes', 'logits'})

    def __init__(self) -> None:
        super().__init__(NUM_CLASSES, in_channels=NUM_MAPS)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C)."""
        return feats.require('logits')

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the maps of the classes (B, K), (B, K, h, w)."""
        places = (labels[:, :, None] == feats.require('classes')[:, None]).int().argmax(dim=2)
        return feats.feature_map[torch.arange(len(labels))[:, None], places]


def stand_in_localizer(images_per_second: float) -> ImageLocalizer:
    """Return a localizer, in evaluation mode, whose network sleeps."""
    backbone = SleepingBackbone(images_per_second)
    return ImageLocalizer(backbone, PooledHead(), data_preprocessor=OnDevice()).eval()
