"""Objects as parts of the graph of similar patches, without training: TokenCut, LOST and MaskCut.

Wang et al., CVPR 2022; Simeoni et al., BMVC 2021; Wang et al. (CutLER), CVPR 2023.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

#: Weight of an edge between patches that are not similar.
EPS = 1e-5
#: A second eigenvalue that is this close to the third does not determine the cut.
_SMALLEST_GAP = 1e-12
#: Shares of the largest value from which entries of a vector are tied.
_TIE = 1 - 1e-9
#: Of MaskCut: overlap with the mask before, and share of the grid, from which a further mask counts as none.
_SAME_MASK, _SMALLEST_MASK = 0.5, 0.01


class GraphCut(NamedTuple):
    """The second eigenvector of graphs of N patches.

    Attributes:
        vector: D-normalised generalised eigenvector of the second smallest eigenvalue, (B, N), float64.
        eigenvalues: The second and third smallest eigenvalue, (B, 2).
        degree: Sums of the rows of the graph, (B, N).
        laplacian: The normalised Laplacian, (B, N, N), where it was asked for.
    """

    vector: Tensor
    eigenvalues: Tensor
    degree: Tensor
    laplacian: Tensor | None = None

    @property
    def degenerate(self) -> Tensor:
        """Whether the graph does not determine the cut, (B,): it is complete or falls apart."""
        return self.eigenvalues[:, 1] - self.eigenvalues[:, 0] < _SMALLEST_GAP


class ObjectMasks(NamedTuple):
    """Objects on the grid.

    Attributes:
        masks: Connected objects, (B, h, w), bool.
        seeds: Index of the patch from which each was found, (B,).
        values: Map from which it was read, larger for the object, (B, h, w).
    """

    masks: Tensor
    seeds: Tensor
    values: Tensor


def normalized_cut(
    features: Tensor, tau: float, weighted: bool = False, with_laplacian: bool = False
) -> GraphCut:
    """Solve (D - A) y = lambda D y on the thresholded graph of cosines.

    Args:
        features: Of the patches, (B, N, D); zeros isolate a patch.
        tau: Cosine from which patches are joined.
        weighted: Joined patches keep their cosine as weight of the edge, instead of 1.
        with_laplacian: Also return the normalised Laplacian.

    Returns:
        The cut, in float64. It costs N^3.
    """
    unit = F.normalize(features.float(), dim=2, eps=1e-12)
    cosine = unit @ unit.transpose(1, 2)
    if weighted:
        graph = torch.where(cosine >= tau, cosine, EPS).double()
    else:
        graph = torch.where(cosine > tau, 1.0, EPS).double()
    degree = graph.sum(dim=2)
    scale = degree.rsqrt()
    laplacian = torch.eye(graph.shape[1], dtype=graph.dtype, device=graph.device) - (
        scale[:, :, None] * graph * scale[:, None]
    )
    values, vectors = torch.linalg.eigh(laplacian)
    return GraphCut(scale * vectors[:, :, 1], values[:, 1:3], degree, laplacian if with_laplacian else None)


def tokencut(cut: GraphCut, grid: tuple[int, int]) -> ObjectMasks:
    """Take the side of the most extreme patch, connected: TokenCut.

    Args:
        cut: Of (B, N).
        grid: Height and width, h * w = N.
    """
    vector = cut.vector
    seeds = _first_largest(vector.abs())
    above = vector > vector.mean(dim=1, keepdim=True)
    turned = ~above.gather(1, seeds[:, None])
    oriented, foreground = torch.where(turned, -vector, vector), above ^ turned
    masks = seed_components(foreground.unflatten(1, grid), seeds)
    return ObjectMasks(masks, seeds, oriented.unflatten(1, grid))


def lost(features: Tensor, grid: tuple[int, int], num_seeds: int = 100) -> ObjectMasks:
    """Grow the patch that resembles the fewest others by those that resemble it: LOST.

    Args:
        features: (B, N, D), not normalised.
        grid: Height and width, h * w = N.
        num_seeds: Number of patches of lowest degree that may join the seed.
    """
    products = features.float() @ features.float().transpose(1, 2)
    own = torch.eye(products.shape[1], dtype=torch.bool, device=products.device)
    degree = ((products > 0) & ~own).sum(dim=2)
    order = degree.argsort(dim=1, stable=True)
    seeds = order[:, 0]
    candidates = torch.zeros_like(degree, dtype=torch.bool).scatter(1, order[:, :num_seeds], True)
    of_seed = products.gather(1, seeds[:, None, None].expand(-1, 1, products.shape[2]))[:, 0]
    expanded = candidates & (of_seed > 0)
    sums = torch.einsum('bp,bpn->bn', expanded.to(products.dtype), products).unflatten(1, grid)
    return ObjectMasks(seed_components(sums > 0, seeds), seeds, sums)


def maskcut(features: Tensor, grid: tuple[int, int], tau: float, num_masks: int = 3) -> tuple[Tensor, Tensor]:
    """Cut several times, each time with the objects found so far blanked: MaskCut.

    Args:
        features: (B, N, D).
        grid: Height and width, h * w = N.
        tau: See :func:`normalized_cut`.
        num_masks: Number of objects K that are looked for.

    Returns:
        Disjoint masks (B, K, h, w), bool, empty where there is no further object or the graph determines
        none; and the eigenvector of every round, (B, K, h, w).
    """
    height, width = grid
    corners = [0, width - 1, (height - 1) * width, height * width - 1]
    painted = torch.zeros_like(features[..., 0], dtype=torch.bool)
    masks: list[Tensor] = []
    vectors: list[Tensor] = []
    kept = features
    previous: Tensor | None = None
    for _ in range(num_masks):
        cut = normalized_cut(kept, tau, with_laplacian=True)
        vector = _as_lapack_signs(cut)
        above = vector > vector.mean(dim=1, keepdim=True)
        largest = _first_largest(vector.abs())[:, None]
        turned = (above[:, corners].sum(dim=1, keepdim=True) >= 3) | ~above.gather(1, largest)
        seeds = _first_largest(torch.where(turned, -vector, vector))
        mask = seed_components((above ^ turned).unflatten(1, grid), seeds).flatten(1)
        mask = mask & ~cut.degenerate[:, None]
        if previous is not None:
            union = (mask | previous).sum(dim=1)
            same = (mask & previous).sum(dim=1) > _SAME_MASK * union
            small = mask.sum(dim=1) <= _SMALLEST_MASK * mask.shape[1]
            mask = mask & ~(same | small)[:, None]
        masks.append((mask & ~painted).unflatten(1, grid))
        vectors.append(vector.unflatten(1, grid))
        painted = painted | mask
        kept = kept * ~painted[..., None]
        previous = mask
    return torch.stack(masks, dim=1), torch.stack(vectors, dim=1)


def _first_largest(values: Tensor) -> Tensor:
    """Return the index of the largest of (B, N), (B,); of those that tie but for rounding, the first."""
    return (values >= _TIE * values.amax(dim=1, keepdim=True)).byte().argmax(dim=1)


def _as_lapack_signs(cut: GraphCut) -> Tensor:
    """Return the eigenvectors with the sign that LAPACK's solver for some eigenvalues (``dsyevx``) gives.

    MaskCut's choice of a side depends on it. The solver makes the largest entry positive in the basis in
    which Householder reflections make the matrix tridiagonal; only these are repeated here.
    """
    assert cut.laplacian is not None
    matrix, vector = cut.laplacian.clone(), cut.vector * cut.degree.sqrt()
    size = matrix.shape[1]
    for start in range(1, size - 1):
        column = matrix[:, start:, start - 1]
        first, rest = column[:, :1], column[:, 1:]
        beta = -torch.where(first < 0, -1.0, 1.0) * column.norm(dim=1, keepdim=True)
        active = rest.abs().amax(dim=1, keepdim=True) > 0
        tau = torch.where(active, (beta - first) / torch.where(active, beta, 1.0), 0.0)
        tail = rest / torch.where(active, first - beta, 1.0)
        reflector = torch.cat((torch.ones_like(first), tail), dim=1)
        block = matrix[:, start:, start:]
        x = tau * (block @ reflector[:, :, None])[:, :, 0]
        x = x - 0.5 * tau * (x * reflector).sum(dim=1, keepdim=True) * reflector
        outer = reflector[:, :, None] * x[:, None]
        matrix[:, start:, start:] = block - outer - outer.transpose(1, 2)
        part = vector[:, start:]
        vector[:, start:] = part - tau * (part * reflector).sum(dim=1, keepdim=True) * reflector
    largest = vector.gather(1, vector.abs().argmax(dim=1, keepdim=True))
    return torch.where(largest < 0, -cut.vector, cut.vector)


def seed_components(foreground: Tensor, seeds: Tensor) -> Tensor:
    """Return the 4-connected part of foregrounds (B, h, w) in which the seeds (B,) lie, or nothing."""
    parts = [
        _component(mask, int(seed))
        for mask, seed in zip(foreground.cpu().numpy(), seeds.cpu().numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(parts)).to(foreground.device)


def _component(foreground: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    labels = cv2.connectedComponents(foreground.astype(np.uint8), connectivity=4)[1]
    label = labels.flat[seed]
    return (labels == label) & (label > 0)
