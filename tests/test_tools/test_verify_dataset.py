"""Damaged images, boxes and labels of a data set: each is found and named."""

import importlib.util
import json
import shutil
import sys

import pytest
from mmengine.config import Config


@pytest.fixture(scope='module')
def tool(repo_dir):
    path = repo_dir / 'tools' / 'misc' / 'verify_dataset.py'
    spec = importlib.util.spec_from_file_location('verify_dataset', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules['verify_dataset'] = module  # where workers look for its functions
    spec.loader.exec_module(module)
    yield module
    del sys.modules['verify_dataset']


@pytest.fixture
def data(micro_project, tmp_path):
    """A copy of the tiny data set, and a config over it."""
    root = tmp_path / 'cub'
    shutil.copytree(micro_project.folder / 'cub', root)
    cfg = Config.fromfile(micro_project.config)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(root)
    return root, cfg


def image_path(root, number: int):
    """Image by its number: three classes of four for training, then three for the test."""
    return root / 'images' / (root / 'images.txt').read_text().splitlines()[number - 1].split()[1]


def edit(file, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_good_data_set(tool, data):
    reports = tool.verify(data[1], tool.SPLITS, 0)
    # Validation and test have the same data: they are read once.
    assert list(reports) == ['train', 'val, test']
    assert [report.images for report in reports.values()] == [12, 9]
    assert not any(report.findings for report in reports.values())


@pytest.mark.parametrize('workers', [0, 2])
def test_unreadable_images_are_all_found(tool, data, workers):
    root, cfg = data
    image_path(root, 1).write_bytes(b'no image')
    # The end of the file is there, the middle is not: only decoding finds it.
    content = image_path(root, 2).read_bytes()
    middle = len(content) // 2
    image_path(root, 2).write_bytes(content[:middle] + bytes(200) + content[middle + 200 :])
    image_path(root, 5).write_bytes(image_path(root, 5).read_bytes()[:300])
    image_path(root, 6).unlink()
    reports = tool.verify(cfg, tool.SPLITS, workers)
    train, test = reports['train'].findings, reports['val, test'].findings
    found = train.pop('image that does not decode')
    assert not train and len(found) == 2
    assert any('001.png' in text for text in found) and any('002.png' in text for text in found)
    assert [text.split(':')[0] for text in test.pop('image that does not decode')] == [
        str(image_path(root, 5))
    ]
    assert test.pop('missing image') == [str(image_path(root, 6))]
    assert not test


@pytest.mark.parametrize(
    ('box', 'kind'),
    [
        ('5 60.0 50.0 20.0 18.0', 'box outside the image'),
        ('5 4.0 4.0 0.0 18.0', 'degenerate box'),
        ('5 4.0 4.0 -2.0 18.0', 'degenerate box'),
        (None, 'image without box'),
    ],
    ids=['outside', 'empty', 'inverted', 'missing'],
)
def test_bad_boxes_are_found(tool, data, box, kind):
    root, cfg = data
    file = root / 'bounding_boxes.txt'
    lines = [line for line in file.read_text().splitlines() if not line.startswith('5 ')]
    file.write_text('\n'.join(lines if box is None else [*lines, box]) + '\n')
    findings = tool.verify(cfg, ['test'], 0)['test'].findings
    assert sum(map(len, findings.values())) == 1
    ((found, (message,)),) = findings.items()
    assert '005.png' in message or '5' in message
    if box is not None:
        assert found == kind


def test_a_box_larger_than_the_image_where_boxes_are_not_cut(tool, data):
    root, cfg = data
    file = root / 'bounding_boxes.txt'
    lines = [line for line in file.read_text().splitlines() if not line.startswith('5 ')]
    file.write_text('\n'.join([*lines, '5 0.0 0.0 100.0 90.0']) + '\n')
    cfg.test_dataloader.dataset.clip_boxes = False
    (message,) = tool.verify(cfg, ['test'], 0)['test'].findings['box outside the image']
    assert '005.png' in message and 'overruns by 52' in message


def test_wrong_labels_and_empty_classes(tool, data):
    root, cfg = data
    edit(root / 'image_class_labels.txt', '\n15 3\n', '\n15 9\n')
    findings = tool.verify(cfg, ['train'], 0)['train'].findings
    assert sum(map(len, findings.values())) == 1 and '15' in str(findings)
    split = root / 'train_test_split.txt'
    for number in (15, 16, 17, 18):
        edit(split, f'\n{number} 1\n', f'\n{number} 0\n')
    edit(root / 'image_class_labels.txt', '\n15 9\n', '\n15 3\n')
    findings = tool.verify(cfg, ['train'], 0)['train'].findings
    assert findings['class without images'][0].startswith('003.Blue')


def test_test_data_may_lack_a_class(tool, data):
    root, cfg = data
    for number in (5, 6, 7):
        edit(root / 'train_test_split.txt', f'\n{number} 0\n', f'\n{number} 1\n')
    report = tool.verify(cfg, ['test'], 0)['test']
    assert report.findings == {}
    assert report.notes == ['1 of 3 classes have no image: 001.Red']


def test_the_same_image_twice(tool, data):
    root, cfg = data
    shutil.copy(image_path(root, 1), image_path(root, 5))
    shutil.copy(image_path(root, 2), image_path(root, 8))
    shutil.copy(image_path(root, 3), image_path(root, 4))  # in one split, of one class: nothing wrong
    reports = tool.verify(cfg, tool.SPLITS, 0)
    (shared,) = reports['val, test'].findings.pop('image that the training data have, too')
    assert shared == f'{image_path(root, 5)} is the same as {image_path(root, 1)}'
    (twice,) = reports['train'].findings.pop('image under two classes')
    assert twice == f'{image_path(root, 8)} is the same as {image_path(root, 2)}'
    assert not any(report.findings for report in reports.values())


def test_classes_that_the_model_or_the_training_does_not_have(tool, data):
    _, cfg = data
    cfg.model.head.num_classes = 5
    cfg.test_dataloader = cfg.test_dataloader.copy()
    cfg.test_dataloader.dataset = dict(cfg.test_dataloader.dataset, classes=['002.Green', '001.Red'])
    reports = tool.verify(cfg, ['train', 'test'], 0)
    assert reports['train'].findings == {
        'classes that do not fit': ['model.head.num_classes: expected 3, as in the data, got 5']
    }
    assert reports['test'].findings['classes that do not fit'] == [
        'model.head.num_classes: expected 2, as in the data, got 5',
        "classes: expected the names of the training data, got others, such as '002.Green' for '001.Red'",
    ]


def test_wrappers_are_looked_into(tool, data):
    _, cfg = data
    plain = cfg.train_dataloader.dataset.to_dict()
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=plain)
    assert tool.verify(cfg, ['train'], 0)['train'].images == 12
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[plain, plain])
    assert tool.verify(cfg, ['train'], 0)['train'].images == 24
    cfg.train_dataloader.dataset = dict(type='CIFAR10')
    with pytest.raises(ValueError, match="type: expected a data set of wsol_mm.*, got 'CIFAR10'"):
        tool.verify(cfg, ['train'], 0)
    with pytest.raises(ValueError, match='config: expected a dataloader of train, got none'):
        tool.verify(Config(dict(model=dict())), ['train'], 0)


