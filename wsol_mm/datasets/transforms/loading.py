"""Loads images as the published evaluators do, and masks in the frame of the evaluation."""

from wsol_mm.datasets.dataset_problems import DatasetError
from wsol_mm.datasets.image_pipeline import image_fields
from wsol_mm.datasets.readers.image_files import open_image, rgb_image
from wsol_mm.evaluation.functional.masks import IGNORED, rasterize_masks
from wsol_mm.registry import TRANSFORMS

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from PIL import ImageOps


@TRANSFORMS.register_module()
class LoadImageWithPillow(LoadImageFromFile):
    """Load an image exactly as ``Image.open(path).convert('RGB')``, in BGR order.

    Except that grey images with 16 bits keep their upper 8 (see :func:`rgb_image`).

    mmcv's ``LoadImageFromFile`` with the Pillow backend gives the same pixels for all but grey images with
    alpha, but hands on a reversed view, and the Pillow resize after it then takes half as long again to copy
    it (0.3 ms of 1.4 ms per image of 376x256 pixels). Its OpenCV backend gives the same pixels for colour and
    grey JPEG files, but others for CMYK and 16-bit files, and cannot tell a damaged JPEG file from a good
    one.

    **Required keys:** ``img_path``. **Added keys:** ``img``, uint8 (H, W, 3) BGR, contiguous; ``img_shape``
    and ``ori_shape``, (H, W); ``apply_exif``, for code that reads the image again.

    Args:
        apply_exif: Turn the image as its EXIF orientation says. The published evaluators do not.
        backend_args: File backend of MMEngine; None for local files.
    """

    def __init__(self, apply_exif: bool = False, *, backend_args: dict | None = None) -> None:
        super().__init__(imdecode_backend='pillow', backend_args=backend_args)
        self.apply_exif = apply_exif

    def transform(self, results: dict) -> dict:
        """Load the image.

        Args:
            results: The item.

        Returns:
            The item with the image.

        Raises:
            UnreadableImage: If the file is missing or does not decode.
        """
        with open_image(results['img_path'], self.backend_args) as image:
            if self.apply_exif:
                image = ImageOps.exif_transpose(image)
            img = cv2.cvtColor(np.asarray(rgb_image(image)), cv2.COLOR_RGB2BGR)
        return {**results, **image_fields(img), 'apply_exif': self.apply_exif}

    def __repr__(self) -> str:
        return f'{type(self).__name__}(apply_exif={self.apply_exif}, backend_args={self.backend_args})'


@TRANSFORMS.register_module()
class LoadLocalizationMask(BaseTransform):
    """Load the instance masks of an image into one map in the frame of the evaluation.

    Every mask is read as 8-bit grey and resized to the frame by nearest neighbour, whatever its own size (see
    ``wsol_mm.evaluation.functional.masks.rasterize_masks``). To be put after the resize of the image, which
    must be direct: the protocol of PxAP (Choe et al., CVPR 2020) knows no crop.

    **Required keys:** ``mask_paths``, ``ignore_path`` (may be None), ``img_shape``, ``ori_shape``. **Added
    key:** ``gt_mask``, uint8 (h, w): 1 object, 255 ignored and not object, 0 background.

    Args:
        size: Frame in pixels, one side of a square or (width, height). The default is the frame of PxAP's
            protocol at any network input (``PixelAveragePrecision``); None is the size of the network input,
            for a protocol with ``frame_size=None``.

    Raises:
        ValueError: If ``size`` is not as said.
    """

    def __init__(self, size: int | tuple[int, int] | None = 224) -> None:
        sides = (size, size) if isinstance(size, int) else size
        if sides is not None and (
            len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides)
        ):
            raise ValueError(
                f'size: expected an integer from 1, a (width, height) of such, or None, got {size!r}'
            )
        self.size: tuple[int, int] | None = None if sides is None else (sides[0], sides[1])

    def transform(self, results: dict) -> dict:
        """Load the masks.

        Args:
            results: The item.

        Returns:
            The item with ``gt_mask``.

        Raises:
            DatasetError: If a mask file is missing or does not decode.
            ValueError: If the item has no masks, or the image has been cropped.
        """
        if not results.get('mask_paths'):
            raise ValueError(
                f'LoadLocalizationMask: {results.get("img_path")}: expected `mask_paths`, got none. Data '
                'sets with masks give them, such as WSOLMetadataDataset with mask files in localization.txt'
            )
        height, width = results['img_shape'][:2]
        frame: tuple[int, int] = (width, height) if self.size is None else self.size
        full_height, full_width = results['ori_shape'][:2]
        scale_w, scale_h = results.get('scale_factor', (1.0, 1.0))
        if (round(full_width * scale_w), round(full_height * scale_h)) != (width, height):
            raise ValueError(
                f'LoadLocalizationMask: {results.get("img_path")}: expected a pipeline that resizes and does '
                f'not crop, got {width}x{height} pixels of {full_width}x{full_height}, scaled by '
                f'{scale_w:g}, {scale_h:g} (width x height)'
            )
        try:
            masks = [_read_grey(path) for path in results['mask_paths']]
            ignore = [_read_grey(results['ignore_path'])] if results.get('ignore_path') else None
        except DatasetError:
            if 'load_error' not in results:
                raise
            # a stand-in for an item that cannot be used (see LocalizationDataset): no pixel of it counts
            results['gt_mask'] = np.full(frame[::-1], IGNORED, np.uint8)
        else:
            results['gt_mask'] = rasterize_masks(masks, ignore, frame)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size})'


def _read_grey(path: str) -> np.ndarray:
    mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DatasetError(f'{path}: expected an image file as mask, got none that decodes')
    return mask
