import pytest

from .samples import BAD, BOX, GOOD, make_sample


@pytest.fixture
def four_samples():
    """Right class and box; wrong class, label's box right; second rank, box wrong; all wrong."""
    return [
        make_sample({1: GOOD, 2: BAD}, [1, 2, 3, 4, 5], 1, [BOX]),
        make_sample({1: GOOD, 2: BAD}, [2, 1, 3, 4, 5], 1, [BOX]),
        make_sample({1: BAD, 2: GOOD}, [2, 1, 3, 4, 5], 1, [BOX]),
        make_sample({0: BAD, 2: BAD}, [2, 1, 3, 4, 5], 0, [BOX]),
    ]
