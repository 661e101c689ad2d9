import errno
import json
import os
from pathlib import Path

from wsol_mm.utils.whole_files import (
    naming,
    publish,
    remove_leftovers,
    remove_leftovers_of,
    remove_partial_files,
    whole_file,
    write_json,
    write_whole,
)

import numpy as np
import pytest


def test_the_former_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / 'new folder' / 'a.txt'
    write_whole(path, 'first')

    def fail():
        with whole_file(path) as part:
            part.write_text('half')
            assert path.read_text() == 'first'
            assert part.parent == path.parent and part.name.startswith('.')
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == 'first'
    write_whole(path, b'second')
    assert path.read_bytes() == b'second'
    assert [file.name for file in path.parent.iterdir()] == ['a.txt']


def test_file_and_folder_are_flushed_and_then_renamed(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def flush(descriptor):
        done.append(('flush', os.readlink(f'/proc/self/fd/{descriptor}')))
        fsync(descriptor)

    def rename(part, target):
        done.append(('rename', str(target)))
        replace(part, target)

    monkeypatch.setattr(os, 'fsync', flush)
    monkeypatch.setattr(os, 'replace', rename)
    write_whole(tmp_path / 'a', 'x')
    part = str(tmp_path / f'.a.{os.getpid()}.part')
    assert done == [('flush', part), ('rename', str(tmp_path / 'a')), ('flush', str(tmp_path))]


def test_an_error_names_the_file(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail():
        with whole_file(tmp_path / 'model.onnx') as part:
            part.write_text('half')
            raise full

    with pytest.raises(OSError, match='No space left on device: .*model.onnx') as caught:
        fail()
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / 'model.onnx')
    assert not list(tmp_path.iterdir())
    # One about another file names that.
    with pytest.raises(FileNotFoundError, match='other'), naming(tmp_path / 'a'):
        (tmp_path / 'other').read_text()


def test_links_are_followed_and_devices_written_as_they_are(tmp_path):
    (tmp_path / 'there').mkdir()
    (tmp_path / 'link').symlink_to('there/file')
    write_whole(tmp_path / 'link', 'x')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'there/file').read_text() == 'x'
    write_whole('/dev/null', 'x')
    assert not Path('/dev/null').is_file()


def test_names_as_long_as_a_file_system_allows(tmp_path):
    name = 'é' * 127
    write_whole(tmp_path / name, 'x')
    assert (tmp_path / name).read_text() == 'x'


def test_json_has_no_numbers_that_it_cannot_say(tmp_path):
    write_json(tmp_path / 'a.json', {'a': float('nan'), 'b': [1.5, (float('inf'),)], 'c': np.float32('nan')})
    assert json.loads((tmp_path / 'a.json').read_text()) == {'a': None, 'b': [1.5, [None]], 'c': None}
    write_json(tmp_path / 'a.json', {'n': np.int64(3), 'x': np.arange(2)})
    assert json.loads((tmp_path / 'a.json').read_text()) == {'n': 3, 'x': [0, 1]}
    with pytest.raises(TypeError, match='expected a value that JSON can hold, got a set'):
        write_json(tmp_path / 'a.json', {'a': {1}})
    assert json.loads((tmp_path / 'a.json').read_text()) == {'n': 3, 'x': [0, 1]}


def test_a_folder_is_published_as_a_whole(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, 'fsync', lambda number: flushed.append(os.readlink(f'/proc/self/fd/{number}')))
    (tmp_path / 'part' / 'inner').mkdir(parents=True)
    (tmp_path / 'part' / 'inner' / 'file').write_text('x')
    publish(tmp_path / 'part', tmp_path / 'out')
    assert (tmp_path / 'out' / 'inner' / 'file').read_text() == 'x' and not (tmp_path / 'part').exists()
    names = ['part', 'part/inner/file', 'part/inner', '.']
    assert sorted(flushed) == sorted(str((tmp_path / name).resolve()) for name in names)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    for name in ('.a.pth.12.part', 'a.pth', 'b.part', '.hidden'):
        (tmp_path / name).write_text('')
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.hidden', 'a.pth', 'b.part']


def test_leftovers_of_the_dead_alone_are_removed(tmp_path):
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    names = [
        f'.a.json.{dead}.part',
        f'.b.json.{dead}.part',
        f'.a.json.{os.getpid()}.part',
        '.a.json.x.part',
        'a.json',
    ]
    for name in names:
        (tmp_path / name).write_text('')
    (tmp_path / 'inside').mkdir()
    (tmp_path / 'inside' / names[0]).write_text('')
    remove_leftovers_of([tmp_path / 'a.json'])
    assert sorted(path.name for path in tmp_path.glob('*')) == sorted([*names[1:], 'inside'])
    remove_leftovers(tmp_path)
    left = sorted(path.name for path in tmp_path.rglob('*'))
    assert left == sorted([names[2], names[3], names[4], 'inside'])
    remove_leftovers(tmp_path / 'nowhere')
