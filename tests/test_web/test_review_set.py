"""A review: its order, versions, undo, and what is left of it after a kill."""

import errno
import json
import os

from wsol_mm.web.review.export import export_review
from wsol_mm.web.review.review_journal import ReviewJournal
from wsol_mm.web.review.review_set import ConflictError, ReviewSet

import pytest
from pycocotools.coco import COCO

from .review_samples import SCORES, wire, write_samples


@pytest.fixture
def place(tmp_path):
    write_samples(tmp_path)
    return tmp_path


def opened(place):
    return ReviewSet(place / 'boxes.json', place / 'out.json.journal', 'anna')


def change(review, image_id, verdict='right', boxes=None, tab='a', version=None):
    state = review.images[image_id].state
    boxes = wire(state) if boxes is None else boxes
    version = state.version if version is None else version
    return review.change(image_id, dict(version=version, tab=tab, verdict=verdict, boxes=boxes))


def test_least_certain_first(place):
    review = opened(place)
    assert review.queue() == [2, 4, 3, 1]
    assert [review.images[i].certainty for i in review.queue()] == sorted(SCORES)
    assert review.queue(low=0.3, high=0.5) == [4, 3] and review.queue(category=1) == [2, 4]


def test_confidence_of_the_box_comes_before_the_score_of_the_class(tmp_path):
    file, _ = write_samples(tmp_path, (0.9, 0.1, None))
    coco = json.loads(file.read_text())
    coco['annotations'][0]['confidence'] = 0.05
    coco['annotations'].append(dict(coco['annotations'][1], id=7, score=0.01, iscrowd=1))
    file.write_text(json.dumps(coco))
    review = opened(tmp_path)
    # The image without a box first; the group is not reviewed.
    assert review.queue() == [3, 1, 2] and review.images[2].certainty == 0.1
    assert export_review(review, tmp_path / 'out.json')['annotations'] == 3


def test_a_box_without_a_number_is_drawn_by_hand_and_certain(tmp_path):
    file, _ = write_samples(tmp_path)
    coco = json.loads(file.read_text())
    del coco['annotations'][1]['score']
    file.write_text(json.dumps(coco))
    assert opened(tmp_path).queue() == [4, 3, 1, 2]


def test_states(place):
    review = opened(place)
    change(review, 1)
    change(review, 2, 'wrong')
    change(review, 3, boxes=[])
    change(review, 4, boxes=[*wire(review.images[4].state), dict(id=None, category=1, bbox=[1, 1, 9, 9])])
    chosen = {state: review.queue(state=state) for state in ('right', 'wrong', 'corrected', 'empty')}
    assert chosen == {'right': [1], 'wrong': [2], 'corrected': [4, 3], 'empty': [3]}
    counts = review.counts()
    assert counts == dict(all=4, unchecked=0, checked=4, right=1, corrected=2, wrong=1, empty=1)


def test_an_older_version_changes_nothing(place):
    review = opened(place)
    change(review, 1, tab='a')
    with pytest.raises(ConflictError, match='image 1: expected its newest version'):
        change(review, 1, 'wrong', tab='b', version=0)
    assert review.images[1].state.verdict == 'right' and len(review.journal.actions) == 1


def test_undo_takes_back_what_the_tab_has_done_over_images(place):
    review = opened(place)
    change(review, 1)
    change(review, 2, 'wrong')
    change(review, 2, 'right', boxes=[])
    change(review, 3, tab='b')
    assert [review.undo('a') for _ in range(4)] == [2, 2, 1, None]
    assert [review.images[i].state.verdict for i in (1, 2, 3)] == [None, None, 'right']
    assert len(review.images[2].state.boxes) == 1 and review.images[2].state.version == 4


def test_undo_leaves_what_another_tab_has_done_since(place):
    review = opened(place)
    change(review, 2, tab='a')
    change(review, 1, tab='a')
    change(review, 1, 'wrong', tab='b')
    with pytest.raises(ConflictError):
        review.undo('a')
    assert review.images[1].state.verdict == 'wrong'
    assert review.undo('a') == 2  # and what stood below it can be undone
    review.close()
    again = opened(place)
    assert again.images[1].state == review.images[1].state and again.undo('a') is None


