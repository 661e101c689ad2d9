import json
import pickle
import resource

from wsol_mm.evaluation.metrics import LocalizationMetric, validity
from wsol_mm.registry import METRICS

import numpy as np
import pytest
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from .samples import BAD, BOX, GOOD, NUM_CLASSES, SIDE, block_map, evaluate, make_sample, random_samples


def test_label_map_protocol(four_samples):
    values = evaluate(four_samples, ['ts_cam'])
    assert values['Top-1_Cls'] == 25 and values['Top-5_Cls'] == 75
    assert values['ts_cam/GT-known_Loc'] == 50
    assert values['ts_cam/Top-1_Loc'] == 25
    assert values['ts_cam/Top-5_Loc'] == 50
    errors = {name: value for name, value in values.items() if '/error/' in name}
    assert errors['ts_cam/error/correct'] == 25 and errors['ts_cam/error/classification'] == 75
    assert sum(errors.values()) == 100


def test_predicted_map_protocol(four_samples):
    values = evaluate(four_samples, ['lctr'])
    # the map of the first class is good in samples 0 and 2, whatever the label
    assert values['lctr/GT-known_Loc_predicted'] == 50
    assert values['lctr/Top-1_Loc'] == 25
    assert values['lctr/Top-5_Loc'] == 50
    assert 'lctr/GT-known_Loc' not in values


def test_mean_over_classes(four_samples):
    # Three images of class 1, of which the first two have the right box; one of class 0, all wrong.
    values = evaluate(
        four_samples, ['bas', dict(name='bas', alias='images', average='images')], per_class=True
    )
    third = 100 / 3
    assert values['bas/GT-known_Loc'] == pytest.approx(2 * third / 2)
    assert values['bas/Top-1_Loc'] == pytest.approx(third / 2)
    assert values['bas/Top-5_Loc'] == pytest.approx(2 * third / 2)
    assert values['bas/Top-1_Cls'] == pytest.approx(third / 2) and values['bas/Top-5_Cls'] == 50
    assert values['images/GT-known_Loc'] == 50 and values['images/Top-1_Loc'] == 25
    assert values['Top-1_Cls'] == 25 and 'images/Top-1_Cls' not in values


def test_strict_iou_of_known_boxes():
    # Half of the box: an IoU of exactly 0.5 without the end pixels.
    half = make_sample({1: block_map(10, 10, 40, 25)}, [1, 2, 3, 4, 5], 1, [BOX])
    for strict, expected in ((True, 0), (False, 100)):
        protocol = dict(name='bas', inclusive_iou=False, strict_known=strict)
        values = evaluate([half], [protocol])
        assert values['bas/GT-known_Loc'] == expected and values['bas/Top-1_Loc'] == 0


def test_ranked_protocol():
    maps = {c: BAD for c in range(NUM_CLASSES)}
    samples = [
        make_sample({**maps, 1: GOOD}, [1, 2, 3, 4, 5], 1, [BOX]),
        make_sample({**maps, 3: GOOD}, [1, 2, 3, 4, 5], 1, [BOX]),  # another rank has the box
        make_sample({**maps, 3: GOOD}, [1, 2, 3, 4, 5], 3, [BOX]),  # the label's rank has it
        make_sample({**maps, 0: GOOD}, [1, 2, 3, 4, 5], 0, [BOX]),  # the label is no rank
    ]
    values = evaluate(samples, ['scm', dict(name='scm', map_source='label', alias='own')])
    assert values['scm/GT-Known_top-1'] == 25
    assert values['scm/GT-Known_top-5'] == 75
    assert values['scm/loc_acc_thr_50.00_top-1'] == 25
    assert values['scm/loc_acc_thr_50.00_top-5'] == 50
    assert values['own/GT-Known_top-1'] == 75


