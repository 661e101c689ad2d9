"""Lists of paths, tar files and addresses: what is found in them, and what is said of bad ones."""

import io
import json
import os
import sys
import tarfile
import tracemalloc
from pathlib import Path

from wsol_mm.apis import image_sources
from wsol_mm.apis.image_listing import ListedImage, walk_images
from wsol_mm.apis.image_sources import distinctly_named, image_name, image_source
from wsol_mm.utils.stored_files import stored_name

import mmengine.fileio as fileio
import pytest

CONTENT = {
    'cat/1.jpg': b'one',
    'cat/1.PNG': b'another one',
    'cat/in/2.jpg': b'two',
    'dog/3.jpg': b'three',
    'dog/notes.txt': b'no image',
    'dog/.4.jpg': b'hidden',
}
IMAGES = ['cat/1.PNG', 'cat/1.jpg', 'cat/in/2.jpg', 'dog/3.jpg']
#: Where two images differ in their suffix only, their names keep it.
NAMES = ['cat/1.PNG', 'cat/1.jpg', 'cat/in/2', 'dog/3']


def write_tar(file, content=None, mode='w') -> None:
    with tarfile.open(fileobj=file, mode=mode) if hasattr(file, 'write') else tarfile.open(file, mode) as tar:
        for name, data in (CONTENT if content is None else content).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def memory():
    """An empty file system in memory, of fsspec."""
    fsspec = pytest.importorskip('fsspec')
    system = fsspec.filesystem('memory')
    system.store.clear()
    for path, data in CONTENT.items():
        system.pipe(f'/bucket/photos/{path}', data)
    yield system
    system.store.clear()


@pytest.fixture
def folder(tmp_path):
    for path, data in CONTENT.items():
        file = tmp_path / 'photos' / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / 'photos'


def found(place, **options) -> list[ListedImage]:
    source = image_source(place, **options)
    source.check()
    images = list(source.images())
    assert len({image.name for image in images}) == len(images)
    # What a list remembers is what loaders need.
    for image in images:
        again = ListedImage(*json.loads(json.dumps(image)))
        member = image.path.removeprefix(f'{image.tar}/').removeprefix('photos/')
        assert fileio.get(image_name(source.root, again)) == CONTENT[member]
    return images


def write_list(file: Path, paths: list[str], column: str = 'path') -> Path:
    if file.suffix == '.parquet':
        arrow, parquet = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
        parquet.write_table(arrow.table({'n': range(len(paths)), column: paths}), file, row_group_size=2)
    elif file.suffix == '.csv':
        file.write_text(f'n,{column}\n' + ''.join(f'{n},"{path}"\n' for n, path in enumerate(paths)))
    else:
        file.write_text('\ufeff' + ''.join(f'{path}\r\n\n' for path in paths), encoding='utf-8')
    return file


@pytest.mark.parametrize('suffix', ['.txt', '.csv', '.parquet'])
def test_lists(folder, tmp_path, suffix):
    walked = list(walk_images(folder))
    assert [image.path for image in walked] == IMAGES and [image.name for image in walked] == NAMES
    # Beside the images, elsewhere, and with whole paths: the same images as in the folder.
    assert found(write_list(folder / f'list{suffix}', IMAGES)) == walked
    assert found(write_list(tmp_path / f'list{suffix}', IMAGES), root=folder) == walked
    assert found(write_list(tmp_path / f'b{suffix}', [f'photos/{path}' for path in IMAGES]))[0].path == (
        'photos/cat/1.PNG'
    )
    whole = write_list(tmp_path / f'c{suffix}', [str(folder / path) for path in IMAGES])
    assert found(whole, root=folder) == walked
    if suffix != '.txt':
        assert found(write_list(tmp_path / f'd{suffix}', IMAGES, 'img'), root=folder, column='img') == walked


def test_the_order_of_a_list_is_kept_and_each_image_taken_once(folder, monkeypatch):
    logged = []
    monkeypatch.setattr(image_sources, 'print_log', lambda text, _: logged.append(text))
    file = write_list(folder / 'a.txt', ['dog/3.jpg', *IMAGES, './cat//1.jpg', 'dog/3.jpg'])
    assert [image.path for image in found(file)] == ['dog/3.jpg', *IMAGES[:3]]
    assert logged == [f'{file}: 3 image(s) are listed again; each is taken once']