def test_all_is_there_after_a_kill_in_the_middle_of_a_line(place):
    review = opened(place)
    change(review, 1, boxes=[dict(id=10, category=2, bbox=[1, 2, 30.126, 8])])
    change(review, 2, 'wrong')
    states = {i: image.state for i, image in review.images.items()}
    review.close()
    journal = place / 'out.json.journal'
    whole = journal.read_bytes()
    for tail in (b'{"image":3,"ver', b'\0' * 100, b'{"image":3}'):
        journal.write_bytes(whole + tail)
        again = opened(place)
        assert {i: image.state for i, image in again.images.items()} == states
        assert again.images[1].state.boxes[0].bbox == (1, 2, 30.13, 8)
        assert journal.read_bytes() == whole
        again.close()
    again = opened(place)
    assert again.undo('a') == 2 and again.images[2].state.verdict is None


def test_a_broken_line_before_the_end_is_no_reason_to_forget_the_rest(place):
    review = opened(place)
    change(review, 1)
    change(review, 2)
    review.close()
    journal = place / 'out.json.journal'
    lines = journal.read_bytes().splitlines(keepends=True)
    broken = b''.join([lines[0], b'{oh\n', lines[2]])
    journal.write_bytes(broken)
    with pytest.raises(ValueError, match='line 2: expected JSON'):
        opened(place)
    assert journal.read_bytes() == broken


def test_a_journal_of_other_boxes_is_refused(place):
    opened(place).close()
    coco = json.loads((place / 'boxes.json').read_text())
    coco['annotations'].pop()
    (place / 'boxes.json').write_text(json.dumps(coco))
    with pytest.raises(ValueError, match='expected a review of these annotations, got one of others'):
        opened(place)
    (place / 'out.json.journal').write_text('{"some": "file"}\n')
    with pytest.raises(ValueError, match='expected the journal of a review, got another file'):
        opened(place)


def test_what_does_not_fit_on_the_disk_is_not_done(place, monkeypatch):
    review = opened(place)
    change(review, 1)
    before = review.journal.file.read_bytes()
    write = os.write

    def full(descriptor, content):
        write(descriptor, content[:7])
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'write', full)
    with pytest.raises(OSError, match='No space left on device') as error:
        change(review, 2)
    assert str(review.journal.file) in str(error.value)
    monkeypatch.undo()
    assert review.images[2].state.verdict is None and review.journal.file.read_bytes() == before
    change(review, 2)
    review.close()
    assert opened(place).images[2].state.verdict == 'right'


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(version='1'), "version: expected an integer, got '1'"),
        (dict(verdict='maybe'), "verdict: expected 'right', 'wrong' or none, got 'maybe'"),
        (dict(tab=''), 'tab: expected a name'),
        (dict(boxes='all'), "boxes: expected a list of at most 1000, got 'all'"),
        (dict(boxes=[dict(id=None, category=1)]), r'boxes\[0\]: expected id, category and bbox'),
        (dict(boxes=[dict(id=99, category=1, bbox=[1, 1, 5, 5])]), r'boxes\[0\].id: expected one'),
        (dict(boxes=[dict(id=None, category=3, bbox=[1, 1, 5, 5])]), r'category: expected the id .*, got 3'),
        (dict(boxes=[dict(id=None, category=1, bbox=[1, 1, 5, float('nan')])]), 'expected finite numbers'),
        (dict(boxes=[dict(id=None, category=1, bbox=[64, 1, 5, 5])]), 'at least a pixel in the image'),
        (dict(boxes=[dict(id=10, category=1, bbox=[1, 1, 5, 5])] * 2), 'expected each id once'),
    ],
)  # fmt: skip
def test_wrong_changes(place, wrong, message):
    review = opened(place)
    content = dict(version=0, tab='a', verdict='right', boxes=[]) | wrong
    with pytest.raises(ValueError, match=message):
        review.change(1, content)
    assert not review.journal.actions


def test_boxes_are_cut_at_the_border(place):
    review = opened(place)
    state = change(review, 1, boxes=[dict(id=None, category=1, bbox=[-5, 40, 100, 100])])
    assert state.boxes[0].bbox == (0, 40, 64, 8)


@pytest.mark.parametrize(
    'content', ['[]', '{', '{"images": [], "annotations": [], "categories": []}', '{"images": [{"id": 1}]}']
)
def test_no_coco(place, content):
    (place / 'boxes.json').write_text(content)
    with pytest.raises(ValueError, match=r'boxes\.json: expected'):
        opened(place)


