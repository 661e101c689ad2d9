"""The graph of a patch grid: which positions are neighbours, and how similar they are."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

#: Steps (rows, columns) to the second end of an edge; each pair of neighbours is met once.
_OFFSETS = {4: ((0, 1), (1, 0)), 8: ((1, 1), (1, -1))}


@dataclass(frozen=True)
class GridGraph:
    """Edges of a grid of h x w positions, numbered row by row (N = h*w), without wrap-around.

    Attributes:
        height: Rows h.
        width: Columns w.
        offsets: Steps (rows, columns) along which the edges run.
        edges: Both ends of every edge, (2, M) int64, ordered by offset, then by first end.
        degrees: Number of neighbours of every position, (N,) float32.
        places: Where the values of a symmetric matrix with this graph stand in its N*N entries: the M edges,
            the M edges the other way round, the N diagonal entries.
    """

    height: int
    width: int
    offsets: tuple[tuple[int, int], ...]
    edges: Tensor
    degrees: Tensor
    places: Tensor

    @property
    def nodes(self) -> int:
        """Number of positions N."""
        return self.height * self.width


@lru_cache(maxsize=32)
def grid_graph(
    height: int, width: int, device: torch.device | str = 'cpu', num_connect: int = 4, dilation: int = 1
) -> GridGraph:
    """Return the graph of a grid; one object per grid and device, so it is built once.

    Args:
        height: Rows.
        width: Columns.
        device: Where its tensors lie.
        num_connect: 4 for the horizontal and vertical neighbours, 8 for the four diagonal neighbours *alone*
            (so SCM's option of that name means it).
        dilation: Distance of neighbours along an axis.

    Raises:
        ValueError: If ``num_connect`` is neither 4 nor 8, or another number is not positive.
    """
    if num_connect not in _OFFSETS:
        raise ValueError(f'num_connect: expected one of {sorted(_OFFSETS)}, got {num_connect}')
    for name, value in (('height', height), ('width', width), ('dilation', dilation)):
        if value < 1:
            raise ValueError(f'{name}: expected an integer from 1, got {value}')
    offsets = tuple((rows * dilation, columns * dilation) for rows, columns in _OFFSETS[num_connect])
    # Made outside any inference mode, since later calls may need the tensors for a backward.
    with torch.inference_mode(False):
        positions = torch.arange(height * width, device=device).reshape(1, height, width)
        ends = [[end.flatten() for end in edge_ends(positions, offset)] for offset in offsets]
        edges = torch.stack([torch.cat([pair[side] for pair in ends]) for side in (0, 1)])
        nodes = height * width
        degrees = torch.bincount(edges.flatten(), minlength=nodes).float()
        first, second = edges
        diagonal = torch.arange(nodes, device=device) * (nodes + 1)
        places = torch.cat((first * nodes + second, second * nodes + first, diagonal))
    return GridGraph(height, width, offsets, edges, degrees, places)


def edge_ends(grid: Tensor, offset: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return views (..., h', w') of a grid (..., h, w): the first and the second ends of the edges.

    Args:
        grid: Values on the grid.
        offset: Rows (not negative) and columns from the first end to the second.
    """
    rows, columns = offset
    height, width = grid.shape[-2:]
    left, right = max(-columns, 0), max(columns, 0)
    first = grid[..., : max(height - rows, 0), left : max(width - right, left)]
    second = grid[..., rows:, right : max(width - left, right)]
    return first, second


def grid_laplacian(graph: GridGraph) -> Tensor:
    """Return the Laplacian, degrees minus adjacency, (N, N) float32."""
    return symmetric_matrix(-graph.degrees.new_ones(1, graph.edges.shape[1]), graph.degrees, graph)[0]


def symmetric_matrix(edge_values: Tensor, diagonal: Tensor, graph: GridGraph) -> Tensor:
    """Return symmetric matrices (B, N, N) that are zero away from the edges and the diagonal.

    Args:
        edge_values: One value per edge, (B, M).
        diagonal: (N,).
        graph: The graph.
    """
    batch = edge_values.shape[0]
    matrix = edge_values.new_zeros(batch, graph.nodes * graph.nodes)
    matrix[:, graph.places] = torch.cat((edge_values, edge_values, diagonal.expand(batch, -1)), dim=1)
    return matrix.unflatten(1, (graph.nodes, graph.nodes))


def neighbour_similarity(features: Tensor, graph: GridGraph, eps: float = 0.0) -> Tensor:
    """Return the cosine similarity of the feature vectors at both ends of every edge.

    O(C*M) instead of the O(C*N*N) of all pairs. The similarity of a position with itself is 1.

    Args:
        features: (B, C, h, w) on the graph's grid.
        graph: The graph.
        eps: Added to the product of the norms. With 0 a feature vector of zeros gives NaN, as in the
            reference.

    Returns:
        (B, M), in the order of ``graph.edges``.

    Raises:
        ValueError: If the features lie on another grid.
    """
    if features.shape[-2:] != (graph.height, graph.width):
        raise ValueError(
            f'features: expected the grid of the graph, {(graph.height, graph.width)}, '
            f'got {tuple(features.shape[-2:])}'
        )
    # Its gradient at a vector of zeros is 0, where that of a square root of squares is NaN.
    norms = torch.linalg.vector_norm(features, dim=1)
    similarities = []
    for offset in graph.offsets:
        (first, second), (norm, other) = edge_ends(features, offset), edge_ends(norms, offset)
        similarities.append(((first * second).sum(dim=1) / (norm * other + eps)).flatten(1))
    return torch.cat(similarities, dim=1)