def test_names_differ_whatever_the_suffixes():
    paths = ['a/1.jpg', 'b/1.jpg', 'a/1.png', 'A/1.JPG', 'b/2.jpg.png', 'b/2.jpg', 'c', 'd.jpg', 'd']
    named = list(distinctly_named((ListedImage(path, '') for path in paths), 'list'))
    assert [image.path for image in named] == paths
    assert [image.name for image in named] == [
        'a/1.jpg', 'b/1', 'a/1.png', 'A/1.JPG', 'b/2.jpg.png', 'b/2', 'c', 'd.jpg', 'd',
    ]  # fmt: skip


def test_tar_files(tmp_path):
    write_tar(tmp_path / 'p-0.tar', {f'./{path}': data for path, data in CONTENT.items()})
    write_tar(tmp_path / 'p-1.tar', {'cat/1.jpg': b'one', 'x.cls': b'7'}, 'w:')
    write_tar(tmp_path / 'p-10.tar', {})
    order = ['cat/1.jpg', 'cat/1.PNG', 'cat/in/2.jpg', 'dog/3.jpg']
    images = found(tmp_path / 'p-0.tar')
    assert [image.path for image in images] == [f'p-0.tar/{path}' for path in order]
    assert [image.name for image in images] == [
        f'p-0.tar/{name}' for name in ('cat/1.jpg', 'cat/1.PNG', 'cat/in/2', 'dog/3')
    ]
    for pattern in ('p-*.tar', 'p-[01].tar', 'p-{0..1}.tar'):
        both = found(tmp_path / pattern)
        assert both[:4] == images and both[4].path == 'p-1.tar/cat/1.jpg' and both[4].name == 'p-1.tar/cat/1'
    with pytest.raises(FileNotFoundError, match=r'expected a file, got nothing at .*p-00\.tar'):
        found(tmp_path / 'p-{00..01}.tar')
    with pytest.raises(ValueError, match=r'p-10\.tar: expected tar files with images \(.*\), got none'):
        found(tmp_path / 'p-10.tar')
    # A folder may be called like a tar file, and pictures be in a tar file of any layout.
    (tmp_path / 'folder.tar').mkdir()
    (tmp_path / 'folder.tar' / '1.jpg').write_bytes(b'')
    assert image_source(tmp_path / 'folder.tar').kind == 'folder'


def test_a_tar_file_that_was_cut_in_the_meantime(tmp_path):
    name = stored_name(str(tmp_path / 'a.tar'), 512, 100)
    (tmp_path / 'a.tar').write_bytes(b'x' * 600)
    with pytest.raises(OSError, match=r'expected 100 bytes from 512 on in .*a\.tar, got 88'):
        fileio.get(name)


def test_addresses(memory, folder, tmp_path):
    walked = list(walk_images(folder))
    assert found('memory://bucket/photos') == found('memory://bucket/photos/') == walked
    listing = write_list(tmp_path / 'a.txt', IMAGES)
    assert found(listing, root='memory://bucket/photos') == walked
    assert found(f'file://{listing}', root=f'file://{folder}') == walked
    memory.pipe('/bucket/photos/list.txt', listing.read_bytes())
    assert found('memory://bucket/photos/list.txt') == walked
    for suffix in ('.csv', '.parquet'):
        whole = write_list(tmp_path / f'a{suffix}', [f'memory://bucket/photos/{path}' for path in IMAGES])
        assert found(whole, root='memory://bucket/photos') == walked
        memory.pipe(f'/bucket/list{suffix}', whole.read_bytes())
        assert found(f'memory://bucket/list{suffix}')[0].path == 'photos/cat/1.PNG'


def test_one_image_at_an_address(memory):
    source = image_source('memory://bucket/photos/dog/3.jpg')
    (image,) = source.images()
    assert image == ListedImage('3.jpg', '3') and fileio.get(image_name(source.root, image)) == b'three'


