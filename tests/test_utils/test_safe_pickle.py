import os
import pickle
from collections import OrderedDict

from wsol_mm.utils.safe_pickle import read_pickle

import mmengine
import numpy as np
import pytest
import torch

CONTENT = {
    'tensor': torch.arange(6.0).reshape(2, 3).half(),
    'bits': torch.tensor([True, False]),
    'array': np.arange(4, dtype=np.uint8).reshape(2, 2),
    'names': np.array(['a', 'bc']),
    'scalar': np.float32(0.25),
    'bytes': b'\xff\x00',
    'size': torch.Size([2, 3]),
    'plain': OrderedDict(a=(1, 2.5, None, 'x'), b={3}, c=1 + 2j),
}


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_texts_arrays_and_tensors(tmp_path, protocol):
    path = tmp_path / 'a.pkl'
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    for found in (read_pickle(path), mmengine.load(path)):
        assert found.keys() == CONTENT.keys()
        for name in ('tensor', 'bits'):
            assert torch.equal(found[name], CONTENT[name]) and found[name].dtype == CONTENT[name].dtype
        for name in ('array', 'names', 'scalar'):
            np.testing.assert_array_equal(found[name], CONTENT[name], strict=True)
        for name in ('bytes', 'size', 'plain'):
            assert found[name] == CONTENT[name]


class Calls:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ('call', 'named'),
    [
        ((os.mkdir, '{marker}'), 'posix.mkdir'),
        ((eval, 'open("{marker}", "w")'), 'builtins.eval'),
        ((getattr, 'a', 'join'), 'builtins.getattr'),
        ((torch.load, '{marker}'), 'torch.serialization.load'),
        ((np.load, '{marker}'), 'numpy.load'),
        ((pickle.loads, b''), 'pickle.loads'),
    ],
)
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_what_could_run_is_refused_and_named(tmp_path, call, named, protocol):
    marker, path = tmp_path / 'ran', tmp_path / 'a.pkl'
    call = [part.format(marker=marker) if isinstance(part, str) else part for part in call]
    path.write_bytes(pickle.dumps({'a': Calls(*call)}, protocol=protocol))
    with pytest.raises(ValueError, match=f'a.pkl: expected a pickle of .*, got a reference to .*{named}'):
        read_pickle(path)
    with pytest.raises(pickle.UnpicklingError):
        mmengine.load(path)
    assert not marker.exists()


def test_every_cut_and_flip_is_an_error_of_the_file_or_another_value(tmp_path):
    whole = pickle.dumps({'a': np.arange(3), 'b': torch.ones(2), 'c': 'text'}, protocol=4)
    path = tmp_path / 'a.pkl'
    refused = 0
    for place in range(0, len(whole), 7):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            path.write_bytes(content)
            try:
                read_pickle(path)
            except ValueError as error:
                refused += str(error).startswith(f'{path}: expected ')
    assert refused > len(whole) / 7  # all that are cut, and some of the others
