"""Diffusion on a grid graph by a truncated Newton-Schulz inverse.

See docs/specifications/scm.md, section 2.3.
"""

from typing import Any

from wsol_mm.models.utils.precision import full_precision

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .grid_graph import GridGraph, symmetric_matrix

# So many of the iterations are done as 2^levels - 1 products with a vector, the others as matrix products.
_VECTOR_LEVELS = 4


def graph_diffusion(
    edge_values: Tensor,
    diagonal: Tensor,
    values: Tensor,
    graph: GridGraph,
    iterations: int,
    alpha: float = 0.002,
) -> Tensor:
    r"""Multiply values on a graph with an approximate inverse of a symmetric matrix.

    The matrix X has ``edge_values`` on the graph's edges and ``diagonal`` on the diagonal. With

    .. math:: Y_0 = \alpha X^T, \qquad Y_{j+1} = Y_j (2 I - X Y_j), \qquad j = 0, ..., k - 1

    the result is Y_k^T ``values``. In the backward Y_0 is a constant, as in the reference: the gradient is
    not that of the function, and without this rule it would be several times larger.

    Y_k itself is never formed. With D = alpha*X*X it is Y_0 times the sum of the powers j < 2^k of I - D,
    so k - 4 squarings of I - D and 15 products with a vector do the work of 2k matrix products. D is
    squared in place of I - D, which keeps its small eigenvalues exact to rounding, and in double precision.
    The backward keeps one matrix per squaring, in place of three per iteration.

    Args:
        edge_values: (B, M), float32 or float64.
        diagonal: (N,).
        values: (B, N), or (B, N, R) for R vectors at once.
        graph: The graph.
        iterations: k, not negative.
        alpha: Factor of the start; must be below 2 over the largest squared eigenvalue of X.

    Returns:
        Of the shape of ``values``.

    Raises:
        ValueError: If ``iterations`` is negative.
    """
    if iterations < 0:
        raise ValueError(f'iterations: expected an integer from 0, got {iterations}')
    columns = values if values.dim() == 3 else values[..., None]
    out = _GraphDiffusion.apply(edge_values, diagonal, columns, graph, iterations, alpha)
    return out.reshape(values.shape)


class _GraphDiffusion(torch.autograd.Function):
    """:func:`graph_diffusion` on (B, N, R), with the backward written out."""

    @staticmethod
    def forward(
        ctx: Any,
        edge_values: Tensor,
        diagonal: Tensor,
        values: Tensor,
        graph: GridGraph,
        iterations: int,
        alpha: float,
    ) -> Tensor:
        squarings = max(iterations - _VECTOR_LEVELS, 0)
        steps = 2 ** (iterations - squarings) - 1
        dtype = values.dtype
        with full_precision(values):
            matrix = symmetric_matrix(edge_values, diagonal, graph)
            if squarings and values.device.type != 'mps':  # which has no double precision
                # Every squaring doubles the rounding errors of the powers before it.
                matrix, values = matrix.double(), values.double()
            current = torch.bmm(matrix, values).mul_(alpha)
            power = torch.bmm(matrix, matrix).mul_(alpha)
            keep = any(ctx.needs_input_grad)
            powers, vectors, partial_sums = [], [], []
            for _ in range(squarings):
                if keep:
                    powers.append(power.to(dtype))
                    vectors.append(current.to(dtype))
                current = _two_minus(power, current)
                power = _two_minus(power, power)
            total = current
            for _ in range(steps):
                if keep:
                    partial_sums.append(total.to(dtype))
                total = torch.baddbmm(current + total, power, total, alpha=-1)
        if keep:
            ctx.save_for_backward(matrix.to(dtype), power.to(dtype), *powers, *vectors, *partial_sums)
        ctx.squarings, ctx.alpha, ctx.graph = squarings, alpha, graph
        return total.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        squarings, alpha, graph = ctx.squarings, ctx.alpha, ctx.graph
        matrix, power, *saved = ctx.saved_tensors
        powers, saved = saved[:squarings], saved[squarings:]
        vectors, partial_sums = saved[:squarings], saved[squarings:]
        with full_precision(grad):
            # All matrices are symmetric, so none is transposed.
            grad_current, grads = torch.zeros_like(grad), []
            for _ in partial_sums:
                grads.append(grad)
                grad_current = grad_current + grad
                grad = torch.baddbmm(grad, power, grad, alpha=-1)
            grad_current = grad_current + grad
            if grads:
                outer = torch.cat(grads, dim=2), torch.cat(partial_sums[::-1], dim=2)
                grad_power = torch.bmm(outer[0], outer[1].mT).neg_()
            else:
                grad_power = torch.zeros_like(power)
            for power, vector in zip(powers[::-1], vectors[::-1], strict=True):
                inner = torch.baddbmm(grad_power, grad_power, power, beta=2, alpha=-1)
                inner.baddbmm_(power, grad_power, alpha=-1).baddbmm_(grad_current, vector.mT, alpha=-1)
                grad_power = inner
                grad_current = _two_minus(power, grad_current)
            # The second factor of alpha*X*X alone is differentiated: the first is the constant start.
            grad_matrix = torch.bmm(grad_power.mT, matrix).mul_(alpha).flatten(1)[:, graph.places]
            grad_values = torch.bmm(matrix, grad_current).mul_(alpha)
        there, back, grad_diagonal = grad_matrix.split([*[graph.edges.shape[1]] * 2, graph.nodes], dim=1)
        return there + back, grad_diagonal.sum(dim=0), grad_values, None, None, None


def _two_minus(power: Tensor, right: Tensor) -> Tensor:
    """Return 2 * right - power @ right, (B, N, R)."""
    return torch.baddbmm(right, power, right, beta=2, alpha=-1)
