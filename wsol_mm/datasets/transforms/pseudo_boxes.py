"""Loads boxes that another model has found in the training images."""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from wsol_mm.datasets.readers.list_files import finite_floats
from wsol_mm.registry import TRANSFORMS
from wsol_mm.utils.json_text import read_json

import numpy as np
from mmcv.transforms import BaseTransform

_ACCEPTED = 'COCO annotations with the lists images and annotations'
#: What `tools/review.py` says, under ``review``, of a box that a person has checked.
REVIEWED = ('accepted', 'corrected', 'drawn')


class PseudoBoxProblem(ValueError):
    """A file of boxes that cannot be used."""


#: Height and width in pixels; None where a file does not say it.
_Size = tuple[int, int] | None


class _Box(NamedTuple):
    score: float
    confidence: float | None
    corners: tuple[float, float, float, float]


@TRANSFORMS.register_module()
class LoadPseudoBox(BaseTransform):
    """Load the box of an image, for training by what another method has found (see :class:`PSOLHead`).

    To be put right behind the loading of the image: the box is in its pixels, under ``gt_bboxes``, the key
    that resizes, flips and crops of mmcv, and the random crops here, move with the image.

    **Required keys:** ``img_id``, ``img_shape``, ``ori_shape``. **Added keys:** ``gt_bboxes``, float64
    (1, 4); ``pseudo_box_weight``, 0 where the image is listed without a box.

    Args:
        source: COCO file: what ``tools/predict.py`` writes for the images of the data set, with paths
            relative to its image folder, or the export of a review of it. Of several boxes of an image that
            of the best class counts, and of these the most certain one. What a person has drawn, corrected or
            accepted is certain.
        min_confidence: Boxes of a lower confidence are not learnt; their images teach the classes alone.
        weighted: Whether a box counts, among those of its batch, as much as its confidence.

    Raises:
        ValueError: If ``min_confidence`` is not within 0 and 1.
    """

    def __init__(self, source: str, min_confidence: float = 0.0, weighted: bool = False) -> None:
        if not 0 <= min_confidence <= 1:
            raise ValueError(f'min_confidence: expected a number from 0 to 1, got {min_confidence!r}')
        self.source, self.min_confidence, self.weighted = source, min_confidence, weighted

    @cached_property
    def _boxes(self) -> dict[str, tuple[_Size, _Box | None]]:
        """By image, its size and its box; read at the first question."""
        return read_best_boxes(self.source)

    def transform(self, results: dict) -> dict:
        """Load the box.

        Args:
            results: The item.

        Returns:
            The item with ``gt_bboxes`` and ``pseudo_box_weight``.

        Raises:
            FileNotFoundError: If there is no such file.
            PseudoBoxProblem: If the file does not list the image, or with another size, or is not as said.
            ValueError: If the image is no longer as it was loaded.
        """
        if results['img_shape'][:2] != results['ori_shape'][:2] or {'scale_factor', 'flip'} & set(results):
            raise ValueError(
                f'LoadPseudoBox: {results["img_id"]}: expected the image as it was loaded, got one that was '
                'resized, cropped or flipped: this transform belongs right behind the loading'
            )
        if results['img_id'] not in self._boxes:
            raise PseudoBoxProblem(f'{self.source}: expected the image {results["img_id"]}, got none')
        size, box = self._boxes[results['img_id']]
        if size is not None and size != tuple(results['ori_shape'][:2]):
            height, width = results['ori_shape'][:2]
            raise PseudoBoxProblem(
                f'{self.source}: expected {results["img_id"]} with {width}x{height} pixels, as loaded here, '
                f'got {size[1]}x{size[0]}; predict.py turns images as EXIF says (apply_exif=True)'
            )
        weight = 0.0
        if box is not None:
            weight = 1.0
            if self.weighted or self.min_confidence:
                if box.confidence is None:
                    raise PseudoBoxProblem(
                        f'{self.source}: expected a confidence of the box of {results["img_id"]}, got none'
                    )
                certain = box.confidence >= self.min_confidence
                weight = (box.confidence if self.weighted else 1.0) if certain else 0.0
        corners = (0.0,) * 4 if box is None else box.corners
        results['gt_bboxes'] = np.array([corners], np.float64)
        results['pseudo_box_weight'] = weight
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(source={self.source!r}, min_confidence={self.min_confidence}, '
            f'weighted={self.weighted})'
        )


def read_best_boxes(path: str | Path) -> dict[str, tuple[_Size, _Box | None]]:
    """Read the best box of every image of a COCO file, x0 y0 x1 y1 in pixels; None where there is none.

    Args:
        path: The file.

    Returns:
        Sizes and boxes by ``file_name``.

    Raises:
        FileNotFoundError: If there is no such file.
        PseudoBoxProblem: If it is no such file; names the annotation.
    """
    try:
        content = read_json(path, _ACCEPTED)
        names = {image['id']: str(image['file_name']) for image in content['images']}
        sizes = {str(image['file_name']): _size(image) for image in content['images']}
        annotations = [*content['annotations']]
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise PseudoBoxProblem(f'{path}: expected {_ACCEPTED}, got another file ({error!r})') from error
    found: dict[str, _Box | None] = dict.fromkeys(names.values())
    for number, annotation in enumerate(annotations):
        try:
            name, box = names[annotation['image_id']], _parsed(annotation)
        except (KeyError, TypeError, ValueError) as error:
            raise PseudoBoxProblem(
                f'{path}, annotations[{number}]: expected image_id of an image and bbox [x, y, width, height]'
                f', got others ({error!r})'
            ) from error
        best = found[name]
        if best is None or _rank(box) > _rank(best):
            found[name] = box
    return {name: (sizes[name], box) for name, box in found.items()}


def _size(image: dict[str, Any]) -> _Size:
    known = 'height' in image and 'width' in image
    return (int(image['height']), int(image['width'])) if known else None


def _rank(box: _Box) -> tuple[float, float]:
    return box.score, -1.0 if box.confidence is None else box.confidence


def _parsed(annotation: dict[str, Any]) -> _Box:
    x, y, width, height = finite_floats([*annotation['bbox']])
    confidence = 1.0 if annotation.get('review') in REVIEWED else annotation.get('confidence')
    return _Box(
        float(annotation.get('score', 1.0)),
        None if confidence is None else float(confidence),
        (x, y, x + width, y + height),
    )
