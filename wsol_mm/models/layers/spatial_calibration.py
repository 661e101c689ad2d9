"""Spatial calibration of attention and semantic maps (SCM, Bai et al., ECCV 2022)."""

from collections.abc import Sequence

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
from torch import Tensor, nn

from .graph_diffusion import graph_diffusion
from .grid_graph import GridGraph, grid_graph, neighbour_similarity


def min_max(values: Tensor, eps: float = 0.0) -> Tensor:
    """Scale every row to 0..1: subtract its smallest value, then divide by what is largest.

    The gradient of the smallest and of the largest value goes to one entry each, also where several are
    equal (docs/specifications/scm.md, section 9, quirk 4).

    Args:
        values: (B, N).
        eps: Added to the divisor. With 0 a constant row gives NaN, as in the reference.

    Returns:
        (B, N).
    """
    values = values - values.min(dim=1, keepdim=True).values
    return values / (values.max(dim=1, keepdim=True).values + eps)


class SpatialCalibrationLayer(nn.Module):
    """One activation diffusion block: attention spreads between similar neighbours.

    The grid's Laplacian is weighted by the cosine similarity of the class scores at both ends of an
    edge; an approximate inverse of it diffuses the attention; small values are shrunk by z - tanh(z).
    The min-max scaled result A is added to the attention, and gates the class maps by 1 + A.

    Both parameters have one entry: ``similarity_scale`` (lambda in docs/specifications/scm.md, section 2.3,
    factor of the similarities) and ``threshold`` (theta, of the shrinkage).

    Args:
        iterations: Newton-Schulz iterations k.
        alpha: Factor of their start.
        eps: Added to all divisors; 0 as in the reference, where a constant map gives NaN.

    Raises:
        ValueError: If ``iterations`` or ``eps`` is negative, or ``alpha`` not positive.
    """

    def __init__(self, iterations: int = 4, alpha: float = 0.002, eps: float = 0.0) -> None:
        super().__init__()
        if iterations < 0:
            raise ValueError(f'iterations: expected an integer from 0, got {iterations}')
        if alpha <= 0:
            raise ValueError(f'alpha: expected a positive number, got {alpha}')
        if eps < 0:
            raise ValueError(f'eps: expected a number from 0, got {eps}')
        self.iterations = iterations
        self.alpha = alpha
        self.eps = eps
        self.similarity_scale = nn.Parameter(torch.ones(1))
        self.threshold = nn.Parameter(torch.full((1,), 0.5))

    def extra_repr(self) -> str:
        """Describe the layer in the printed model."""
        return f'iterations={self.iterations}, alpha={self.alpha}, eps={self.eps}'

    def diffuse(self, similarity: Tensor, attention: Tensor, graph: GridGraph) -> Tensor:
        """Return the diffused attention, (B, N), from similarities (B, M) and attention (B, N)."""
        scale = self.similarity_scale.to(attention.dtype)
        # Laplacian times (lambda * similarity - 1); a position is similar to itself with 1.
        diagonal = graph.degrees.to(attention.dtype) * (scale - 1)
        return graph_diffusion(
            1 - scale * similarity, diagonal, attention, graph, self.iterations, self.alpha
        )

    def shrink(self, diffused: Tensor, attention: Tensor) -> Tensor:
        """Return z - tanh(z) of the diffused attention over theta times the largest attention, (B, N)."""
        largest = attention.max(dim=1, keepdim=True).values
        z = diffused / (self.threshold.to(diffused.dtype) * largest + self.eps)
        # Exactly this expression: a series for small z would differ from the reference's float32.
        return z - z.tanh()

    def calibration(self, similarity: Tensor, attention: Tensor, graph: GridGraph) -> Tensor:
        """Return A, (B, N) in 0..1."""
        return min_max(self.shrink(self.diffuse(similarity, attention, graph), attention), self.eps)

    def forward(self, maps: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrate, in float32 or better also under autocast.

        Args:
            maps: Class maps, (B, C, h, w).
            attention: Attention map, (B, h, w).

        Returns:
            ``maps * (1 + A)`` and ``attention + A``.

        Raises:
            ValueError: If both lie on different grids.
        """
        with autocast_off(maps):
            maps, attention, graph = _prepared(maps, attention)
            similarity = neighbour_similarity(maps, graph, self.eps)
            change = self.calibration(similarity, attention, graph).unflatten(1, maps.shape[-2:])
            return maps * (1 + change[:, None]), attention.unflatten(1, maps.shape[-2:]) + change


class SpatialCalibration(nn.Module):
    """A stack of :class:`SpatialCalibrationLayer`.

    A layer multiplies the class scores of a position by one positive number, which changes no cosine
    similarity: the similarities of the first layer hold for all, and the maps need to be gated only once.

    Args:
        iterations: Newton-Schulz iterations of every layer.
        alpha: See :class:`SpatialCalibrationLayer`.
        eps: See :class:`SpatialCalibrationLayer`.

    Raises:
        ValueError: If ``iterations`` is empty, or an argument is refused by the layer.
    """

    def __init__(
        self, iterations: Sequence[int] = (16, 4, 4, 4), alpha: float = 0.002, eps: float = 0.0
    ) -> None:
        super().__init__()
        if not iterations:
            raise ValueError('iterations: expected the iterations of at least one layer, got none')
        self.eps = eps
        self.layers = nn.ModuleList(SpatialCalibrationLayer(number, alpha, eps) for number in iterations)

    def gate(self, maps: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the stack does to the maps, and its attention.

        Args:
            maps: Class maps, (B, C, h, w).
            attention: Attention map, (B, h, w).

        Returns:
            The factor of all class maps, the product of 1 + A over the layers, and the calibrated attention;
            both (B, h, w), in float32 or better.

        Raises:
            ValueError: If both lie on different grids.
        """
        with autocast_off(maps):
            maps, attention, graph = _prepared(maps, attention)
            similarity = neighbour_similarity(maps, graph, self.eps)
            gate = torch.ones_like(attention)
            for layer in self.layers:
                change = layer.calibration(similarity, attention, graph)
                gate, attention = gate * (1 + change), attention + change
            return gate.unflatten(1, maps.shape[-2:]), attention.unflatten(1, maps.shape[-2:])

    def forward(self, maps: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Return calibrated class maps (B, C, h, w) and attention (B, h, w); see :meth:`gate`."""
        maps = at_least_float32(maps)
        gate, attention = self.gate(maps, attention)
        return maps.to(gate.dtype) * gate[:, None], attention

    def mean_scores(self, maps: Tensor, attention: Tensor) -> Tensor:
        """Return the spatial means of the calibrated class maps, (B, C), without forming the maps."""
        maps = at_least_float32(maps)  # once, so that gradients are summed in this precision
        gate, _ = self.gate(maps, attention)
        with autocast_off(maps):
            maps = maps.to(gate.dtype).flatten(2)
            return torch.bmm(maps, gate.flatten(1)[..., None]).squeeze(2) / maps.shape[2]


def _prepared(maps: Tensor, attention: Tensor) -> tuple[Tensor, Tensor, GridGraph]:
    """Return maps and flat attention in float32 or better, of one precision, and the graph."""
    grid = tuple(maps.shape[-2:])
    if tuple(attention.shape) != (maps.shape[0], *grid):
        raise ValueError(
            f'attention: expected (B, h, w) = {(maps.shape[0], *grid)}, as the maps have, '
            f'got {tuple(attention.shape)}'
        )
    maps = at_least_float32(maps)
    dtype = torch.promote_types(maps.dtype, at_least_float32(attention).dtype)
    return maps.to(dtype), attention.to(dtype).flatten(1), grid_graph(*grid, maps.device)
