"""Tests of wsol_mm.evaluation.protocol_choice."""

from wsol_mm.evaluation.protocol_choice import find_protocols, use_protocols

import pytest
from mmengine.config import Config


def test_protocol_keeps_the_settings_of_the_config():
    low = dict(name='ts_cam', thresholds=[0.05], alias='low')
    high = dict(name='ts_cam', thresholds=[0.45], alias='high')
    own = dict(name='scm', empty_box='frame')

    def choose(*names: str) -> list:
        metric = dict(type='LocalizationMetric', protocols=[low, 'maxboxacc', own, high])
        cfg = Config(dict(test_evaluator=metric))
        use_protocols(cfg, list(names))
        return cfg.test_evaluator.protocols

    assert choose('high') == [high]
    assert choose('scm', 'sat', 'maxboxacc') == [own, 'sat', 'maxboxacc']
    # The name that both share stands for both; each is taken once.
    assert choose('ts_cam', 'low') == [low, high]
    with pytest.raises(ValueError, match="protocols: expected names of .*'maxboxacc'.*, got 'higher'"):
        choose('higher')


def test_an_alias_goes_before_a_name():
    entries = [dict(name='ts_cam', alias='mine'), dict(name='scm', alias='ts_cam')]
    assert find_protocols(entries, 'ts_cam') == entries[1:]
    assert find_protocols(['ts_cam', entries[0]], 'ts_cam') == ['ts_cam']
