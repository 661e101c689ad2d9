"""Work that one process of every machine does first."""

from wsol_mm.utils import per_node

import pytest


@pytest.fixture
def done(monkeypatch):
    """What has been done, in order; barriers are noted."""
    order = []
    monkeypatch.setattr(per_node, 'barrier', lambda: order.append('barrier'))
    for name in ('LOCAL_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    return order


@pytest.mark.parametrize(
    ('variable', 'rank', 'order'),
    [
        ('LOCAL_RANK', '0', ['work', 'barrier']),
        ('LOCAL_RANK', '1', ['barrier', 'work']),
        ('OMPI_COMM_WORLD_LOCAL_RANK', '2', ['barrier', 'work']),
        (None, None, ['work', 'barrier']),
    ],
)
def test_order(done, monkeypatch, variable, rank, order):
    if variable is not None:
        monkeypatch.setenv(variable, rank)
    with per_node.one_per_node_first():
        done.append('work')
    assert done == order


def test_first_process_that_fails_lets_the_others_go_on(done):
    with pytest.raises(OSError, match='no route'), per_node.one_per_node_first():
        raise OSError('no route')
    assert done == ['barrier']
