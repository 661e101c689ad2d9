"""Keeps a class out of the background."""

from wsol_mm.models.utils.precision import at_least_float32
from wsol_mm.registry import MODELS

from torch import Tensor, nn

#: Added to the probability whose logarithm is taken: the term saturates at 16.1.
_EPS = 1e-7


@MODELS.register_module()
class AdversarialBackgroundLoss(nn.Module):
    """Mean of -log(1 - p), p the probability of an image's class in its background (TriLite).

    The soft-max comes first and 1 - p second, as in the reference, so that the loss and its gradient saturate
    where p is close to 1.

    Args:
        loss_weight: Factor.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits (B, C) of the background and labels (B), a scalar."""
        probabilities = at_least_float32(logits).softmax(dim=1).gather(1, labels[:, None])
        return -self.loss_weight * (1 - probabilities + _EPS).log().mean()
