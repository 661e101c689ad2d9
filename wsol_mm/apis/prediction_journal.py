"""Keeps what a long prediction has done, so that it can resume after any interruption."""

import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from wsol_mm.utils.json_text import read_json
from wsol_mm.utils.whole_files import flush_to_disk, naming, whole_file, write_json

from mmengine.logging import print_log

from .image_listing import ListedImage

_SETTINGS = 'settings.json'
#: How many differing settings an error names, and how much of each value.
_NAMED = 6
_LIMIT = 60
_MISSING = object()


class JournalError(ValueError):
    """A journal of other work than the one that is to be resumed, of unfinished work, or a damaged one."""


class PredictionJournal:
    """A folder with the list of images, the settings, and a line for every batch that is done.

    The list is taken once, so that all images keep their places whatever happens to the folder in the
    meantime; its sum is kept with the settings. A batch is a line, with a sum and its first image's place,
    and counts from the moment at which its line is complete: after a kill, the batch in hand is predicted
    again, of the same images, and so is all from the first line on that is damaged, doubled or missing.

    Args:
        folder: Where to keep it.
        settings: Everything that the results depend on, as JSON; the journal is of no use to others.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))
        #: The images, a line ``[path, name]`` for each, with the other fields if it is in a tar file.
        self.images_file = folder / 'images.jsonl'
        self._batches_file = folder / 'batches.jsonl'
        self._settings_file = folder / _SETTINGS
        #: How many images there are.
        self.num_images = 0
        #: How many of them are done.
        self.num_done = 0

    def exists(self) -> bool:
        """Tell whether there is a complete list of images to resume with."""
        return self._settings_file.is_file()

    @property
    def is_complete(self) -> bool:
        """Whether there is a list of images, and all are done."""
        return self.exists() and self.num_images == self.num_done

    def create(self, images: Iterable[ListedImage]) -> None:
        """Write the list of images and the settings; what an earlier attempt at this has left is replaced.

        Args:
            images: The images.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._batches_file.write_bytes(b'')
        flush_to_disk(self._batches_file)
        images_sum = 0
        with whole_file(self.images_file) as part, part.open('wb') as file:
            for image in images:
                line = json.dumps(image if image.tar else image[:2]).encode() + b'\n'
                file.write(line)
                images_sum = zlib.crc32(line, images_sum)
                self.num_images += 1
        # Last: its presence says that all is there.
        content = {'settings': self.settings, 'num_images': self.num_images, 'images_sum': images_sum}
        write_json(self._settings_file, content, indent=1)

    def resume(self) -> None:
        """Read how far the prediction has come, and drop what does not count.

        Raises:
            JournalError: If the journal was made with other settings, or is damaged.
        """
        saved = self._saved()
        differing = list(setting_differences(saved['settings'], self.settings))
        if differing:
            more = f' and {len(differing) - _NAMED} more' if len(differing) > _NAMED else ''
            raise JournalError(
                f'{self.folder}: expected the settings that the work was begun with, got others: '
                f'{", ".join(differing[:_NAMED])}{more}. Resume with the former, or remove the folder'
            )
        self.num_images, self.num_done = saved['num_images'], 0
        self._check_images(saved['images_sum'])
        complete, lines = 0, 0
        # One that is missing is one of which nothing is left.
        with open(self._batches_file, 'ab+') as file:
            file.seek(0)
            for line in file:
                results = _parsed(line, self.num_done)
                if results is None or self.num_done + len(results) > self.num_images:
                    lines = 1 + sum(1 for _ in file)
                    break
                complete += len(line)
                self.num_done += len(results)
        os.truncate(self._batches_file, complete)
        if lines > 1:
            print_log(
                f'{self._batches_file}: expected batches in order, each with its sum, got {lines} lines '
                f'behind image {self.num_done} that are not: these images are predicted again',
                'current',
                logging.WARNING,
            )

    def _saved(self) -> dict[str, Any]:
        """Read the settings, the number of images and the sum of their list."""
        accepted = f'a journal of predict_folder. Remove {self.folder} to begin anew'
        try:
            saved = read_json(self._settings_file, accepted)
        except ValueError as error:
            raise JournalError(str(error)) from error
        kinds = {'settings': dict, 'num_images': int, 'images_sum': int}
        wrong = [
            name
            for name, kind in kinds.items()
            if not isinstance(saved, dict) or not isinstance(saved.get(name), kind)
        ]
        if wrong:
            raise JournalError(
                f'{self._settings_file}: expected {accepted}, got one without {", ".join(wrong)}'
            )
        return saved

    def _check_images(self, expected: int) -> None:
        """Compare the list of images with the sum of the one that was written."""
        found, count = 0, 0
        if self.images_file.is_file():
            with open(self.images_file, 'rb') as file:
                for line in file:
                    found = zlib.crc32(line, found)
                    count += 1
        if found != expected or count != self.num_images:
            raise JournalError(
                f'{self.images_file}: expected the list of {self.num_images} images as it was written, got '
                f'{count} lines, or others. Remove {self.folder} to begin anew'
            )

    def append(self, results: Sequence[dict]) -> None:
        """Add a batch.

        Args:
            results: What to keep of every image, in order, as JSON.
        """
        content = f'{self.num_done} {json.dumps(results, separators=(",", ":"))}'.encode()
        with naming(self._batches_file), open(self._batches_file, 'ab') as file:
            file.write(b'%08x %s\n' % (zlib.crc32(content), content))
            file.flush()
            os.fsync(file.fileno())
        self.num_done += len(results)

    def images(self, start: int = 0) -> Iterator[ListedImage]:
        """Read the list of images from a place on."""
        return read_images(self.images_file, start)

    def results(self) -> Iterator[tuple[ListedImage, dict]]:
        """Read all images with what was kept of them.

        Raises:
            JournalError: If some are not done.
        """
        if not self.is_complete:
            raise JournalError(
                f'{self.folder}: expected all {self.num_images} images to be done, got {self.num_done}'
            )
        with open(self._batches_file, 'rb') as file:
            done = (result for line in file for result in json.loads(line.split(b' ', 2)[2]))
            yield from zip(self.images(), done, strict=True)

    def remove(self) -> None:
        """Remove the journal from the disk."""
        # Without settings it is no journal any more, should this be interrupted.
        self._settings_file.unlink()
        shutil.rmtree(self.folder)


