"""A journal goes on after any kind of end."""

from wsol_mm.apis.image_listing import ListedImage
from wsol_mm.apis.prediction_journal import JournalError, PredictionJournal

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
    with pytest.raises(JournalError, match=r'other settings: topk \(was 1, now 2\)\. .*remove the folder'):
        begin(tmp_path, {'topk': 2, 'size': (1, 2)})


def test_results_of_unfinished_work(tmp_path):
    journal = begin(tmp_path)
    journal.append(BATCHES[0])
    with pytest.raises(JournalError, match='2 of 6 images are done'):
        next(journal.results())
