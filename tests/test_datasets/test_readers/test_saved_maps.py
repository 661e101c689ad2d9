"""Tests of wsol_mm.datasets.readers.saved_maps."""

import re
from zipfile import ZipFile

from wsol_mm.datasets.readers.saved_maps import MapProblem, SavedMaps

import numpy as np
import pytest

MAP = np.arange(12, dtype=np.float32).reshape(3, 4)


def write(folder, name, *arrays, **named):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, *arrays)
    else:
        np.savez(path, *arrays, **named)
    return path


@pytest.mark.parametrize('name', ['red/a.jpg.npy', 'red/a.npy', 'red/a.jpg.npz', 'a.npy', 'maps/red/a.npz'])
@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64, '>f4', np.uint8, np.int32, bool])
def test_one_map_of_any_name_and_type(tmp_path, name, dtype):
    write(tmp_path, name, MAP.astype(dtype))
    maps, labels = SavedMaps(tmp_path, ['red/a.jpg', 'red/b.jpg']).read('red/a.jpg', 5)
    assert labels is None
    assert maps.dtype == (np.float64 if dtype in (np.float64, np.int32) else np.float32)
    assert np.array_equal(maps, MAP.astype(dtype)[None])


def test_digits_that_only_float64_has_are_kept(tmp_path):
    exact = MAP.astype(np.float64) + 1e-12
    write(tmp_path, 'a.npy', exact)
    assert np.array_equal(SavedMaps(tmp_path, ['a.jpg']).read('a.jpg', 5)[0], exact[None])


def test_maps_of_all_classes_and_of_labels(tmp_path):
    five = np.random.default_rng(0).random((5, 3, 4), np.float32)
    write(tmp_path, 'a.npy', five)
    write(tmp_path, 'b.npz', maps=five[:2], labels=np.array([3, 1], np.int32))
    write(tmp_path, 'c.npz', maps=MAP[None], labels=[-1])
    write(tmp_path, 'd.npy', MAP[None])
    write(tmp_path, 'e.npz', maps=five[:2], labels=[-1, -1])
    saved = SavedMaps(tmp_path, [f'{name}.jpg' for name in 'abcde'])
    assert saved.read('a.jpg', 5)[1].tolist() == [0, 1, 2, 3, 4]
    maps, labels = saved.read('b.jpg', 5)
    assert labels.tolist() == [3, 1]
    assert np.array_equal(maps, five[:2])
    assert saved.read('c.jpg', 5)[1] is None
    assert saved.read('d.jpg', 5)[1] is None
    maps, labels = saved.read('e.jpg', 5)
    assert labels is None and np.array_equal(maps, five[:2])


def test_an_archive(tmp_path):
    write(tmp_path, 'all.npz', **{'red/a.jpg': MAP, 'red/b': 2 * MAP, 'other': MAP})
    saved = SavedMaps(tmp_path / 'all.npz', ['red/a.jpg', 'red/b.jpg'])
    assert np.array_equal(saved.read('red/b.jpg', 5)[0], 2 * MAP[None])
    assert np.array_equal(saved.read('red/a.jpg', 5)[0], MAP[None])
    assert saved.unused == ['other.npy']


def damaged_npz(folder, name):
    path = write(folder, name, MAP)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


BAD = [
    (lambda f: write(f, 'a.npy', MAP * np.nan), 'expected finite numbers, got 12 that are NaN or infinite'),
    (lambda f: write(f, 'a.npy', MAP / 0), 'expected finite numbers, got 12 that are NaN or infinite'),
    (
        lambda f: write(f, 'a.npy', MAP[None, None]),
        'expected a map (h, w) or maps (K, h, w), got the shape (1',
    ),
    (lambda f: write(f, 'a.npy', MAP[0]), 'got the shape (4,)'),
    (lambda f: write(f, 'a.npy', MAP[:0]), 'got the shape (0, 4)'),
    (lambda f: write(f, 'a.npy', np.array([['x']])), 'expected numbers, got <U1'),
    (lambda f: write(f, 'a.npy', MAP.astype(complex)), 'expected numbers, got complex128'),
    (
        lambda f: write(f, 'a.npy', np.stack([MAP] * 2)),
        'expected 1 map, 5 of all classes, or labels beside, got 2 maps',
    ),
    (lambda f: write(f, 'a.npz', MAP, MAP), "expected one array, or maps and labels, got ['arr_0', 'arr_1']"),
    (
        lambda f: write(f, 'a.npz', maps=MAP[None], labels=[1, 2]),
        'expected 1 integers as labels, one for each map, got int64 of the shape (2,)',
    ),
    (lambda f: write(f, 'a.npz', maps=MAP[None], labels=[1.0]), 'got float64 of the shape (1,)'),
    (
        lambda f: write(f, 'a.npz', maps=np.stack([MAP] * 2), labels=[1, 5]),
        'expected different labels from 0 to 4, or -1 alone, got [1, 5]',
    ),
    (
        lambda f: write(f, 'a.npz', maps=np.stack([MAP] * 2), labels=[1, 1]),
        'expected different labels from 0 to 4, or -1 alone, got [1, 1]',
    ),
    (
        lambda f: write(f, 'a.npz', maps=np.stack([MAP] * 2), labels=[-1, 1]),
        'expected different labels from 0 to 4, or -1 alone, got [-1, 1]',
    ),
    (lambda f: (f / 'a.npy').write_bytes(b''), 'expected a NumPy file of numbers, got another'),
    (lambda f: (f / 'a.npy').write_bytes(b'no array'), 'expected a NumPy file of numbers, got another'),
    (
        lambda f: (f / 'a.npy').write_bytes(write(f, 'whole.npy', MAP).read_bytes()[:-7]),
        'expected a NumPy file of numbers, got another',
    ),
    (lambda f: (f / 'a.npz').write_bytes(b'PK\3\4 no'), 'got another (File is not a zip file)'),
    (lambda f: damaged_npz(f, 'a.npz'), 'expected a NumPy file of numbers, got another'),
]


