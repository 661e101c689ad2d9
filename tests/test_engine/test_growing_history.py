"""Histories that grow by doubling are those of MMEngine."""

import copy
import pickle
import time

from wsol_mm.engine.growing_history import GrowingHistory, let_histories_grow

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer, MessageHub


@pytest.mark.parametrize('max_length', [3, 1500, 1000000])
@pytest.mark.parametrize('number', [0, 1, 5000])
def test_the_same_values(max_length, number):
    plain = HistoryBuffer([0.5], [2], max_length)
    growing = GrowingHistory(HistoryBuffer([0.5], [2], max_length))
    for value in np.random.default_rng(0).standard_normal(number).tolist():
        plain.update(value, 3)
        growing.update(value, 3)
    for found, expected in zip(growing.data, plain.data, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    for window in (1, 10, 10**6):
        assert growing.mean(window) == plain.mean(window)
        assert growing.max(window) == plain.max(window)
        assert growing.statistics('min', window) == plain.statistics('min', window)
    assert growing.current() == plain.current()


def test_what_is_saved_is_a_plain_history():
    growing = GrowingHistory(HistoryBuffer([1.5], [1]))
    growing.update(2.5)
    for other in (pickle.loads(pickle.dumps(growing)), copy.deepcopy(growing)):
        assert type(other) is HistoryBuffer
        assert other.data[0].tolist() == [1.5, 2.5]
    growing.update(3.5)
    assert growing.data[0].tolist() == [1.5, 2.5, 3.5]


def test_a_hub_gets_growing_histories_for_floats():
    hub = MessageHub('growing')
    hub.update_scalar('train/loss', 1.0)
    hub.update_scalar('train/count', 1)
    let_histories_grow(hub)
    hub.update_scalar('train/loss', 2.0)
    assert type(hub.get_scalar('train/loss')) is GrowingHistory
    assert type(hub.get_scalar('train/count')) is HistoryBuffer
    assert hub.get_scalar('train/loss').data[0].tolist() == [1.0, 2.0]
    assert type(hub.state_dict()['log_scalars']['train/loss']) is HistoryBuffer


def test_a_value_costs_the_same_after_many():
    """A hundred values after 200,000, for which the base copies them all."""

    def seconds(history):
        start = time.process_time()
        for _ in range(100):
            history.update(1.0)
        return time.process_time() - start

    many = HistoryBuffer(np.zeros(200_000), np.ones(200_000, int))
    growing = GrowingHistory(many)
    growing.update(1.0)
    assert seconds(growing) < seconds(many) / 10


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match="expected numbers, got 'a', 1"):
        GrowingHistory(HistoryBuffer([0.5], [1])).update('a')
