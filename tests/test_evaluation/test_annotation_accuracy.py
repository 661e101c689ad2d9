"""Exported annotations against ground truth: which box counts, which image a name means, what is refused."""

import copy

from wsol_mm.evaluation.annotation_accuracy import (
    annotation_accuracy,
    certainties,
    match_files,
    read_annotations,
)

import numpy as np
import pytest

CLASSES = ('red', 'green')
ENTRIES = [
    dict(img_id='red/a.jpg', gt_label=0, gt_bboxes=np.array([[0.0, 0, 10, 10]])),
    dict(img_id='red/b.jpg', gt_label=0, gt_bboxes=np.array([[50.0, 50, 60, 60], [0, 0, 10, 10]])),
    dict(img_id='green/c.jpg', gt_label=1, gt_bboxes=np.array([[0.0, 0, 10, 10]])),
    dict(img_id='green/d.jpg', gt_label=1),
]


def coco(*boxes, names=('red/a.jpg', 'red/b.jpg', 'green/c.jpg', 'green/d.jpg')) -> dict:
    """COCO annotations: (image, category, x, y, width, height, score)."""
    annotations = [
        dict(id=i, image_id=box[0], category_id=box[1], bbox=list(box[2:6]), score=box[6])
        for i, box in enumerate(boxes)
    ]
    categories = [dict(id=5, name='red'), dict(id=7, name='green')]
    return dict(
        images=[dict(id=i, file_name=name) for i, name in enumerate(names)],
        annotations=annotations,
        categories=categories,
    )


GOOD = coco(
    (0, 5, 0, 0, 10, 5, 0.9),  # IoU 0.5, right class
    (1, 7, 0, 0, 10, 10, 0.8),  # IoU 1 with the second box, wrong class
    (1, 5, 40, 40, 5, 5, 0.1),  # of a lower score: does not count
    (2, 7, 0, 0, 10, 4, 0.7),  # IoU 0.4, right class
    (3, 7, 0, 0, 1, 1, 0.7),
)


def test_boxes_and_categories_are_counted():
    values = annotation_accuracy(GOOD, ENTRIES, CLASSES)
    assert values == pytest.approx(
        {
            'Top-1_Cls': 75.0,
            'BoxAcc@0.3': 100.0,
            'Top-1_Loc@0.3': 200 / 3,
            'BoxAcc@0.5': 200 / 3,
            'Top-1_Loc@0.5': 100 / 3,
            'BoxAcc@0.7': 100 / 3,
            'Top-1_Loc@0.7': 0.0,
            'Precision@0.5': 25.0,
            'Recall@0.5': 25.0,
            'boxes': 4,
            'objects': 4,
            'images': 4,
            'images_with_boxes': 3,
            'images_without_annotation': 0,
            'other_images': 0,
        }
    )


def test_given_labels_are_not_counted():
    expected = annotation_accuracy(GOOD, ENTRIES, CLASSES)
    for info in ({'labels': 'predicted'}, {'labels': None}, {}, None, 'by hand', ['labels']):
        assert annotation_accuracy(GOOD | {'info': info}, ENTRIES, CLASSES) == expected
    values = annotation_accuracy(GOOD | {'info': {'labels': 'from-folder'}}, ENTRIES, CLASSES)
    assert values == {name: value for name, value in expected.items() if not name.startswith('Top-1')}
    assert values['BoxAcc@0.5'] == pytest.approx(200 / 3)


def test_an_image_without_annotation_is_wrong_and_one_that_is_not_listed_does_not_count():
    values = annotation_accuracy(coco(names=('red/a.jpg',)), ENTRIES, CLASSES)
    assert (values['BoxAcc@0.3'], values['Top-1_Cls']) == (0, 0)
    assert (values['images'], values['images_without_annotation']) == (1, 1)


def test_images_of_other_splits_do_not_count():
    content = coco((0, 5, 0, 0, 10, 10, 1.0), names=('red/a.jpg', 'red/z.jpg'))
    values = annotation_accuracy(content, ENTRIES, CLASSES)
    assert (values['BoxAcc@0.7'], values['images'], values['other_images']) == (100, 1, 1)


def test_the_first_of_equal_scores_counts_and_scores_may_be_missing():
    content = coco((0, 5, 1, 2, 3, 4, 0.5), (0, 7, 0, 0, 9, 9, 0.5), names=['a.jpg'])
    assert read_annotations(content)['a.jpg'][0] == ((1, 2, 4, 6), 'red', 0.5, None)
    content['annotations'][0]['confidence'], content['annotations'][1]['confidence'] = 0.25, 0.75
    assert [item.confidence for item in read_annotations(content)['a.jpg']] == [0.75, 0.25]
    del content['annotations'][1]['score']
    assert read_annotations(content)['a.jpg'][0].category == 'green'
    content['annotations'][0]['confidence'] = 1.5
    with pytest.raises(ValueError, match=r'annotations\[0\]: .*confidence: expected .* in \[0, 1\], got 1.5'):
        read_annotations(content)