def test_class_agnostic_map_serves_every_protocol():
    samples = [
        make_sample({-1: GOOD}, [1, 2, 3, 4, 5], 1, [BOX]),
        make_sample({-1: GOOD}, [2, 1, 3, 4, 5], 1, [BOX]),
        make_sample({-1: BAD}, [1, 2, 3, 4, 5], 1, [BOX]),
    ]
    values = evaluate(samples, ['sat', 'scm', 'cdtr', 'maxboxacc'])
    assert values['sat/GT-known_Loc_agnostic'] == pytest.approx(200 / 3)
    assert values['sat/Top-1_Loc'] == pytest.approx(100 / 3)
    assert values['sat/Top-5_Loc'] == pytest.approx(200 / 3)
    assert values['sat/GT-known+Top-1_Loc'] == pytest.approx(100)
    assert values['scm/GT-Known_top-5'] == pytest.approx(200 / 3)
    assert values['cdtr/GT-known_Loc_agnostic'] == pytest.approx(200 / 3)
    assert values['maxboxacc/MaxBoxAcc_agnostic'] == pytest.approx(200 / 3)


def test_max_box_acc_finds_the_first_best_threshold():
    # The block is right from 8-bit value 102 of the halo (0.4) on.
    loc_map = block_map(0, 0, SIDE, SIDE) * 0.4 + GOOD * 0.6
    samples = [make_sample({1: loc_map}, [1], 1, [BOX])]
    values = evaluate(
        samples,
        [
            dict(
                name='maxboxacc', interpolation='bilinear', frame_size=None, thresholds=np.arange(0, 1, 0.01)
            ),
            dict(name='maxboxacc_v2', interpolation='bilinear', frame_size=None),
        ],
    )
    # min-max maps the halo to 0, so every threshold is right
    assert values['maxboxacc/MaxBoxAcc'] == 100 and values['maxboxacc/threshold'] == 0
    assert values['maxboxacc_v2/MaxBoxAccV2'] == 100
    loc_map[0, -1] = 0  # now the halo keeps its height 0.4
    values = evaluate(
        [make_sample({1: loc_map}, [1], 1, [BOX])],
        [dict(name='maxboxacc', interpolation='bilinear', frame_size=None, thresholds=np.arange(0, 1, 0.01))],
    )
    assert values['maxboxacc/MaxBoxAcc'] == 100
    assert values['maxboxacc/threshold'] == pytest.approx(0.4)


def test_threshold_by_top_1_alone():
    """CATR searches its threshold for Top-1 Loc, whatever it does to GT-known Loc."""
    # The background of height 0.3 stays up to a threshold of 0.3, and the box is the frame; in the second and
    # third image the frame is right, but their classes are wrong.
    background = np.maximum(GOOD, 0.3)
    background[0, -1] = 0
    frame = [0, 0, SIDE, SIDE]
    samples = [
        make_sample({1: background}, [1, 2, 3, 4, 5], 1, [BOX]),
        make_sample({1: background}, [1, 2, 3, 4, 5], 2, [frame]),
        make_sample({1: background}, [1, 2, 3, 4, 5], 3, [frame]),
    ]
    settings = dict(name='cdtr', thresholds=[0.1, 0.5, 0.6])
    values = evaluate(
        samples,
        [{**settings, 'threshold_choice': choice, 'alias': choice} for choice in ('top1', 'joint')],
    )
    assert values['top1/threshold'] == 0.5 and values['joint/threshold'] == 0.1
    assert values['top1/Top-1_Loc'] == values['top1/GT-known_Loc_predicted'] == pytest.approx(100 / 3)
    assert values['joint/Top-1_Loc'] == 0
    assert 'top1/GT-known+Top-1_Loc' not in values


def test_several_ground_truth_boxes():
    boxes = [[0, 0, 5, 5], BOX]
    for protocol, expected in (('ts_cam', 100), ('lctr', 0), ('cdtr', 100)):
        values = evaluate([make_sample({1: GOOD}, [1], 1, boxes)], [protocol])
        name = 'GT-known_Loc' if protocol == 'ts_cam' else 'GT-known_Loc_predicted'
        assert values[f'{protocol}/{name}'] == expected, protocol


