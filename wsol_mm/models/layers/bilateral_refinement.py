"""Masks on the grid, refined by the edges of their images."""

from wsol_mm.evaluation.functional.bilateral_solver import refine_mask
from wsol_mm.registry import MODELS

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@MODELS.register_module()
class BilateralRefinement(nn.Module):
    """Fit masks to the edges of images, and bring them back to the grid (docs/specifications/found.md, 5).

    A cell of which the refined mask touches any part that bilinear interpolation looks at becomes object. A
    mask that the solver changes too much stays as it is. The solver runs on the CPU.

    Args:
        sigma_spatial: See :func:`~wsol_mm.evaluation.functional.bilateral_solver`.
        sigma_luma: See there.
        sigma_chroma: See there.
        min_iou: Overlap with the given mask above which the refined one counts.
    """

    def __init__(
        self,
        sigma_spatial: float = 16,
        sigma_luma: float = 16,
        sigma_chroma: float = 8,
        min_iou: float = 0.5,
    ) -> None:
        super().__init__()
        self.sigmas = (sigma_spatial, sigma_luma, sigma_chroma)
        self.min_iou = min_iou

    def forward(self, masks: Tensor, pixels: Tensor) -> tuple[Tensor, int]:
        """Refine masks.

        Args:
            masks: (B, h, w), bool.
            pixels: RGB images (B, 3, H, W), 0..255; fractions are cut off, as in the reference.

        Returns:
            The masks (B, h, w), bool, and how many of them the solver changed.
        """
        given = masks.cpu().numpy()
        images = pixels.clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        refined = [
            refine_mask(mask, image, *self.sigmas, min_iou=self.min_iou)
            for mask, image in zip(given, images, strict=True)
        ]
        kept = [
            mask if better is None else _on_grid(better, mask.shape)
            for mask, better in zip(given, refined, strict=True)
        ]
        count = sum(better is not None for better in refined)
        return torch.from_numpy(np.stack(kept)).to(masks.device), count


def _on_grid(mask: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    enlarged = torch.from_numpy(mask).float()[None, None]
    return F.interpolate(enlarged, grid, mode='bilinear', align_corners=False)[0, 0].numpy() > 0
