"""Loads images as the published evaluators do, and masks in the frame of the evaluation."""

import logging
from collections.abc import Sequence
from typing import Any

from wsol_mm.datasets.dataset_problems import DatasetError
from wsol_mm.datasets.image_pipeline import image_fields
from wsol_mm.datasets.readers.image_files import (
    WHITE,
    doubt_about_pixels,
    open_image,
    rgb_image,
    upright,
)
from wsol_mm.evaluation.functional.masks import IGNORED, rasterize_masks
from wsol_mm.registry import TRANSFORMS

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.logging import print_log
from PIL.Image import Image

# What has been said of some image in this process, and would be of many.
_SAID: set[str] = set()


@TRANSFORMS.register_module()
class LoadImageWithPillow(LoadImageFromFile):
    """Load an image exactly as ``Image.open(path).convert('RGB')``, in BGR order.

    Except that grey images with 16 bits keep their upper 8 (see :func:`rgb_image`). The first image of each
    process that a viewer shows in other colours, because it is transparent or has 12 bits, is named in the
    log; the arguments ``background`` and ``white`` are for these.

    mmcv's ``LoadImageFromFile`` with the Pillow backend gives the same pixels for all but grey images with
    alpha, but hands on a reversed view, and the Pillow resize after it then takes half as long again to copy
    it (0.3 ms of 1.4 ms per image of 376x256 pixels). Its OpenCV backend gives the same pixels for colour and
    grey JPEG files, but others for CMYK and 16-bit files, and cannot tell a damaged JPEG file from a good
    one.

    **Required keys:** ``img_path``. **Added keys:** ``img``, uint8 (H, W, 3) BGR, contiguous; ``img_shape``
    and ``ori_shape``, (H, W); ``apply_exif`` and, where they are given, ``white`` and ``background``, for
    code that reads the image again.

    Args:
        apply_exif: Turn the image as its EXIF orientation says. The published evaluators do not.
        white: Value that becomes 255 in grey images of more than 8 bits, as do those above it: 4095 for
            pictures of 12 bits, 65535 for those of 16.
        background: Colour (red, green, blue) on which images with transparency are put; None to leave the
            transparency out.
        backend_args: File backend of MMEngine; None for local files.

    Raises:
        ValueError: If ``white`` or ``background`` is not as said.
    """

    def __init__(
        self,
        apply_exif: bool = False,
        white: int = WHITE,
        background: Sequence[int] | None = None,
        *,
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(imdecode_backend='pillow', backend_args=backend_args)
        if not isinstance(white, int) or not 0 < white <= WHITE:
            raise ValueError(f'white: expected an integer from 1 to {WHITE}, got {white!r}')
        if background is not None and (
            not isinstance(background, Sequence)
            or len(background) != 3
            or any(not isinstance(value, int) or not 0 <= value <= 255 for value in background)
        ):
            raise ValueError(f'background: expected 3 integers from 0 to 255, or None, got {background!r}')
        self.apply_exif = apply_exif
        self.white = white
        self.background = None if background is None else tuple(background)

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
            self._say_doubts(image, results['img_path'])
            image = upright(image) if self.apply_exif else image
            img = cv2.cvtColor(np.asarray(rgb_image(image, **self._colours)), cv2.COLOR_RGB2BGR)
        return {**results, **image_fields(img), 'apply_exif': self.apply_exif, **self._colours}

    @property
    def _colours(self) -> dict[str, Any]:
        """What is not as usual of how pixels become colours."""
        white = {} if self.white == WHITE else {'white': self.white}
        return white if self.background is None else {**white, 'background': self.background}

    def _say_doubts(self, image: Image, path: str) -> None:
        doubt = doubt_about_pixels(image, **self._colours)
        kind = 'none' if doubt is None else doubt.partition(',')[0]
        if doubt is not None and kind not in _SAID:
            _SAID.add(kind)
            print_log(f'{path}: {doubt} (said of the first such image)', 'current', logging.WARNING)

    def __repr__(self) -> str:
        colours = ''.join(f'{name}={value}, ' for name, value in self._colours.items())
        return (
            f'{type(self).__name__}(apply_exif={self.apply_exif}, {colours}backend_args={self.backend_args})'
        )


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
