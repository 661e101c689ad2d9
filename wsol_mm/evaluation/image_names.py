"""Which image of a data set a name means, whatever folder it is relative to."""

from collections.abc import Iterable, Iterator, Sequence
from os.path import splitext
from typing import NamedTuple

#: How many entries an error names.
NAMED = 3


class NameMatches(NamedTuple):
    """What names mean.

    Attributes:
        names: By image id, the names that mean this image and no other, in their order.
        ambiguous: By name, the several images that it may mean.
        unknown: The names that mean no image.
    """

    names: dict[str, list[str]]
    ambiguous: dict[str, tuple[str, ...]]
    unknown: list[str]


def match_names(names: Iterable[str], img_ids: Sequence[str], without_suffix: bool = False) -> NameMatches:
    """Find the images that names mean.

    A name and an id mean the same image if they are equal; otherwise, if one ends with all folders and the
    name of the other. The images are gone through once, or twice if some names equal no id.

    Args:
        names: Different paths with ``/``, relative to some folder.
        img_ids: Ids of the images: paths relative to the image folder of the data set.
        without_suffix: A name may also lack the suffix of the image file, unless it is another id.

    Returns:
        The matches.
    """
    meant: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    whole = {img_id for img_id in img_ids if img_id in meant}
    for img_id in img_ids:
        for form in _forms(img_id, without_suffix):
            if form in meant and (form == img_id or form not in whole):
                meant[form] = (*meant[form], img_id)
    rest = {name for name, found in meant.items() if not found}
    if rest:
        shorter: dict[str, tuple[str, ...]] = {}
        longer: dict[str, tuple[str, ...]] = dict.fromkeys(
            (tail for name in rest for tail in _tails(name)), ()
        )
        for img_id in img_ids:
            for form in _forms(img_id, without_suffix):
                if form in longer:
                    longer[form] = (*longer[form], img_id)
                for tail in _tails(form):
                    if tail in rest:
                        shorter[tail] = (*shorter.get(tail, ()), img_id)
        for name in rest:
            whole_id = next((longer[tail] for tail in _tails(name) if longer[tail]), ())
            meant[name] = whole_id or shorter.get(name, ())
    matches = NameMatches({}, {}, [])
    for name, found in meant.items():
        if not found:
            matches.unknown.append(name)
        elif len(found) > 1:
            matches.ambiguous[name] = found
        else:
            matches.names.setdefault(found[0], []).append(name)
    return matches


def _forms(img_id: str, without_suffix: bool) -> tuple[str, ...]:
    stem = splitext(img_id)[0]
    return (img_id, stem) if without_suffix and stem != img_id else (img_id,)


def _tails(path: str) -> Iterator[str]:
    """Yield a path with fewer and fewer of its first folders, the whole path first."""
    yield path
    while '/' in path:
        path = path.partition('/')[2]
        yield path
