"""Tests of wsol_mm.apis.map_evaluation."""

import re
import weakref

from wsol_mm.apis.class_scores import BestClasses
from wsol_mm.apis.map_evaluation import evaluate_maps
from wsol_mm.datasets.readers.saved_maps import SavedMaps
from wsol_mm.evaluation.metrics import LocalizationMetric, PixelAveragePrecision
from wsol_mm.evaluation.protocols import PRESETS
from wsol_mm.registry import DATASETS

import cv2
import numpy as np
import pytest
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from PIL import Image

CLASSES = ('ant', 'bee', 'cat', 'dog', 'eel', 'fox')
WIDTH, HEIGHT = 100, 80
NAMES = [f'{CLASSES[number // 2]}/{number:02}.png' for number in range(12)]
LABELS = [number // 2 for number in range(12)]
BOXES = [(10 + number, 10, 60 + number, 60) for number in range(12)]
SQUASH = [dict(type='LoadImageWithPillow'), dict(type='Resize', scale=(64, 64), backend='pillow')]
CROP = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(80, 80), backend='pillow'),
    dict(type='CenterCrop', crop_size=64),
]
PACK = dict(type='PackLocalizationInputs')
#: Given as a setting: the data set is built without it.
DELETED = object()


def block(box, side=50):
    """A map of the whole image, (side, side), that is 1 inside a box of the image."""
    grid = np.zeros((side, side), np.float32)
    x0, y0, x1, y1 = (
        round(value * side / size) for value, size in zip(box, (WIDTH, HEIGHT) * 2, strict=True)
    )
    grid[y0:y1, x0:x1] = 1
    return grid


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Twelve images with one box each, two of a class."""
    folder = tmp_path_factory.mktemp('data')
    rows = ['image,x0,y0,x1,y1']
    for name, box in zip(NAMES, BOXES, strict=True):
        path = folder / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(path)
        rows.append(','.join(map(str, (name, *box))))
    (folder / 'boxes.csv').write_text('\n'.join(rows))
    return folder


@pytest.fixture
def dataset(root):
    def build(pipeline=SQUASH, **settings):
        settings = dict(type='FolderDataset', data_root=str(root), data_prefix='images') | settings
        with DefaultScope.overwrite_default_scope('wsol_mm'):
            settings = dict(box_source='boxes.csv', test_mode=True, pipeline=[*pipeline, PACK]) | settings
            return DATASETS.build({key: value for key, value in settings.items() if value is not DELETED})

    return build


@pytest.fixture
def save(tmp_path):
    def write(maps, labels=None):
        for name, content in maps.items():
            path = tmp_path / 'maps' / f'{name}.npy'
            path.parent.mkdir(parents=True, exist_ok=True)
            if labels is None:
                np.save(path, content)
            else:
                np.savez(path.with_suffix('.npz'), maps=content, labels=labels[name])
        return SavedMaps(tmp_path / 'maps', NAMES)

    return write


def best_classes(right=9, ranks=5):
    """The true class is the best of the first images, the second best of the others."""
    best = {}
    for number, (name, label) in enumerate(zip(NAMES, LABELS, strict=True)):
        others = [other for other in range(6) if other != label]
        order = [label, *others] if number < right else [others[0], label, *others[1:]]
        best[name] = np.array(order[:ranks])
    return BestClasses(best, ranks, [])


def good_maps(right=10):
    """Maps that are the box of all but the last images, and elsewhere in these."""
    return {
        name: block(box if number < right else (90, 70, 100, 80))
        for number, (name, box) in enumerate(zip(NAMES, BOXES, strict=True))
    }


def test_a_map_of_all_classes_with_scores(dataset, save):
    metrics = [LocalizationMetric(['ts_cam', 'maxboxacc', 'lctr', 'scm'])]
    result = evaluate_maps(metrics, dataset(), save(good_maps()), best_classes())
    assert (result.problems, result.left_out, result.notes) == ([], [], [])
    values = result.metrics
    assert (values['Top-1_Cls'], values['Top-5_Cls']) == (75, 100)
    assert values['maxboxacc/MaxBoxAcc_agnostic'] == pytest.approx(100 * 10 / 12)
    for protocol in ('ts_cam', 'lctr'):
        assert values[f'{protocol}/GT-known_Loc_agnostic'] == pytest.approx(100 * 10 / 12)
        assert values[f'{protocol}/Top-1_Loc'] == pytest.approx(100 * 9 / 12)
        assert values[f'{protocol}/Top-5_Loc'] == pytest.approx(100 * 10 / 12)
    assert values['scm/loc_acc_thr_50.00_top-1'] == pytest.approx(100 * 9 / 12)


@pytest.mark.parametrize('agnostic', [False, True])
def test_all_protocols_give_the_numbers_of_the_metric(dataset, save, agnostic):
    """The same maps as predictions of a model, with the geometry written out."""
    rng = np.random.default_rng(0)
    maps = {name: 2 * rng.random((1 if agnostic else 6, 8, 8), np.float32) for name in NAMES}
    for name, box, label in zip(NAMES, BOXES, LABELS, strict=True):
        maps[name][0 if agnostic else label] += block(box, 8)
    best = best_classes()
    result = evaluate_maps([LocalizationMetric(list(PRESETS))], dataset(), save(maps), best)
    assert result.problems == []
    samples = [
        dict(
            gt_label=np.array([label]),
            gt_bboxes=np.array([box], np.float64),
            pred_topk=best.by_image[name],
            loc_maps=maps[name],
            loc_labels=np.array([-1]) if agnostic else np.arange(6),
            ori_shape=(HEIGHT, WIDTH),
            img_shape=(64, 64),
            scale_factor=(64 / WIDTH, 64 / HEIGHT),
        )
        for name, box, label in zip(NAMES, BOXES, LABELS, strict=True)
    ]
    expected = Evaluator(LocalizationMetric(list(PRESETS))).offline_evaluate(samples)
    assert result.metrics == expected
    assert 0 < expected['maxboxacc/MaxBoxAcc' + ('_agnostic' if agnostic else '')] < 100


def test_maps_show_what_the_pipeline_leaves(root, dataset, save):
    """A map of the middle hits with the crop; taken for one of the whole image it is too large."""
    (root / 'middle.csv').write_text('\n'.join(f'{name},30,24,70,56' for name in NAMES))
    cropped = {name: block((30, 24, 70, 56), 80)[8:72, 8:72] for name in NAMES}
    metric = dict(name='maxboxacc_v2', iou_levels=(0.5, 0.9))
    for pipeline, expected in ((CROP, 100), (SQUASH, 0)):
        data = dataset(pipeline, box_source='middle.csv')
        result = evaluate_maps([LocalizationMetric([metric])], data, save(cropped))
        assert result.metrics['maxboxacc_v2/BoxAcc@0.9_agnostic'] == expected


def test_without_scores_there_is_what_asks_for_no_class(dataset, save):
    maps = save(good_maps())
    metric = LocalizationMetric(['ts_cam', 'scm', dict(name='sat', thresholds=[0.3, 0.4])])
    result = evaluate_maps([metric], dataset(), maps)
    assert result.problems == []
    assert result.metrics['ts_cam/GT-known_Loc_agnostic'] == pytest.approx(100 * 10 / 12)
    assert result.metrics['scm/GT-Known_top-1'] == pytest.approx(100 * 10 / 12)
    assert not any(re.search('Top-|loc_|error', name) for name in result.metrics)
    assert {'Top-1_Cls', 'ts_cam/Top-5_Loc', 'ts_cam/error/part', 'scm/loc_acc_thr_50.00_top-1'} <= {
        *result.left_out
    }
    assert result.notes == ['sat: without scores the threshold is the best one for GT-known Loc alone']


def test_with_one_ranked_class_there_is_no_top_5(dataset, save):
    result = evaluate_maps([LocalizationMetric(['ts_cam'])], dataset(), save(good_maps()), best_classes(9, 1))
    assert result.left_out == ['Top-5_Cls', 'ts_cam/Top-5_Loc']
    assert result.metrics['ts_cam/Top-1_Loc'] == pytest.approx(100 * 9 / 12)


def test_a_map_that_cannot_be_used_is_a_wrong_localization_alone(dataset, save):
    maps = good_maps()
    maps[NAMES[0]] = np.full((8, 8), np.nan, np.float32)
    del maps[NAMES[1]]
    maps[NAMES[2]] = np.ones((6, 8, 8), np.float32)
    result = evaluate_maps(
        [LocalizationMetric(['ts_cam', 'maxboxacc'])], dataset(), save(maps), best_classes()
    )
    assert [problem.split(': ', 1)[1].split(',')[0] for problem in result.problems] == [
        'expected finite numbers',
        f'expected one map in {save({}).source}',
        'expected maps of all classes',
    ]
    assert result.metrics['Top-1_Cls'] == 75
    assert result.metrics['maxboxacc/MaxBoxAcc_agnostic'] == pytest.approx(100 * 7 / 12)
    assert result.metrics['ts_cam/Top-1_Loc'] == pytest.approx(100 * 6 / 12)
    errors = {name: value for name, value in result.metrics.items() if '/error/' in name}
    assert sum(errors.values()) == pytest.approx(100)
    assert errors['ts_cam/error/classification'] == 25
    assert errors['ts_cam/error/other'] == pytest.approx(100 * 3 / 12)


def test_a_constant_map_has_the_empty_box_of_the_protocol(root, dataset, save):
    """As in any evaluation: the whole frame for lctr, nothing for maxboxacc."""
    (root / 'whole.csv').write_text('\n'.join(f'{name},0,0,{WIDTH},{HEIGHT}' for name in NAMES))
    maps = save({name: np.full((8, 8), 3, np.uint8) for name in NAMES})
    metric = LocalizationMetric(['lctr', 'maxboxacc'])
    result = evaluate_maps([metric], dataset(box_source='whole.csv'), maps)
    assert result.problems == []
    assert result.metrics['lctr/GT-known_Loc_agnostic'] == 100
    assert result.metrics['maxboxacc/MaxBoxAcc_agnostic'] == 0


def test_an_image_without_scores_is_a_wrong_classification_alone(dataset, save):
    best = best_classes(12)
    del best.by_image[NAMES[0]]
    result = evaluate_maps([LocalizationMetric(['ts_cam', 'lctr'])], dataset(), save(good_maps()), best)
    assert result.problems == [f'{NAMES[0]}: expected scores, got none']
    assert result.metrics['Top-1_Cls'] == pytest.approx(100 * 11 / 12)
    assert result.metrics['lctr/GT-known_Loc_agnostic'] == pytest.approx(100 * 10 / 12)
    assert result.metrics['ts_cam/Top-1_Loc'] == pytest.approx(100 * 9 / 12)


def test_maps_of_the_predicted_class_serve_the_protocols_that_read_it(dataset, save):
    """As tools/predict.py writes them; another protocol in the same run changes nothing."""
    best = best_classes(9)
    labels = {name: best.by_image[name][:1] for name in NAMES}
    maps = save({name: grid[None] for name, grid in good_maps(12).items()}, labels)
    both = evaluate_maps([LocalizationMetric(['lctr', 'maxboxacc'])], dataset(), maps, best)
    assert both.metrics['lctr/GT-known_Loc_predicted'] == 100
    assert both.metrics['lctr/Top-1_Loc'] == 75
    assert both.metrics['maxboxacc/MaxBoxAcc'] == 75
    assert both.problems == [
        f'{name}: expected maps of the classes [{label}] for maxboxacc, got maps of [0]'
        for name, label in zip(NAMES[9:], LABELS[9:], strict=True)
    ]
    alone = evaluate_maps([LocalizationMetric(['lctr'])], dataset(), maps, best)
    assert alone.problems == []
    assert alone.metrics['lctr/GT-known_Loc_predicted'] == 100


def test_what_an_only_map_is_of_may_be_said(dataset, save):
    labels = {name: [0] for name in NAMES}
    maps = save({name: grid[None] for name, grid in good_maps().items()}, labels)
    data, expected = dataset(), pytest.approx(100 * 10 / 12)
    of_all = evaluate_maps([LocalizationMetric(['maxboxacc'])], data, maps, maps_of='all')
    assert of_all.metrics['maxboxacc/MaxBoxAcc_agnostic'] == expected
    of_label = evaluate_maps([LocalizationMetric(['maxboxacc'])], data, maps, maps_of='label')
    assert of_label.metrics['maxboxacc/MaxBoxAcc'] == expected
    as_said = evaluate_maps([LocalizationMetric(['maxboxacc'])], data, maps)
    assert as_said.metrics['maxboxacc/MaxBoxAcc'] == pytest.approx(100 * 2 / 12)


def test_an_only_map_is_asked_for_where_it_is_said_what_it_is_of(dataset, save):
    maps = save({name: np.ones((6, 8, 8), np.float32) for name in NAMES})
    with pytest.raises(ValueError, match="expected one map, as maps_of is 'label', got 6"):
        evaluate_maps([LocalizationMetric(['maxboxacc'])], dataset(), maps, maps_of='label')


def test_masks_give_pxap(tmp_path, dataset, save):
    lines = {'image_ids': [], 'class_labels': [], 'image_sizes': [], 'localization': []}
    for name, box, label in zip(NAMES, BOXES, LABELS, strict=True):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[box[1] : box[3], box[0] : box[2]] = 255
        path = tmp_path / 'masks' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), mask)
        lines['image_ids'].append(name)
        lines['class_labels'].append(f'{name},{label}')
        lines['image_sizes'].append(f'{name},{WIDTH},{HEIGHT}')
        lines['localization'].append(f'{name},{name},')
    for name, content in lines.items():
        (tmp_path / f'{name}.txt').write_text('\n'.join(content) + '\n')
    data = dataset(
        [*SQUASH, dict(type='LoadLocalizationMask')],
        type='WSOLMetadataDataset',
        metadata_dir=str(tmp_path),
        num_classes=6,
        data_prefix=dict(img_path='images', mask_path=str(tmp_path / 'masks')),
        box_source=DELETED,
    )
    maps = {name: block(box, 224) for name, box in zip(NAMES, BOXES, strict=True)}
    assert evaluate_maps([PixelAveragePrecision()], data, save(maps)).metrics['pixel/PxAP'] > 99
    maps[NAMES[0]] = np.array([[np.nan]])
    result = evaluate_maps([PixelAveragePrecision()], data, save(maps))
    assert len(result.problems) == 1
    assert 85 < result.metrics['pixel/PxAP'] < 97


def test_what_is_needed_and_not_there_is_named(dataset, save):
    by_class = save({name: np.ones((6, 8, 8), np.float32) for name in NAMES})
    data = dataset()
    for protocol, needed in (('lctr', 'the best class'), ('scm', 'the 5 best classes')):
        message = (
            f"scores: expected {needed} of every image, as protocol '{protocol}' reads predicted classes "
            r'\(pred_topk\), got none'
        )
        with pytest.raises(ValueError, match=message):
            evaluate_maps([LocalizationMetric([protocol])], data, by_class)
    with pytest.raises(ValueError, match=r"scores: expected the 5 best classes .*'scm' reads .*, got 2"):
        evaluate_maps([LocalizationMetric(['scm'])], data, by_class, best_classes(9, 2))
    tuned = dict(name='ts_cam', threshold_choice='top1', thresholds=[0.1, 0.2], error_breakdown=False)
    with pytest.raises(ValueError, match="scores: expected the best class .*'ts_cam'"):
        evaluate_maps([LocalizationMetric([tuned])], data, by_class)
    with pytest.raises(ValueError, match=r'FolderDataset .*: expected ground-truth boxes, got none'):
        evaluate_maps([LocalizationMetric(['ts_cam'])], dataset(box_source=None), by_class)
    with pytest.raises(KeyError, match="data sample: expected 'gt_mask'"):
        evaluate_maps([PixelAveragePrecision()], data, by_class)
    with pytest.raises(ValueError, match=r'ant/00.png: expected the size of the image, got none'):
        evaluate_maps([LocalizationMetric(['ts_cam'])], dataset(read_headers=False), by_class)
    with pytest.raises(TypeError, match='dataset: expected a LocalizationDataset, got list'):
        evaluate_maps([LocalizationMetric(['ts_cam'])], [], by_class)


def test_no_usable_map(tmp_path, dataset, save):
    maps = {'owl/99.png': np.ones((8, 8)), **{name: np.full((8, 8), np.inf) for name in NAMES}}
    saved = save(maps)
    with pytest.raises(
        ValueError,
        match=r'expected maps of the images, got none .* infinite. Maps of no image: owl/99.png.npy',
    ):
        evaluate_maps([LocalizationMetric(['ts_cam'])], dataset(), saved)


def test_one_map_is_in_memory_at_a_time(dataset, save, monkeypatch):
    saved, alive = save(good_maps()), []
    read = SavedMaps.read

    def tracked(self, img_id, num_classes):
        found = read(self, img_id, num_classes)
        alive.append(weakref.ref(found[0]))
        assert sum(ref() is not None for ref in alive) <= 2  # the one that is being replaced, and this
        return found

    monkeypatch.setattr(SavedMaps, 'read', tracked)
    # Boxes are found at once: what waits for threads is bounded by the metric's own tests.
    evaluate_maps([LocalizationMetric(['ts_cam'], num_eval_workers=0)], dataset(), saved)
    assert len(alive) > len(NAMES)
