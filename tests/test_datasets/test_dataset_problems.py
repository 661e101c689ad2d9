import pickle

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems, UnreadableImage

import pytest


def test_problems_are_counted_and_named():
    problems = DatasetProblems('Birds (data)')
    problems.stop_if_strict()
    for number in range(7):
        problems.add('missing image', f'{number}.jpg')
    problems.add('degenerate box', 'x')
    assert len(problems) == 8 and problems.counts == {'missing image': 7, 'degenerate box': 1}
    with pytest.raises(DatasetError) as caught:
        problems.stop_if_strict()
    text = str(caught.value)
    assert text.startswith('Birds (data): expected files without problems, got 8 problem(s):')
    assert 'missing image (7): 0.jpg; 1.jpg; 2.jpg; 3.jpg; 4.jpg; ... and 2 more' in text
    problems.on_error = 'skip'
    problems.stop_if_strict()


def test_unreadable_image_travels_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableImage('a.jpg', 'truncated')))
    assert isinstance(error, DatasetError)
    assert (error.path, error.reason) == ('a.jpg', 'truncated')
    assert str(error) == 'a.jpg: expected a usable image, got an unusable one: truncated'
