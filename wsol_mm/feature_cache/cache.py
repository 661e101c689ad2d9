"""Cached features in shards that are written whole and read in place."""

import json
import mmap
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from wsol_mm.utils.json_text import read_json
from wsol_mm.utils.whole_files import whole_file, write_whole

import numpy as np
from numpy.typing import NDArray

from .cache_key import CacheKey

_KEY, _LAYOUT = 'key.json', 'layout.json'
#: Shards that one process keeps open.
_OPEN_SHARDS = 64


class CacheMismatchError(ValueError):
    """A cache of other features than those that are wanted."""


class FeatureCache:
    """A folder of cached features.

    ``key.json`` says what the features depend on, ``layout.json`` their names, shapes and type. Every shard
    holds the records of some consecutive images under one view, as one NumPy array of records, which is read
    in place, and the meta fields of these images as JSON beside it, with a sum (CRC-32) of every record and
    its fields, which is compared before they are used: once in a run, by whichever of its processes reads
    them first, and again if a file has changed when the shard is opened again. A shard appears under its name
    when it is whole, so that a killed extraction goes on where it was.

    Args:
        folder: The folder.
        key: What the features must depend on.
        record: Type of one image's record: names, type and shapes of the features.
        shard_size: Images of a shard.
    """

    def __init__(self, folder: Path, key: CacheKey, record: np.dtype, shard_size: int) -> None:
        self.folder = folder
        self.key = key
        self.record = record
        self.shard_size = shard_size
        self._begin()

    def _begin(self) -> None:
        """Make what belongs to processes, of which those that are forked share the marks."""
        self._open = lru_cache(maxsize=_OPEN_SHARDS)(self._load)
        # Of every record the mark under which it was compared. Pages of it take memory when they are written.
        count = len(self.key.views) * self.key.num_images
        self._compared = np.frombuffer(mmap.mmap(-1, 4 * max(count, 1)), np.uint32)

    # ------------------------------------------------------------------ the folder

    @classmethod
    def create(cls, folder: str | Path, key: CacheKey, record: np.dtype, shard_size: int) -> 'FeatureCache':
        """Make a folder for a cache, or go on with one that has the same key.

        Raises:
            CacheMismatchError: If the folder holds other features.
        """
        folder = Path(folder)
        if (folder / _KEY).is_file():
            cache = cls.open(folder)
            cache.check(key)
            return cache
        folder.mkdir(parents=True, exist_ok=True)
        layout = dict(
            record=[[name, *_described(record[name])] for name in record.names or ()], shard_size=shard_size
        )
        write_whole(folder / _LAYOUT, json.dumps(layout, indent=2))
        # Last: its presence says that all is there.
        write_whole(folder / _KEY, key.to_json())
        return cls(folder, key, record, shard_size)

    @classmethod
    def open(cls, folder: str | Path) -> 'FeatureCache':
        """Open a cache.

        Raises:
            CacheMismatchError: If its key is of another form, such as another version's.
            FileNotFoundError: If the folder holds none.
        """
        folder = Path(folder)
        if not (folder / _KEY).is_file():
            raise FileNotFoundError(
                f'{folder}: expected cached features, got no {_KEY}; '
                'tools/misc/extract_features.py makes them'
            )
        layout = read_json(folder / _LAYOUT, 'the layout of cached features')
        try:
            record = np.dtype([(name, kind, tuple(shape)) for name, kind, shape in layout['record']])
            shard_size = int(layout['shard_size'])
            if shard_size < 1 or record.hasobject:
                raise ValueError(f'shards of {shard_size} records of {record}')
        except (KeyError, TypeError, ValueError) as error:
            raise CacheMismatchError(
                f'{folder / _LAYOUT}: expected the layout of cached features, got another file ({error!r})'
            ) from error
        try:
            key = CacheKey.from_json((folder / _KEY).read_bytes())
        except ValueError as error:
            raise CacheMismatchError(f'{folder / _KEY}: {error}') from error
        return cls(folder, key, record, shard_size)

    def check(self, key: CacheKey) -> None:
        """Compare with the features that are wanted.

        Raises:
            CacheMismatchError: If they differ; it names the fields.
        """
        differences = key.differences(self.key)
        if differences:
            raise CacheMismatchError(
                f'{self.folder}: expected the features of this run, got others: {"; ".join(differences)}'
            )

    # ------------------------------------------------------------------ shards

    @property
    def shards(self) -> list[tuple[int, int]]:
        """View and number of every shard."""
        count = -(-self.key.num_images // self.shard_size)
        return [(view, number) for view in range(len(self.key.views)) for number in range(count)]

    def images_of(self, number: int) -> range:
        """Return the images of a shard."""
        start = number * self.shard_size
        return range(start, min(start + self.shard_size, self.key.num_images))

    def path(self, view: int, number: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f'view{view}_{number:06d}.npy'

    def missing(self) -> list[tuple[int, int]]:
        """Return the shards that are not there yet."""
        return [shard for shard in self.shards if not self.path(*shard).is_file()]

    @property
    def bytes_left(self) -> int:
        """Size on disk of what is missing."""
        return sum(len(self.images_of(number)) for _, number in self.missing()) * self.record.itemsize

    def write(self, view: int, number: int, records: NDArray, metas: Sequence[Mapping]) -> None:
        """Write a shard: records (n,) and the meta fields of its images."""
        path = self.path(view, number)
        sums = [_sum_of(record, meta) for record, meta in zip(records, metas, strict=True)]
        write_whole(path.with_suffix('.json'), json.dumps(dict(images=list(metas), crc32=sums)))
        with whole_file(path) as part, part.open('wb') as file:
            np.save(file, records)

    def _load(self, view: int, number: int) -> tuple[NDArray, list[dict], list[int], bytes]:
        """Open a shard: records, meta fields, sums and what tells its files from others of their names."""
        path = self.path(view, number)
        if not path.is_file():
            raise FileNotFoundError(
                f'{path}: expected a shard of cached features, got nothing; tools/misc/extract_features.py '
                'completes a cache'
            )
        stats = [file.stat() for file in (path, path.with_suffix('.json')) if file.is_file()]
        files = repr([(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats]).encode()
        beside = read_json(path.with_suffix('.json'), 'an object with the images of the shard')
        count = len(self.images_of(number))
        try:
            records = np.load(path, mmap_mode='r')
            if records.dtype != self.record or records.shape != (count,):
                raise ValueError(f'{records.dtype} of the shape {records.shape}')
        # Of a damaged header NumPy lets through what its parser raises.
        except Exception as error:
            raise CacheMismatchError(
                f'{path}: expected {count} records of the layout, got another or a damaged file ({error}). '
                'Without it, tools/misc/extract_features.py makes it again'
            ) from error
        found = beside if isinstance(beside, dict) else {}
        metas: Any = found.get('images')
        sums: Any = found.get('crc32')
        if not _are(metas, dict, count) or not _are(sums, int, count):
            raise CacheMismatchError(
                f'{path.with_suffix(".json")}: expected an object with images and crc32, {count} of each, '
                f'got another. Without {path.name}, tools/misc/extract_features.py makes both again'
            )
        return records, metas, sums, files

    def read(self, view: int, index: int) -> tuple[NDArray, dict]:
        """Return the record of an image, a view into the file, and its meta fields.

        Raises:
            CacheMismatchError: If they are not what was written.
        """
        number, place = divmod(index, self.shard_size)
        records, metas, sums, files = self._open(view, number)
        record, meta = records[place], metas[place]
        mark = zlib.crc32(files, sums[place] & 0xFFFFFFFF)
        position = view * self.key.num_images + index
        if self._compared[position] == mark:
            return record, meta
        if _sum_of(record, meta) != sums[place]:
            path = self.path(view, number)
            raise CacheMismatchError(
                f'{path}: expected record {place} and its entry in {path.with_suffix(".json").name} as they '
                'were written, got others (CRC-32): a file is damaged. Without it, '
                'tools/misc/extract_features.py makes it again'
            )
        self._compared[position] = mark
        return record, meta

    def __getstate__(self) -> dict:
        """Leave the open files behind: each process opens its own."""
        return {name: value for name, value in vars(self).items() if name not in ('_open', '_compared')}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._begin()


def _sum_of(record: NDArray, meta: Mapping) -> int:
    return zlib.crc32(json.dumps(meta).encode(), zlib.crc32(np.atleast_1d(record).view(np.uint8).data))


def _are(values: object, kind: type, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(v, kind) for v in values)


def _described(kind: np.dtype) -> tuple[str, list[int]]:
    base, shape = kind.subdtype or (kind, ())
    return base.str, list(shape)
