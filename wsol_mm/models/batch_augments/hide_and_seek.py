"""Hide-and-Seek (HaS, Singh and Lee, ICCV 2017)."""

from wsol_mm.registry import BATCH_AUGMENTS

import torch
from torch import Tensor


@BATCH_AUGMENTS.register_module()
class HideAndSeek:
    """Hides random cells of every image: they get 0, which is the mean colour of normalised images.

    Args:
        grid_size: Side of a cell in pixels; the last cells of a row and a column may be smaller. With 0
            nothing is hidden.
        drop_rate: Probability that a cell is hidden.

    Raises:
        ValueError: If ``grid_size`` is negative or ``drop_rate`` not between 0 and 1.
    """

    def __init__(self, grid_size: int = 4, drop_rate: float = 0.5) -> None:
        if grid_size < 0:
            raise ValueError(f'grid_size: expected a number of pixels from 0, got {grid_size}')
        if not 0 <= drop_rate <= 1:
            raise ValueError(f'drop_rate: expected a number from 0 to 1, got {drop_rate}')
        self.grid_size, self.drop_rate = grid_size, drop_rate

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the number of cells in a column and in a row of an image."""
        return -(-height // self.grid_size), -(-width // self.grid_size)

    def hide(self, images: Tensor, draws: Tensor) -> Tensor:
        """Hide the cells whose draw is at most the drop rate.

        Args:
            images: (B, 3, H, W), changed in place.
            draws: A number from 0 to 1 for every cell, (B, gh, gw).

        Returns:
            ``images``.
        """
        hidden = draws <= self.drop_rate
        for axis in (1, 2):
            hidden = hidden.repeat_interleave(self.grid_size, dim=axis)
        height, width = images.shape[-2:]
        return images.masked_fill_(hidden[:, None, :height, :width], 0)

    def __call__(self, batch_inputs: Tensor, batch_score: Tensor) -> tuple[Tensor, Tensor]:
        """Hide cells of a batch.

        Args:
            batch_inputs: Normalised images (B, 3, H, W), changed in place.
            batch_score: One-hot labels (B, C), which stay.

        Returns:
            Images and labels, these in floating point.
        """
        if self.grid_size:
            shape = (len(batch_inputs), *self.grid(*batch_inputs.shape[-2:]))
            batch_inputs = self.hide(batch_inputs, torch.rand(shape, device=batch_inputs.device))
        return batch_inputs, batch_score.float()
