"""The error of an image that cannot be used."""

from wsol_mm.datasets.dataset_problems import UnreadableImage

import pytest
from torch._utils import ExceptionWrapper


def test_it_keeps_its_type_on_the_way_out_of_a_worker():
    try:
        raise UnreadableImage('a.jpg', 'it is empty')
    except UnreadableImage:
        wrapped = ExceptionWrapper(where='in DataLoader worker process 0')
    with pytest.raises(
        UnreadableImage, match='a.jpg: expected a usable image, got an unusable one: it is empty'
    ):
        wrapped.reraise()