def test_images_without_boxes_count_for_classification_only(four_samples, caplog):
    unboxed = make_sample({2: GOOD}, [2, 1, 3, 4, 5], 2)
    values = evaluate([*four_samples, unboxed], ['ts_cam'])
    assert values['Top-1_Cls'] == 40
    assert values['ts_cam/GT-known_Loc'] == 50
    assert evaluate([unboxed], ['ts_cam']) == {'Top-1_Cls': 100, 'Top-5_Cls': 100}


def test_map_without_contrast_loses_no_result(four_samples):
    flat = make_sample({1: np.ones((7, 7), np.float32)}, [1], 1, [BOX])
    values = evaluate([*four_samples, flat, flat], ['ts_cam'])
    assert values['ts_cam/GT-known_Loc'] == pytest.approx(200 / 6)
    # LCTR's empty box is the whole frame, which is right for a large object
    large = make_sample({1: np.ones((7, 7), np.float32)}, [1], 1, [[0, 0, 50, 50]])
    assert evaluate([large], ['lctr'])['lctr/GT-known_Loc_predicted'] == 100


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('field', ['loc_maps', 'pred_score'])
def test_predictions_that_are_no_numbers_make_all_metrics_invalid(
    four_samples, tmp_path, monkeypatch, field, value
):
    broken = make_sample({1: GOOD}, [1], 1, [BOX])
    broken[field] = np.full_like(broken['loc_maps'], 0.5) if field == 'loc_maps' else np.full(6, 0.2)
    broken[field].reshape(-1)[3] = value
    report = tmp_path / 'report.json'
    said = []
    monkeypatch.setattr(validity, 'print_log', lambda text, **_: said.append(text))
    protocols = ['ts_cam', 'maxboxacc']
    values = evaluate([*four_samples, broken], protocols, report_file=str(report))
    assert values.keys() == evaluate(four_samples, protocols).keys()
    assert all(np.isnan(found) for found in values.values())
    assert said[0].startswith(
        '1 of 5 images: expected finite scores and maps of the model, got NaN or infinity'
    )
    for name, value in evaluate(four_samples, protocols).items():
        assert f'{name}: {value:.4f}' in said[0].partition('Of the other 4 images alone: ')[2]
    written = json.loads(report.read_text())
    assert set(written['maxboxacc']['metrics'].values()) == {None}
    # An image that could not be read says nothing of the model.
    broken['load_error'] = 'truncated'
    assert evaluate([*four_samples, broken], ['ts_cam'])['ts_cam/GT-known_Loc'] == 40


def test_unreadable_image_counts_as_wrong(four_samples):
    """The image that stands in may look right by chance; its record does not."""
    unreadable = make_sample({c: GOOD for c in range(NUM_CLASSES)}, [1, 2, 3, 4, 5], 1, [BOX])
    unreadable['load_error'] = 'truncated'
    values = evaluate(
        [unreadable, *four_samples], ['ts_cam', 'maxboxacc', dict(name='scm', map_source='label')]
    )
    assert values['Top-1_Cls'] == 20
    assert values['ts_cam/GT-known_Loc'] == values['maxboxacc/MaxBoxAcc'] == 40
    assert values['ts_cam/error/classification'] == 80
    ranked = evaluate(
        [unreadable, make_sample({c: GOOD for c in range(6)}, [1, 2, 3, 4, 5], 1, [BOX])], ['scm']
    )
    assert ranked['scm/GT-Known_top-1'] == ranked['scm/GT-Known_top-5'] == 50


def test_an_image_without_a_map_for_a_protocol_is_a_wrong_localization_there_alone(four_samples):
    first = {**four_samples[0], 'no_map_for': {'ts_cam'}}
    values = evaluate([first, *four_samples[1:]], ['ts_cam', 'maxboxacc', 'lctr'])
    assert values['Top-1_Cls'] == 25
    assert values['ts_cam/GT-known_Loc'] == 25
    assert values['ts_cam/Top-1_Loc'] == 0
    assert values['ts_cam/error/other'] == 25 and values['ts_cam/error/classification'] == 75
    assert values['maxboxacc/MaxBoxAcc'] == values['lctr/GT-known_Loc_predicted'] == 50