def test_every_object_is_found_once():
    entries = [dict(img_id='red/a.jpg', gt_label=0, gt_bboxes=np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]]))]
    content = coco(
        (0, 5, 0, 0, 10, 9, 0.9),  # the first object
        (0, 5, 0, 0, 10, 8, 0.9),  # the first object again
        (0, 5, 20, 0, 10, 6, 0.9),  # the second one
        (0, 7, 20, 0, 10, 10, 0.1),  # another class
        names=['red/a.jpg'],
    )
    values = annotation_accuracy(content, entries, CLASSES)
    assert (values['Precision@0.5'], values['Recall@0.5']) == (50, 100)
    assert (values['boxes'], values['objects']) == (4, 2)


def test_confidence_is_measured_where_all_boxes_have_one():
    boxes = [(0, 5, 0, 0, 10, 10, 1.0), (1, 5, 40, 40, 5, 5, 1.0), (2, 7, 0, 0, 10, 10, 1.0)]
    content = coco(*boxes)
    for annotation, confidence in zip(content['annotations'], (0.95, 0.15, 0.05), strict=True):
        annotation['confidence'] = confidence
    values = annotation_accuracy(content, ENTRIES, CLASSES)
    # Of the right ones, 0.95 is above that of the wrong one and 0.05 is not.
    assert values['Confidence_AUROC'] == 50
    assert values['Confidence_Error'] == pytest.approx(100 * (0.05 + 0.15 + 0.95) / 3)
    assert (values['Wrong_of_least_10%'], values['Wrong_of_least_25%']) == (0, 0)
    confidences, right = certainties(content, ENTRIES)
    assert confidences.tolist() == [0.95, 0.15, 0.05] and right.tolist() == [True, False, True]
    del content['annotations'][1]['confidence']
    assert 'Confidence_AUROC' not in annotation_accuracy(content, ENTRIES, CLASSES)
    with pytest.raises(ValueError, match='expected a confidence of every box, got none'):
        certainties(content, ENTRIES)
    # Without a box, an image is as uncertain as can be.
    assert certainties(coco(names=['red/a.jpg']), ENTRIES)[0].tolist() == [0]


def test_files_are_matched_whatever_folder_they_are_relative_to():
    ids = ['red/a.jpg', 'red/b.jpg', 'green/b.jpg']
    assert match_files(['red/a.jpg', 'green/b.jpg'], ids) == {
        'red/a.jpg': 'red/a.jpg',
        'green/b.jpg': 'green/b.jpg',
    }
    assert match_files(['images/red/b.jpg'], ids) == {'red/b.jpg': 'images/red/b.jpg'}
    assert match_files(['a.jpg', 'other.jpg'], ids) == {'red/a.jpg': 'a.jpg'}
    with pytest.raises(
        ValueError, match=r"file_name: .* got 'b.jpg', .* any of 2 images, \['red/b.jpg', 'green/b.jpg'\]"
    ):
        match_files(['b.jpg'], ids)
    with pytest.raises(ValueError, match="one per image, got 'red/a.jpg' and 'x/red/a.jpg' for 'red/a.jpg'"):
        match_files(['red/a.jpg', 'x/red/a.jpg'], ids)


def test_what_cannot_be_used_is_named():
    def changed(path, value):
        content = copy.deepcopy(GOOD)
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return content

    for content, message in (
        ([], 'expected COCO .*, got none of images, annotations, categories'),
        (5, 'expected COCO .*, got none of images, annotations, categories'),
        ({'images': []}, 'expected COCO .*, got none of annotations, categories'),
        (
            changed(['annotations', 1, 'image_id'], 9),
            r'annotations\[1\].image_id: expected an id of the file, got 9',
        ),
        (changed(['annotations', 2, 'category_id'], 9), r'annotations\[2\].category_id: expected .*, got 9'),
        (
            changed(['annotations', 0, 'bbox'], [1, 2]),
            r'annotations\[0\].bbox: expected x, y, .*, got \[1, 2\]',
        ),
        (changed(['images', 0, 'file_name'], 'red/b.jpg'), 'expected different ids and file names, got'),
        (coco(names=['z.jpg']), r"images: expected .* 'red/a.jpg', got 1 others: \['z.jpg'\]"),
        (changed(['categories', 0, 'name'], 'Red'), r"categories: expected classes .*, got \['Red'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            annotation_accuracy(content, ENTRIES, CLASSES)
