"""Which protocol and threshold make the boxes of pictures and annotations."""

from wsol_mm.evaluation.box_protocol import box_protocol

import pytest
from mmengine.config import Config


def config(**hook):
    return Config(dict(default_hooks=dict(visualization=hook)))


def test_protocol_is_the_one_that_the_config_draws_with():
    assert box_protocol(config(protocol=dict(name='ts_cam', thresholds=[0.45]))).thresholds == (0.45,)
    assert box_protocol(config(protocol='sat')).thresholds == (0.4,)
    assert box_protocol(Config()).name == 'ts_cam' and box_protocol(Config()).thresholds == (0.1,)


def test_threshold_is_given_or_that_of_the_config():
    searching = config(protocol='maxboxacc', threshold=0.3)
    assert box_protocol(searching).thresholds == (0.3,)
    assert box_protocol(searching, threshold=0.2).thresholds == (0.2,)
    # The config's threshold belongs to its own protocol alone.
    assert box_protocol(searching, 'ts_cam').thresholds == (0.1,)
    chosen = box_protocol(searching, dict(name='maxboxacc_v2', alias='mine'), 0.5)
    assert (chosen.name, chosen.thresholds) == ('mine', (0.5,))


def test_what_cannot_be_chosen():
    with pytest.raises(
        ValueError, match=r"threshold: expected a number in \[0, 1\) for protocol 'maxboxacc', .*got none"
    ):
        box_protocol(config(protocol='ts_cam', threshold=0.2), 'maxboxacc')
    with pytest.raises(ValueError, match="got 'best'"):
        box_protocol(Config(), 'best')
    with pytest.raises(ValueError, match=r'threshold: expected a number in \[0, 1\), got 1'):
        box_protocol(Config(), threshold=1)
