"""Tests of wsol_mm.evaluation.map_agreement."""

from wsol_mm.datasets.readers.saved_maps import MapProblem
from wsol_mm.evaluation.map_agreement import map_agreement

import numpy as np
import pytest


def cone(x, y, radius, side=224):
    """Fall from 1 at a place to 0 at a radius."""
    rows, columns = np.mgrid[:side, :side]
    distance = np.maximum(abs(rows - y), abs(columns - x))
    return np.maximum(0, 1 - distance / radius).astype(np.float32)


def write(folder, maps, **labels):
    folder.mkdir()
    for name, loc_map in maps.items():
        np.savez(folder / f'{name}.npz', maps=np.atleast_3d(loc_map.T).T, labels=np.array(labels[name]))


PLACES = {'a': (50, 60), 'b': (160, 170), 'c': (60, 150)}


def test_equal_maps_agree_and_mirrored_ones_do_when_mirrored_back(tmp_path):
    maps = {name: cone(x, y, 40) for name, (x, y) in PLACES.items()}
    labels = {name: [-1] for name in maps}
    write(tmp_path / 'A', maps, **labels)
    write(tmp_path / 'B', {name: loc_map[:, ::-1] for name, loc_map in maps.items()}, **labels)
    same = map_agreement(tmp_path / 'A', tmp_path / 'A', (0.2, 0.5))
    np.testing.assert_array_equal(same.iou, 1)
    np.testing.assert_array_equal(same.beyond_chance, 1)
    assert (same.images, same.left_out, same.flat) == (3, 0, 0)
    assert map_agreement(tmp_path / 'A', tmp_path / 'B', (0.5,)).iou < 0.1
    np.testing.assert_allclose(map_agreement(tmp_path / 'A', tmp_path / 'B', (0.5,), mirrored=True).iou, 1)


def test_the_threshold_at_which_boxes_agree_is_best(tmp_path):
    # Up to a half the maps have the same boxes, above it one has a smaller peak.
    first = {name: cone(x, y, 40) for name, (x, y) in PLACES.items()}
    second = {name: np.where(one > 0.5, one**4 + 0.5 - 0.5**4, one) for name, one in first.items()}
    labels = {name: [0] for name in first}
    write(tmp_path / 'A', first, **labels)
    write(tmp_path / 'B', second, **labels)
    found = map_agreement(tmp_path / 'A', tmp_path / 'B', (0.0, 0.3, 0.9))
    assert found.thresholds[found.best] < 0.5
    assert found.iou[2] < 0.5 < found.iou[found.best]


def test_boxes_of_the_whole_image_agree_by_chance_alone(tmp_path):
    # All above 0: the lowest threshold has the same box in every image.
    maps = {name: 0.1 + cone(x, y, 40) for name, (x, y) in PLACES.items()}
    for one in maps.values():
        one[0, 0] = 0
    labels = {name: [-1] for name in maps}
    write(tmp_path / 'A', maps, **labels)
    found = map_agreement(tmp_path / 'A', tmp_path / 'A', (0.0, 0.5))
    np.testing.assert_array_equal(found.iou, 1)
    assert found.chance[0] == 1
    assert found.beyond_chance[0] == 0
    assert found.best == 1


def test_maps_of_the_same_class_are_compared(tmp_path):
    one, two = cone(50, 60, 40), cone(160, 170, 40)
    write(
        tmp_path / 'A',
        {'a': np.stack([one, two]), 'b': one, 'c': np.stack([one, two])},
        a=[3, 5],
        b=[1],
        c=[1, 2],
    )
    write(
        tmp_path / 'B',
        {'a': np.stack([two, one]), 'b': one, 'c': np.stack([one, two])},
        a=[5, 3],
        b=[4],
        c=[7, 8],
    )
    found = map_agreement(tmp_path / 'A', tmp_path / 'B', (0.5,))
    assert (found.images, found.left_out) == (2, 1)
    np.testing.assert_array_equal(found.iou, 1)


def test_a_map_without_contrast_agrees_with_nothing(tmp_path):
    maps = {name: cone(x, y, 40) for name, (x, y) in PLACES.items()}
    labels = {name: [-1] for name in maps}
    write(tmp_path / 'A', maps, **labels)
    write(tmp_path / 'B', {**maps, 'b': np.ones((8, 8), np.float32)}, **labels)
    found = map_agreement(tmp_path / 'A', tmp_path / 'B', (0.5,))
    assert found.flat == 1
    np.testing.assert_allclose(found.iou, 2 / 3)


def test_what_cannot_be_compared_is_named(tmp_path):
    write(tmp_path / 'A', {'a': cone(50, 60, 40)}, a=[-1])
    with pytest.raises(FileNotFoundError, match='B: expected a folder of maps, got none'):
        map_agreement(tmp_path / 'A', tmp_path / 'B', (0.5,))
    write(tmp_path / 'B', {'b': cone(50, 60, 40)}, b=[-1])
    with pytest.raises(ValueError, match='B: expected maps of at least 2 of the 1 images of .*A, got 0'):
        map_agreement(tmp_path / 'A', tmp_path / 'B', (0.5,))
    np.save(tmp_path / 'B' / 'a.npy', np.zeros((4, 4)))
    (tmp_path / 'A' / 'a.npy').write_bytes(b'no map')
    with pytest.raises(MapProblem, match=r'a\.npy: expected a NumPy file'):
        map_agreement(tmp_path / 'A', tmp_path / 'B', (0.5,))


def test_maps_of_several_objects_are_no_pair(tmp_path):
    """They have no order in which the objects of one would be those of the other."""
    one, two = cone(50, 60, 40), cone(160, 170, 40)
    write(tmp_path / 'objects', {'a': np.stack([one, two])}, a=[-1, -1])
    write(tmp_path / 'one', {'a': one}, a=[2])
    write(tmp_path / 'class', {'a': np.stack([one, two])}, a=[2, 1])
    accepted = r'a\.npz: expected maps of classes, or one map here and in .*'
    for first, second, found in (
        ('objects', 'objects', r'objects/a\.npz, got 2 of no class .* and 2 there'),
        ('one', 'objects', r'one/a\.npz, got 2 of no class \(label -1: .*\) and 1 there'),
        ('objects', 'class', r'class/a\.npz, got 2 of no class .* and 2 there'),
    ):
        with pytest.raises(MapProblem, match=accepted + found):
            map_agreement(tmp_path / first, tmp_path / second, (0.5,))
