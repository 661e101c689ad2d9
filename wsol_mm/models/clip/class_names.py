"""Names of classes for prompts: shipped lists, files of the user, class folders."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

#: Where the config of CDTR gives the names.
CLASS_NAMES_KEY = 'model.head.sba.class_names'

_LISTS_DIR = Path(__file__).parent / 'name_lists'
# 001.Black_footed_Albatross (CUB), n02085620-Chihuahua (Stanford Dogs)
_PREFIX = re.compile(r'(?:\d+\.|n\d{8}-)(?=[^\W\d])')
_WNID = re.compile(r'n\d{8}')


def load_class_names(source: str | Path | Sequence[str], key: str = CLASS_NAMES_KEY) -> list[str]:
    """Return the class names that a config gives.

    Args:
        source: ``'cub'`` (the 200 names of CUB-200-2011, with underscores as in its folders), ``'ilsvrc'``
            (the WordNet lemmas of the 1000 synsets in the order of their ids, as in 'tench, Tinca tinca'),
            ``'ilsvrc-clip'`` (the names of the same classes with which CLIP was published, as in 'tench'), a
            UTF-8 text file with a name per line in the order of the class indices, or the names themselves.
        key: Where the config gives them, for messages.

    Returns:
        A name per class.

    Raises:
        FileNotFoundError: If there is no such list or file.
        ValueError: If a name is empty, or there is none.
    """
    if source == 'ilsvrc':
        return list(_ilsvrc_lemmas().values())
    if source == 'ilsvrc-clip':
        from open_clip import IMAGENET_CLASSNAMES  # takes seconds

        return list(IMAGENET_CLASSNAMES)
    if source == 'cub':
        return _read_lines(_LISTS_DIR / 'cub.txt')
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"{key}: expected 'cub', 'ilsvrc', 'ilsvrc-clip', a list of names, a text file with a name "
                f'per line, or None for the classes of the data, got {str(source)!r}'
            )
        names = _read_lines(path)
    else:
        names = list(source)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f'{key}: expected a name for every class, got {names[:5]!r} ...')
    return names


def class_names_from(classes: Sequence[str], key: str = CLASS_NAMES_KEY) -> list[str]:
    """Derive names for prompts from the classes of a data set, often the names of folders.

    If all have a number or a WordNet id in front, as in '001.Black_footed_Albatross' and
    'n02085620-Chihuahua', it is dropped. If all are WordNet ids of ILSVRC 2012, as 'n01440764', they become
    the synsets' lemmas; each is looked up by itself, so a subset of the classes may come in any order.
    Nothing else is changed.

    Args:
        classes: Class names by index.
        key: Where the config may give others, for messages.

    Returns:
        Names in the same order.

    Raises:
        ValueError: If there is no class, a WordNet id is not one of ILSVRC 2012, or a class is a number.
    """
    if not classes:
        raise ValueError(f'{key}: expected names, as the data have no classes, got none')
    if all(_PREFIX.match(name) for name in classes):
        return [_PREFIX.sub('', name, count=1) for name in classes]
    unnamed = [name for name in classes if name.strip().isdigit() or not name.strip()]
    if any(_WNID.fullmatch(name) for name in classes):
        lemmas = _ilsvrc_lemmas()
        unnamed += [name for name in classes if _WNID.fullmatch(name) and name not in lemmas]
        names = [lemmas.get(name, name) for name in classes]
    else:
        names = list(classes)
    if unnamed:
        raise ValueError(
            f'{key}: expected a list of names or a text file with a name per line, as the '
            f'data have no names for {len(unnamed)} of their {len(classes)} classes '
            f'({unnamed[:5]!r}), got none'
        )
    return names


@cache
def _ilsvrc_lemmas() -> dict[str, str]:
    """Lemmas by WordNet id, in the order of the class indices of ILSVRC 2012."""
    return dict(line.split(' ', maxsplit=1) for line in _read_lines(_LISTS_DIR / 'ilsvrc.txt'))


def _read_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding='utf-8-sig').splitlines()
    return [line.strip() for line in lines if line.strip()]
