"""Tests of wsol_mm.apis.class_scores."""

from wsol_mm.apis.class_scores import read_scores

import numpy as np
import pytest

CLASSES = ('ant', 'bee', 'cat')
IDS = ['x/a.jpg', 'x/b.jpg']


@pytest.fixture
def read(tmp_path):
    def call(content, classes=CLASSES, img_ids=IDS):
        path = tmp_path / 'scores.csv'
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_scores(path, classes, img_ids)

    return call


@pytest.mark.parametrize('header', ['cat,ant,bee', '2,0,1'])
def test_scores_of_all_classes_in_any_order(read, header):
    best = read(f'image,{header}\nx/a.jpg,0.5,0.1,0.4\nb,-1e3,2,2\n\n')
    assert {name: order.tolist() for name, order in best.by_image.items()} == {
        'x/a.jpg': [2, 1, 0],
        'x/b.jpg': [0, 1, 2],
    }
    assert best.ranks == 3
    assert best.unused == []


def test_ranked_classes_by_name_and_index(read):
    best = read('\ufeffimage,top1,top2\r\nx/a.jpg,bee,0\r\ny/c.jpg,cat,ant\r\n')
    assert best.by_image['x/a.jpg'].tolist() == [1, 0]
    assert list(best.by_image) == ['x/a.jpg']
    assert best.ranks == 2
    assert best.unused == ['y/c.jpg']


def test_a_name_that_is_the_index_of_another_class_is_the_name(read):
    assert read('image,top1\na,0\n', classes=('1', '0', '2')).by_image['x/a.jpg'].tolist() == [1]


def test_five_classes_are_kept_as_torch_orders_them(read):
    scores = np.random.default_rng(0).permutation(12) / 12
    content = 'image,' + ','.join(map(str, range(12))) + '\nx/a.jpg,' + ','.join(map(str, scores))
    best = read(content, classes=[f'class {number}' for number in range(12)])
    assert best.by_image['x/a.jpg'].tolist() == np.argsort(-scores)[:5].tolist()
    assert best.ranks == 5


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', r'scores.csv, line 1: expected the image and then top1, top2, ... or all 3 classes, got \[\]'),
        ('image,ant,bee\n', r"line 1: expected .* or all 3 classes, got \['image', 'ant', 'bee'\]"),
        ('image,ant,bee,bee\n', r'line 1: expected .* or all 3 classes'),
        ('image,top1,top3\n', r'line 1: expected .* top1, top2, ...'),
        ('image,top1\na,ant\nb,gnu\n', r"scores.csv, line 3: expected a class, got 'gnu'"),
        ('image,top1,top2\na,ant,ant\n', r'line 2: expected different classes, got \[.ant., .ant.\]'),
        ('image,top1,top2\na,ant\n', r'line 2: expected 3 fields, got 2'),
        ('image,top1\na,ant\na,ant\n', r"line 3: expected each image once, got 'a' again"),
        (
            'image,top1\na,ant\nx/a.jpg,ant\n',
            r"expected each image once, got \['a', 'x/a.jpg'\] for 'x/a.jpg'",
        ),
        ('image,ant,bee,cat\na,1,x,3\n', r"line 2: expected numbers as scores, got .*'x'"),
        ('image,ant,bee,cat\na,1,nan,3\n', r'line 2: expected numbers as scores, got nan'),
        (
            'image,top1\ny/z.jpg,ant\n',
            r"expected images of the data set, .* named as 'x/a.jpg', got \['y/z.jpg",
        ),
        ('image,top1\n', r'expected images of the data set, .*, got none'),
        (b'image,top1\n\xff\xfe,ant\n', r'scores.csv: expected a CSV file in UTF-8, got another file'),
    ],
)
def test_what_is_wrong_with_a_file_is_named(read, content, message):
    with pytest.raises(ValueError, match=message):
        read(content)
