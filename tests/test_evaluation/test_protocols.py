from dataclasses import FrozenInstanceError

from wsol_mm.evaluation import PRESETS, LocalizationProtocol, get_protocol

import numpy as np
import pytest


def test_presets():
    names = ['ts_cam', 'scm', 'sat', 'lctr', 'cdtr', 'trilite', 'bas', 'found']
    assert list(PRESETS) == [*names, 'maxboxacc', 'maxboxacc_v2']
    for name, protocol in PRESETS.items():
        assert protocol.name == name
    with pytest.raises(FrozenInstanceError):
        PRESETS['scm'].dtype = 'float32'


@pytest.mark.parametrize(
    ('name', 'cub', 'ilsvrc'),
    [('ts_cam', 0.1, 0.12), ('sat', 0.4, 0.3), ('lctr', 0.09, 0.18), ('cdtr', 0.2, 0.19), ('bas', 0.15, 0.5)],
)
def test_published_thresholds(name, cub, ilsvrc):
    assert get_protocol(name).thresholds == (cub,)
    assert get_protocol(name, 'ilsvrc').thresholds == (ilsvrc,)


def test_fractional_boxes_of_ilsvrc_are_scaled_first():
    for name in ('ts_cam', 'scm'):
        assert get_protocol(name).gt_conversion == 'truncate_xywh'
        assert get_protocol(name, 'ilsvrc').gt_conversion == 'truncate'
    assert get_protocol('scm', 'ilsvrc').thresholds == get_protocol('scm').thresholds
    assert get_protocol('maxboxacc', 'ilsvrc') == get_protocol('maxboxacc')


def test_grids_are_numpy_grids():
    assert get_protocol('scm').thresholds == tuple(np.arange(0, 1, 0.01))
    assert get_protocol('maxboxacc').thresholds == tuple(np.arange(0, 1, 0.001))


def test_changes_and_alias():
    protocol = get_protocol('scm', map_source='label', alias='scm_label')
    assert (protocol.name, protocol.map_source, protocol.dtype) == ('scm_label', 'label', 'float64')


def test_strict_criteria():
    assert get_protocol('ts_cam').criteria == ((0.5, False), (0.5, True))
    assert get_protocol('bas').criteria == ((0.5, False), (0.5, True))
    assert get_protocol('maxboxacc_v2').criteria == ((0.3, False), (0.5, False), (0.7, False))


def test_which_criterion_decides():
    chosen = {name: get_protocol(name) for name in ('ts_cam', 'bas', 'scm')}
    assert [p.criteria[p.loc_criterion] for p in chosen.values()] == [(0.5, True), (0.5, True), (0.5, False)]
    assert [p.criteria[p.known_criterion] for p in chosen.values()] == [
        (0.5, False),
        (0.5, True),
        (0.5, False),
    ]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(name='ts-cam'), "protocol: expected one of .* got 'ts-cam'"),
        (dict(name='ts_cam', tuned_on='dogs'), r"tuned_on: expected one of \('cub', 'ilsvrc'\), got 'dogs'"),
        (dict(name='ts_cam', dataset='cub'), "tuned_on: expected one of .*, got none, but dataset='cub'"),
        (dict(name='ts_cam', treshold=0.2), r"protocol: expected attributes out of .*, got \['treshold'\]"),
        (dict(name='ts_cam', thresholds=(1.0,)), 'thresholds: expected ascending numbers'),
        (dict(name='scm', thresholds=(0.3, 0.2)), 'thresholds: expected ascending numbers'),
        (dict(name='scm', thresholds=()), 'thresholds: expected ascending numbers'),
        (
            dict(name='ts_cam', thresholds=(0.1, 0.2)),
            "thresholds: expected one, as threshold_choice is 'fixed', got 2",
        ),
        (dict(name='scm', iou_levels=(0.3,)), 'iou_levels: expected'),
        (dict(name='scm', region='blob'), r"region: expected one of .*, got 'blob'"),
        (
            dict(name='found', thresholds=(0.4, 0.5), threshold_choice='each'),
            "thresholds: expected one, as region is 'pixels_4', got 2",
        ),
        (dict(name='found', quantize=True), "quantize: expected False, as normalize is 'none', got True"),
        (dict(name='found', contours='all'), "region: expected 'polygon', as .*, got 'pixels_4'"),
        (dict(name='bas', average='boxes'), r"average: expected one of \('images', 'classes'\), got 'boxes'"),
        (dict(name='cdtr', interpolation='bicubic'), "interpolation: expected 'bilinear'"),
        (dict(name='sat', contours='all'), "region: expected 'polygon', as contours is 'all'"),
        (
            dict(name='ts_cam', map_source='predicted'),
            "error_breakdown: expected .*, got 1, 'largest' and 'predicted'",
        ),
        (
            dict(name='maxboxacc', threshold_choice='joint'),
            "threshold_choice: expected 'each', as .*, got 'joint'",
        ),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        get_protocol(**arguments)


def test_plain_construction():
    assert LocalizationProtocol('mine', thresholds=[0.25]).thresholds == (0.25,)
