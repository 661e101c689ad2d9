"""A journal goes on after any kind of end."""

from wsol_mm.apis import prediction_journal
from wsol_mm.apis.image_listing import ListedImage
from wsol_mm.apis.prediction_journal import JournalError, PredictionJournal
from wsol_mm.utils import whole_files

import pytest

IMAGES = [ListedImage(f'a/{i}\n"ä".jpg', f'a/{i}') for i in range(5)] + [ListedImage('\udcff.jpg', '\udcff')]
BATCHES = [[{'n': 0}, {'n': 1}], [{'n': 2}, {'error': 'torn\n'}], [{'n': 4}, {'n': 5}]]


def begin(folder, settings=None):
    journal = PredictionJournal(folder, settings or {'topk': 1, 'size': (1, 2)})
    if journal.exists():
        journal.resume()
    else:
        journal.create(iter(IMAGES))
    return journal


def test_results_come_back_in_order(tmp_path):
    journal = begin(tmp_path / 'a.journal')
    for batch in BATCHES:
        assert not journal.is_complete
        journal.append(batch)
    assert journal.is_complete
    expected = [result for batch in BATCHES for result in batch]
    assert list(journal.results()) == list(zip(IMAGES, expected, strict=True))
    assert list(journal.images(4)) == IMAGES[4:]
    again = begin(tmp_path / 'a.journal')
    assert list(again.results()) == list(journal.results()) == list(again.results())
    again.remove()
    assert not (tmp_path / 'a.journal').exists()


def test_whatever_was_written_of_a_batch(tmp_path):
    """Cut off at every byte: complete batches count, and nothing else."""
    journal = begin(tmp_path)
    for batch in BATCHES:
        journal.append(batch)
    content = (tmp_path / 'batches.jsonl').read_bytes()
    for length in range(len(content) + 1):
        (tmp_path / 'batches.jsonl').write_bytes(content[:length])
        journal = begin(tmp_path)
        complete = content[:length].count(b'\n')
        assert journal.num_done == 2 * complete
        for batch in BATCHES[complete:]:
            journal.append(batch)
        assert (tmp_path / 'batches.jsonl').read_bytes() == content


def test_a_file_that_ends_in_rubbish(tmp_path):
    begin(tmp_path).append(BATCHES[0])
    with open(tmp_path / 'batches.jsonl', 'ab') as file:
        file.write(b'\0\0\0\n[{"n": 9}]\n')
    journal = begin(tmp_path)
    assert journal.num_done == 2
    journal.append(BATCHES[1])
    assert begin(tmp_path).num_done == 4


def test_list_that_was_not_finished_is_made_anew(tmp_path):
    begin(tmp_path)
    (tmp_path / 'settings.json').unlink()
    (tmp_path / 'images.jsonl').write_text('["a/0.j')
    assert begin(tmp_path).num_images == 6
    assert list(begin(tmp_path).images()) == IMAGES


def test_other_settings(tmp_path):
    begin(tmp_path)
    with pytest.raises(JournalError, match=r'got others: topk \(was 1, now 2\)\. .*remove the folder'):
        begin(tmp_path, {'topk': 2, 'size': (1, 2)})


def test_only_what_differs_is_named(tmp_path):
    before = {
        'protocol': {'name': 'ts_cam', 'map_source': 'label', 'thresholds': [0.1], 'dtype': 'float32'},
        'transforms': [
            {'type': 'LoadImageFromFile'},
            {'type': 'Resize', 'scale': [256, 256]},
            {'type': 'Crop'},
        ],
        'folder': f'/data/{"long/" * 20}a',
        'weights': 'a' * 64,
        'maps_dir': None,
    }
    begin(tmp_path, before)
    now = before | {
        'protocol': before['protocol'] | {'thresholds': [0.3]},
        'transforms': [{'type': 'LoadImageFromFile'}, {'type': 'Resize', 'scale': [224, 224]}],
        'folder': f'/data/{"long/" * 20}b',
        'weights': 'b' * 64,
    }
    with pytest.raises(JournalError) as caught:
        begin(tmp_path, now)
    named = str(caught.value).partition('got others: ')[2].partition('. Resume')[0]
    assert named == (
        'folder (was ...long/long/long/a", now ...long/long/long/b"), '
        'protocol.thresholds (was [0.1], now [0.3]), '
        'transforms[1].scale (was [256, 256], now [224, 224]), '
        'transforms[2] (was {"type": "Crop"}, now nothing), '
        f'weights (was "{"a" * 59}..., now "{"b" * 59}...)'
    )
    # Settings that a later version adds, or an earlier one had.
    other = {key: value for key, value in before.items() if key != 'maps_dir'} | {'new': 1}
    message = r'others: maps_dir \(was null, now nothing\), new \(was nothing, now 1\)\. Resume'
    with pytest.raises(JournalError, match=message):
        begin(tmp_path, other)


def test_not_every_one_of_many_differences_is_named(tmp_path):
    begin(tmp_path, {'classes': [f'{number} a' for number in range(1000)]})
    message = r'others: classes\[0\] \(was "0 a", now "0 b"\), .*, classes\[5\] [^\]]* and 994 more\. Resume'
    with pytest.raises(JournalError, match=message):
        begin(tmp_path, {'classes': [f'{number} b' for number in range(1000)]})