@pytest.mark.parametrize(('make', 'message'), BAD, ids=[message[-25:] for _, message in BAD])
@pytest.mark.filterwarnings('ignore:divide by zero', 'ignore:invalid value')
def test_what_is_wrong_with_a_map_is_named(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(MapProblem, match=re.escape(f'{tmp_path}/a.np') + '[yz]: ') as caught:
        SavedMaps(tmp_path, ['a.jpg']).read('a.jpg', 5)
    assert message in str(caught.value)


def outcome(folder):
    """What comes of the map of a.jpg: 'map', or the message of the problem."""
    try:
        SavedMaps(folder, ['a.jpg']).read('a.jpg', 5)
    except MapProblem as error:
        return str(error)
    return 'map'


@pytest.mark.parametrize('name', ['a.npy', 'a.npz'])
@pytest.mark.filterwarnings('ignore')  # NumPy warns of some headers
def test_a_damaged_byte_never_raises_another_error(tmp_path, name):
    rng = np.random.default_rng(0)
    path = write(tmp_path, name, MAP)
    content = path.read_bytes()
    outcomes = set()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        outcomes.add(outcome(tmp_path))
    assert 'map' in outcomes
    assert len(outcomes) > 5
    assert all(text == 'map' or text.startswith(f'{path}: expected ') for text in outcomes)


def test_an_npz_file_with_a_member_that_is_no_array(tmp_path):
    with ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('notes.txt', 'no array')
    assert outcome(tmp_path) == f'{tmp_path}/a.npz: expected numbers, got |S8'


@pytest.mark.parametrize('form', ['npy', 'npz', 'archive'])
def test_pickled_objects_are_not_read(tmp_path, form):
    objects = np.array([{}], dtype=object)
    source = tmp_path
    if form == 'npy':
        np.save(tmp_path / 'a.npy', objects, allow_pickle=True)
    elif form == 'npz':
        np.savez(tmp_path / 'a.npz', objects)
    else:
        source = tmp_path / 'all.npz'
        np.savez(source, a=objects)
    with pytest.raises(MapProblem, match=r'a.np[yz]: expected a NumPy file of numbers, .*allow_pickle'):
        SavedMaps(source, ['a.jpg']).read('a.jpg', 6)


def test_images_with_no_map_with_two_and_maps_with_no_image_or_several(tmp_path):
    for name in ('red/a.jpg.npy', 'red/a.npz', 'b.npy', 'owl.npy', '.hidden.npy', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, MAP) if name.endswith(('npy', 'npz')) else (tmp_path / name).write_text('')
    saved = SavedMaps(tmp_path, ['red/a.jpg', 'red/b.jpg', 'green/b.jpg'])
    with pytest.raises(
        MapProblem, match=rf"red/a.jpg: expected one map in {tmp_path}, got \['red/a.jpg.npy', 'red/a.npz'\]"
    ):
        saved.read('red/a.jpg', 5)
    with pytest.raises(MapProblem, match=f'red/b.jpg: expected one map in {tmp_path}, got none'):
        saved.read('red/b.jpg', 5)
    assert saved.unused == ['owl.npy', "b.npy, which may be of any of 2: ['red/b.jpg', 'green/b.jpg']"]


def test_no_maps_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match='expected a folder of maps or an .npz archive, got neither'):
        SavedMaps(tmp_path / 'nothing', ['a.jpg'])
    with pytest.raises(ValueError, match=r'expected maps \(.npy, .npz\), got none'):
        SavedMaps(tmp_path, ['a.jpg'])
    (tmp_path / 'all.npz').write_bytes(b'no archive')
    with pytest.raises(ValueError, match=r'all.npz: expected an .npz archive, got another file'):
        SavedMaps(tmp_path / 'all.npz', ['a.jpg'])
