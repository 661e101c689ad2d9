"""Outputs broken off at every change to their folder: the former file is there, or the new one."""

import errno
import json
import os
import signal

from tests.toy_training import break_off, count_changes
from wsol_mm.deployment.export import write_program
from wsol_mm.evaluation.metrics import DumpPredictions
from wsol_mm.utils.checkpoint_io import read_checkpoint, write_checkpoint
from wsol_mm.utils.safe_pickle import read_pickle
from wsol_mm.utils.whole_files import remove_partial_files, write_json

import pytest
import torch
from torch import nn

ERRORS = [None, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError(errno.EIO, os.strerror(errno.EIO))]


def dump(path, value):
    metric = DumpPredictions(str(path))
    metric.compute_metrics([{'value': torch.tensor([value])}])
    metric.write()


def export(path, value):
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, value)
    write_program(torch.export.export(layer, (torch.ones(2, 1),)), path, {})


def read_program(path):
    return float(torch.export.load(path).state_dict['weight'])


WRITERS = {
    'report.json': (lambda path, value: write_json(path, value), lambda path: json.loads(path.read_text())),
    'weights.pth': (
        lambda path, value: write_checkpoint(path, {'value': value}),
        lambda path: read_checkpoint(path)['value'],
    ),
    'predictions.pkl': (dump, lambda path: float(read_pickle(path)[0]['value'])),
    'model.pt2': (export, read_program),
}


@pytest.mark.parametrize('name', WRITERS)
def test_the_former_file_or_the_new_one(tmp_path, name):
    write, read = WRITERS[name]
    folder = tmp_path / 'out'
    folder.mkdir()
    path = folder / name
    write(path, 1.0)
    changes = count_changes(folder, lambda: write(path, 1.0))
    assert changes >= 3
    seen = set()
    for number in range(changes):
        for error in ERRORS:
            write(path, 1.0)
            remove_partial_files(folder)
            status = break_off(folder, lambda: write(path, 2.0), number, error)
            # Making a folder that is there, and removing what is renamed already, may fail without harm.
            assert status in ((-signal.SIGKILL,) if error is None else (0, 1))
            found = read(path)
            seen.add(found)
            assert found in (1.0, 2.0), (number, error)
            if error is not None and number < changes - 1:
                assert not list(folder.glob('.*')), (number, error)
    assert seen == {1.0, 2.0}
