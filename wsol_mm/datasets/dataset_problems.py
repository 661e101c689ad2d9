"""Collects what is wrong with a data set, so that it stops at start-up or is skipped and counted."""

import logging
from collections import defaultdict

from mmengine.logging import print_log

#: How many problems of a kind are named in a message; all are counted.
NAMED_PER_KIND = 5


class DatasetError(ValueError):
    """The files of a data set cannot be used as they are."""


class DatasetProblems:
    """The problems found while a data set is read.

    Readers call :meth:`add` for everything that is wrong with one line, image or box and leave that entry
    out. At the end of a stage, :meth:`stop_if_strict` raises one error that counts all problems and names the
    first few, unless the user asked to skip them; then :meth:`log_summary` writes one line.

    Args:
        source (str): The data set and its place, for messages (``'CUB (data/CUB_200_2011)'``).
        on_error (str): ``'raise'`` or ``'skip'``.

    Raises:
        ValueError: If ``on_error`` is something else.
    """

    def __init__(self, source: str, on_error: str = 'raise') -> None:
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error is {on_error!r}; accepted are 'raise' and 'skip'")
        self.source = source
        self.on_error = on_error
        self.counts: dict[str, int] = {}
        self._named: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, message: str) -> None:
        """Count one problem.

        Args:
            kind (str): What is wrong, as a noun phrase ('missing image'); problems are counted by it.
            message (str): File, line, value found and what is accepted.
        """
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if len(self._named[kind]) < NAMED_PER_KIND:
            self._named[kind].append(message)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def _lines(self) -> list[str]:
        lines = []
        for kind, count in self.counts.items():
            more = count - len(self._named[kind])
            named = list(self._named[kind]) + ([f'... and {more} more'] if more else [])
            lines.append(f'{kind} ({count}): ' + '; '.join(named))
        return lines

    def stop_if_strict(self) -> None:
        """Raise what has been found so far, if problems are not to be skipped.

        Raises:
            DatasetError: If anything was added and ``on_error`` is 'raise'.
        """
        if self.counts and self.on_error == 'raise':
            listing = '\n  '.join(self._lines())
            raise DatasetError(
                f'{self.source}: {len(self)} problem(s) found.\n  {listing}\n'
                "Correct the files, or pass on_error='skip' to go on without what is affected."
            )

    def log_summary(self) -> None:
        """Write one line that counts what was skipped and names the first few; nothing if all was well."""
        if self.counts:
            print_log(
                f'{self.source}: skipped ' + ' | '.join(self._lines()),
                logger='current',
                level=logging.WARNING,
            )