def test_results_of_unfinished_work(tmp_path):
    journal = begin(tmp_path)
    journal.append(BATCHES[0])
    with pytest.raises(JournalError, match='expected all 6 images to be done, got 2'):
        next(journal.results())


def finished(folder):
    journal = begin(folder)
    for batch in BATCHES:
        journal.append(batch)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines_of(content):
    return content.splitlines(keepends=True)


# What becomes of a list of lines.
DAMAGES = {
    'first gone': lambda lines: lines[1:],
    'middle gone': lambda lines: lines[:1] + lines[2:],
    'last gone': lambda lines: lines[:-1],
    'all gone': lambda lines: [],
    'first doubled': lambda lines: lines[:1] + lines,
    'middle doubled': lambda lines: lines[:2] + lines[1:],
    'last doubled': lambda lines: lines + lines[-1:],
    'turned round': lambda lines: lines[::-1],
    'two exchanged': lambda lines: [lines[1], lines[0], *lines[2:]],
    'a letter changed': lambda lines: [lines[0].replace(b'a', b'b').replace(b'1', b'7'), *lines[1:]],
    'a letter of the last changed': lambda lines: [
        *lines[:-1],
        lines[-1].replace(b'5', b'6').replace(b'f', b'e'),
    ],
    'a blank line': lambda lines: [*lines[:1], b'\n', *lines[1:]],
    'other JSON': lambda lines: [*lines[:1], b'{"a": 1}\n', *lines[1:]],
    'a number': lambda lines: [*lines[:1], b'3\n', *lines[2:]],
    'zeros': lambda lines: [*lines[:1], bytes(100), *lines[2:]],
    'no text': lambda lines: [*lines[:1], b'\xff\xfe\n', *lines[1:]],
    'no end of line': lambda lines: [*lines[:-1], lines[-1][:-1]],
    'cut within': lambda lines: [*lines[:-1], lines[-1][: len(lines[-1]) // 2]],
    'nested': lambda lines: [*lines[:1], b'[' * 100_000 + b'\n', *lines[1:]],
}


@pytest.mark.parametrize('name', DAMAGES)
def test_a_damaged_list_of_images_is_found(tmp_path, name):
    """What is left of the batches could be of others: nothing is guessed."""
    content = finished(tmp_path)['images.jsonl']
    damaged = b''.join(DAMAGES[name](lines_of(content)))
    assert damaged != content
    (tmp_path / 'images.jsonl').write_bytes(damaged)
    with pytest.raises(
        JournalError, match='images.jsonl: expected the list of 6 images as it was written, got'
    ):
        begin(tmp_path)


@pytest.mark.parametrize('name', DAMAGES)
def test_damaged_batches_are_made_anew(tmp_path, name):
    """From the first line that is wrong on; what comes out is the same."""
    content = finished(tmp_path)['batches.jsonl']
    damaged = b''.join(DAMAGES[name](lines_of(content)))
    assert damaged != content
    (tmp_path / 'batches.jsonl').write_bytes(damaged)
    journal = begin(tmp_path)
    assert content.startswith((tmp_path / 'batches.jsonl').read_bytes())
    done = {0: 0, 2: 1, 4: 2, 6: 3}[journal.num_done]
    for batch in BATCHES[done:]:
        journal.append(batch)
    assert (tmp_path / 'batches.jsonl').read_bytes() == content
    assert len(list(journal.results())) == 6


def test_every_flipped_bit_of_the_batches_is_found(tmp_path):
    content = finished(tmp_path)['batches.jsonl']
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        (tmp_path / 'batches.jsonl').write_bytes(damaged)
        assert begin(tmp_path).num_done < 6


@pytest.mark.parametrize(
    'content',
    [b'', b'{', b'[]', b'3', b'null', b'\xff', b'{}', b'{"settings": 3, "num_images": 6, "images_sum": 1}']
    + [
        b'{"settings": {}, "num_images": "6", "images_sum": 1}',
        b'{"settings": {}, "num_images": 6}',
        b'[' * 10**5,
    ],
)
def test_damaged_settings(tmp_path, content):
    finished(tmp_path)
    (tmp_path / 'settings.json').write_bytes(content)
    with pytest.raises(
        JournalError, match=r'settings.json: expected a journal of predict_folder.* to begin anew'
    ):
        begin(tmp_path)


@pytest.mark.parametrize('name', ['images.jsonl', 'batches.jsonl'])
def test_a_file_that_is_gone(tmp_path, name):
    finished(tmp_path)
    (tmp_path / name).unlink()
    if name == 'images.jsonl':
        with pytest.raises(JournalError, match='got 0 lines'):
            begin(tmp_path)
    else:
        assert begin(tmp_path).num_done == 0


def test_all_is_on_the_disk_before_the_settings_say_so(tmp_path, monkeypatch):
    flushed = []
    flush = whole_files.flush_to_disk
    for module in (whole_files, prediction_journal):
        monkeypatch.setattr(module, 'flush_to_disk', lambda path: flushed.append(path.name) or flush(path))
    begin(tmp_path)
    assert [name.split('.')[-2] if name.endswith('.part') else name for name in flushed[:1]] == [
        'batches.jsonl'
    ]
    kinds = [name for name in flushed if 'jsonl' in name or 'settings' in name]
    assert ['batches' in kinds[0], 'images' in kinds[1], 'settings' in kinds[2]] == [True] * 3
    assert tmp_path.name in flushed  # the folder, too
