"""Tests of wsol_mm.apis.saved_maps, and of tools/analysis_tools/eval_predictions.py --maps."""

import importlib.util
import json
import re
import sys

from wsol_mm.apis.saved_maps import MapProblem, SavedMaps, read_scores
from wsol_mm.evaluation.metrics import LocalizationMetric

import numpy as np
import pytest
from mmengine.evaluator import Evaluator
from PIL import Image

CLASSES = ('ant', 'bee', 'cat', 'dog', 'eel', 'fox')
CONFIG = """
default_scope = 'wsol_mm'
test_dataloader = dict(
    dataset=dict(
        type='FolderDataset',
        data_root={root!r},
        data_prefix='images',
        box_source='boxes.csv',
        test_mode=True,
        pipeline=[
            dict(type='LoadImageWithPillow'),
            dict(type='Resize', scale=(64, 64), backend='pillow'),
            dict(type='PackLocalizationInputs'),
        ],
    )
)
test_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'ts_cam'])
"""
RNG = np.random.default_rng(0)


def blob(box, size=(100, 80)):
    """A map on a grid of 16x16 that is high inside a box of the image."""
    grid = np.zeros((16, 16), np.float32)
    x0, y0, x1, y1 = (round(16 * value / size[axis % 2]) for axis, value in enumerate(box))
    grid[y0:y1, x0:x1] = 1
    return grid + RNG.random((16, 16), np.float32) / 100


@pytest.fixture
def data(tmp_path):
    """Twelve images with one box each, two of a class; maps that hit all but the last two."""
    rows, maps = ['image,x0,y0,x1,y1'], {}
    for number in range(12):
        name = f'{CLASSES[number // 2]}/{number:02}.png'
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((80, 100, 3), np.uint8)).save(path)
        box = (10 + number, 10, 60 + number, 60)
        rows.append(','.join(map(str, (name, *box))))
        maps[name] = blob(box if number < 10 else (90, 70, 100, 80))
    (tmp_path / 'boxes.csv').write_text('\n'.join(rows))
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(tmp_path)))
    return tmp_path, maps


@pytest.fixture
def run(repo_dir, data, monkeypatch, capsys):
    path = repo_dir / 'tools' / 'analysis_tools' / 'eval_predictions.py'
    spec = importlib.util.spec_from_file_location('eval_predictions', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    root = data[0]

    def call(maps, *options):
        out = root / 'metrics.json'
        arguments = ['--maps', str(maps), '--config', str(root / 'config.py'), *map(str, options)]
        monkeypatch.setattr(sys, 'argv', ['eval_predictions.py', *arguments, '--out', str(out)])
        tool.main()
        return json.loads(out.read_text()), capsys.readouterr().out

    return call


def save(folder, maps, form='{}.npy'):
    for name, content in maps.items():
        path = folder / form.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, content)
    return folder


def ranked_file(path, maps, right=9):
    """The true class is the best one of the first images, the second best of the others."""
    lines = ['image,top1,top2']
    for number, name in enumerate(maps):
        best = [name.split('/')[0], 'fox' if name[0] == 'a' else 'ant']
        lines.append(','.join([name, *(best if number < right else best[::-1])]))
    path.write_text('\n'.join(lines))
    return path


def test_maps_without_scores_give_what_needs_no_class(run, data):
    root, maps = data
    metrics, printed = run(save(root / 'maps', maps))
    assert metrics['maxboxacc/MaxBoxAcc_agnostic'] == pytest.approx(100 * 10 / 12)
    assert metrics['ts_cam/GT-known_Loc_agnostic'] == pytest.approx(100 * 10 / 12)
    assert not any('Top-' in name for name in metrics)
    assert 'No --scores, so no Top-1_Cls, Top-5_Cls, ' in printed
    assert 'Warning' not in printed


@pytest.mark.parametrize('form', ['archive', 'stem', 'npz', 'uint8'])
def test_all_forms_of_maps_are_read(run, data, form):
    root, maps = data
    expected, _ = run(save(root / 'maps', maps))
    if form == 'archive':
        source = root / 'all.npz'
        np.savez(source, **maps)
    elif form == 'stem':
        source = save(root / 'stems', {name[:-4]: content for name, content in maps.items()})
    elif form == 'npz':
        source = root / 'npz'
        for name, content in maps.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            np.savez(source / f'{name}.npz', maps=content[None], labels=[CLASSES.index(name[:3])])
    else:
        whole = {name: (255 * content / content.max()).astype(np.uint8) for name, content in maps.items()}
        source = save(root / 'bytes', whole)
    metrics, _ = run(source)
    suffix = '' if form == 'npz' else '_agnostic'
    assert metrics[f'maxboxacc/MaxBoxAcc{suffix}'] == expected['maxboxacc/MaxBoxAcc_agnostic']


def test_scores_give_top_k(run, data):
    root, maps = data
    metrics, _ = run(save(root / 'maps', maps), '--scores', ranked_file(root / 'scores.csv', maps))
    assert metrics['Top-1_Cls'] == 75
    assert metrics['Top-5_Cls'] == 100
    assert metrics['ts_cam/Top-1_Loc'] == pytest.approx(100 * 9 / 12)
    assert metrics['ts_cam/Top-5_Loc'] == pytest.approx(100 * 10 / 12)