def test_tar_files_at_addresses(memory):
    for number in (0, 1):
        buffer = io.BytesIO()
        write_tar(buffer)
        memory.pipe(f'/bucket/p-{number}.tar', buffer.getvalue())
    for pattern in ('p-*.tar', 'p-{0..1}.tar'):
        images = found(f'memory://bucket/{pattern}')
        assert [image.tar for image in images] == ['p-0.tar'] * 4 + ['p-1.tar'] * 4
    assert len(found('memory://bucket/p-1.tar')) == 4
    with pytest.raises(FileNotFoundError, match=r'/q-\*\.tar: expected tar files, got nothing'):
        found('memory://bucket/q-*.tar')


BAD_LISTS = [
    ('a.txt', b'', 'a.txt: expected a list of image paths, got an empty one'),
    ('a.txt', b'caf\xe9.jpg\n', 'a.txt: expected a UTF-8 text file, got bytes that do not decode'),
    (
        'a.txt',
        b'a.jpg\n\n../b.jpg\n',
        "line 3: expected the path of a file without '..', got '../b.jpg'",
    ),
    ('a.txt', b'a/../../b.jpg\n', "a.txt, line 1: expected the path of a file without '..', got"),
    ('a.txt', b'/etc/passwd\n', 'a.txt, line 1: expected a path below '),
    ('a.txt', b's3://bucket/a.jpg\n', "got 's3://bucket/a.jpg'. Another root is to be given, if it is meant"),
    ('a.txt', b'a\0b.jpg\n', "expected the path of a file without '..', got 'a\\x00b.jpg'"),
    ('a.txt', b'.\n', "expected the path of a file without '..', got '.'"),
    ('a.csv', b'', "a.csv: expected a column 'path', got none"),
    ('a.csv', b'name,x\na.jpg,1\n', "a.csv: expected a column 'path', got 'name', 'x'"),
    ('a.csv', b'path,x\na.jpg,1\nb.jpg\n', 'a.csv, line 3: expected 2 fields as in the heading, got 1'),
    (
        'a.csv',
        b'path\n"' + b'a' * 200000 + b'"\n',
        'line 2: expected a CSV file, got another one (field',
    ),
    ('a.csv', b'path,x\n,1\n', "a.csv, line 2: expected the path of a file without '..', got ''"),
    ('a.parquet', b'', 'a.parquet: expected a Parquet file, got a damaged or another one ('),
    ('a.parquet', b'PAR1' + b'\xff' * 100 + b'PAR1', 'a.parquet: expected a Parquet file, got a damaged'),
    (
        'a.tar',
        b'',
        'a.tar: expected an uncompressed tar file, got a damaged or another one (ReadEr',
    ),
    (
        'a.tar',
        b'\x1f\x8b' + b'z' * 2000,
        'a.tar: expected an uncompressed tar file, got a damaged or another one',
    ),
]


def test_a_list_without_the_folder_of_its_paths(folder, tmp_path):
    (tmp_path / 'a.txt').write_text('dog/a.jpg\n')
    image_source(tmp_path / 'a.txt', root=folder).check()
    with pytest.raises(
        NotADirectoryError, match=r'root: expected a folder of the images in .*a\.txt, got .*none'
    ):
        image_source(tmp_path / 'a.txt', root=tmp_path / 'none').check()


@pytest.mark.parametrize(('name', 'content', 'message'), BAD_LISTS, ids=range(len(BAD_LISTS)))
def test_bad_lists(tmp_path, name, content, message):
    if name.endswith('.parquet'):
        pytest.importorskip('pyarrow')
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        list(image_source(tmp_path / name).images())
    assert message in str(caught.value) and '\n' not in str(caught.value)


