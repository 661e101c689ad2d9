"""Arguments of tools: what can be written is told before any work, and the disk is left as it is."""

import argparse
import os
import tempfile
from pathlib import Path

from wsol_mm.cli.argument_types import (
    map_threshold,
    new_output,
    output_file,
    output_file_of,
    output_folder,
)

import pytest

OUTPUTS = (output_file, output_folder, new_output)


def left_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*'))


@pytest.mark.parametrize('check', OUTPUTS)
@pytest.mark.parametrize('name', ['a.json', 'new/deep/a.json'])
def test_what_can_be_made_is_not_made_yet(tmp_path, monkeypatch, check, name):
    monkeypatch.chdir(tmp_path)
    assert check(name) == Path(name)
    assert check(str(tmp_path / name)) == tmp_path / name
    assert left_in(tmp_path) == []


@pytest.mark.parametrize('check', OUTPUTS)
def test_below_a_file(tmp_path, monkeypatch, check):
    monkeypatch.chdir(tmp_path)
    Path('afile').touch()
    message = "expected a path that can be written, got 'afile/new/b.json': 'afile' is not a folder"
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        check('afile/new/b.json')
    assert left_in(tmp_path) == ['afile']


@pytest.mark.skipif(not Path('/proc/self').exists(), reason='no /proc')
@pytest.mark.parametrize('check', OUTPUTS)
def test_where_not_even_the_administrator_can_write(check):
    with pytest.raises(argparse.ArgumentTypeError, match=r"got '/proc/p.json': \w+"):
        check('/proc/p.json')


@pytest.mark.parametrize('check', OUTPUTS)
def test_without_permission(tmp_path, monkeypatch, check):
    def refused(dir):  # noqa: A002
        raise PermissionError(13, 'Permission denied', str(dir))

    monkeypatch.setattr(tempfile, 'TemporaryFile', refused)
    with pytest.raises(argparse.ArgumentTypeError, match=f"got '{tmp_path}/b': Permission denied$"):
        check(str(tmp_path / 'b'))


@pytest.mark.skipif(os.name != 'posix' or os.geteuid() == 0, reason='an administrator has all permissions')
def test_a_file_and_a_folder_without_permission(tmp_path):
    (tmp_path / 'a.json').touch(0o444)
    (tmp_path / 'folder').mkdir(0o555)
    for check, name in ((output_file, 'a.json'), (output_file, 'folder/b'), (output_folder, 'folder')):
        with pytest.raises(argparse.ArgumentTypeError, match='Permission denied'):
            check(str(tmp_path / name))


def test_a_file_that_is_there_keeps_its_content_and_time(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('mine')
    os.utime(path, (5, 5))
    for check in (output_file, new_output):
        assert check(str(path)) == path
    assert path.read_text() == 'mine' and path.stat().st_mtime == 5
    with pytest.raises(argparse.ArgumentTypeError, match=f"expected a folder, got the file '{path}'"):
        output_folder(str(path))


def test_a_folder_that_is_there(tmp_path):
    assert output_folder(str(tmp_path)) == tmp_path
    with pytest.raises(argparse.ArgumentTypeError, match=f"expected a file, got the folder '{tmp_path}'"):
        output_file(str(tmp_path))


@pytest.mark.skipif(not Path('/dev/null').exists(), reason='no /dev/null')
def test_a_device_is_taken_as_it_is():
    assert output_file('/dev/null') == Path('/dev/null')


def test_argparse_names_the_argument(capsys):
    parser = argparse.ArgumentParser(prog='tool.py')
    parser.add_argument('--threshold', type=map_threshold)
    assert [parser.parse_args(['--threshold', text]).threshold for text in ('0', '.45')] == [0.0, 0.45]
    for text, found in (
        ('1', 'expected a number in [0, 1), got 1.0'),
        ('nan', 'expected a number in [0, 1), got nan'),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(['--threshold', text])
        assert f'tool.py: error: argument --threshold: {found}' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parser.parse_args(['--threshold', 'low'])
    assert "argument --threshold: expected a number in [0, 1), got 'low'" in capsys.readouterr().err


def test_files_whose_names_tell_what_they_become(tmp_path):
    picture = output_file_of('.png', '.jpg')
    assert picture(str(tmp_path / 'a.PNG')) == tmp_path / 'a.PNG'
    with pytest.raises(
        argparse.ArgumentTypeError, match=r"^expected a file that ends in \.png, \.jpg, got 'a\.gif'$"
    ):
        picture('a.gif')
    (tmp_path / 'folder.jpg').mkdir()
    with pytest.raises(argparse.ArgumentTypeError, match='expected a file, got the folder'):
        picture(str(tmp_path / 'folder.jpg'))
