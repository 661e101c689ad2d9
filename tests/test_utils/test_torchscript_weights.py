import zipfile

from wsol_mm.utils.torchscript_weights import read_torchscript_weights

import pytest
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.register_buffer('halves', torch.arange(4).half())
        self.shared = self.layers[0].weight

    def forward(self, x):
        return self.layers(x).sum() + self.halves.sum() + self.shared.sum()


class Running(nn.Module):
    """With code that TorchScript runs when it loads the archive."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.training_done = False

    def forward(self, x):
        return x * self.weight

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.training_done

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        raise RuntimeError('it ran')


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('traced', [True, False])
def test_weights_are_those_of_the_state_dict(tmp_path, traced):
    torch.manual_seed(0)
    model = Small().eval()
    program = torch.jit.trace(model, torch.rand(2, 3)) if traced else torch.jit.script(model)
    program.save(str(tmp_path / 'a.pt'))
    found, expected = read_torchscript_weights(tmp_path / 'a.pt'), model.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value) and found[name].dtype == value.dtype


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_code_of_an_archive_is_not_run(tmp_path):
    torch.jit.script(Running()).save(str(tmp_path / 'a.pt'))
    with pytest.raises(torch.jit.Error, match='it ran'):
        torch.jit.load(str(tmp_path / 'a.pt'))
    with pytest.raises(ValueError, match='a.pt: expected a TorchScript archive of weights, got') as caught:
        read_torchscript_weights(tmp_path / 'a.pt')
    assert 'it ran' not in str(caught.value)


def test_other_pickles_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.pt', 'w') as archive:
        archive.writestr('a/data.pkl', b"cos\nsystem\n(S'true'\ntR.")
        archive.writestr('a/constants.pkl', b'')
    with pytest.raises(ValueError, match='got a reference to os.system: reading it could run code'):
        read_torchscript_weights(tmp_path / 'a.pt')
    (tmp_path / 'b.pt').write_text('no archive')
    with pytest.raises(ValueError, match='b.pt: expected a TorchScript archive'):
        read_torchscript_weights(tmp_path / 'b.pt')
