"""Head of FOUND: a 1x1 convolution on frozen keys that learns what is object (Simeoni et al., CVPR 2023)."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsol_mm.models.utils.precision import at_least_float32
from wsol_mm.models.weights.layouts import Layout
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from .graph_cut_head import FEATURES
from .guarded_head import GuardedHead

# The authors save the decoder alone.
FOUND = Layout(
    name='FOUND (decoder.weight, decoder.bias)',
    markers=(r'decoder\.weight', r'decoder\.bias'),
    rules=((r'decoder\.(weight|bias)', r'head.decoder.\1'),),
)


@MODELS.register_module()
class FOUNDHead(GuardedHead):
    """A decoder of D + 1 parameters, taught by pseudo masks and then by itself; classes by a linear probe.

    It ends in one of two states: at the size of the objects, or at nearly nothing, and which one depends on
    the seed where the pseudo masks are small. The mean areas of both are logged, and watched over: see
    :class:`GuardedHead`.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        pseudo_masks: Where pseudo masks come from: config of a :class:`PseudoMasks`.
        features: What is decoded: ``'keys'``, ``'queries'`` or ``'values'`` of the last layer, or its output
            ``'tokens'`` (after the final normalisation).
        mask_loss: Config of the loss, :class:`SelfTrainingLoss` as published if None.
        min_share: Share of the pseudo masks' area that the masks which the decoder teaches itself never fall
            below: the most probable patches of the batch are taken where those above 0.5 are fewer. It keeps
            a decoder from collapsing and leaves one that would not as it is. None lets it, as published.
        refinement: Config of what refines masks by the edges of images, such as :class:`BilateralRefinement`.
            None leaves them as they are, which is what cached features allow.
        **kwargs: Further arguments of :class:`ProbeHead`.

    Attributes:
        iteration: Number of training iterations so far.

    Raises:
        ValueError: If ``features`` or ``min_share`` has another value.
    """

    unit_maps = True
    official = OfficialCheckpoints('found', layouts=(FOUND,), dimensions={'head.decoder.weight': 4})
    area_names = ('area of the pseudo masks', 'predicted area')
    # Good trainings with pseudo masks of 0.14 to 0.3 ended at 0.75 to 1.4 of their area, useless ones at 0.07
    # to 0.61.
    least_share = 0.65
    expected_area = 'a predicted area of at least 0.65 of the area of the pseudo masks'
    failure = 'the decoder has collapsed'
    remedy = (
        "Larger pseudo masks help (target_area=0.3), mask_loss.first_targets='pseudo' without refinement, or "
        'min_share=0.65'
    )
    useless_map = 'empty: their box is the whole image'
    iteration: Tensor

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pseudo_masks: dict,
        features: str = 'keys',
        mask_loss: dict | None = None,
        min_share: float | None = None,
        refinement: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if min_share is not None and not 0 < min_share <= 1:
            raise ValueError(f'min_share: expected a number in (0, 1] or None, got {min_share}')
        if features not in FEATURES:
            raise ValueError(f'features: expected one of {FEATURES}, got {features!r}')
        self.features, self.min_share = features, min_share
        self.decoder = nn.Conv2d(in_channels, 1, 1)
        self.pseudo_masks = MODELS.build(pseudo_masks)
        pools_map = self.pooling == 'mean' and self.tokens == 'normed'
        # Of cached features something has to say what the grid is; the class attention does.
        says_grid = 'class_attention' in self.pseudo_masks.needs
        self.needs_feature_map = features == 'tokens' or pools_map or not says_grid
        self.mask_loss = MODELS.build({'type': 'SelfTrainingLoss', **(mask_loss or {})})
        self.refinement = None if refinement is None else MODELS.build(refinement)
        self.register_buffer('iteration', torch.zeros((), dtype=torch.int64))
        # The same number on the CPU: reading the buffer would make the device wait.
        self._steps: int | None = None
        self.register_load_state_dict_post_hook(_count_again)

    @property
    def _feature_needs(self) -> frozenset[str]:
        return frozenset() if self.features == 'tokens' else frozenset({self.features})

    @property
    def loss_needs(self) -> frozenset[str]:
        """What is classified and decoded, what makes pseudo masks, and the images that refine them."""
        images = frozenset() if self.refinement is None else frozenset({'pixels'})
        return self.predict_needs | self.pseudo_masks.needs | images

    @property
    def predict_needs(self) -> frozenset[str]:
        """What is classified, and what is decoded."""
        return self.logits_needs | self._feature_needs

    def guarded_from(self, max_iters: int) -> int:
        """Return the length of the first phase, in which the decoder follows what does not collapse."""
        return self.mask_loss.first_phase

    def restart(self) -> None:
        """Begin anew with other initial weights."""
        self.decoder.reset_parameters()
        super().restart()
        self.iteration.zero_()
        self._steps = 0

    def map_areas(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is above 0.5 beside the pseudo masks of training; empty maps say nothing."""
        areas = (maps > 0.5).float().mean(dim=(1, 2))
        return torch.stack([self.areas[0].to(areas).expand_as(areas), areas], dim=1), areas == 0

    def mask_logits(self, feats: Features) -> Tensor:
        """Return the logits of the foreground, (B, 1, h, w)."""
        if self.features == 'tokens':
            return self.decoder(feats.feature_map)
        return self.decoder(feats.require(self.features).transpose(1, 2).unflatten(2, feats.grid))

    def loss(self, feats: Features, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Return the losses of a batch; every call counts as an iteration.

        Args:
            feats: With what ``loss_needs`` names.
            data_samples: With ``gt_label``.
            **kwargs: Passed to the classification loss.

        Returns:
            ``loss_cls`` and the terms of the mask loss, which training adds up; ``pseudo_area`` and
            ``predicted_area``, mean shares of the image, for the log.

        Raises:
            ValueError: If masks are to be refined and there are no images.
        """
        losses = super().loss(feats, data_samples, **kwargs)
        # The log calls the sum `loss`.
        losses['loss_cls'] = losses.pop('loss')
        return losses | self.mask_losses(feats, data_samples)

    # Its count of iterations would have torch.compile make another program in every step.
    @torch.compiler.disable
    def mask_losses(self, feats: Features, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the terms of the decoder, see :meth:`loss`; it needs no labels."""
        logits = self.mask_logits(feats)[:, 0]
        steps = int(self.iteration) if self._steps is None else self._steps
        with torch.no_grad():
            own = at_least_float32(logits).sigmoid() > 0.5
            pseudo = self.pseudo_masks(feats, data_samples)
            areas = torch.stack([masks.float().mean() for masks in (pseudo, own)])
            if self.min_share is not None:
                own |= logits > self._largest(logits, self.min_share * areas[0])
            # The solver is slow: it runs for the masks that this iteration follows.
            if self.mask_loss.is_first(steps):
                pseudo = self._refined(pseudo, feats)
            refined = self._refined(own, feats) if self.mask_loss.needs_refined(steps) else None
            self._keep_areas(areas)
            self.iteration += 1
        self._steps = steps + 1
        losses = self.mask_loss(logits, steps, pseudo, own, refined)
        return losses | {'pseudo_area': areas[0], 'predicted_area': areas[1]}

    @staticmethod
    def _largest(logits: Tensor, share: Tensor) -> Tensor:
        """Return the value above which a share of all logits lies; on the device, where it does not wait."""
        ordered = logits.flatten().sort(descending=True).values
        return ordered.take((share * len(ordered)).long().clamp(max=len(ordered) - 1))

    def _refined(self, masks: Tensor, feats: Features) -> Tensor:
        if self.refinement is None:
            return masks
        if 'pixels' not in feats.extras:
            raise ValueError(
                'refinement: expected None with cached features, which hold no images, got '
                f'{type(self.refinement).__name__}'
            )
        return self.refinement(masks, feats.extras['pixels'])[0]

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the probability of the foreground, (B, 1, h, w); ``labels`` are not used."""
        return at_least_float32(self.mask_logits(feats)).sigmoid()


def _count_again(head: FOUNDHead, incompatible_keys: Mapping) -> None:
    """Read the number of iterations from what was loaded."""
    head._steps = None
