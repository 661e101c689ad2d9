"""Accuracy of exported annotations (COCO) against the ground truth of a data set, without maps."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from wsol_mm.annotation_formats import FROM_FOLDER
from wsol_mm.datasets.readers.list_files import finite_floats

import numpy as np

from .functional.boxes import box_iou
from .image_names import NAMED, match_names

#: IoU levels of the report.
IOU_LEVELS = (0.3, 0.5, 0.7)


class Annotation(NamedTuple):
    """The box of an image that counts.

    Attributes:
        box: x0 y0 x1 y1, exclusive ends, in pixels of the original image.
        category: Name of its category.
    """

    box: tuple[float, float, float, float]
    category: str


def read_annotations(coco: Mapping[str, Any]) -> dict[str, Annotation | None]:
    """Read one box per image from COCO annotations: that of the best score, of equal ones the first.

    Args:
        coco: ``images`` (``id``, ``file_name``), ``annotations`` (``image_id``, ``category_id``, ``bbox`` as
            x, y, width and height, and maybe ``score``, 1 if it is missing) and ``categories`` (``id``,
            ``name``).

    Returns:
        The annotation of every file name; None where an image has none.

    Raises:
        ValueError: If a key is missing, an id unknown, two images share a file name, or a box is not four
            numbers.
    """
    keys = ('images', 'annotations', 'categories')
    missing = [key for key in keys if not isinstance(coco, Mapping) or key not in coco]
    if missing:
        raise ValueError(
            f'annotations: expected COCO annotations with {", ".join(keys)}, got none of {", ".join(missing)}'
        )
    for key in keys:
        if not isinstance(coco[key], list) or not all(isinstance(entry, Mapping) for entry in coco[key]):
            raise ValueError(f'{key}: expected a list of objects, got another value')
    try:
        names = {category['id']: category['name'] for category in coco['categories']}
        files = {image['id']: image['file_name'] for image in coco['images']}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'categories, images: expected an id and a name of each, got others ({error!r})'
        ) from error
    if len(set(files.values())) < len(coco['images']):
        raise ValueError('images: expected different ids and file names, got some more than once')
    best: dict[Any, tuple[float, Annotation]] = {}
    for number, entry in enumerate(coco['annotations']):
        place = f'annotations[{number}]'
        for key, known in (('image_id', files), ('category_id', names)):
            if not isinstance(entry.get(key), Hashable) or entry.get(key) not in known:
                raise ValueError(f'{place}.{key}: expected an id of the file, got {entry.get(key)!r}')
        box = entry.get('bbox')
        if not isinstance(box, Sequence) or len(box) != 4:
            raise ValueError(f'{place}.bbox: expected x, y, width and height, got {box!r}')
        try:
            x, y, width, height, score = finite_floats([*box, entry.get('score', 1.0)])
        except (ValueError, TypeError) as error:
            raise ValueError(f'{place}: expected numbers as bbox and score, got others ({error})') from error
        image = entry['image_id']
        if image not in best or score > best[image][0]:
            annotation = Annotation((x, y, x + width, y + height), names[entry['category_id']])
            best[image] = score, annotation
    return {name: best[image][1] if image in best else None for image, name in files.items()}


def labels_are_given(coco: Mapping[str, Any]) -> bool:
    """Tell whether the classes of annotations were given, not predicted, as far as the file says."""
    info = coco.get('info')
    return isinstance(info, Mapping) and info.get('labels') == FROM_FOLDER


def match_files(file_names: Sequence[str], img_ids: Sequence[str]) -> dict[str, str]:
    """Find the image of a data set that a file name means, whatever folder it is relative to.

    See :func:`~wsol_mm.evaluation.image_names.match_names`.

    Args:
        file_names: Paths with ``/``, relative to some folder.
        img_ids: Ids of the images: paths relative to the image folder of the data set.

    Returns:
        File name by id, for the images that have one.

    Raises:
        ValueError: If a file name means several images, or two of them the same one.
    """
    matches = match_names(file_names, img_ids)
    if matches.ambiguous:
        name, images = next(iter(matches.ambiguous.items()))
        raise ValueError(
            'file_name: expected a path relative to the image folder of the data set, got '
            f'{name!r}, which may be any of {len(images)} images, {list(images[:NAMED])}'
        )
    for img_id, names in matches.names.items():
        if len(names) > 1:
            raise ValueError(
                f'file_name: expected one per image, got {names[0]!r} and {names[1]!r} for {img_id!r}'
            )
    return {img_id: names[0] for img_id, names in matches.names.items()}


def annotation_accuracy(
    coco: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], classes: Sequence[str]
) -> dict[str, float]:
    """Count annotations against ground truth, in pixels of the original image.

    One box per image counts (:func:`read_annotations`), and is right if its IoU with any ground-truth box, in
    continuous coordinates, is at least the level. Annotations that were made with known labels give GT-known
    Loc, others the accuracy of the predicted class's box. If ``info`` says that the labels were given
    (``wsol_mm.annotation_formats.FROM_FOLDER``), they say nothing about the model and are not counted.

    Args:
        coco: The annotations, see :func:`read_annotations`.
        entries: Items of a data set with ``img_id``, ``gt_label`` and ``gt_bboxes`` (G, 4); without boxes
            they count for classification only.
        classes: Class names of the data set by index.

    Returns:
        In percent ``Top-1_Cls``, and for every level ``BoxAcc@<level>`` (box right) and ``Top-1_Loc@<level>``
        (box and category right), of given labels ``BoxAcc`` alone; beside these the numbers ``images`` (in
        the file and in the data set), ``images_with_boxes``, ``images_without_annotation``, which count as
        wrong, and ``other_images`` of the file, which are not in the data set and do not count.

    Raises:
        ValueError: If the file cannot be used, none of its images is in the data set, or an annotation's
            category is none of the classes.
    """
    annotations = read_annotations(coco)
    files = match_files(list(annotations), [entry['img_id'] for entry in entries])
    if not files:
        raise ValueError(
            f'images: expected some of the data set, whose images are named as {entries[0]["img_id"]!r}, got '
            f'{len(annotations)} others: {list(annotations)[:NAMED]}'
        )
    known, used = set(classes), {item.category for item in annotations.values() if item is not None}
    if used - known:
        raise ValueError(
            f'categories: expected classes of the data set, {list(classes)[:NAMED]} ..., got '
            f'{sorted(used - known)[:NAMED]}'
        )
    listed = [entry for entry in entries if entry['img_id'] in files]
    right, ious, labelled = [], [], []
    for entry in listed:
        annotation = annotations[files[entry['img_id']]]
        right.append(annotation is not None and annotation.category == classes[entry['gt_label']])
        boxes = entry.get('gt_bboxes')
        if boxes is not None and len(boxes):
            ious.append(
                0.0 if annotation is None else box_iou(np.array([annotation.box]), np.asarray(boxes)).max()
            )
            labelled.append(right[-1])
    are_given = labels_are_given(coco)
    values: dict[str, float] = {} if are_given else {'Top-1_Cls': 100.0 * float(np.mean(right))}
    for level in IOU_LEVELS if ious else ():
        hits = np.array(ious) >= level
        values[f'BoxAcc@{level:g}'] = 100.0 * float(hits.mean())
        if not are_given:
            values[f'Top-1_Loc@{level:g}'] = 100.0 * float((hits & np.array(labelled)).mean())
    values['images'] = len(listed)
    values['images_with_boxes'] = len(ious)
    values['images_without_annotation'] = sum(annotations[files[entry['img_id']]] is None for entry in listed)
    values['other_images'] = len(annotations) - len(files)
    return values