def test_report_and_thresholds_of_another_split(tmp_path):
    report = tmp_path / 'reports' / 'val.json'
    protocols = ['ts_cam', 'maxboxacc', 'maxboxacc_v2', 'scm', dict(name='sat', thresholds=(0.3, 0.4, 0.5))]
    val = evaluate(random_samples(20, 1), protocols, report_file=str(report), per_class=True)
    content = json.loads(report.read_text())
    assert content['images'] == 20
    part = content['maxboxacc']
    assert part['metrics']['MaxBoxAcc'] == val['maxboxacc/MaxBoxAcc'] == max(part['curves']['BoxAcc@0.5'])
    assert sum(values['images'] for values in part['per_class'].values()) == 20
    weighted = sum(v['images'] * v['BoxAcc@0.5'] for v in part['per_class'].values()) / 20
    assert weighted == pytest.approx(val['maxboxacc/MaxBoxAcc'])
    assert sum(content['ts_cam']['outcomes'].values()) == 20

    test = evaluate(random_samples(20, 2), protocols, thresholds_from=str(report))
    searched = evaluate(random_samples(20, 2), protocols, report_file=str(tmp_path / 'test.json'))
    assert test['maxboxacc/threshold'] == pytest.approx(val['maxboxacc/threshold'])
    curve = json.loads((tmp_path / 'test.json').read_text())['maxboxacc']['curves']['BoxAcc@0.5']
    assert test['maxboxacc/MaxBoxAcc'] == curve[round(1000 * val['maxboxacc/threshold'])]
    for name, value in test.items():
        if 'hreshold' not in name and 'hred' not in name:
            assert value <= searched[name] + 1e-9 or name.startswith('sat/')

    flat = tmp_path / 'out.json'
    flat.write_text(json.dumps(val))
    assert evaluate(random_samples(20, 2), protocols, thresholds_from=str(flat)) == test
    flat.write_text(json.dumps({f'cub/{name}': value for name, value in val.items()}))
    prefixed = evaluate(random_samples(20, 2), protocols, thresholds_from=str(flat), prefix='cub')
    assert prefixed == {f'cub/{name}': value for name, value in test.items()}


def test_thresholds_from_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        LocalizationMetric(['maxboxacc'], thresholds_from=str(tmp_path / 'missing.json'))
    file = tmp_path / 'other.json'
    file.write_text(json.dumps({'ts_cam/GT-known_Loc': 1.0}))
    with pytest.raises(ValueError, match="expected results of protocol 'maxboxacc', got"):
        LocalizationMetric(['maxboxacc'], thresholds_from=str(file))


@pytest.mark.parametrize(
    ('size', 'warned'),
    [((257, 258), set()), ((SIDE, 2 * SIDE), {'sat', 'lctr'})],
    ids=['nearly square', 'oblong'],
)
def test_images_that_came_in_another_way_than_published(monkeypatch, size, warned):
    """Squashed. SAT crops a square, LCTR crops; a nearly square image looks alike either way."""
    sample = make_sample({1: GOOD}, [1], 1, [BOX])
    sample |= dict(ori_shape=size, scale_factor=(SIDE / size[1], SIDE / size[0]))
    unread = {**sample, 'load_error': 'none'}
    logged = []
    monkeypatch.setattr(MMLogger, 'warning', lambda _, text: logged.append(text))
    evaluate([sample, unread, sample], ['sat', 'ts_cam', 'lctr'])
    said = [text for text in logged if 'was published with the test geometry' in text]
    assert {text.split()[0] for text in said} == warned and len(said) == len(warned)
    assert all("; 2 of 3 images came with 'squash'. " in text for text in said)


@pytest.mark.parametrize('field', ['gt_label', 'pred_topk', 'loc_maps', 'loc_labels'])
def test_missing_field(field):
    sample = make_sample({1: GOOD}, [1], 1, [BOX])
    del sample[field]
    with pytest.raises(KeyError, match=field):
        evaluate([sample], ['ts_cam'])