def test_the_numbers_are_those_of_the_metric(run, data):
    root, maps = data
    several = {}
    for number, (name, content) in enumerate(maps.items()):
        others = RNG.random((6, 16, 16), np.float32)
        others[number // 2] = content
        several[name] = others
    metrics, _ = run(save(root / 'maps', several), '--scores', ranked_file(root / 'scores.csv', maps))
    evaluator = Evaluator(LocalizationMetric(['maxboxacc', 'ts_cam']))
    for number, (name, others) in enumerate(several.items()):
        label = number // 2
        best = [label, 5 if label == 0 else 0]
        sample = dict(
            gt_label=np.array([label]),
            pred_topk=np.array(best if number < 9 else best[::-1]),
            loc_maps=others,
            loc_labels=np.arange(6),
            gt_bboxes=np.array([[10.0 + number, 10, 60 + number, 60]]),
            ori_shape=(80, 100),
            img_shape=(64, 64),
            scale_factor=(0.64, 0.8),
            img_id=name,
        )
        evaluator.process([sample])
    assert metrics == pytest.approx(evaluator.evaluate(12))


def test_what_is_wrong_with_a_map_is_named_and_counts_as_wrong(run, data):
    root, maps = data
    names = list(maps)
    maps[names[0]] = np.full((16, 16), np.nan, np.float32)
    maps[names[1]] = np.zeros((2, 3, 4, 5), np.float32)
    del maps[names[2]]
    maps[names[3]] = np.array(['a', 'b'])
    maps[names[4]] = RNG.random((2, 16, 16), np.float32)
    folder = save(root / 'maps', {**maps, 'owl/99.png': RNG.random((4, 4))})
    (folder / f'{names[5]}.npy').write_bytes(b'no array')
    np.save(folder / f'{names[6][:-4]}.npy', maps[names[6]])
    metrics, printed = run(folder)
    assert metrics['maxboxacc/MaxBoxAcc_agnostic'] == pytest.approx(100 * 3 / 12)
    for text in (
        '7 of 12 images count as wrong',
        f'{names[0]}.npy: expected finite numbers, got 256 that are NaN or infinite',
        f'{names[1]}.npy: expected a map (h, w) or maps (K, h, w), got the shape (2, 3, 4, 5)',
        f'{names[2]}: expected one map in {folder}, got none',
        f'{names[3]}.npy: expected numbers, got <U1',
        f'{names[4]}.npy: expected 1 map, 6 of all classes, or labels beside, got 2 maps',
        f'{names[5]}.npy: expected a NumPy file of numbers, got another',
        f"{names[6]}: expected one map in {folder}, got ['{names[6]}.npy', '{names[6][:-4]}.npy']",
        '1 maps are of no image of the test data:\n  owl/99.png.npy',
    ):
        assert text in printed, text


def test_pickled_objects_are_not_read(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(MapProblem, match=r'a.npy: expected a NumPy file of numbers, .*allow_pickle'):
        SavedMaps(tmp_path).read('a.png', 6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ['--protocol', 'lctr', '--maps-of', 'label'],
            r"--scores: expected .* 'lctr' reads predicted .*\(pred_topk\)",
        ),
        (['--scores', 'short.csv'], r'short.csv, line 1: expected the image and then top1'),
        (['--scores', 'wrong.csv'], r"wrong.csv, line 3: expected a class, got 'gnu'"),
        (['--scores', 'ragged.csv'], r'ragged.csv, line 2: expected 3 fields, got 2'),
    ],
)
def test_what_a_protocol_needs_and_bad_scores_are_named(run, data, options, message, monkeypatch):
    root, maps = data
    save(root / 'maps', maps)
    (root / 'short.csv').write_text('image,ant,bee\n')
    (root / 'wrong.csv').write_text('image,top1\nant/00.png,ant\nant/01.png,gnu\n')
    (root / 'ragged.csv').write_text('image,top1,top2\nant/00.png,ant\n')
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit) as caught:
        run(root / 'maps', *options)
    assert re.search(message, str(caught.value.code))


def test_scores_of_all_classes_in_any_order(tmp_path):
    path = tmp_path / 'scores.csv'
    path.write_text('image,cat,ant,bee\na.jpg,0.5,0.1,0.4\n')
    assert read_scores(path, ('ant', 'bee', 'cat'))['a.jpg'].tolist() == [2, 1, 0]
    path.write_text('image,0,1,2\na.jpg,0.5,0.1,0.4\n')
    assert read_scores(path, ('ant', 'bee', 'cat'))['a.jpg'].tolist() == [0, 2, 1]


def test_no_maps_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match='expected a folder of maps or an .npz archive, got neither'):
        SavedMaps(tmp_path / 'nothing')
    with pytest.raises(ValueError, match=r'expected maps \(.npy, .npz\), got none'):
        SavedMaps(tmp_path)
