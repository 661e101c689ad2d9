"""A localizer as one function from images to scores and maps, as it is deployed."""

from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.models.localizers.backbone_features import features_of

import torch
from torch import Tensor, nn

from .choices import MAP_CHOICES


class DeployedLocalizer(nn.Module):
    """An :class:`ImageLocalizer` without data samples: tensors in, a tuple of tensors out.

    The input are RGB images with values from 0 to 255, as an image library gives them after the resize of the
    test pipeline; the normalisation of the model's data preprocessor, and the order of the channels that it
    was trained with, are part of the function.

    Args:
        model: The trained model; it is used as it is, in evaluation mode.
        maps: Whose maps are given: ``'topk'`` of the best classes, with their indices; ``'labels'`` of
            classes that are a second input, any number of them.
        topk: How many classes ``'topk'`` means; at most the number of classes.

    Raises:
        ValueError: If ``maps`` or ``topk`` is not acceptable, the head's map serves all classes and ``maps``
            is not ``'topk'``, maps are refined, or the data preprocessor has no mean and standard deviation
            of three channels.
    """

    def __init__(self, model: ImageLocalizer, maps: str = 'topk', topk: int = 5) -> None:
        super().__init__()
        head, preprocessor = model.head, model.data_preprocessor
        if maps not in MAP_CHOICES:
            raise ValueError(f'maps: expected one of {MAP_CHOICES}, got {maps!r}')
        if maps != 'topk' and head.class_agnostic:
            raise ValueError(
                f"maps: expected 'topk', got {maps!r}: {type(head).__name__} has one map for all classes"
            )
        if not head.exportable:
            raise ValueError(
                'cam.type: expected a method that needs no gradients (CAM, ClassAttention, CoupledAttention) '
                f'for an export, got {type(head).__name__}'
            )
        if model.refinement is not None:
            raise ValueError(
                f'model.refinement: expected None for an export, of one view and without filters, got '
                f'{model.refinement}'
            )
        if not 1 <= topk <= head.num_classes:
            raise ValueError(
                f'topk: expected an integer from 1 to {head.num_classes}, the number of classes, got {topk}'
            )
        self.backbone, self.head = model.backbone, model.head
        self.inserts, self.stages = model.inserts, model.stages
        self.maps = maps
        self.topk = 1 if head.class_agnostic else topk
        # The preprocessor reads BGR, and turns it into RGB for a model that was trained with RGB.
        self.swap_channels = not preprocessor.to_rgb
        if not getattr(preprocessor, '_enable_normalize', False) or preprocessor.mean.numel() != 3:
            raise ValueError(
                'data_preprocessor: expected mean and std of three channels, to normalise images, got '
                f'{preprocessor.mean.numel() if hasattr(preprocessor, "mean") else "none"}'
            )
        # In the order of the channels of the input, which the preprocessor's statistics have after its swap.
        self.register_buffer('mean', preprocessor.mean.detach().clone().view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', preprocessor.std.detach().clone().view(1, 3, 1, 1), persistent=False)
        self.eval()

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs: ``images``, and ``labels`` where classes are chosen by the caller."""
        return ['images', 'labels'] if self.maps == 'labels' else ['images']

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: ``scores``, ``maps``, and ``map_labels`` of the best classes."""
        return ['scores', 'maps', 'map_labels'] if self.maps == 'topk' else ['scores', 'maps']

    def example_inputs(self, shape: tuple[int, int], batch: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Return images of noise, smooth at the scale of objects, and labels where they are an input.

        Args:
            shape: Height and width.
            batch: Number of images.
            seed: Of the random numbers.
        """
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(batch, 3, 7, 7, generator=generator)
        images = 255 * nn.functional.interpolate(coarse, shape, mode='bilinear', align_corners=False)
        if self.maps != 'labels':
            return (images,)
        labels = torch.randint(self.head.num_classes, (batch, self.topk), generator=generator)
        return images, labels

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        """Classify and localize.

        Args:
            images: RGB, 0 to 255, float32, (B, 3, H, W).
            labels: Classes whose maps are wanted, int64 (B, K); with ``maps='labels'``.

        Returns:
            Soft-max scores (B, C); maps on the patch grid (B, K, h, w), un-normalised, float32; with
            ``maps='topk'`` their classes (B, K), int64, best first; -1 for a map that serves all.
        """
        if self.swap_channels:
            images = images.flip(1)
        images = (images - self.mean) / self.std
        head = self.head
        feats = head.prepare(features_of(self.backbone, images, head.predict_needs, self.stages))
        logits = head(feats)
        scores = logits.float().softmax(dim=1)
        if self.maps == 'labels':
            return scores, head.localization_maps(feats, labels).float()
        best = logits.topk(self.topk, dim=1).indices
        maps = head.localization_maps(feats, best).float()
        return scores, maps, torch.full_like(best, -1) if head.class_agnostic else best
