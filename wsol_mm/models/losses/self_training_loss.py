"""A decoder that first follows pseudo masks and then itself (FOUND)."""

from wsol_mm.models.utils.precision import at_least_float32
from wsol_mm.registry import MODELS

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

#: What the first phase follows beside the pseudo masks.
FIRST_TARGETS = ('pseudo+refined', 'pseudo')


@MODELS.register_module()
class SelfTrainingLoss(nn.Module):
    """Binary cross-entropy with pseudo masks, then with the decoder's own masks, plain and refined.

    Args:
        first_phase: Iterations that follow the pseudo masks; what comes after follows the decoder alone.
        first_targets: ``'pseudo+refined'``, as published, or ``'pseudo'``: without the decoder's own masks in
            the first phase. Where these are not refined they let a decoder with small pseudo masks collapse.
        pseudo_weight: Weight of the pseudo masks, in the first phase.
        refined_weight: Weight of the decoder's own masks, refined.
        self_weight: Weight of the same as they are, in the second phase.

    Raises:
        ValueError: If ``first_targets`` has another value or ``first_phase`` is negative.
    """

    def __init__(
        self,
        first_phase: int = 100,
        first_targets: str = 'pseudo+refined',
        pseudo_weight: float = 1.0,
        refined_weight: float = 1.5,
        self_weight: float = 4.0,
    ) -> None:
        super().__init__()
        if first_targets not in FIRST_TARGETS:
            raise ValueError(f'first_targets: expected one of {FIRST_TARGETS}, got {first_targets!r}')
        if first_phase < 0:
            raise ValueError(f'first_phase: expected an integer from 0, got {first_phase}')
        self.first_phase, self.first_targets = first_phase, first_targets
        self.pseudo_weight, self.refined_weight = pseudo_weight, refined_weight
        self.self_weight = self_weight

    def is_first(self, iteration: int) -> bool:
        """Return whether an iteration, counted from 0, follows the pseudo masks."""
        return iteration < self.first_phase

    def needs_refined(self, iteration: int) -> bool:
        """Return whether an iteration needs the decoder's own masks, refined."""
        return not self.is_first(iteration) or self.first_targets == 'pseudo+refined'

    def forward(
        self, logits: Tensor, iteration: int, pseudo: Tensor, own: Tensor, refined: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the terms of an iteration.

        Args:
            logits: Of the decoder, (B, h, w).
            iteration: Counted from 0.
            pseudo: Pseudo masks, (B, h, w), bool.
            own: The decoder's masks, (B, h, w), bool.
            refined: The same, refined; None where :meth:`needs_refined` is False.

        Returns:
            ``loss_refined``, in the first phase ``loss_pseudo``, in the second ``loss_self``; means over all
            patches of the batch, weighted.
        """
        logits = at_least_float32(logits)
        terms = {'loss_refined': (self.refined_weight, refined)} if self.needs_refined(iteration) else {}
        if self.is_first(iteration):
            terms['loss_pseudo'] = (self.pseudo_weight, pseudo)
        else:
            terms['loss_self'] = (self.self_weight, own)
        return {
            name: weight * F.binary_cross_entropy_with_logits(logits, masks.to(logits))
            for name, (weight, masks) in terms.items()
            if masks is not None
        }
