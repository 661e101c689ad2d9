"""Head of CDTR: CLIP-driven transformer (Chen et al., TPAMI 2025)."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsol_mm.models.layers import SemanticKernelIntegrator
from wsol_mm.models.losses import AutomaticLossWeighting, SemanticBoostAdapter
from wsol_mm.models.utils.precision import at_least_float32, autocast_off
from wsol_mm.models.weights.layouts import Layout
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from .catr_head import CATR_RULES, CATR_VIT, DEFAULT_PART, CATRHead

_LOSS_WEIGHTS, _SKI_WEIGHT = 'head.loss_weighting.params', 'head.ski.weight'

# The module that its paper calls SKI is `dnc_att_layer` in the official code.
CDTR_VIT = Layout(
    name='CDTR (blocks.0.attn.qkv.weight, ..., att_layer.down_1.1.UConv.0.weight, ..., dnc_att_layer...)',
    markers=(*CATR_VIT.markers, r'dnc_att_layer\.deform_conv\.weight'),
    rules=(
        *CATR_RULES,
        (r'dnc_att_layer\.conv_offset\.(weight|bias)', r'head.ski.offset_conv.\1'),
        (r'dnc_att_layer\.deform_conv\.weight', _SKI_WEIGHT),
    ),
)


@MODELS.register_module()
class CDTRHead(CATRHead):
    """CATR with a deformable convolution on the CSM's maps (SKI) and CLIP as the teacher (SBA).

    Both serve training alone; logits and maps are those of :class:`CATRHead`. The SKI samples the CSM's maps
    at offsets that come from the class maps times the attention M, and has a classification loss of its own.
    The SBA multiplies the image by the localization map of its class: CLIP must find this foreground closer
    to the name of the class than the background. Its gradient reaches the model through M alone.

    Args:
        *args: See :class:`CATRHead`.
        ski: Options of :class:`SemanticKernelIntegrator`. None leaves the SKI out.
        sba: Options of :class:`SemanticBoostAdapter`: class names, prompts, CLIP and ``loss_weight``. None
            leaves the SBA out.
        **kwargs: See :class:`CATRHead`.

    Raises:
        ValueError: If the SKI is to work without the CSM.
    """

    official = OfficialCheckpoints(
        'cdtr', layouts=(CDTR_VIT,), dimensions={'head.semantic_conv.weight': 4, _SKI_WEIGHT: 4}
    )

    def __init__(
        self,
        *args: Any,
        ski: Mapping | None = DEFAULT_PART,
        sba: Mapping | None = DEFAULT_PART,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if ski is not None and self.csm is None:
            raise ValueError('ski: expected None where csm is None, whose maps it needs, got a config')
        self.ski = None if ski is None else SemanticKernelIntegrator(self.num_classes, **ski)
        self.sba = None if sba is None else SemanticBoostAdapter(self.num_classes, **sba)
        if ski is not None:
            self.weighted_losses.append('ski')
            if self.loss_weighting is not None:
                self.loss_weighting = AutomaticLossWeighting(len(self.weighted_losses))

    @property
    def loss_needs(self) -> frozenset[str]:
        """The SBA needs the images as well."""
        return super().loss_needs if self.sba is None else super().loss_needs | {'images'}

    def fit_pretrained(self, weights: dict[str, Tensor]) -> list[str]:
        """Let CATR's loss weights fill those of CDTR, where the loss of SKI, the last, keeps a fresh one."""
        theirs, own = weights.get(_LOSS_WEIGHTS), self.state_dict().get(_LOSS_WEIGHTS.removeprefix('head.'))
        lacks_ski = self.ski is not None and _SKI_WEIGHT not in weights
        if not lacks_ski or theirs is None or own is None or len(theirs) != len(own) - 1:
            return []
        weights[_LOSS_WEIGHTS] = torch.cat((theirs, own[-1:]))
        return [f'{_LOSS_WEIGHTS}[{len(theirs)}]']

    def raw_losses(self, feats: Features, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch without their weights, scalars.

        Args:
            feats: With ``class_attention``, and ``'images'`` if the SBA is on.
            data_samples: With ``gt_label``.

        Returns:
            Those of :class:`CATRHead`, ``ski`` and ``sba``.
        """
        head_maps = self.semantic_conv(feats.feature_map)
        losses = self.classification_losses(head_maps.mean(dim=(2, 3)), data_samples)
        rows = self.attention_rows(feats)
        decoded = None
        if self.csm is not None:
            decoded = self.csm(rows)
            losses['csm'] = self.cross_entropy(self.csm.pooled(decoded), data_samples)
        losses |= self.constraint_losses(feats, rows)
        if self.ski is not None:
            losses['ski'] = self.cross_entropy(
                self.integrated_logits(feats, head_maps, decoded), data_samples
            )
        if self.sba is not None:
            labels = torch.cat([sample.gt_label for sample in data_samples])
            maps = self.object_maps(feats, head_maps, decoded, labels)
            losses['sba'] = self.sba(feats.require('images'), maps, labels)
        return losses

    def integrated_logits(self, feats: Features, head_maps: Tensor, decoded: Tensor) -> Tensor:
        """Return the logits of the SKI, (B, C).

        The spatial mean of the deformable convolution is linear in the CSM's maps, as those are in the
        decoder's: it is taken before the CSM's classifier, of nine numbers per channel.
        """
        assert self.ski is not None
        assert self.csm is not None
        offsets = self.ski.offsets(head_maps, self.attention_map(feats))
        with autocast_off(decoded):
            decoded = at_least_float32(decoded)
            means = decoded.flatten(2) @ self.ski.sampling_weights(offsets).to(decoded.dtype)
        return self.ski.pooled_from(self.csm.classify(means))

    def object_maps(
        self, feats: Features, head_maps: Tensor, decoded: Tensor | None, labels: Tensor
    ) -> Tensor:
        """Return the localization maps of the labels (B), (B, h, w), with the gradient of M alone."""
        wanted = labels.reshape(-1, 1)
        places = wanted[:, :, None, None].expand(-1, -1, *head_maps.shape[-2:])
        maps = at_least_float32(head_maps.detach().gather(1, places))
        if self.csm is not None:
            with torch.no_grad():
                maps = maps + self.csm.class_maps(decoded, wanted)
        return self.attention_map(feats) * maps.squeeze(1)

    def weigh(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses under their names in training, beside the unweighted values."""
        losses = super().weigh(raw)
        if self.sba is not None:
            losses['loss_sba'] = self.sba.loss_weight * raw['sba']
        return losses
