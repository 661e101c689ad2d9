"""Head of LCTR: local continuity transformer (Chen et al., AAAI 2022)."""

from torch import Tensor, nn

from ...registry import MODELS
from ...structures import TokenFeatures
from ..layers import CueDigging, class_token_attention, relational_patch_maps
from .localization_head import LocalizationHead


@MODELS.register_module()
class LCTRHead(LocalizationHead):
    """Class maps by the cue digging module (CDM), coupled with the relational patch attention (RPAM).

    Patch features are damped where the class token looks, X * (1 - M) with M its attention averaged over
    heads and layers, and convolved; the result weighs the kernels of the CDM, which is applied to the
    undamped features. The logits are the mean of the class maps after 3x3 average pooling. Gradients flow
    through M. The localization map of class c is relu(Y[c]) times RPAM's map, averaged over the layers,
    without any normalisation before the product.

    Args:
        num_classes (int): Number of classes C.
        in_channels (int): Width D of the tokens.
        num_kernels (int): Number of kernels E of the CDM.
        kernel_init (str): Initial bound of the kernels, ``'reference'`` or ``'default'``; see
            :class:`CueDigging`.
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If ``num_kernels`` is not positive or ``kernel_init`` not one of the two.
    """

    loss_attention = 'class'
    logits_attention = 'class'
    predict_attention = 'propagated'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_kernels: int = 4,
        kernel_init: str = 'reference',
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.cue_conv = nn.Conv2d(in_channels, in_channels, kernel_size=3, padding=1)
        self.cdm = CueDigging(in_channels, num_classes, num_kernels, kernel_init=kernel_init)

    def reverse_attention(self, feats: TokenFeatures) -> Tensor:
        """Return 1 - M, (B, 1, h, w), in float32 or better: large where the class token does not look."""
        return 1 - class_token_attention(feats).mean(dim=1, keepdim=True)

    def cues(self, feats: TokenFeatures) -> Tensor:
        """Return the convolved, damped patch features, (B, D, h, w)."""
        reverse = self.reverse_attention(feats).to(feats.patch_map.dtype)
        return self.cue_conv(feats.patch_map * reverse)

    def routing(self, feats: TokenFeatures) -> Tensor:
        """Return the weights of the CDM's kernels, (B, E)."""
        return self.cdm.routing(self.cues(feats)) if feats.kernel_weights is None else feats.kernel_weights

    def prepare(self, feats: TokenFeatures) -> TokenFeatures:
        """Return the features with the weights of the CDM's kernels."""
        return feats._replace(kernel_weights=self.routing(feats))

    def forward(self, feats: TokenFeatures) -> Tensor:
        """Return the logits, (B, C), in training and at test time alike."""
        return self.cdm.pooled(feats.patch_map, self.routing(feats))

    def attention_map(self, feats: TokenFeatures) -> Tensor:
        """Return RPAM's map, averaged over the layers, (B, h, w)."""
        return relational_patch_maps(feats).mean(dim=1)

    def semantic_maps(self, feats: TokenFeatures, labels: Tensor) -> Tensor:
        """Return the positive part of the wanted classes' maps, (B, K, h, w)."""
        return self.cdm.class_maps(feats.patch_map, self.routing(feats), labels).relu()

    def localization_maps(self, feats: TokenFeatures, labels: Tensor) -> Tensor:
        """Return RPAM's map times the positive part of the wanted classes' maps, (B, K, h, w)."""
        return self.attention_map(feats)[:, None] * self.semantic_maps(feats, labels)
