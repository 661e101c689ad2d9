"""Head of LCTR: local continuity transformer (Chen et al., AAAI 2022)."""

from typing import Any

from wsol_mm.models.layers import CueDigging, class_token_attention, relational_patch_maps
from wsol_mm.models.weights.layouts import TIMM_VIT, Layout
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from torch import Tensor, nn

from .localization_head import LocalizationHead

LCTR_VIT = Layout(
    name='LCTR (blocks.0.attn.qkv.weight, ..., CDM.weight)',
    markers=(*TIMM_VIT.markers, r'CDM\.weight', r'conv3x3\.weight'),
    rules=(
        *TIMM_VIT.rules[:-1],  # it has no linear classifier
        (r'conv3x3\.(weight|bias)', r'head.cue_conv.\1'),
        (r'CDM\.(weight|bias)', r'head.cdm.\1'),
        (r'CDM\._routing_fn_two\.fc\.(weight|bias)', r'head.cdm.route_mean.\1'),
        (r'CDM\._routing_fn_two\.fc2\.(weight|bias)', r'head.cdm.route_max.\1'),
    ),
)


@MODELS.register_module()
class LCTRHead(LocalizationHead):
    """Class maps by the cue digging module (CDM), coupled with the relational patch attention (RPAM).

    Patch features are damped where the class token looks, X * (1 - M) with M its attention averaged over
    heads and layers, and convolved; the result weighs the kernels of the CDM, which is applied to the
    undamped features. The logits are the mean of the class maps after 3x3 average pooling. Gradients flow
    through M. The localization map of class c is relu(Y[c]) times RPAM's map, averaged over the layers,
    without any normalisation before the product. The backbone is a :class:`RelationalTransformer`.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        num_kernels: Number of kernels E of the CDM.
        kernel_init: Initial bound of the kernels, ``'reference'`` or ``'default'``; see :class:`CueDigging`.
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If ``num_kernels`` is not positive or ``kernel_init`` not one of the two.
    """

    loss_needs = frozenset({'class_attention'})
    logits_needs = frozenset({'class_attention'})
    predict_needs = frozenset({'class_attention', 'propagated'})
    official = OfficialCheckpoints('lctr', layouts=(LCTR_VIT,), dimensions={'head.cdm.weight': 5})

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_kernels: int = 4,
        kernel_init: str = 'reference',
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.cue_conv = nn.Conv2d(in_channels, in_channels, kernel_size=3, padding=1)
        self.cdm = CueDigging(in_channels, num_classes, num_kernels, kernel_init=kernel_init)

    def reverse_attention(self, feats: Features) -> Tensor:
        """Return 1 - M, (B, 1, h, w), in float32 or better: large where the class token does not look."""
        return 1 - class_token_attention(feats).mean(dim=1, keepdim=True)

    def cues(self, feats: Features) -> Tensor:
        """Return the convolved, damped patch features, (B, D, h, w)."""
        reverse = self.reverse_attention(feats).to(feats.feature_map.dtype)
        return self.cue_conv(feats.feature_map * reverse)

    def routing(self, feats: Features) -> Tensor:
        """Return the weights of the CDM's kernels, (B, E)."""
        prepared = feats.extras.get('kernel_weights')
        return self.cdm.routing(self.cues(feats)) if prepared is None else prepared

    def prepare(self, feats: Features) -> Features:
        """Return the features with the weights of the CDM's kernels."""
        return feats.with_extras(kernel_weights=self.routing(feats))

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C), in training and at test time alike."""
        return self.cdm.pooled(feats.feature_map, self.routing(feats))

    def attention_map(self, feats: Features) -> Tensor:
        """Return RPAM's map, averaged over the layers, (B, h, w)."""
        return relational_patch_maps(feats).mean(dim=1)

    def semantic_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the positive part of the wanted classes' maps, (B, K, h, w)."""
        return self.cdm.class_maps(feats.feature_map, self.routing(feats), labels).relu()

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return RPAM's map times the positive part of the wanted classes' maps, (B, K, h, w)."""
        return self.attention_map(feats)[:, None] * self.semantic_maps(feats, labels)
