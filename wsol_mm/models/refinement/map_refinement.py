"""What stands between the maps of a head and their boxes: views of the image, fused, and edge filters."""

from collections.abc import Sequence

from wsol_mm.models.layers.scaled_maps import scaled_or_zero
from wsol_mm.models.utils.precision import at_least_float32, autocast_off
from wsol_mm.registry import MODELS

import torch
from torch import Tensor, nn

from .resizing import resized


@MODELS.register_module()
class MapRefinement(nn.Module):
    """Fuses the maps of several views of an image, and filters them by its edges.

    It serves every head: a network sees the image at several sizes and mirrored, which is all that it needs
    to be able to do. Classes are ranked by the mean of the soft-max scores of the views.

    Args:
        sizes: Sides in pixels of the square views. Images should come at the largest: smaller views are made
            of them (bilinear, antialiased). None for one view, the image as it comes.
        flip: Whether every view is also seen mirrored.
        filters: Configs of filters of maps (B, K, H, W) by pixels, such as ``dict(type='GuidedFilter')``, in
            their order. The pixels have the size of the maps or, for filters of ``any_size``, of the images.
        map_size: Side of the fused maps where they are filtered. Without filters they stay on the finest grid
            of the views.
        image_size: Side of the images without refinement, where the test pipeline was enlarged for it: what
            :func:`~wsol_mm.utils.refinement_choice.use_refinement` goes back to. Nothing else reads it.

    Raises:
        ValueError: If a size is not positive or occurs twice, or nothing is asked for.
    """

    def __init__(
        self,
        sizes: Sequence[int] | None = None,
        flip: bool = False,
        filters: Sequence[dict] = (),
        map_size: int = 224,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        sizes = None if sizes is None else tuple(sizes)
        if sizes is not None and not (
            sizes and len(set(sizes)) == len(sizes) and all(isinstance(s, int) and s > 0 for s in sizes)
        ):
            raise ValueError(f'sizes: expected different integers from 1, or None, got {sizes}')
        if not (isinstance(map_size, int) and map_size > 0):
            raise ValueError(f'map_size: expected an integer from 1, got {map_size!r}')
        if sizes is None and not flip and not filters:
            raise ValueError('refinement: expected sizes, flip or filters, got none')
        self.sizes, self.flip, self.map_size, self.image_size = sizes, flip, map_size, image_size
        self.filters = nn.ModuleList(MODELS.build(settings) for settings in filters)

    def __str__(self) -> str:
        parts = [] if self.sizes is None else [f'views of {", ".join(map(str, self.sizes))} pixels']
        return ', '.join([*parts, *(['mirrored too'] if self.flip else []), *map(str, self.filters)])

    @property
    def num_views(self) -> int:
        """How often the network sees an image."""
        return len(self.sizes or (None,)) * (2 if self.flip else 1)

    def views(self, images: Tensor) -> list[Tensor]:
        """Return the views of images (B, C, H, W): by size, each followed by its mirror image.

        Raises:
            ValueError: If the images are smaller than the largest view.
        """
        sides = [tuple(images.shape[2:])] if self.sizes is None else [(size, size) for size in self.sizes]
        largest = max(sides)
        if min(images.shape[2:]) < min(largest):
            raise ValueError(
                f'refinement.sizes: expected images of at least {largest[1]}x{largest[0]}, the largest of '
                f'the views, got {images.shape[3]}x{images.shape[2]}'
            )
        seen = [resized(images, side, 'bilinear') for side in sides]
        return [view for one in seen for view in ((one, one.flip(3)) if self.flip else (one,))]

    def fuse(self, maps: Sequence[Tensor], pixels: Tensor | None, unit: bool) -> Tensor:
        """Fuse and filter the maps of the views.

        Args:
            maps: Of every view, (B, K, h, w), in the order of :meth:`views`.
            pixels: What filters go by: RGB images (B, 3, H, W), 0..255.
            unit: Whether maps are in 0..1 already, with the same meaning in every view. Others are scaled to
                it, each by itself: values of attention, for example, fall with the number of patches.

        Returns:
            (B, K, side, side), or on the finest grid of the views, in float32 or better.
        """
        # Covariances of colours do not survive half precision.
        with autocast_off(maps[0]):
            maps = [at_least_float32(one) for one in maps]
            return self._fused(maps, None if pixels is None else at_least_float32(pixels), unit)

    def _fused(self, maps: list[Tensor], pixels: Tensor | None, unit: bool) -> Tensor:
        if self.flip:
            maps = [one.flip(3) if i % 2 else one for i, one in enumerate(maps)]
        maps = [one if unit else scaled_or_zero(one) for one in maps]
        grid = max(tuple(one.shape[2:]) for one in maps)
        fused = torch.stack([resized(one, grid, 'bicubic') for one in maps]).mean(dim=0)
        if not self.filters:
            return fused
        assert pixels is not None
        side = (self.map_size, self.map_size)
        fused, small = resized(fused, side, 'bicubic'), resized(pixels, side, 'bilinear')
        filtered = fused
        for edge_filter in self.filters:
            any_size = getattr(edge_filter, 'any_size', False)
            filtered = edge_filter(filtered, pixels if any_size else small)
        # Rounding would give a map that says nothing a contrast, and a box.
        flat = torch.stack([one.amax((2, 3)) == one.amin((2, 3)) for one in maps]).all(dim=0)[..., None, None]
        return torch.where(flat, fused.mean((2, 3), keepdim=True), filtered)