def test_bad_columns(tmp_path):
    arrow, parquet = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
    file = tmp_path / 'a.parquet'
    for table, message in (
        ({'x': [1]}, "a.parquet: expected a column 'path', got 'x'"),
        ({'path': [1]}, "a.parquet, column 'path': expected text, got int64"),
        ({'path': ['a.jpg', None]}, "a.parquet, row 2: expected the path of a file without '..', got ''"),
    ):
        parquet.write_table(arrow.table(table), file)
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            list(image_source(file).images())
        assert message in str(caught.value)
    content = file.read_bytes()
    file.write_bytes(content[:4] + bytes(len(content) - 300) + content[-296:])
    with pytest.raises(ValueError, match='expected a Parquet file, got a damaged or another one'):
        list(image_source(file).images())


@pytest.mark.parametrize('name', ['/1.jpg', '../1.jpg', 'a/../../1.jpg'])
def test_members_that_lead_out_of_a_tar_file(tmp_path, name):
    write_tar(tmp_path / 'a.tar', {'0.jpg': b'', name: b''})
    with pytest.raises(ValueError, match='a.tar: expected members with paths inside the tar file, got'):
        list(image_source(tmp_path / 'a.tar').images())


def test_links_and_devices_in_a_tar_file(tmp_path):
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        for name, kind in (
            ('1.jpg', tarfile.SYMTYPE),
            ('2.jpg', tarfile.LNKTYPE),
            ('3.jpg', tarfile.CHRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, '/etc/passwd'
            tar.addfile(info)
    with pytest.raises(ValueError, match='expected tar files with images'):
        list(image_source(tmp_path / 'a.tar').images())


def test_every_cut_of_a_tar_file(tmp_path):
    """Wherever it ends, it is an error of a line, or the members before are whole."""
    buffer = io.BytesIO()
    write_tar(buffer)
    content = buffer.getvalue()
    said = set()
    for length in range(0, len(content), 100):
        (tmp_path / 'a.tar').write_bytes(content[:length])
        try:
            images = list(image_source(tmp_path / 'a.tar').images())
        except ValueError as error:
            said.add(str(error))
        else:
            assert all(image.offset + image.size <= length for image in images)
    assert said and all('a.tar: expected ' in text and '\n' not in text for text in said)


@pytest.mark.parametrize('options', [{'root': 'x'}, {'column': 'x'}])
def test_what_is_for_lists_only(folder, options):
    with pytest.raises(ValueError, match='root and column: expected none beside .*photos, got some'):
        image_source(folder, **options)
    with pytest.raises(ValueError, match="column: expected none beside a.txt, a path per line, got 'x'"):
        image_source('a.txt', column='x')


def test_bad_addresses(memory, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match='expected a file or folder, got nothing at memory://no/thing'
    ):
        image_source('memory://no/thing').check()
    with pytest.raises(OSError, match='nosuch://a/b: expected an address that can be read, got an error: '):
        image_source('nosuch://a/b').check()
    memory.pipe('/bucket/photos/dog/in/a.gif', b'')
    with pytest.raises(ValueError, match='memory://bucket/photos/dog/in: expected a folder with images'):
        image_source('memory://bucket/photos/dog/in').check()
    monkeypatch.setitem(sys.modules, 'fsspec.core', None)
    monkeypatch.setitem(sys.modules, 'fsspec', None)
    with pytest.raises(ImportError, match='memory://a: expected the package fsspec, got none. pip'):
        image_source('memory://a').check()
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ImportError, match=r'a\.parquet: expected the package pyarrow, got none'):
        list(image_source(Path('a.parquet')).images())


def test_memory_does_not_grow_with_a_list(tmp_path):
    peaks = []
    for count in (1_000, 8_000):
        file = tmp_path / f'{count}.txt'
        file.write_text(''.join(f'{number % 1000}/{number}.jpg\n' for number in range(count)))
        tracemalloc.start()
        assert sum(1 for _ in image_source(file).images()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000


def test_names_that_are_no_text(tmp_path):
    name = os.fsdecode(b'caf\xe9.jpg')
    with tarfile.open(tmp_path / 'a.tar', 'w', format=tarfile.GNU_FORMAT, errors='surrogateescape') as tar:
        tar.addfile(tarfile.TarInfo(name))
    (image,) = image_source(tmp_path / 'a.tar').images()
    assert image.path == f'a.tar/{name}' and image.name == f'a.tar/{name[:-4]}'
