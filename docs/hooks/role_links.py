"""Griffe extension: references of Sphinx in docstrings become links on the pages of the API.

Docstrings say ``:class:`Features```. Here the name is looked up from where it stands: in the class, its
bases and the module, and then in the whole package, if one object alone has a name that ends so. A name
without an entry in the API stays code.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

import griffe

_ROLE = re.compile(r':(?:class|func|meth|mod|data|attr|exc):`(~?)([\w.]+)`')


def _objects(parent: griffe.Object) -> Iterator[griffe.Object]:
    yield parent
    for member in parent.members.values():
        if not member.is_alias:
            yield from _objects(member)


def _scopes(place: griffe.Object) -> Iterator[griffe.Object]:
    """Yield where a name may be defined: the object itself, classes and their bases, modules."""
    while place is not None:
        yield place
        if place.is_class:
            yield from place.mro()
        place = place.parent


class RoleLinks(griffe.Extension):
    """Rewrites the docstrings of a package when it has been read."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Rewrite.

        Args:
            pkg: The package.
        """
        objects = {thing.path: thing for thing in _objects(pkg)}
        endings: dict[str, set[str]] = defaultdict(set)
        for path in objects:
            parts = path.split('.')
            for start in range(len(parts)):
                endings['.'.join(parts[start:])].add(path)
        for thing in objects.values():
            if thing.docstring is not None:
                thing.docstring.value = _ROLE.sub(
                    lambda match, place=thing: self._link(match, place, endings), thing.docstring.value
                )

    def _link(self, match: re.Match, place: griffe.Object, endings: dict[str, set[str]]) -> str:
        name = match[2].lstrip('.')
        text = name.rpartition('.')[2] if match[1] else name
        path = self._path(name, place, endings)
        if path is None:
            return f'`{text}`'
        return f'<autoref identifier="{path}" optional><code>{text}</code></autoref>'

    def _path(self, name: str, place: griffe.Object, endings: dict[str, set[str]]) -> str | None:
        if name in endings[name]:
            return name
        first, _, rest = name.partition('.')
        for scope in _scopes(place):
            member = scope.members.get(first)
            if member is not None:
                path = member.target_path if member.is_alias else member.path
                whole = f'{path}.{rest}' if rest else path
                if whole in endings[whole]:
                    return whole
        found = endings[name]
        return next(iter(found)) if len(found) == 1 else None
