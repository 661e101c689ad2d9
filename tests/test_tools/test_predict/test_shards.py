"""Shards of one list: what they give together, and what is refused."""

import json
import runpy
import shutil
import sys
from pathlib import Path

from wsol_mm.annotation_formats import FORMATS
from wsol_mm.apis import prediction_shards
from wsol_mm.apis.prediction_journal import PredictionJournal
from wsol_mm.apis.prediction_shards import Shard

import pytest

from .test_resuming import assert_same_files, contents

BATCH = ('--batch-size', 3)


@pytest.fixture
def merge(repo_dir, monkeypatch, capsys):
    """Merge shards in this process; give the exit status and what is printed."""
    path = repo_dir / 'tools' / 'misc' / 'merge_predictions.py'
    main = runpy.run_path(str(path))['main']

    def run(*arguments: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, 'argv', [path.name, *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as error:
            status = error.code
        return status, capsys.readouterr().out

    return run


@pytest.fixture(scope='module')
def shards_of_three(tmp_path_factory):
    return tmp_path_factory.mktemp('shards') / 'a.json'


@pytest.fixture
def three(predict, shards_of_three):
    """An output of which all three shards are finished; made once, and left as it is by tests."""
    if not shards_of_three.with_name('a.json.shards').exists():
        for number in (3, 1, 2):
            assert predict('--out', shards_of_three, *BATCH, '--shard', f'{number}/3')[0] == 3
    return shards_of_three


def copied(out: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    shutil.copytree(f'{out}.shards', folder / f'{out.name}.shards')
    return folder / out.name


@pytest.mark.parametrize('count', [1, 2, 3, 7])
@pytest.mark.parametrize(('num_images', 'batch_size'), [(40, 3), (5, 3), (1, 32), (0, 4), (21, 3)])
def test_shards_are_runs_of_whole_batches(count, num_images, batch_size):
    ranges = [Shard(number, count).images(num_images, batch_size) for number in range(1, count + 1)]
    assert [place for places in ranges for place in places] == list(range(num_images))
    assert all(places.start % batch_size == 0 or not places for places in ranges)
    batches = [-(-len(places) // batch_size) for places in ranges]
    assert max(batches) - min(batches) <= 1


@pytest.mark.parametrize('count', [1, 2, 3, 7])
def test_any_number_of_shards_gives_what_one_process_does(predict, merge, tmp_path, count):
    maps = [tmp_path / name / 'maps' for name in ('single', 'shards')]
    assert predict('--out', tmp_path / 'single' / 'a.json', *BATCH, '--save-maps', maps[0])[0] == 3
    out = tmp_path / 'shards' / 'a.json'
    for number in range(count, 0, -1):
        options = [*BATCH, '--save-maps', maps[1], '--shard', f'{number}/{count}']
        status, printed = predict('--out', out, *options)
        # A shard without torn images ends well.
        assert status == (3 if 'cannot be used' in printed else 0)
        assert f'shard {number} of {count}, for tools/misc/merge_predictions.py {out}' in printed
    status, printed = merge(out)
    assert status == 3 and '36 boxes in 36 images (0 without a box)' in printed
    assert f'4 images cannot be used, listed in {out}.broken.txt' in printed
    assert_same_files(tmp_path / 'shards', tmp_path / 'single')


def test_every_format(predict, merge, tmp_path):
    for name, (_, suffix) in FORMATS.items():
        outs = [tmp_path / kind / f'{name}{suffix or ""}' for kind in ('single', 'shards')]
        predict('--out', outs[0], *BATCH, '--format', name, '--topk', 2)
        for number in (1, 2):
            predict('--out', outs[1], *BATCH, '--format', name, '--topk', 2, '--shard', f'{number}/2')
        assert merge(outs[1])[0] == 3
    assert_same_files(tmp_path / 'shards', tmp_path / 'single')


def test_a_shard_that_was_stopped_goes_on(predict, merge, tmp_path, monkeypatch):
    """Each attempt gets one batch further; what is done is not done again."""
    append, done = PredictionJournal.append, []

    def once(journal, results):
        append(journal, results)
        done.append(len(results))
        raise OSError('killed')

    assert predict('--out', tmp_path / 'single' / 'a.json', *BATCH)[0] == 3
    out = tmp_path / 'shards' / 'a.json'
    predict('--out', out, *BATCH, '--shard', '1/2')
    with monkeypatch.context() as context:
        context.setattr(PredictionJournal, 'append', once)
        for number in (1, 2, 3):
            assert 'killed' in predict('--out', out, *BATCH, '--shard', '2/2')[0]
            assert done == [3] * number
        message = '2-of-2: expected a finished shard, got one with 9 of 19 images. The same call'
        assert message in merge(out)[0]
    predict('--out', out, *BATCH, '--shard', '2/2')
    # One that is finished has nothing left to do.
    with monkeypatch.context() as context:
        context.setattr(PredictionJournal, 'append', lambda *_: pytest.fail('predicted again'))
        predict('--out', out, *BATCH, '--shard', '2/2')
    assert merge(out)[0] == 3
    assert_same_files(tmp_path / 'shards', tmp_path / 'single')


def test_more_shards_than_batches(predict, merge, tmp_path):
    """Here each of two processes has a batch, and the others none."""
    options = ['--batch-size', 20, '--out']
    assert predict(*options, tmp_path / 'single' / 'a.json')[0] == 3
    out = tmp_path / 'shards' / 'a.json'
    boxes = [predict(*options, out, '--shard', f'{number}/4')[1] for number in (1, 2, 3, 4)]
    assert sum('0 boxes in 0 images' in printed for printed in boxes) == 2
    assert merge(out)[0] == 3
    assert_same_files(tmp_path / 'shards', tmp_path / 'single')


def test_shards_gathered_from_elsewhere(merge, three, tmp_path):
    out = copied(three, tmp_path / 'here')
    folders = []
    for number in (1, 2, 3):
        folders.append(tmp_path / f'machine {number}' / f'{number}-of-3')
        shutil.copytree(Path(f'{out}.shards') / folders[-1].name, folders[-1])
    assert merge(tmp_path / 'b.json', '--shards', *reversed(folders))[0] == 3
    assert merge(out)[0] == 3
    assert (tmp_path / 'b.json').read_bytes() == out.read_bytes()
    assert all(folder.is_dir() for folder in folders) and not Path(f'{out}.shards').exists()
    assert merge(tmp_path / 'b.csv', '--shards', *folders)[0] == (
        f"merge_predictions.py: error: {tmp_path}/b.csv: expected a .json file for coco, got '.csv'"
    )


def damaged(file: Path, change) -> None:
    saved = json.loads(file.read_text())
    change(saved['settings'])
    file.write_text(json.dumps(saved))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda root: shutil.rmtree(root / '2-of-3'),
            'a.json.shards: expected shards of all 40 images, got none with the images 13 to 27',
        ),
        (
            lambda root: shutil.rmtree(root / '1-of-3'),
            'expected shards of all 40 images, got none with the images 1 to 12',
        ),
        (lambda root: shutil.rmtree(root / '3-of-3'), 'got none with the images 28 to 40'),
        (
            lambda root: shutil.copytree(root / '2-of-3', root / '2-of-5'),
            '2-of-5: expected images from 28 on, got those from 13 on again',
        ),
        (
            lambda root: damaged(root / '3-of-3' / 'settings.json', lambda s: s.update(topk=2)),
            '3-of-3: expected a shard of the same work as ',
        ),
        (
            lambda root: damaged(root / '3-of-3' / 'settings.json', lambda s: s['shard'].update(list='0')),
            '1-of-3, got other settings: shard.list (was "',
        ),
        (
            lambda root: damaged(root / '3-of-3' / 'settings.json', lambda s: s.pop('shard')),
            '3-of-3: expected the journal of a shard, got another one',
        ),
        (
            lambda root: (root / '3-of-3' / 'settings.json').write_text('{'),
            '3-of-3/settings.json: expected the settings of a journal, got a damaged file',
        ),
        (
            lambda root: (root / '3-of-3' / 'settings.json').unlink(),
            '3-of-3: expected the journal of a prediction, got none there',
        ),
        (
            lambda root: (root / '3-of-3' / 'finished.json').unlink(),
            '3-of-3: expected a finished shard, got one with 13 of 13 images',
        ),
        (shutil.rmtree, 'a.json.shards: expected the shards of a prediction, got none'),
    ],
)
def test_what_cannot_be_merged(merge, three, tmp_path, change, message):
    out = copied(three, tmp_path)
    root = Path(f'{out}.shards')
    change(root)
    before = contents(tmp_path)
    status, _ = merge(out)
    assert status.startswith('merge_predictions.py: error: ') and message in status and '\n' not in status
    assert contents(tmp_path) == before


def test_an_output_of_others_is_kept(predict, merge, three, tmp_path):
    out = copied(three, tmp_path)
    out.write_text('mine')
    assert 'a.json: expected a path that does not exist' in merge(out)[0]
    assert 'expected a path that does not exist' in predict('--out', out, *BATCH, '--shard', '1/3')[0]
    assert out.read_text() == 'mine' and Path(f'{out}.shards', '3-of-3').is_dir()


def test_stopped_while_merging(merge, three, tmp_path, monkeypatch):
    """After the annotations are in their place, and before the shards are removed."""
    (tmp_path / 'calm').mkdir()
    calm, out = copied(three, tmp_path / 'calm'), copied(three, tmp_path)
    assert merge(calm)[0] == 3

    def failing(_):
        raise OSError('stopped')

    with monkeypatch.context() as context:
        context.setattr(prediction_shards, '_clear', failing)
        assert 'stopped' in merge(out)[0]
    assert out.read_bytes() == calm.read_bytes()
    status, printed = merge(out)
    assert status == 3 and '36 boxes in 36 images' in printed
    assert not Path(f'{out}.shards').exists() and out.read_bytes() == calm.read_bytes()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--batch-size', 4, '--shard', '1/3'], 'got others: batch_size (was 3, now 4)'),
        ([*BATCH, '--shard', '1/2'], 'got others: shards (was 3, now 2)'),
        ([*BATCH, '--shard', '1/3', '--topk', 2], 'got others: topk (was 1, now 2)'),
    ],
)
def test_shards_of_other_settings_are_refused(predict, three, tmp_path, options, message):
    out = copied(three, tmp_path)
    status, _ = predict('--out', out, *options)
    assert message in status and 'list: expected the settings that the work was begun with' in status


@pytest.mark.parametrize('text', ['0/2', '3/2', '1', '1/', '/2', 'a/b', '-1/2', '1/2/3', '1.0/2'])
def test_no_shard(predict, tmp_path, text):
    status, printed = predict('--out', tmp_path / 'a.json', f'--shard={text}')
    message = f"argument --shard: expected I/N, the I-th of N parts, such as 1/4, got '{text}'"
    assert status == 2 and message in printed


def test_the_folder_changes_in_the_meantime(predict, merge, photos, tmp_path):
    """The first shard makes the list for all."""
    folder = tmp_path / 'photos'
    shutil.copytree(photos, folder)
    outs = [tmp_path / kind / 'a.json' for kind in ('single', 'shards')]
    predict('--out', outs[0], *BATCH, folder=folder)
    predict('--out', outs[1], *BATCH, '--shard', '2/2', folder=folder)
    shutil.copy(next(folder.rglob('*1.png')), folder / '0.png')
    predict('--out', outs[1], *BATCH, '--shard', '1/2', folder=folder)
    assert merge(outs[1])[0] == 3
    assert_same_files(outs[1].parent, outs[0].parent)
