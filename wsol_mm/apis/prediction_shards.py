"""Parts of one list of images that are predicted in different processes, and what they give together."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from wsol_mm.annotation_formats import FORMATS
from wsol_mm.utils.process_lock import process_lock
from wsol_mm.utils.whole_files import write_json

from .image_listing import ListedImage
from .prediction_journal import JournalError, PredictionJournal, saved_settings, setting_differences
from .prediction_output import (
    AnnotationOutput,
    FolderSummary,
    beside,
    output_exists,
    publish_annotations,
    summarize,
)

_NAME = re.compile(r'([0-9]+)-of-([0-9]+)')
#: In a shard's journal: that it is finished.
_FINISHED = 'finished.json'
#: Beside the shards: that the output which stands there, or is about to, was made of them.
_MERGED = 'merged.json'
#: What the settings of a shard say of it.
_ABOUT = {'number', 'first', 'of_images', 'list', 'image_folder', 'description', 'labels'}
#: Seconds between two looks at what other processes have done.
_PATIENCE_S = 0.2


@dataclass(frozen=True)
class Shard:
    """One of several processes that share the images of a list.

    Attributes:
        number: Which one, from 1.
        count: How many there are.
    """

    number: int
    count: int

    @property
    def name(self) -> str:
        """What its journal is called."""
        return f'{self.number}-of-{self.count}'

    def images(self, num_images: int, batch_size: int) -> range:
        """Return the places of its images in the list.

        A shard is a run of whole batches: the network then sees the batches that it would see in a single
        process, and gives the same boxes to the last digit.

        Args:
            num_images: Length of the list.
            batch_size: Images of a batch.

        Returns:
            The places; none where there are fewer batches than shards.
        """
        batches = -(-num_images // batch_size)
        ends = (batch_size * (batches * index // self.count) for index in (self.number - 1, self.number))
        return range(*(min(end, num_images) for end in ends))


def shards_folder(out: Path) -> Path:
    """Return where the journals of the shards of an output are kept."""
    return beside(out, '.shards')


def list_once(
    root: Path, settings: dict[str, Any], create: Callable[[PredictionJournal], None]
) -> PredictionJournal:
    """Make the list of all images, or take that which another shard has made.

    Args:
        root: Folder of the shards, which exists.
        settings: Everything that must be the same for all shards.
        create: Writes the list into a journal.

    Returns:
        A journal with the list, and without results.

    Raises:
        JournalError: If the list was made with other settings.
    """
    journal = PredictionJournal(root / 'list', settings)
    while not journal.exists():
        try:
            with process_lock(root / 'list.lock'):
                if not journal.exists():
                    create(journal)
        except BlockingIOError:
            time.sleep(_PATIENCE_S)
    journal.resume()
    return journal


def shard_journal(shard: Shard, listed: PredictionJournal, batch_size: int, **more: Any) -> PredictionJournal:
    """Begin or resume the journal of a shard.

    Args:
        shard: Which one.
        listed: Journal with the list of all images.
        batch_size: Images of a batch.
        **more: What the annotations are to say.

    Returns:
        The journal, with the shard's part of the list.

    Raises:
        JournalError: If it was begun with other settings.
    """
    places = shard.images(listed.num_images, batch_size)
    about = {
        'number': shard.number,
        'first': places.start,
        'of_images': listed.num_images,
        'list': _file_digest(listed.images_file),
        **more,
    }
    journal = PredictionJournal(listed.folder.with_name(shard.name), listed.settings | {'shard': about})
    if journal.exists():
        journal.resume()
    else:
        journal.create(islice(listed.images(places.start), len(places)))
    return journal


def finish_shard(journal: PredictionJournal) -> FolderSummary:
    """Note that a shard is finished.

    Args:
        journal: Its journal, complete.

    Returns:
        Its counts.
    """
    summary = summarize(journal.results)
    write_json(journal.folder / _FINISHED, {'images': summary.num_images, 'boxes': summary.num_boxes})
    return summary


def wait_for_shards(out: Path, count: int) -> None:
    """Wait until all shards of an output are finished."""
    names = [Shard(number, count).name for number in range(1, count + 1)]
    while not all((shards_folder(out) / name / _FINISHED).is_file() for name in names):
        time.sleep(_PATIENCE_S)


@dataclass(frozen=True)
class _Finished:
    """A finished shard.

    Attributes:
        journal: Its journal.
        about: What its settings say of the shard.
    """

    journal: PredictionJournal
    about: dict[str, Any]

    @property
    def places(self) -> range:
        """Places of its images in the list of all."""
        return range(self.about['first'], self.about['first'] + self.journal.num_images)

    def output(self, out: Path) -> AnnotationOutput:
        """What is to be written of all shards together."""
        settings = self.journal.settings
        return AnnotationOutput(
            out,
            settings['format'],
            tuple(settings['classes']),
            None if self.about['image_folder'] is None else Path(self.about['image_folder']),
            self.about['description'],
            self.about['labels'],
        )


def merge_shards(out: Path, folders: Sequence[Path] = ()) -> FolderSummary:
    """Write the annotations of finished shards: those of a single process, byte for byte.

    The shards are read one after the other, so that memory does not grow with the number of images. The
    output is written atomically; then the shards beside it are removed.

    Args:
        out: File or folder to write, as the shards were told.
        folders: Journals of the shards, where they are not beside ``out``.

    Returns:
        Counts.

    Raises:
        BlockingIOError: If another process writes the same output.
        FileExistsError: If the output exists, made of something else.
        FileNotFoundError: If there are no shards.
        JournalError: If a shard is missing, not finished, there twice, or of other work.
    """
    root = shards_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with process_lock(beside(out, '.lock')):
        if out.exists() and not (root / _MERGED).is_file():
            raise output_exists(out)
        if out.exists():  # merged, but not cleared away
            summary = FolderSummary(**json.loads((root / _MERGED).read_text()))
        else:
            shards = _checked([_finished(folder) for folder in folders or _shards_in(root)])

            def results() -> Iterator[tuple[ListedImage, dict]]:
                for shard in shards:
                    yield from shard.journal.results()

            summary = summarize(results)

            def note() -> None:
                if not folders:
                    write_json(root / _MERGED, vars(summary))

            output = shards[0].output(out)
            if out.suffix != (FORMATS[output.format].suffix or out.suffix):
                suffix = FORMATS[output.format].suffix
                raise ValueError(f"{out}: expected a {suffix} file for {output.format}, got '{out.suffix}'")
            publish_annotations(results, output, note)
        if not folders:
            _clear(root)
    return summary


def _clear(root: Path) -> None:
    """Remove the shards, and last what says that they are not needed any more."""
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _MERGED:
            path.unlink()
    (root / _MERGED).unlink()
    root.rmdir()


def _shards_in(root: Path) -> list[Path]:
    found = sorted(path for path in root.glob('*-of-*') if _NAME.fullmatch(path.name))
    if not found:
        raise FileNotFoundError(f'{root}: expected the shards of a prediction, got none')
    return found


def _finished(folder: Path) -> _Finished:
    settings = saved_settings(folder)
    about = settings.get('shard')
    if not isinstance(about, dict) or about.keys() != _ABOUT or settings.get('format') not in FORMATS:
        raise JournalError(f'{folder}: expected the journal of a shard, got another one')
    journal = PredictionJournal(folder, settings)
    journal.resume()
    if not (folder / _FINISHED).is_file():
        raise JournalError(
            f'{folder}: expected a finished shard, got one with {journal.num_done} of {journal.num_images} '
            'images. The same call as before finishes it'
        )
    return _Finished(journal, about)


def _checked(shards: Iterable[_Finished]) -> list[_Finished]:
    """Return shards in the order of their images; see that they are of one work, and no image is missing."""
    shards = sorted(shards, key=lambda shard: (shard.about['first'], len(shard.places)))
    first = shards[0]
    for shard in shards[1:]:
        own = {'number': shard.about['number'], 'first': shard.about['first']}
        expected = first.journal.settings | {'shard': first.about | own}
        differing = list(setting_differences(expected, shard.journal.settings))
        if differing:
            raise JournalError(
                f'{shard.journal.folder}: expected a shard of the same work as {first.journal.folder}, got '
                f'other settings: {", ".join(differing[:3])}'
            )
    place, of_images = 0, first.about['of_images']
    for shard in shards:
        if shard.places.start < place:
            raise JournalError(
                f'{shard.journal.folder}: expected images from {place + 1} on, got those from '
                f'{shard.places.start + 1} on again'
            )
        if shard.places.start > place:
            raise _missing(first, place, shard.places.start)
        place = shard.places.stop
    if place != of_images:
        raise _missing(first, place, of_images)
    return shards


def _missing(first: _Finished, start: int, stop: int) -> JournalError:
    return JournalError(
        f'{first.journal.folder.parent}: expected shards of all {first.about["of_images"]} images, got none '
        f'with the images {start + 1} to {stop}'
    )


def _file_digest(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, 'rb') as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
