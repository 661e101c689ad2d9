"""Accuracy of exported annotations (COCO) against the ground truth of a data set, without maps."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from wsol_mm.annotation_formats import FROM_FOLDER
from wsol_mm.datasets.readers.list_files import finite_floats

import numpy as np
from numpy.typing import NDArray

from .functional.boxes import box_iou
from .functional.ranking import auroc, least_certain, reliability
from .image_names import NAMED, match_names

#: IoU levels of the report.
IOU_LEVELS = (0.3, 0.5, 0.7)
#: IoU at which a box counts as right where one level alone is reported.
RIGHT_IOU = 0.5
#: Shares of the least certain boxes of the report.
LEAST_CERTAIN = (0.1, 0.25)


class Annotation(NamedTuple):
    """A box of an image.

    Attributes:
        box: x0 y0 x1 y1, exclusive ends, in pixels of the original image.
        category: Name of its category.
        score: Of its class; 1 if the file has none.
        confidence: Of the box; None if the file has none.
    """

    box: tuple[float, float, float, float]
    category: str
    score: float
    confidence: float | None

    @property
    def rank(self) -> tuple[float, float]:
        """What boxes of an image are ordered by: the class counts first, then the box."""
        return self.score, 1.0 if self.confidence is None else self.confidence


def read_annotations(coco: Mapping[str, Any]) -> dict[str, list[Annotation]]:
    """Read the boxes of every image from COCO annotations.

    Args:
        coco: ``images`` (``id``, ``file_name``), ``annotations`` (``image_id``, ``category_id``, ``bbox`` as
            x, y, width and height, and maybe ``score`` and ``confidence``) and ``categories`` (``id``,
            ``name``).

    Returns:
        The annotations of every file name, that of the best score first, of equal ones the most certain.

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
    found: dict[Any, list[Annotation]] = {image: [] for image in files}
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
            confidence = entry.get('confidence')
            if confidence is not None:
                (confidence,) = finite_floats([confidence])
                if not 0 <= confidence <= 1:
                    raise ValueError(f'confidence: expected a number in [0, 1], got {confidence}')
        except (ValueError, TypeError) as error:
            raise ValueError(
                f'{place}: expected numbers as bbox, score and confidence, got others ({error})'
            ) from error
        corners = x, y, x + width, y + height
        found[entry['image_id']].append(Annotation(corners, names[entry['category_id']], score, confidence))
    return {
        name: sorted(found[image], key=lambda annotation: annotation.rank, reverse=True)
        for image, name in files.items()
    }


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

    One box per image counts, the first of :func:`read_annotations`, and is right if its IoU with any
    ground-truth box, in continuous coordinates, is at least the level. Annotations that were made with known
    labels give GT-known Loc, others the accuracy of the predicted class's box. If ``info`` says that the
    labels were given (``wsol_mm.annotation_formats.FROM_FOLDER``), they say nothing about the model and are
    not counted.

    Args:
        coco: The annotations, see :func:`read_annotations`.
        entries: Items of a data set with ``img_id``, ``gt_label`` and ``gt_bboxes`` (G, 4); without boxes
            they count for classification only.
        classes: Class names of the data set by index.

    Returns:
        In percent ``Top-1_Cls``, and for every level ``BoxAcc@<level>`` (box right) and ``Top-1_Loc@<level>``
        (box and category right), of given labels ``BoxAcc`` alone. Of all boxes, of which each is matched
        with at most one ground-truth box of its category, the most certain first, ``Precision@0.5`` and
        ``Recall@0.5``. If all boxes have a confidence, what :func:`confidence_quality` says of those that
        count. Beside these the numbers ``images`` (in
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
    known, used = set(classes), {item.category for items in annotations.values() for item in items}
    if used - known:
        raise ValueError(
            f'categories: expected classes of the data set, {list(classes)[:NAMED]} ..., got '
            f'{sorted(used - known)[:NAMED]}'
        )
    listed = [entry for entry in entries if entry['img_id'] in files]
    right = [_is_named(annotations[files[entry['img_id']]], classes[entry['gt_label']]) for entry in listed]
    ious, labelled, confidences = [], [], []
    matched = np.zeros(3, int)
    for judged in _judged_images(annotations, files, entries):
        found, label = judged.found, classes[judged.label]
        ious.append(judged.iou)
        labelled.append(_is_named(found, label))
        confidences.append(judged.confidence)
        mine = np.reshape([item.box for item in found if item.category == label], (-1, 4))
        matched += count_matches(mine, judged.gt_boxes), len(found), len(judged.gt_boxes)
    are_given = labels_are_given(coco)
    values: dict[str, float] = {} if are_given else {'Top-1_Cls': 100.0 * float(np.mean(right))}
    for level in IOU_LEVELS if ious else ():
        hits = np.array(ious) >= level
        values[f'BoxAcc@{level:g}'] = 100.0 * float(hits.mean())
        if not are_given:
            values[f'Top-1_Loc@{level:g}'] = 100.0 * float((hits & np.array(labelled)).mean())
    if ious:
        num_matched, num_found, num_objects = matched.tolist()
        values[f'Precision@{RIGHT_IOU:g}'] = 100.0 * num_matched / max(num_found, 1)
        values[f'Recall@{RIGHT_IOU:g}'] = 100.0 * num_matched / num_objects
        if None not in confidences:
            values |= confidence_quality(np.array(confidences, float), np.array(ious) >= RIGHT_IOU)
        values['boxes'], values['objects'] = num_found, num_objects
    values['images'] = len(listed)
    values['images_with_boxes'] = len(ious)
    values['images_without_annotation'] = sum(not annotations[files[entry['img_id']]] for entry in listed)
    values['other_images'] = len(annotations) - len(files)
    return values


def count_matches(boxes: NDArray[np.number], gt_boxes: NDArray[np.number]) -> int:
    """Count boxes (M, 4), the best first, that have an IoU of at least 0.5 with an object of their own."""
    overlaps = box_iou(boxes, gt_boxes)
    matches = 0
    for row in range(len(boxes)):
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= RIGHT_IOU:
            matches += 1
            overlaps[:, best] = 0
    return matches


def confidence_quality(confidences: NDArray[np.floating], right: NDArray[np.bool_]) -> dict[str, float]:
    """Say how well the confidence of boxes tells right from wrong.

    Args:
        confidences: (N,) in [0, 1].
        right: (N,) bool.

    Returns:
        In percent ``Confidence_AUROC`` (how often a right box has a higher confidence than a wrong one; only
        if there are both), ``Confidence_Error``, the expected calibration error in ten bins, and
        ``Wrong_of_least_10%`` and ``Wrong_of_least_25%``: the share of wrong boxes among the least certain.
    """
    values = {}
    area = auroc(confidences, right)
    if not np.isnan(area):
        values['Confidence_AUROC'] = 100.0 * area
    values['Confidence_Error'] = 100.0 * reliability(confidences, right).calibration_error
    for share in LEAST_CERTAIN:
        chosen = least_certain(confidences, share)
        values[f'Wrong_of_least_{share:.0%}'] = 100.0 * float(np.mean(~right[chosen]))
    return values


def certainties(
    coco: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidences (N,) of the boxes that count, and whether they are right, of images with ground truth.

    Args:
        coco: The annotations, see :func:`read_annotations`.
        entries: Items of a data set, see :func:`annotation_accuracy`.

    Raises:
        ValueError: If the file cannot be used, or has boxes without a confidence.
    """
    annotations = read_annotations(coco)
    files = match_files(list(annotations), [entry['img_id'] for entry in entries])
    judged = list(_judged_images(annotations, files, entries))
    if not judged:
        raise ValueError('images: expected some with ground-truth boxes, got none')
    if any(image.confidence is None for image in judged):
        raise ValueError('annotations: expected a confidence of every box, got none')
    confidences, right = zip(*((image.confidence, image.iou >= RIGHT_IOU) for image in judged), strict=True)
    return np.array(confidences), np.array(right)


class _JudgedImage(NamedTuple):
    """An image with ground-truth boxes, and what was found in it.

    Attributes:
        label: Class of the image.
        found: Its annotations, that which counts first.
        gt_boxes: (G, 4).
        iou: Best IoU of the box that counts; 0 without one.
        confidence: Of that box; 0 without one, as an image without a box is as uncertain as can be.
    """

    label: int
    found: list[Annotation]
    gt_boxes: NDArray[np.number]
    iou: float
    confidence: float | None


def _judged_images(
    annotations: Mapping[str, list[Annotation]],
    files: Mapping[str, str],
    entries: Sequence[Mapping[str, Any]],
) -> Iterator[_JudgedImage]:
    """Compare annotations with ground truth, for images that have both the file and boxes."""
    for entry in entries:
        boxes = np.asarray([] if entry.get('gt_bboxes') is None else entry['gt_bboxes'])
        if entry['img_id'] not in files or not len(boxes):
            continue
        found = annotations[files[entry['img_id']]]
        iou = box_iou(np.array([found[0].box]), boxes).max() if found else 0.0
        yield _JudgedImage(entry['gt_label'], found, boxes, float(iou), found[0].confidence if found else 0.0)


def _is_named(found: Sequence[Annotation], label: str) -> bool:
    return bool(found) and found[0].category == label
