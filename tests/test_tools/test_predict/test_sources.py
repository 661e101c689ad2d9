"""Boxes of images in lists, tar files and at addresses: those of the same images in a folder."""

import csv
import json
import shutil
import tarfile
from pathlib import Path

from wsol_mm.apis import LocalizationInferencer, prediction_shards

import pytest

from .test_resuming import contents


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
    """Where the annotations of the folder are kept, once they are made."""
    return tmp_path_factory.mktemp('expected') / 'a.json'


@pytest.fixture
def of_folder(predict, expected) -> Path:
    if not expected.exists():
        assert predict('--out', expected)[0] == 3
    return expected


@pytest.fixture(scope='module')
def paths(photos) -> list[str]:
    return sorted(path.relative_to(photos).as_posix() for path in photos.rglob('*.png'))


def test_a_list_of_paths(predict, photos, paths, of_folder, tmp_path):
    (tmp_path / 'list.csv').write_text('file\n' + ''.join(f'{path}\n' for path in paths))
    options = ['--root', photos, '--column', 'file', '--out']
    assert predict(*options, tmp_path / 'a.json', folder=tmp_path / 'list.csv')[0] == 3
    assert (tmp_path / 'a.json').read_bytes() == of_folder.read_bytes()
    assert (tmp_path / 'a.json.broken.txt').read_text() == Path(f'{of_folder}.broken.txt').read_text()
    # Classes are the first folders below the root.
    options += [tmp_path / 'b.json', '--labels', 'from-folder']
    assert '36 boxes' in predict(*options, folder=tmp_path / 'list.csv')[1]


def test_parquet_out_and_in(predict, photos, of_folder, tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    for name in ('parquet', 'csv'):
        out = tmp_path / f'a.{name}'
        assert predict('--out', out, '--format', name, '--topk', 2)[0] == 3
    rows = parquet.read_table(tmp_path / 'a.parquet').to_pylist()
    with open(tmp_path / 'a.csv') as file:
        assert [{key: str(row[key]) for key in list(row)[:8]} for row in rows] == list(csv.DictReader(file))
    assert {(row['image_width'], row['image_height']) for row in rows} == {(48, 40)}
    assert parquet.read_schema(tmp_path / 'a.parquet').metadata[b'labels'] == b'predicted'
    # Its column of paths is a list, in which torn images are missing.
    out = tmp_path / 'again.json'
    assert predict('--out', out, '--root', photos, folder=tmp_path / 'a.parquet')[0] == 0
    again, before = (json.loads(path.read_text()) for path in (out, of_folder))
    for part, key in (('images', 'file_name'), ('annotations', 'category_id')):
        assert [entry[key] for entry in again[part]] == [entry[key] for entry in before[part]]


def test_tar_files(predict, photos, paths, of_folder, tmp_path):
    for number, part in enumerate((paths[:25], paths[25:])):
        with tarfile.open(tmp_path / f'{number}.tar', 'w') as tar:
            for path in part:
                tar.add(photos / path, path)
    options = ['--batch-size', 32, '--save-maps', tmp_path / 'maps', '--show-dir', tmp_path / 'drawn']
    status, printed = predict('--out', tmp_path / 'a.json', *options, folder=tmp_path / '?.tar')
    assert status == 3 and '36 boxes in 36 images' in printed
    text = (tmp_path / 'a.json').read_text()
    assert text.replace('0.tar/', '').replace('1.tar/', '') == of_folder.read_text()
    name = f'0.tar/{paths[0]}'
    assert json.loads(text)['images'][0]['file_name'] == name
    assert (tmp_path / 'maps' / f'{name}.npz').is_file()
    assert (tmp_path / 'drawn' / name).is_file()
    # In shards, loaded by processes of their own.
    out = tmp_path / 'shards' / 'a.json'
    for number in (1, 2):
        options = ['--shard', f'{number}/2', '--num-workers', 2]
        assert predict('--out', out, *options, folder=tmp_path / '{0..1}.tar')[0] == 3
    prediction_shards.merge_shards(out)
    assert out.read_text() == text


def test_addresses(predict, photos, of_folder, tmp_path):
    fsspec = pytest.importorskip('fsspec')
    system = fsspec.filesystem('memory')
    for path, content in contents(photos).items():
        system.pipe(f'/photos/{path}', content)
    try:
        assert predict('--out', tmp_path / 'a.json', folder='memory://photos')[0] == 3
        assert (tmp_path / 'a.json').read_bytes() == of_folder.read_bytes()
        assert predict('--out', tmp_path / 'voc', '--format', 'voc', folder='memory://photos')[0] == 3
        # Elsewhere there is nothing that a link could lead to.
        assert predict('--out', tmp_path / 'yolo', '--format', 'yolo', folder='memory://photos')[0] == 3
        assert not (tmp_path / 'yolo' / 'images').is_symlink() and (tmp_path / 'yolo' / 'train.txt').is_file()
        message = 'memory://photos: expected images in local files, which labelme opens in place, got others'
        assert message in predict('--out', tmp_path / 'b', '--format', 'labelme', folder='memory://photos')[0]
    finally:
        system.store.clear()


def test_wrong_sources_stop_with_one_line(predict, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(LocalizationInferencer, '__init__', lambda *_: pytest.fail('the model is loaded'))
    shutil.copy(next(photos.rglob('*.png')), tmp_path / '1.png')
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        tar.add(tmp_path / '1.png', '1.png')
    (tmp_path / 'list.txt').write_text('/etc/passwd\n')
    out = ['--out', tmp_path / 'a.json']
    for folder, options, message in (
        ('none.txt', [], 'expected a file, got nothing at '),
        ('list.txt', [], 'list.txt, line 1: expected a path below '),
        ('a.tar', ['--labels', 'from-folder'], 'a.tar: expected images in folders of classes, got tar files'),
        ('1.png', ['--root', 'x'], 'root and column: expected none beside '),
        ('b-*.tar', [], 'b-*.tar: expected tar files, got nothing there'),
    ):
        status, _ = predict(*out, *options, folder=tmp_path / folder)
        assert status.startswith('predict.py: error: ') and message in status and '\n' not in status
    assert sorted(path.name for path in tmp_path.iterdir()) == ['1.png', 'a.tar', 'list.txt']
