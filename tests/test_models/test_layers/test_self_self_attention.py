"""Self-self attention against its formula."""

from wsol_mm.models.layers import self_self_attention

import pytest
import torch


@pytest.fixture
def projections():
    generator = torch.Generator().manual_seed(0)
    names = ('queries', 'keys', 'values')
    return {name: torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64) for name in names}


def formula(projections, temperature, sources, iterations):
    """With all matrices, as docs/specifications/gem.md writes it."""
    total = 0
    for name in sources:
        u = projections[name]
        for step in range(iterations + 1):
            u = u / u.norm(dim=-1, keepdim=True)
            attention = (temperature * u @ u.transpose(2, 3)).softmax(dim=-1)
            u = attention @ (u if step < iterations else projections['values'])
        total = total + u
    return total / len(sources)


@pytest.mark.parametrize('iterations', [0, 1, 2])
@pytest.mark.parametrize('sources', [('values', 'keys', 'queries'), ('keys',), ('queries', 'values')])
@pytest.mark.parametrize(
    'temperature', [7.5, torch.tensor([2.0, 30.0], dtype=torch.float64).view(2, 1, 1, 1)]
)
def test_formula(projections, temperature, sources, iterations):
    found = self_self_attention(projections, temperature, sources, iterations)
    torch.testing.assert_close(found, formula(projections, temperature, sources, iterations))


def test_a_sharp_attention_leaves_every_token_alone(projections):
    found = self_self_attention(projections, 1e4, ('keys',), 1)
    torch.testing.assert_close(found, projections['values'])


def test_without_temperature_all_tokens_are_averaged(projections):
    mean = projections['values'].mean(dim=2, keepdim=True).expand(-1, -1, 5, -1)
    torch.testing.assert_close(self_self_attention(projections, 0.0), mean)


def test_the_length_of_a_source_does_not_count(projections):
    longer = {**projections, 'keys': 3 * projections['keys']}
    torch.testing.assert_close(
        self_self_attention(longer, 5.0, ('keys',)), self_self_attention(projections, 5.0, ('keys',))
    )
