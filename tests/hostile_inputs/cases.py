"""What is tried, and how files are damaged."""

import io
import zipfile
from typing import NamedTuple

import torch


class Case(NamedTuple):
    """What is tried.

    Attributes:
        name: For the report.
        words: The tool and its arguments; ``@x`` is a file of the case, CONFIG, FOLDER and GOOD those of the
            project.
        files: Contents, or functions from what is there, by name.
        message: What the error says.
    """

    name: str
    words: str
    files: dict
    message: str


class Cases(list[Case]):
    """Cases of several kinds."""

    def add(self, kind, words, message, cases, file='a.pth'):
        """Add cases of one kind; each is a content, or a pair of a content and what the error says."""
        for name, content in cases.items():
            content, own = content if isinstance(content, tuple) else (content, message)
            self.append(Case(f'{kind}: {name}', words, {file: content}, own))


def saved(content, **options):
    with io.BytesIO() as stream:
        torch.save(content, stream, **options)
        return stream.getvalue()


def zipped(**members):
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, 'w') as archive:
            for name, content in members.items():
                archive.writestr(name.replace('__', '/'), content)
        return stream.getvalue()


def flipped(place):
    """Flip a bit in the bytes of a good checkpoint, at a share of its length."""

    def change(good):
        content = bytearray(good['weights'])
        content[int(place * len(content))] ^= 1
        return bytes(content)

    return change


def changed_state(change):
    """Change the weights of a good checkpoint."""

    def make(good):
        state = torch.load(io.BytesIO(good['weights']), weights_only=True)
        return saved(change(state))

    return make


def changed_training(**changes):
    """Change a checkpoint of a training; None removes a part."""

    def make(good):
        content = torch.load(io.BytesIO(good['training']), weights_only=False)
        for key, value in changes.items():
            *outer, last = key.split('__')
            part = content
            for name in outer:
                part = part[name]
            part[last] = value
            if value is None:
                del part[last]
        return saved(content)

    return make
