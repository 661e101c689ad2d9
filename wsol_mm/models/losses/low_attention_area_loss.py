"""Pushes the lowest values of an attention map towards zero."""

from wsol_mm.registry import MODELS

from torch import Tensor, nn


@MODELS.register_module()
class LowAttentionAreaLoss(nn.Module):
    """Sum over the images of the lowest values of their maps, over the number of positions (CATR, OCM).

    Of N positions those are kept whose value is at most the one of rank int(N * ratio), counted from 0:
    int(N * ratio) + 1 of them, more where values are equal. The rank has no gradient.

    The sum over the batch is the reference's: the loss grows with the batch of a process.

    Args:
        ratio: Share of the positions, in [0, 1).
        reference_batch: Take the mean over the batch times this number, which does not depend on the batch;
            the sum if None.

    Raises:
        ValueError: If ``ratio`` lies outside [0, 1) or ``reference_batch`` is not positive.
    """

    def __init__(self, ratio: float = 0.25, reference_batch: int | None = None) -> None:
        super().__init__()
        if not 0 <= ratio < 1:
            raise ValueError(f'ratio: expected a number in [0, 1), got {ratio}')
        if reference_batch is not None and reference_batch < 1:
            raise ValueError(f'reference_batch: expected an integer from 1, got {reference_batch}')
        self.ratio = ratio
        self.reference_batch = reference_batch

    def forward(self, maps: Tensor) -> Tensor:
        """Return the loss of attention maps (B, h, w), a scalar."""
        values = maps.flatten(1)
        count = values.shape[1]
        # Sorted: on a GPU kthvalue has no deterministic form.
        limits = values.detach().sort(dim=1).values[:, int(count * self.ratio), None]
        loss = values.masked_fill(values > limits, 0).sum() / count
        return loss if self.reference_batch is None else loss * (self.reference_batch / len(maps))
