"""Boxes for a folder: what is written, what is refused, and what is left of a kill."""

import csv
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from wsol_mm.apis import LocalizationInferencer, folder_prediction, image_listing
from wsol_mm.apis.localization_inferencer import check_topk
from wsol_mm.apis.prediction_journal import PredictionJournal
from wsol_mm.registry import MODELS

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools.coco import COCO

from .conftest import CLASSES


def write_photos(folder: Path, count: int) -> None:
    """Write images of the classes' folders; every tenth is torn, every seventh deeper down."""
    generator = np.random.default_rng(0)
    for number in range(count):
        image = generator.integers(0, 120, (40, 48, 3), np.uint8)
        x, y = generator.integers(0, 20, 2)
        image[y : y + 18, x : x + 20, number % 3] = 255
        inside = 'inside/' if number % 7 == 0 else ''
        file = folder / CLASSES[number % 3] / f'{inside}{number:04d}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        content = cv2.imencode('.png', image)[1].tobytes()
        file.write_bytes(content[:100] if number % 10 == 4 else content)


@pytest.fixture(scope='module')
def checkpoint(micro_project):
    cfg = Config.fromfile(micro_project.config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        weights = MODELS.build(cfg.model).state_dict()
    path = micro_project.folder / 'weights to predict.pth'
    torch.save({'state_dict': weights, 'meta': {'dataset_meta': {'classes': CLASSES}}}, path)
    return path


@pytest.fixture(scope='module')
def photos(micro_project):
    folder = micro_project.folder / 'photos'
    write_photos(folder, 40)
    return folder


@pytest.fixture(scope='module')
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location('predict', repo_dir / 'tools' / 'predict.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def predict(tool, micro_project, checkpoint, photos, monkeypatch, capsys):
    """Run the tool in this process; give its exit status and what it prints."""

    def run(*options: object, folder: Path = photos) -> tuple[object, str]:
        arguments = [
            micro_project.config,
            checkpoint,
            folder,
            '--num-workers',
            0,
            '--device',
            'cpu',
            *options,
        ]
        monkeypatch.setattr(sys, 'argv', ['predict.py', *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            tool.main()
        except SystemExit as error:
            status = error.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


TORN = [f'{CLASSES[n % 3]}/{"inside/" if n % 7 == 0 else ""}{n:04d}.png' for n in (4, 14, 24, 34)]


def test_coco_of_a_folder(predict, micro_project, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / 'new' / 'annotations.json'
    status, printed = predict('--out', out, '--labels', 'from-folder', '--batch-size', 7)
    assert status == 3
    assert '36 boxes in 36 images (0 without a box)' in printed and str(out) in printed
    assert '4 images cannot be used' in printed and all(path in printed for path in TORN)
    broken = [line.split('\t') for line in Path(f'{out}.broken.txt').read_text().splitlines()]
    assert [path for path, _ in broken] == sorted(TORN)
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, f'{out.name}.broken.txt']

    coco = COCO(str(out))
    entries = coco.loadImgs(coco.getImgIds())
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob('*.png'))
    assert [paths[entry['id'] - 1] for entry in entries] == [entry['file_name'] for entry in entries]
    # The boxes are those of the inferencer.
    inferencer = LocalizationInferencer(micro_project.config, checkpoint, device='cpu')
    files = [photos / entry['file_name'] for entry in entries]
    labels = [entry['file_name'].split('/')[0] for entry in entries]
    results = inferencer(files, labels=labels, progress=False)
    for annotation, result in zip(coco.loadAnns(coco.getAnnIds()), results, strict=True):
        x, y, width, height = annotation['bbox']
        # A last digit of the scores may depend on the batch, and a box with it, by a patch.
        np.testing.assert_allclose([[x, y, x + width, y + height]], result.boxes, atol=0.01)
        assert annotation['category_id'] == result.labels[0] + 1
        assert annotation['score'] == pytest.approx(result.scores[0], abs=1e-5)
    info = json.loads(out.read_text())['info']
    assert info['description'].endswith('protocol ts_cam, threshold 0.1') and info['labels'] == 'from-folder'


def test_predicted_classes_and_scores(predict, tmp_path):
    assert predict('--out', tmp_path / 'all.csv', '--format', 'csv', '--topk', 2)[0] == 3
    rows = list(csv.DictReader(open(tmp_path / 'all.csv', newline='')))
    assert len(rows) == 72
    scores = sorted(float(row['score']) for row in rows)
    limit = (scores[40] + scores[41]) / 2
    options = ['--format', 'csv', '--topk', 2, '--score-thr', limit]
    printed = predict('--out', tmp_path / 'some.csv', *options)[1]
    assert list(csv.DictReader(open(tmp_path / 'some.csv', newline=''))) == [
        row for row in rows if float(row['score']) >= limit
    ]
    images = len({row['path'] for row in rows if float(row['score']) >= limit})
    assert f'31 boxes in 36 images ({36 - images} without a box)' in printed


@pytest.mark.parametrize(
    ('name', 'ending', 'count'), [('voc', 'xml', 36), ('yolo', 'txt', 37), ('labelme', 'json', 36)]
)
def test_folders_of_files(predict, photos, tmp_path, name, ending, count):
    assert predict('--out', tmp_path / name, '--format', name)[0] == 3
    files = sorted((tmp_path / name).rglob(f'*.{ending}'))
    assert len(files) == count
    if name == 'voc':
        file = tmp_path / name / CLASSES[0] / 'inside' / '0000.xml'
        assert len(ElementTree.parse(file).findall('object')) == 1
    elif name == 'yolo':
        assert (tmp_path / name / 'labels' / CLASSES[1] / '0001.txt').is_file()
        assert (tmp_path / name / 'classes.txt').read_text().split() == list(CLASSES)
    else:
        content = json.loads(files[0].read_text())
        assert (files[0].parent / content['imagePath']).resolve().is_relative_to(photos)
        assert (files[0].parent / content['imagePath']).is_file()


def test_maps_and_pictures(predict, tmp_path):
    small = tmp_path / 'two'
    write_photos(small, 2)
    options = ['--save-maps', tmp_path / 'maps', '--show-dir', tmp_path / 'drawn', '--topk', 2]
    status, printed = predict('--out', tmp_path / 'a.json', *options, folder=small)
    assert status == 0 and 'cannot be used' not in printed
    assert not Path(tmp_path / 'a.json.broken.txt').exists()
    maps = np.load(tmp_path / 'maps' / CLASSES[0] / 'inside' / '0000.png.npz')
    assert maps['maps'].shape == (2, 4, 4) and len(maps['labels']) == 2
    assert cv2.imread(str(tmp_path / 'drawn' / CLASSES[1] / '0001.png.png')).shape == (40, 48, 3)
    assert json.loads((tmp_path / 'a.json').read_text())['info']['labels'] == 'predicted'


def test_one_image_file(predict, photos, tmp_path):
    path = photos / CLASSES[1] / '0001.png'
    options = ['--show-dir', tmp_path / 'drawn', '--save-maps', tmp_path / 'maps']
    status, printed = predict('--out', tmp_path / 'a.json', *options, folder=path)
    assert status == 0 and '1 boxes in 1 images' in printed
    (entry,) = json.loads((tmp_path / 'a.json').read_text())['images']
    assert entry == dict(id=1, file_name='0001.png', width=48, height=40)
    assert (tmp_path / 'drawn' / '0001.png.png').is_file() and (tmp_path / 'maps' / '0001.png.npz').is_file()
    assert predict('--out', tmp_path / 'labels', '--format', 'labelme', folder=path)[0] == 0
    file = tmp_path / 'labels' / '0001.json'
    assert (file.parent / json.loads(file.read_text())['imagePath']).resolve() == path
    torn = photos / TORN[0]
    status, printed = predict('--out', tmp_path / 'b.json', folder=torn)
    assert status == 3 and '0 boxes in 0 images' in printed and f'{torn.name}: ' in printed


def test_files_of_other_kinds_are_counted(predict, tmp_path, monkeypatch):
    folder = tmp_path / 'photos'
    write_photos(folder, 2)
    Image.new('RGB', (30, 20)).save(folder / 'moving.gif')
    (folder / CLASSES[0] / 'notes.txt').touch()
    logged = []
    monkeypatch.setattr(image_listing, 'print_log', lambda text, _: logged.append(text))
    assert '2 images' in predict('--out', tmp_path / 'a.json', folder=folder)[1]
    (text,) = logged
    assert f'{folder}: 2 file(s) are no images (.jpg .jpeg' in text and '1 .gif' in text and '1 .txt' in text


def test_images_of_two_kinds_with_one_stem(predict, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name in ('1.png', '1.jpg', '2.png'):
        Image.new('RGB', (30, 20), 'red').save(folder / name)
    assert predict('--out', tmp_path / 'voc', '--format', 'voc', folder=folder)[0] == 0
    assert sorted(path.name for path in (tmp_path / 'voc').iterdir()) == ['1.jpg.xml', '1.png.xml', '2.xml']


def test_unknown_class_folders(predict, tmp_path):
    folder = tmp_path / 'photos'
    write_photos(folder, 3)
    (folder / '003.Blue').rename(folder / 'blue')
    options = ['--out', tmp_path / 'a.json', '--labels', 'from-folder']
    status, _ = predict(*options, folder=folder)
    assert 'predict.py: error: ' in status and 'folder blue; accepted are images in folders' in status
    assert '3 classes of the model: 001.Red, 002.Green, 003.Blue' in status
    Image.new('RGB', (30, 20)).save(folder / 'outside.png')
    assert 'folder blue, image outside.png in none' in predict(*options, folder=folder)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['photos'], 'nothing is left behind'


def test_what_stops_it_at_once(predict, tool, tmp_path, monkeypatch):
    (tmp_path / 'empty').mkdir()
    with monkeypatch.context() as context:
        context.setattr(tool, 'LocalizationInferencer', lambda *_, **__: pytest.fail('the model is loaded'))
        out = ['--out', tmp_path / 'a.json']
        assert 'no image in the folder' in predict(*out, folder=tmp_path / 'empty')[0]
        assert 'no folder at' in predict(*out, folder=tmp_path / 'none')[0]
        message = 'predict.py: error: --topk is 4; accepted are 1 to 3: the model has 3 classes'
        assert predict(*out, '--topk', 4)[0] == message
        (tmp_path / 'a.json').write_text('mine')
        assert 'a.json exists; remove it' in predict(*out)[0]
        status, printed = predict('--out', tmp_path / 'a.json' / 'b.json')
        reason = f"'{tmp_path}/a.json' is no folder"
        assert status == 2 and f"--out: cannot write '{tmp_path}/a.json/b.json': {reason}" in printed
        assert '.lock' not in printed
    assert (tmp_path / 'a.json').read_text() == 'mine'
    assert 'searches its threshold' in predict('--out', tmp_path / 'b.json', '--protocol', 'maxboxacc')[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'empty']


@pytest.mark.parametrize(
    ('topk', 'classes', 'message'),
    [
        (6, 10, '--topk is 6; accepted are 1 to 5: a prediction keeps the 5 best of the 10 classes'),
        (4, 3, '--topk is 4; accepted are 1 to 3: the model has 3 classes'),
        (0, 3, '--topk is 0; accepted are 1 to 3'),
    ],
)
def test_the_limit_of_topk_is_explained(topk, classes, message):
    for accepted in (1, min(5, classes)):
        check_topk(accepted, classes)
    with pytest.raises(ValueError, match=message):
        check_topk(topk, classes, '--topk')


def test_a_mistake_leaves_no_journal_to_remove(predict, tmp_path):
    (tmp_path / 'file').write_text('mine')
    for option in ('--save-maps', '--show-dir'):
        status, printed = predict('--out', tmp_path / 'a.json', option, tmp_path / 'file')
        assert status == 2 and f"{option}: must be a folder, found the file '{tmp_path}/file'" in printed
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_one_process_at_a_time_and_an_interrupt(predict, tmp_path, monkeypatch):
    out, others = tmp_path / 'a.json', []
    append = PredictionJournal.append

    def interrupted(journal, results):
        append(journal, results)
        # POSIX locks are of a process: another one is needed to meet it.
        code = "import fcntl, sys\nfcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        command = [sys.executable, '-c', code, f'{out}.lock']
        others.append(subprocess.run(command, capture_output=True, text=True).stderr)
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(PredictionJournal, 'append', interrupted)
        status, printed = predict('--out', out, '--batch-size', 7)
    assert status == 130 and printed.splitlines()[-1] == 'predict.py: stopped; the same command goes on'
    assert 'BlockingIOError' in others[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json.journal']
    assert predict('--out', out)[0] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'a.json.broken.txt']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--out', 'a.txt'], "--out: coco is a file that ends in .json, found 'a.txt'"),
        (['--out', 'a.xml', '--format', 'voc'], "--out: voc is a folder of files, found 'a.xml'"),
        (['--out', 'a.json', '--topk', '0'], '--topk: must be 1 or more, found 0'),
        (['--out', 'a.json', '--score-thr', '2'], '--score-thr: must lie in [0, 1], found 2.0'),
        (
            ['--out', 'a.json', '--labels', 'from-folder', '--topk', '2'],
            '--topk: goes with --labels predicted',
        ),
        (['--out', 'a.json', '--num-workers', '-1'], '--num-workers: must be 0 or more, found -1'),
        (['--out', 'a.json', '--show-dir', 'photos/drawn'], '--show-dir: must not lie in FOLDER'),
        (['--out', 'a.json', '--format', 'pdf'], "invalid choice: 'pdf'"),
        (['--out', 'a.json', '--threshold', '2'], '--threshold: must lie in [0, 1), found 2.0'),
        (['--out', 'a.json', '--protocol', 'cam'], "--protocol: invalid choice: 'cam' (choose from"),
        (['--out', '/dev/null/a.json'], "--out: cannot write '/dev/null/a.json': '/dev/null' is no folder"),
    ],
)
def test_wrong_options_stop_with_one_line(tool, micro_project, checkpoint, capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        tool.parse_arguments([str(micro_project.config), str(checkpoint), 'photos', *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and caught.value.code == 2


class Prediction:
    """The tool in a process of its own, which can be killed once it has come so far."""

    def __init__(self, project, checkpoint, folder, out, *options):
        self.out = out
        self.command = [
            sys.executable,
            str(project.repo / 'tools' / 'predict.py'),
            *map(str, (project.config, checkpoint, folder, '--out', out, '--device', 'cpu', *options)),
        ]
        path = f'{project.repo}{os.pathsep}{project.folder}'
        self.environment = os.environ | {'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self) -> tuple[int, str]:
        process = self.start()
        printed = process.communicate()[0]
        return process.returncode, printed

    def batches_done(self) -> int:
        file = Path(f'{self.out}.journal') / 'batches.jsonl'
        return file.read_bytes().count(b'\n') if file.is_file() else 0

    def kill_after(self, batches: int) -> int:
        """Kill -9 once so many batches are in the journal; return how many there are then."""
        process = self.start()
        while self.batches_done() < batches:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, 'finished before it was killed'
        assert not self.out.exists()
        return self.batches_done()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()
    }


def assert_same_files(folder: Path, expected_folder: Path) -> None:
    """Compare every byte of two folders."""
    found, expected = contents(folder), contents(expected_folder)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


@pytest.fixture
def one_thread():
    """One thread, as in the other processes: the last digits of sums may depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_killed_twice_it_ends_as_if_left_in_peace(
    predict, micro_project, checkpoint, photos, tmp_path, one_thread
):
    calm = ['--batch-size', 2, '--save-maps', tmp_path / 'calm' / 'maps']
    assert predict('--out', tmp_path / 'calm' / 'a.json', *calm)[0] == 3

    out = tmp_path / 'killed' / 'a.json'
    options = ['--batch-size', 2, '--save-maps', tmp_path / 'killed' / 'maps']
    killed = Prediction(micro_project, checkpoint, photos, out, *options, '--num-workers', 0)
    assert 3 <= killed.kill_after(3) < 20
    assert 9 <= killed.kill_after(9) < 20
    status, printed = predict('--out', out, *options)
    assert status == 3 and '36 boxes in 36 images' in printed
    assert_same_files(tmp_path / 'killed', tmp_path / 'calm')


@pytest.mark.slow
def test_killed_at_random_five_times_on_a_thousand_images(micro_project, checkpoint, tmp_path):
    folder = tmp_path / 'photos'
    write_photos(folder, 1000)
    seed = random.randrange(10**6)
    print('seed', seed)
    runs = {}
    for name in ('calm', 'killed'):
        options = ['--batch-size', 2, '--num-workers', 2, '--save-maps', tmp_path / 'out' / name / 'maps']
        out = tmp_path / 'out' / name / 'a.json'
        runs[name] = Prediction(micro_project, checkpoint, folder, out, *options)
    assert runs['calm'].finish()[0] == 3
    targets = sorted(random.Random(seed).sample(range(1, 480), 5))
    print('killed after', [runs['killed'].kill_after(target) for target in targets], 'of 500 batches')
    assert runs['killed'].finish()[0] == 3
    assert_same_files(tmp_path / 'out' / 'killed', tmp_path / 'out' / 'calm')


@pytest.fixture
def interrupted(tool, predict, tmp_path, monkeypatch):
    """A prediction that fell over after three batches of seven images."""
    append = []

    def failing(journal, results):
        if len(append) == 3:
            raise OSError('disk full')
        append.append(results)
        original(journal, results)

    original = PredictionJournal.append
    with monkeypatch.context() as context:
        context.setattr(PredictionJournal, 'append', failing)
        options = ['--out', tmp_path / 'a.json', '--batch-size', 7]
        assert 'disk full' in predict(*options)[0]
    return tmp_path / 'a.json', options


def test_other_settings_are_refused(predict, interrupted):
    _, options = interrupted
    for others, message in (
        (['--topk', 2], 'topk (was 1, now 2)'),
        (['--threshold', 0.2], 'settings: protocol.thresholds (was [0.1], now [0.2]). Go on'),
        (['--test-pipeline'], 'settings: transforms'),
    ):
        status, _ = predict(*options, *others)
        assert 'was begun with other settings' in status and message in status
    # A batch size is no setting: the images go on with another one.
    assert predict(*options, '--batch-size', 3)[0] == 3


def test_images_that_come_and_go_in_the_meantime(predict, interrupted, photos):
    """The list was made at the start: what goes is broken, and what comes is for the next run."""
    out, options = interrupted
    gone, new = photos / CLASSES[2] / '0038.png', photos / CLASSES[0] / '0000 new.png'
    content = gone.read_bytes()
    gone.rename(new)
    try:
        assert predict(*options)[0] == 3
    finally:
        new.unlink()
        gone.write_bytes(content)
    listed = [image['file_name'] for image in json.loads(out.read_text())['images']]
    assert len(listed) == 35 and '001.Red/0000 new.png' not in listed
    assert '003.Blue/0038.png\t' in Path(f'{out}.broken.txt').read_text()


def test_output_that_appears_in_the_meantime_is_kept(predict, interrupted):
    out, options = interrupted
    out.write_text('mine')
    assert 'a.json exists; remove it' in predict(*options)[0]
    assert out.read_text() == 'mine'
    out.unlink()
    assert predict(*options)[0] == 3


@pytest.mark.parametrize('function', ['_publish', '_summarize'])
def test_stopped_while_writing(predict, tmp_path, monkeypatch, function):
    """Before the annotations are in their place, and between that and the removal of the journal."""

    def failing(*_):
        raise OSError('stopped')

    options = ['--format', 'yolo', '--out']
    assert predict(*options, tmp_path / 'calm')[0] == 3
    with monkeypatch.context() as context:
        context.setattr(folder_prediction, function, failing)
        assert 'stopped' in predict(*options, tmp_path / 'stopped')[0]
    assert (tmp_path / 'stopped').exists() == (function == '_summarize')
    assert predict(*options, tmp_path / 'stopped')[0] == 3
    assert contents(tmp_path / 'stopped') == contents(tmp_path / 'calm')
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'calm', 'calm.broken.txt', 'stopped', 'stopped.broken.txt',
    ]  # fmt: skip
