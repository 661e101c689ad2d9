"""Ten crops of an image, for classification by their mean."""

from wsol_mm.registry import TRANSFORMS
from wsol_mm.structures import NUM_CROPS

import numpy as np
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class TenCrop(BaseTransform):
    """Cut ten crops out of an image: the four corners and the centre, of the image and of its mirror image.

    The order is that of torchvision's ``TenCrop``: top left, top right, bottom left, bottom right, centre,
    then the same five places of the mirror image. The crop of index 4 (``wsol_mm.structures.CENTER_CROP``) is
    the one that ``CenterCrop`` makes. A test transform, to be put last before ``PackLocalizationInputs``;
    ``ImageLocalizer`` takes the mean of the ten soft-max vectors for classification, and the maps from the
    centre crop alone, so that boxes are measured as with ``CenterCrop``.

    **Required key:** ``img``, (H, W, 3). **Modified keys:** ``img``, (10, 3, h, w), the layout that is
    packed; ``img_shape``, (h, w) of one crop.

    Args:
        crop_size: Side of a square, or (width, height), in pixels.

    Raises:
        ValueError: If ``crop_size`` is not as said.
    """

    def __init__(self, crop_size: int | tuple[int, int]) -> None:
        sides = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(
                f'crop_size: expected an integer from 1 or a (width, height) of such, got {crop_size!r}'
            )
        self.crop_size = sides

    def transform(self, results: dict) -> dict:
        """Cut the crops.

        Args:
            results: The item.

        Returns:
            The item with ten crops as ``img``.

        Raises:
            ValueError: If the image is no colour image or smaller than a crop.
        """
        image = results['img']
        width, height = self.crop_size
        if image.ndim != 3 or image.shape[2] != 3 or image.shape[0] < height or image.shape[1] < width:
            raise ValueError(
                f'TenCrop: {results.get("img_path")}: expected a colour image (H, W, 3) of at least '
                f'{width}x{height} pixels (width x height), got the shape {image.shape}'
            )
        bottom, right = image.shape[0] - height, image.shape[1] - width
        middle = (round(bottom / 2), round(right / 2))
        crops = np.empty((NUM_CROPS, 3, height, width), image.dtype)
        for i, (top, left) in enumerate([(0, 0), (0, right), (bottom, 0), (bottom, right), middle]):
            window = image[top : top + height, left : left + width].transpose(2, 0, 1)
            # the place (top, left) of the mirror image is (top, right - left) of the image
            mirrored = image[top : top + height, right - left : right - left + width, :].transpose(2, 0, 1)
            crops[i], crops[i + NUM_CROPS // 2] = window, mirrored[..., ::-1]
        results['img'] = crops
        results['img_shape'] = (height, width)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(crop_size={self.crop_size})'
