"""Edge-aware filters that work on the CPU, image by image: for comparison with the guided filter."""

from abc import abstractmethod

from wsol_mm.evaluation.functional.bilateral_solver import bilateral_solver
from wsol_mm.registry import MODELS

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

#: Of the mixture that GrabCut fits to either side, each of which needs a pixel.
_COLOURS = 5


class ImageFilter(nn.Module):
    """Base of filters of one image at a time."""

    def forward(self, maps: Tensor, pixels: Tensor) -> Tensor:
        """Filter maps.

        Args:
            maps: (B, K, H, W), float32, in 0..1.
            pixels: RGB images (B, 3, H, W), 0..255; fractions are rounded.

        Returns:
            (B, K, H, W).
        """
        images = pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        given = maps.cpu().numpy()
        filtered = [
            np.stack([self.filter(one, image) if np.isfinite(one).all() else one for one in of_image])
            for of_image, image in zip(given, images, strict=True)
        ]
        return torch.from_numpy(np.stack(filtered).astype(given.dtype)).to(maps.device)

    @abstractmethod
    def filter(self, score: NDArray[np.floating], image: NDArray[np.uint8]) -> NDArray[np.floating]:
        """Filter a map (H, W) in 0..1 by the edges of an RGB image (H, W, 3)."""


@MODELS.register_module()
class BilateralSolver(ImageFilter):
    """The map that is smooth where the image is, in a bilateral grid (docs/specifications/found.md, 4).

    Args:
        sigma_spatial: See :func:`~wsol_mm.evaluation.functional.bilateral_solver`.
        sigma_luma: See there.
        sigma_chroma: See there.
    """

    def __init__(self, sigma_spatial: float = 16, sigma_luma: float = 16, sigma_chroma: float = 8) -> None:
        super().__init__()
        self.sigmas = (sigma_spatial, sigma_luma, sigma_chroma)

    def __str__(self) -> str:
        return 'bilateral solver (sigmas {:g}, {:g}, {:g})'.format(*self.sigmas)

    def filter(self, score: NDArray[np.floating], image: NDArray[np.uint8]) -> NDArray[np.floating]:
        """Filter one map, see :class:`ImageFilter`."""
        return bilateral_solver(image, score, *self.sigmas).soft


@MODELS.register_module()
class GrabCut(ImageFilter):
    """The mean of the map and of the object that GrabCut finds in it (Rother, Kolmogorov, Blake, 2004).

    Args:
        threshold: Where the map is above, an object is probable at the start.
        sure: The share of this range and of the one below that is no longer in doubt: pixels within it of 0
            and of 1 stay what they are.
        iterations: Of GrabCut.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, threshold: float = 0.4, sure: float = 0.25, iterations: int = 3) -> None:
        super().__init__()
        for name, value in (('threshold', threshold), ('sure', sure)):
            if not 0 < value < 1:
                raise ValueError(f'{name}: expected a number between 0 and 1, got {value!r}')
        if iterations < 1:
            raise ValueError(f'iterations: expected an integer from 1, got {iterations!r}')
        self.threshold, self.sure, self.iterations = threshold, sure, iterations

    def __str__(self) -> str:
        return f'GrabCut (threshold {self.threshold:g}, {self.iterations} iterations)'

    def filter(self, score: NDArray[np.floating], image: NDArray[np.uint8]) -> NDArray[np.floating]:
        """Filter one map, see :class:`ImageFilter`."""
        low, high = self.sure * self.threshold, 1 - self.sure * (1 - self.threshold)
        labels = np.select(
            [score < low, score < self.threshold, score < high],
            [cv2.GC_BGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD],
            cv2.GC_FGD,
        ).astype(np.uint8)
        above = np.count_nonzero(score >= self.threshold)
        if min(above, score.size - above) < _COLOURS:
            return score
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)  # its k-means starts at random: the same map for the same image
        cv2.grabCut(image, labels, None, *models, self.iterations, cv2.GC_INIT_WITH_MASK)
        return (score + np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))) / 2