def test_command_line(run_here, micro_project, data, tmp_path, capsys):
    root, _ = data
    image_path(root, 6).write_bytes(b'no image')
    out = tmp_path / 'out' / 'report.json'
    options = ['--num-workers', 1, '--out', out, '--cfg-options']
    options += [f'{split}_dataloader.dataset.data_root={root}' for split in ('train', 'val', 'test')]
    with pytest.raises(SystemExit) as caught:
        run_here('misc/verify_dataset.py', micro_project.config, *options)
    assert caught.value.code == 1
    printed = capsys.readouterr().out
    assert 'train: 12 images decoded, 0 problem(s)' in printed
    assert 'val, test: 8 images decoded, 1 problem(s)' in printed
    assert str(image_path(root, 6)) in printed
    report = json.loads(out.read_text())
    assert report['val, test']['images'] == 8
    assert list(report['val, test']['findings']) == ['image that does not decode']


def test_exit_status(tool, micro_project, data, monkeypatch, capsys):
    def run(*options: str) -> None:
        arguments = ['verify_dataset.py', str(micro_project.config), '--num-workers', '0', *options]
        monkeypatch.setattr(sys, 'argv', arguments)
        tool.main()

    run('--split', 'val', 'test')
    assert capsys.readouterr().out.splitlines()[-1] == 'val, test: 9 images decoded, 0 problem(s)'
    with pytest.raises(SystemExit) as stopped:
        run('--split', 'test', '--cfg-options', f'test_dataloader.dataset.data_root={data[0]}/no')
    assert stopped.value.code == 1
    assert 'data set that cannot be read (1):' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run('--num-workers', '-1')
    assert 'argument --num-workers: expected an integer from 0, got -1' in capsys.readouterr().err
