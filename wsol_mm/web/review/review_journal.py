"""What reviewers did, a line each, on the disk before anybody is told that it is done."""

import json
import os
from pathlib import Path

from wsol_mm.utils.whole_files import flush_to_disk, naming

#: Version of the format.
_FORMAT = 1


class ReviewJournal:
    """A file with a line of JSON for every action, after a first one that says of which boxes.

    Lines are only ever added, and flushed to the disk one by one. A line that was not finished (the machine
    lost power, the disk was full) is removed when the journal is opened again.

    Args:
        file: The journal.
        annotations_digest: SHA-256 of the annotations that are reviewed.

    Raises:
        ValueError: If the file is no journal, or of other annotations.
    """

    def __init__(self, file: Path, annotations_digest: str) -> None:
        self.file = file
        self._header = {'wsol_mm_review': _FORMAT, 'annotations': annotations_digest}
        #: The actions so far.
        self.actions: list[dict] = []
        if file.exists() and file.stat().st_size:
            self._read()
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        if not file.stat().st_size:
            self._write(self._header)
            flush_to_disk(file.parent)

    def append(self, action: dict) -> None:
        """Add an action; it is on the disk when this returns.

        Args:
            action: What was done, as JSON.

        Raises:
            OSError: If it cannot be written; the journal is then as before.
        """
        self._write(action)
        self.actions.append(action)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, content: dict) -> None:
        line = json.dumps(content, separators=(',', ':'), allow_nan=False).encode() + b'\n'
        with naming(self.file):
            end = os.fstat(self._descriptor).st_size
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, end)
                raise

    def _read(self) -> None:
        complete, contents = 0, []
        with open(self.file, 'rb') as stream:
            for number, line in enumerate(stream, 1):
                try:
                    contents.append(json.loads(line))
                except ValueError as error:
                    # After a power failure a file may end in anything; what is before its end was written.
                    if stream.read(1):
                        raise ValueError(
                            f'{self.file}, line {number}: expected JSON, got another content: {error}'
                        ) from error
                    break
                if not line.endswith(b'\n'):
                    contents.pop()
                    break
                complete += len(line)
        header = contents[0] if contents else None
        if complete and not (isinstance(header, dict) and 'wsol_mm_review' in header):
            raise ValueError(f'{self.file}: expected the journal of a review, got another file')
        if complete and header != self._header:
            raise ValueError(
                f'{self.file}: expected a review of these annotations, got one of others. Move it away, or '
                'give the review another output'
            )
        os.truncate(self.file, complete)
        self.actions = contents[1:]
