"""The test pipeline of a config, fitted to images of which nothing but the pixels is known."""

from collections.abc import Sequence

from wsol_mm.datasets.image_pipeline import has_loader, image_fields, run_transforms
from wsol_mm.evaluation.functional.image_content import shows_nothing
from wsol_mm.registry import TRANSFORMS
from wsol_mm.structures import CENTER_CROP

import cv2
import numpy as np
from mmengine.config import Config

_LOADERS = ('LoadImageWithPillow', 'LoadImageFromFile')
_CROPS = ('CenterCrop', 'TenCrop')
_RESIZES = ('Resize', 'ResizeEdge')
#: Needs masks of the data set.
_GROUND_TRUTH = ('LoadLocalizationMask',)


def configured_transforms(cfg: Config) -> list[dict]:
    """Return the configs of the test transforms, without those that load ground truth.

    Raises:
        ValueError: If the config has no test pipeline.
    """
    loader = cfg.get('test_dataloader') or {}
    transforms = (loader.get('dataset') or {}).get('pipeline')
    if not transforms:
        raise ValueError(
            'test_dataloader.dataset.pipeline: expected transforms, which say how images are read, got none'
        )
    return [dict(transform) for transform in transforms if _name(transform) not in _GROUND_TRUTH]


def whole_image_transforms(transforms: Sequence[dict]) -> list[dict]:
    """Change test transforms so that the network sees the whole image, as a viewer shows it.

    A central crop (or ten crops) is replaced by squashing the image to the size of the crop, with the
    interpolation of the pipeline's own resize. The EXIF orientation is applied, as annotation tools and
    detectors do; data sets with published boxes ignore it.

    Args:
        transforms: Configs of transforms.

    Returns:
        The changed configs.

    Raises:
        ValueError: If there is a crop, but not exactly one resize before it.
    """
    crops = [transform for transform in transforms if _name(transform) in _CROPS]
    if len(crops) > 1:
        raise ValueError(f'test pipeline: expected at most one of {_CROPS}, got {len(crops)}')
    changed = []
    resizes = 0
    for transform in transforms:
        if _name(transform) in _LOADERS:
            kept = {key: transform[key] for key in ('white', 'background') if key in transform}
            backend_args = transform.get('backend_args')
            transform = dict(type='LoadImageWithPillow', apply_exif=True, **kept, backend_args=backend_args)
        elif crops and _name(transform) in _RESIZES:
            resizes += 1
            kept = {key: transform[key] for key in ('interpolation', 'backend') if key in transform}
            transform = dict(type='Resize', scale=_width_and_height(crops[0]['crop_size']), **kept)
        elif _name(transform) in _CROPS:
            continue
        changed.append(transform)
    if crops and resizes != 1:
        raise ValueError(
            f'test pipeline: expected one of {_RESIZES} before {_name(crops[0])}, to squash whole images to '
            f'the size of the crop, got {resizes}'
        )
    return changed


class InferencePipeline:
    """Turns a path or an array into the model's input.

    Args:
        transforms: Configs of the test transforms, the loader among them.

    Raises:
        ValueError: If no transform loads an image.
    """

    def __init__(self, transforms: Sequence[dict]) -> None:
        self.transforms = [TRANSFORMS.build(dict(transform)) for transform in transforms]
        if not has_loader(self.transforms):
            names = [_name(transform) for transform in transforms]
            raise ValueError(f'test pipeline: expected one of {_LOADERS}, which load an image, got {names}')

    def __call__(self, image: str | np.ndarray, label: int | None = None) -> dict:
        """Prepare one image.

        Args:
            image: Path, or BGR image (H, W, 3), uint8.
            label: Class whose box is wanted.

        Returns:
            ``inputs`` and ``data_samples``, as from a data set. The latter also say in ``shows_nothing``
            whether the image is of one colour, or noise.

        Raises:
            UnreadableImage: If the file is missing or does not decode.
            ValueError: If the array is no colour image.
        """
        item = _array_fields(image) if isinstance(image, np.ndarray) else {'img_path': image}
        packed = run_transforms(self.transforms, item if label is None else {**item, 'gt_label': label})
        pixels = packed['inputs'].numpy()
        seen = cv2.merge(list(pixels if pixels.ndim == 3 else pixels[CENTER_CROP]))
        packed['data_samples'].set_metainfo({'shows_nothing': shows_nothing(seen)})
        return packed


def _array_fields(image: np.ndarray) -> dict:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            f'image array: expected a BGR image (H, W, 3) of uint8, got {image.shape} of {image.dtype}'
        )
    return image_fields(image)


def _name(transform: dict) -> str:
    return str(transform['type']).rpartition('.')[2]


def _width_and_height(crop_size: int | Sequence[int]) -> tuple[int, int]:
    width, height = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    return width, height