def test_missing_map():
    with pytest.raises(KeyError, match='loc_labels: expected a map of class 1, got maps of'):
        evaluate([make_sample({2: GOOD}, [2], 1, [BOX])], ['ts_cam'])


def test_protocol_errors():
    with pytest.raises(ValueError, match='different names'):
        LocalizationMetric(['ts_cam', 'ts_cam'])
    with pytest.raises(ValueError, match='protocols: expected one or more'):
        LocalizationMetric([])
    with pytest.raises(ValueError, match='got .unknown.'):
        LocalizationMetric(['unknown'])
    with pytest.raises(ValueError, match=r"LocalizationMetric: expected .*'tuned_on'.*, got \['tuned_onn'\]"):
        LocalizationMetric(['ts_cam'], tuned_onn='cub')


def test_records_are_small():
    metric = LocalizationMetric(['ts_cam', 'maxboxacc', 'maxboxacc_v2', 'sat'])
    metric.process(None, random_samples(1))
    assert len(pickle.dumps(metric.results[0])) < 2500


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_memory_of_20000_images_is_that_of_their_records(workers):
    """Maps of six out of 1,000 classes in batches of 100; what stays of an image is its record."""
    pool = random_samples(100)
    for sample in pool:
        sample['loc_labels'] = sample['loc_labels'] * 199
        sample['pred_topk'] = sample['pred_topk'] * 199
        sample['gt_label'] = sample['gt_label'] * 199
    protocols = [dict(name=name, frame_size=None) for name in ('ts_cam', 'maxboxacc', 'maxboxacc_v2')]
    metric = LocalizationMetric(protocols, num_eval_workers=workers)
    peaks = []
    for images in range(100, 20_001, 100):
        # Maps of their own, as a network makes them: 24 MB for all images.
        metric.process(None, [{**sample, 'loc_maps': sample['loc_maps'].clone()} for sample in pool])
        if images in (5_000, 20_000):
            peaks.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    size = len(pickle.dumps(metric.results[0]))
    assert len(metric.results) == 20_000
    assert peaks[1] - peaks[0] < 15_000 * 2 * size
    assert 0 < metric.evaluate(20_000)['maxboxacc/MaxBoxAcc'] < 100


def test_lists_are_taken_for_arrays(four_samples):
    expected = evaluate(four_samples, ['ts_cam', 'lctr'])
    fields = ('gt_label', 'pred_topk', 'loc_maps', 'loc_labels', 'gt_bboxes')
    lists = [
        {name: value.tolist() if name in fields else value for name, value in sample.items()}
        for sample in four_samples
    ]
    assert evaluate(lists, ['ts_cam', 'lctr']) == expected


def test_registered():
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        metric = METRICS.build(dict(type='LocalizationMetric', protocols=['ts_cam'], tuned_on='ilsvrc'))
    assert metric.protocols[0].thresholds == (0.12,)


@pytest.mark.parametrize(
    'settings', [dict(dataset='cub'), dict(protocols=[dict(name='ts_cam', dataset='cub')])]
)
def test_former_name_of_tuned_on_is_refused(settings):
    with pytest.raises(ValueError, match="tuned_on: expected one of .*, got none, but dataset='cub'"):
        LocalizationMetric(**{'protocols': ['ts_cam'], **settings})


def test_maps_with_nothing_above_the_threshold_are_counted(capsys):
    full = [0, 0, SIDE, SIDE]
    found = make_sample({-1: 0.4 * GOOD}, [1], 1, [full])
    samples = [found, make_sample({-1: 0.9 * GOOD}, [1], 1, [BOX])]
    values = evaluate(samples, ['found', 'maxboxacc'])
    assert values['found/GT-known_Loc_agnostic'] == 100  # the box of an empty map is the whole image
    text = 'found: 1 of 2 images have a map with nothing above the threshold'
    printed = capsys.readouterr().out
    assert text in printed and 'maxboxacc: ' not in printed
