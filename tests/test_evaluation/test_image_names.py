"""Tests of wsol_mm.evaluation.image_names."""

from wsol_mm.evaluation.image_names import match_names

IDS = ['val/red/a.jpg', 'val/red/b.jpg', 'val/green/b.jpg', 'val/blue/c.v2.png']


def test_equal_names_and_names_with_more_or_fewer_folders():
    matches = match_names(['val/red/b.jpg', 'a.jpg', 'maps/val/green/b.jpg', 'other.jpg'], IDS)
    assert matches.names == {
        'val/red/b.jpg': ['val/red/b.jpg'],
        'val/red/a.jpg': ['a.jpg'],
        'val/green/b.jpg': ['maps/val/green/b.jpg'],
    }
    assert matches.ambiguous == {}
    assert matches.unknown == ['other.jpg']


def test_a_name_of_several_images_is_of_none_even_if_another_name_fits_one_of_them():
    matches = match_names(['b.jpg', 'val/red/b.jpg'], IDS)
    assert matches.ambiguous == {'b.jpg': ('val/red/b.jpg', 'val/green/b.jpg')}
    assert matches.names == {'val/red/b.jpg': ['val/red/b.jpg']}


def test_several_names_of_an_image_are_all_there_in_their_order():
    matches = match_names(['x/val/red/a.jpg', 'val/red/a.jpg', 'red/a.jpg'], IDS)
    assert matches.names == {'val/red/a.jpg': ['x/val/red/a.jpg', 'val/red/a.jpg', 'red/a.jpg']}


def test_names_without_suffix_are_names_where_this_is_asked_for():
    names = ['val/red/a', 'red/b', 'x/val/green/b', 'c.v2', 'c']
    assert match_names(names, IDS).unknown == names
    matches = match_names(names, IDS, without_suffix=True)
    assert matches.names == {
        'val/red/a.jpg': ['val/red/a'],
        'val/red/b.jpg': ['red/b'],
        'val/green/b.jpg': ['x/val/green/b'],
        'val/blue/c.v2.png': ['c.v2'],
    }
    assert matches.unknown == ['c']
    twins = match_names(['a', 'a.png'], ['a.jpg', 'a.png'], without_suffix=True)
    assert twins.ambiguous == {'a': ('a.jpg', 'a.png')}
    assert twins.names == {'a.png': ['a.png']}


def test_a_part_of_a_folder_or_file_name_is_no_match():
    assert match_names(['d/b.jpg', 'ed/a.jpg', '.jpg'], IDS).unknown == ['d/b.jpg', 'ed/a.jpg', '.jpg']
