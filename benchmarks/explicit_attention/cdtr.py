"""CDTR: explicit CATR, a deformable convolution everywhere, two passes of CLIP (Chen et al., TPAMI 2025)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from wsol_mm.models.clip.loading import load_clip
from wsol_mm.models.localizers import ImageLocalizer

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .catr import ExplicitCATR
from .vit import NoExplicitForm


class DeformableConv(nn.Module):
    """SKI: 3x3 convolution whose taps are moved at every position.

    Args:
        num_classes: Channels of the maps that it reads and makes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(num_classes, 18, kernel_size=3, padding=1)
        self.deform_conv = nn.Conv2d(num_classes, num_classes, kernel_size=3, bias=False)

    def forward(self, maps: Tensor, guide: Tensor) -> Tensor:
        """Return (B, C, h, w) of maps and of what the offsets come from, both (B, C, h, w)."""
        height, width = maps.shape[-2:]
        offsets = self.conv_offset(guide).unflatten(1, (9, 2))
        rows = torch.arange(height, dtype=maps.dtype, device=maps.device)[:, None]
        columns = torch.arange(width, dtype=maps.dtype, device=maps.device)[None, :]
        result = 0
        for tap in range(9):
            y = rows + (tap // 3 - 1) + offsets[:, tap, 0]
            x = columns + (tap % 3 - 1) + offsets[:, tap, 1]
            # from pixels to [-1, 1] between the centres of the first and the last one
            places = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
            sampled = F.grid_sample(maps, places, padding_mode='zeros', align_corners=True)
            kernel = self.deform_conv.weight[:, :, tap // 3, tap % 3]
            result = result + torch.einsum('oc,bchw->bohw', kernel, sampled)
        return result


class SBASettings(NamedTuple):
    """Settings of the SBA.

    Attributes:
        clip_model: Of :func:`load_clip`.
        pretrained: Of :func:`load_clip`.
        prompts: One per class.
        by_label: Compare with the prompt of the label, not with that of the place in the batch.
        normalize_map: Scale the maps to [0, 1].
        weight: Of the loss.
    """

    clip_model: Any
    pretrained: str | None
    prompts: Sequence[str]
    by_label: bool
    normalize_map: bool
    weight: float


class ExplicitCDTR(ExplicitCATR, head='CDTRHead'):
    """CATR with the maps of the SKI, and the SBA as two passes of CLIP, prompts encoded in each.

    Args:
        sba: Of the SBA; None for none.
        **kwargs: Of :class:`ExplicitCATR`.
    """

    def __init__(self, sba: SBASettings | None = None, **kwargs: Any) -> None:
        super().__init__(num_losses=5, **kwargs)
        self.dnc_att_layer = DeformableConv(self.num_classes)
        self.sba = sba
        self._clip: list = []  # in a list, so that its weights are not this model's

    @classmethod
    def settings(cls, localizer: ImageLocalizer) -> dict[str, Any]:
        """Return the settings of CATR and of the SBA, which may be off."""
        head, sba = localizer.head, None
        if head.ski is None:
            raise NoExplicitForm('expected a head with all parts but the SBA, got one without ski')
        if head.sba is not None:
            if head.sba.clip_statistics:
                raise NoExplicitForm(
                    "expected an SBA that gives CLIP the model's own images, got clip_statistics"
                )
            sba = SBASettings(
                clip_model=head.sba.clip.model,
                pretrained=head.sba.clip.pretrained,
                prompts=head.sba.prompts,
                by_label=head.sba.prompt_index == 'label',
                normalize_map=head.sba.normalize_map,
                weight=head.sba.loss_weight,
            )
        return {**super().settings(localizer), 'sba': sba}

    def plain_losses(self, images: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses before weighting, and the maps."""
        losses, maps = super().plain_losses(images, labels)
        integrated = self.dnc_att_layer(maps['csm_maps'], maps['head_maps'] * maps['attention'][:, None])
        losses['ski'] = F.cross_entropy(integrated.mean(dim=(2, 3)), labels)
        return losses, maps

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses, and that of the SBA."""
        losses, maps = self.plain_losses(images, labels)
        weighted = self.AutomaticWeightedLoss(losses)
        if self.sba is not None:
            own = torch.arange(len(labels), device=labels.device), labels
            fused = maps['attention'] * (maps['head_maps'].detach()[own] + maps['csm_maps'].detach()[own])
            weighted['sba'] = self.sba.weight * self.boost(images, fused, labels)
        return weighted

    def boost(self, images: Tensor, maps: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the SBA, of images (B, 3, H, W) and maps (B, h, w)."""
        if not self._clip:
            loaded = load_clip(self.sba.clip_model, self.sba.pretrained)
            self._clip += [loaded.network.requires_grad_(False).eval().to(images.device), loaded.tokenizer]
        network, tokenizer = self._clip
        if self.sba.normalize_map:
            low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
            maps = (maps - low) / (high - low + 1e-15)
        mask = F.interpolate(maps[:, None], images.shape[-2:], mode='bilinear', align_corners=True)
        numbers = labels.tolist() if self.sba.by_label else range(len(labels))
        tokens = tokenizer([self.sba.prompts[number] for number in numbers]).to(images.device)
        likeness = []
        for view in (mask * images, (1 - mask) * images):
            text = F.normalize(network.encode_text(tokens), dim=-1)
            features = F.normalize(
                network.encode_image(self.resized(view, network.visual.image_size)), dim=-1
            )
            likeness.append((features * text).sum(dim=-1).clamp(1e-4, 0.9999))
        return -torch.log(likeness[0] / (likeness[0] + likeness[1])).mean()

    @staticmethod
    def resized(images: Tensor, size: int | tuple[int, int]) -> Tensor:
        """Return images in the size that CLIP takes."""
        size = (size, size) if isinstance(size, int) else tuple(size)
        if tuple(images.shape[-2:]) == size:
            return images
        return F.interpolate(images, size, mode='bicubic', align_corners=False, antialias=True)