def reviewed(place):
    review = opened(place)
    change(review, 1)
    change(review, 2, 'wrong')
    change(
        review,
        3,
        boxes=[dict(id=30, category=1, bbox=[20, 10, 30, 20]), dict(id=None, category=2, bbox=[1, 1, 5, 6])],
    )
    return review


def test_the_export_is_coco_with_what_was_checked_and_how(place, capsys):
    review = reviewed(place)
    written = export_review(review, place / 'out.json')
    assert written == dict(images=4, annotations=4, right=1, corrected=1, wrong=1)
    coco = COCO(str(place / 'out.json'))
    capsys.readouterr()
    images = {image['id']: image.get('review') for image in coco.loadImgs(coco.getImgIds())}
    assert images[4] is None and images[1]['verdict'] == 'right' and images[1]['by'] == 'anna'
    assert images[2]['verdict'] == 'wrong' and [box['id'] for box in images[2]['rejected']] == [20]
    boxes = {box['id']: box for box in coco.loadAnns(coco.getAnnIds())}
    assert boxes[10]['review'] == 'accepted' and boxes[10]['score'] == 0.9
    assert boxes[30]['review'] == 'corrected' and boxes[30]['bbox'] == [20, 10, 30, 20]
    assert boxes[30]['predicted'] == dict(bbox=[18, 12, 20, 16], category_id=2) and 'score' not in boxes[30]
    assert boxes[41]['review'] == 'drawn' and boxes[41]['area'] == 30 and 'review' not in boxes[40]
    assert coco.dataset['info']['review'] == dict(images=4, checked=3, right=1, corrected=1, wrong=1)
    assert coco.dataset['info']['description'] == 'samples'


def test_a_drawn_box_takes_no_number_of_a_group(place):
    coco = json.loads((place / 'boxes.json').read_text())
    coco['annotations'].append(dict(coco['annotations'][0], id=500, iscrowd=1))
    (place / 'boxes.json').write_text(json.dumps(coco))
    review = opened(place)
    change(review, 1, boxes=[dict(id=None, category=2, bbox=[1, 1, 5, 6])])
    export_review(review, place / 'out.json')
    numbers = [box['id'] for box in json.loads((place / 'out.json').read_text())['annotations']]
    assert sorted(numbers) == [20, 30, 40, 500, 501]


def test_only_right_ones(place):
    review = reviewed(place)
    assert export_review(review, place / 'out.json', only_right=True)['images'] == 2
    coco = json.loads((place / 'out.json').read_text())
    assert (
        {box['image_id'] for box in coco['annotations']}
        == {image['id'] for image in coco['images']}
        == {1, 3}
    )


def test_a_review_can_be_reviewed(place):
    """What an export says is what the next review starts with, and its export is the same."""
    export_review(reviewed(place), place / 'out.json')
    second = ReviewSet(place / 'out.json', place / 'second.json.journal', 'ben')
    assert second.counts() == reviewed_counts()
    export_review(second, place / 'second.json')
    first, again = (json.loads((place / name).read_text()) for name in ('out.json', 'second.json'))
    assert first == again
    change(second, 2, 'right')  # the rejected box was right after all
    export_review(second, place / 'second.json')
    again = json.loads((place / 'second.json').read_text())
    assert again['images'][1]['review'] == dict(
        verdict='right', by='ben', time=second.images[2].state.time
    ) and 20 in [box['id'] for box in again['annotations']]


def reviewed_counts():
    return dict(all=4, unchecked=1, checked=3, right=1, corrected=1, wrong=1, empty=0)


def test_a_large_set_opens_and_answers_quickly(tmp_path):
    """10,000 images are no more work than the order in which they come."""
    images = [dict(id=i, file_name=f'{i}.jpg', width=100, height=100) for i in range(10000)]
    annotations = [
        dict(id=i, image_id=i, category_id=1, bbox=[1, 1, 50, 50], iscrowd=0, score=i % 997 / 997)
        for i in range(10000)
    ]
    coco = dict(images=images, annotations=annotations, categories=[dict(id=1, name='cat')])
    (tmp_path / 'boxes.json').write_text(json.dumps(coco))
    review = opened(tmp_path)
    assert review.queue(high=0.001) == [i for i in range(10000) if i % 997 == 0]


def test_two_journals_do_not_share_an_action(tmp_path):
    journal = ReviewJournal(tmp_path / 'journal', 'digest')
    journal.append({'a': 1})
    journal.close()
    assert ReviewJournal(tmp_path / 'journal', 'digest').actions == [{'a': 1}]