def saved_settings(folder: Path) -> dict[str, Any]:
    """Read the settings that a journal was made with.

    Args:
        folder: Folder of the journal.

    Returns:
        The settings.

    Raises:
        JournalError: If there is no journal, or its settings are damaged.
    """
    file = folder / _SETTINGS
    try:
        return dict(json.loads(file.read_text())['settings'])
    except (FileNotFoundError, NotADirectoryError):
        raise JournalError(f'{folder}: expected the journal of a prediction, got none there') from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JournalError(f'{file}: expected the settings of a journal, got a damaged file') from error


def read_images(file: Path, start: int = 0) -> Iterator[ListedImage]:
    """Read a journal's list of images.

    Args:
        file: The list.
        start: How many to leave out.

    Yields:
        The images.
    """
    with open(file, encoding='utf-8') as lines:
        for line in islice(lines, start, None):
            yield ListedImage(*json.loads(line))


def _parsed(line: bytes, place: int) -> list | None:
    """Return the results in a line, of images from a place on; None if it is damaged, or of others."""
    content = line[9:-1]
    if not line.endswith(b'\n') or line[:9] != b'%08x ' % zlib.crc32(content):
        return None
    start, _, results = content.partition(b' ')
    return json.loads(results) if start == b'%d' % place else None


def setting_differences(before: object, now: object, name: str = '') -> Iterator[str]:
    """Describe where two settings differ: the innermost ones, of short lists the whole.

    Args:
        before: A setting, or a dictionary or list of such.
        now: Another one.
        name: What it is called.

    Yields:
        A text ``<name> (was <before>, now <now>)`` for each difference.
    """
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            inner = f'{name}.{key}' if name else key
            yield from setting_differences(before.get(key, _MISSING), now.get(key, _MISSING), inner)
        return
    texts = [_as_text(value) for value in (before, now)]
    if isinstance(before, list) and isinstance(now, list) and max(map(len, texts)) > _LIMIT:
        for place, pair in enumerate(zip_longest(before, now, fillvalue=_MISSING)):
            yield from setting_differences(*pair, f'{name}[{place}]')
        return
    # What both texts begin with, such as the folders of a path, must not use up their length.
    start = max(0, len(os.path.commonprefix(texts)) - _LIMIT // 4)
    yield f'{name} (was {_shortened(texts[0], start)}, now {_shortened(texts[1], start)})'


def _as_text(value: object) -> str:
    return 'nothing' if value is _MISSING else json.dumps(value)


def _shortened(text: str, start: int) -> str:
    if len(text) <= _LIMIT:
        return text
    end = start + _LIMIT
    return f'{"..." if start else ""}{text[start:end]}{"..." if end < len(text) else ""}'
