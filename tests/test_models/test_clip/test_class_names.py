"""Names of classes for prompts."""

import json

from wsol_mm.models.clip import class_names_from, load_class_names

import pytest


def test_shipped_lists():
    cub, ilsvrc = load_class_names('cub'), load_class_names('ilsvrc')
    assert (len(cub), cub[0], cub[-1]) == (200, 'Black_footed_Albatross', 'Common_Yellowthroat')
    assert (len(ilsvrc), ilsvrc[0], ilsvrc.count('crane')) == (1000, 'tench, Tinca tinca', 2)
    assert ilsvrc[2].endswith('man-eating shark, Carcharodon carcharias')


@pytest.mark.parametrize('data', ['cub', 'ilsvrc'])
def test_shipped_lists_are_the_references(shared_dir, data):
    path = shared_dir / 'parity' / 'cdtr' / f'classnames_{data}.json'
    assert load_class_names(data) == json.loads(path.read_text())['classnames']


def test_ilsvrc_is_in_the_order_of_the_synsets():
    from timm.data import ImageNetInfo

    info = ImageNetInfo('imagenet-1k')
    wnids = info.label_names()
    assert wnids == sorted(wnids)
    assert class_names_from(wnids) == load_class_names('ilsvrc')
    assert load_class_names('ilsvrc') == [info.label_name_to_description(wnid) for wnid in wnids]


def test_names_of_the_user(tmp_path):
    assert load_class_names(('cat', 'dog')) == ['cat', 'dog']
    path = tmp_path / 'names.txt'
    path.write_text('\ufeffcat\r\nGrüner Hund \n\n', encoding='utf-8')
    assert load_class_names(str(path)) == load_class_names(path) == ['cat', 'Grüner Hund']


@pytest.mark.parametrize('names', [[], ['cat', ' '], ['cat', 3]])
def test_names_that_are_none(names):
    with pytest.raises(ValueError, match='model.head.sba.class_names: expected a name for every class'):
        load_class_names(names)


def test_missing_file():
    with pytest.raises(
        FileNotFoundError,
        match="model.head.sba.class_names: expected 'cub', 'ilsvrc', .* a list .*, got 'cup'",
    ):
        load_class_names('cup')


def test_names_with_which_clip_was_published():
    names = load_class_names('ilsvrc-clip')
    assert len(names) == 1000 and names[:2] == ['tench', 'goldfish'] and names[2] == 'great white shark'


def test_messages_say_where_the_config_gives_the_names():
    with pytest.raises(ValueError, match=r'^model\.class_names: expected a name for every class, got \[\]'):
        load_class_names([], 'model.class_names')
    with pytest.raises(ValueError, match=r'^model\.class_names: expected a list of names'):
        class_names_from(['0'], 'model.class_names')


@pytest.mark.parametrize(
    ('classes', 'names'),
    [
        (('001.Black_footed_Albatross', '002.Laysan'), ['Black_footed_Albatross', 'Laysan']),
        (['n02085620-Chihuahua', 'n02085782-Japanese_spaniel'], ['Chihuahua', 'Japanese_spaniel']),
        # a subset, in another order
        (['n01443537', 'n01440764'], ['goldfish, Carassius auratus', 'tench, Tinca tinca']),
        # numbers that belong to the name: aircraft, and one class without prefix
        (['707-320', '737-200'], ['707-320', '737-200']),
        (['1.Apple', 'Pear'], ['1.Apple', 'Pear']),
        (['star', 'red ring'], ['star', 'red ring']),
        (['n01440764', 'background'], ['tench, Tinca tinca', 'background']),
    ],
)
def test_names_from_classes(classes, names):
    assert class_names_from(classes) == names


@pytest.mark.parametrize(
    ('classes', 'unnamed'),
    [
        (['0', '1'], r"2 of their 2 .*\['0', '1'\]"),
        (['n01440764', 'n00000001'], r"1 of their 2 .*\['n00000001'\]"),
    ],
)
def test_classes_without_names(classes, unnamed):
    with pytest.raises(ValueError, match=f'model.head.sba.class_names: expected a list .*{unnamed}'):
        class_names_from(classes)


def test_no_classes():
    with pytest.raises(
        ValueError, match='model.head.sba.class_names: expected names, .* no classes, got none'
    ):
        class_names_from(())
