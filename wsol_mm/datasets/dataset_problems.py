"""Collects what is wrong with a data set, so that it stops at start-up or is skipped and counted."""

import logging

from mmengine.logging import print_log

#: How many problems of a kind are named in a message; all are counted.
NAMED_PER_KIND = 5


class DatasetError(ValueError):
    """The files of a data set cannot be used as they are."""


class UnreadableImage(DatasetError):
    """An image file that is missing or does not decode, or does not fit what is known of it.

    Args:
        path: The image; without ``reason`` the whole message, of which PyTorch rebuilds the
            error of a worker.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str = '') -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        if not self.reason:
            return self.path
        return f'{self.path}: expected a usable image, got an unusable one: {self.reason}'


class DatasetProblems:
    """The problems found while a data set is read.

    Readers call :meth:`add` for everything that is wrong with one line, image or box and leave that entry
    out. At the end of a stage, :meth:`stop_if_strict` raises one error that counts all problems and names the
    first few, unless the user asked to skip them; then :meth:`log_summary` writes one line.

    Attributes:
        messages: Everything that was added, by kind.

    Args:
        source: The data set and its place, for messages (``'CUB (data/CUB_200_2011)'``).
        on_error: ``'raise'`` or ``'skip'``.

    Raises:
        ValueError: If ``on_error`` is something else.
    """

    def __init__(self, source: str, on_error: str = 'raise') -> None:
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error: expected 'raise' or 'skip', got {on_error!r}")
        self.source = source
        self.on_error = on_error
        self.messages: dict[str, list[str]] = {}

    def add(self, kind: str, message: str) -> None:
        """Count one problem.

        Args:
            kind: What is wrong, as a noun phrase ('missing image'); problems are counted by it.
            message: ``<file, line or image>: expected <what is accepted>, got <what was found>``; of a file
                that is missing, its path alone.
        """
        self.messages.setdefault(kind, []).append(message)

    @property
    def counts(self) -> dict[str, int]:
        """Number of problems by kind."""
        return {kind: len(messages) for kind, messages in self.messages.items()}

    def __len__(self) -> int:
        return sum(self.counts.values())

    def _lines(self) -> list[str]:
        lines = []
        for kind, messages in self.messages.items():
            more = len(messages) - NAMED_PER_KIND
            named = messages[:NAMED_PER_KIND] + ([f'... and {more} more'] if more > 0 else [])
            lines.append(f'{kind} ({len(messages)}): ' + '; '.join(named))
        return lines

    def stop_if_strict(self) -> None:
        """Raise what has been found so far, if problems are not to be skipped.

        Raises:
            DatasetError: If anything was added and ``on_error`` is 'raise'.
        """
        if self.messages and self.on_error == 'raise':
            listing = ' | '.join(self._lines())
            raise DatasetError(
                f'{self.source}: expected files without problems, got {len(self)} problem(s): {listing}. '
                'Correct the files, or leave out the affected entries: '
                "train_dataloader.dataset.on_error='skip' (or that of another loader)"
            )

    def log_summary(self) -> None:
        """Write one line that counts what was skipped and names the first few; nothing if all was well."""
        if self.messages:
            print_log(
                f'{self.source}: skipped ' + ' | '.join(self._lines()),
                logger='current',
                level=logging.WARNING,
            )
