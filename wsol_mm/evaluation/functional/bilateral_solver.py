"""Fit a coarse mask to the edges of an image (Barron and Poole, ECCV 2016), as TokenCut and FOUND do."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Components = Literal['largest', 'all']

_YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_YUV_OFFSET = np.array([0.0, 128.0, 128.0])
#: Smallest diagonal entry that the preconditioner divides by.
_SMALLEST_DIAGONAL = 1e-5


class SolvedMask(NamedTuple):
    """A mask that follows the edges of its image.

    Attributes:
        soft: (H, W) float64, about 0 to 1.
        num_cells: Occupied cells of the bilateral grid.
    """

    soft: NDArray[np.float64]
    num_cells: int


class BilateralGrid:
    """The occupied cells of the space of place and colour; sums over cells, and a blur between them.

    Args:
        image: (H, W, 3) RGB, 0..255.
        sigma_spatial: Side of a cell in pixels.
        sigma_luma: Its side along Y of the colour space YUV.
        sigma_chroma: Its side along U and V.
    """

    def __init__(self, image: NDArray, sigma_spatial: float, sigma_luma: float, sigma_chroma: float) -> None:
        height, width = image.shape[:2]
        yuv = image.astype(np.float64) @ _YUV.T + _YUV_OFFSET
        rows, columns = np.mgrid[:height, :width]
        place = np.stack((columns, rows), axis=-1) / sigma_spatial
        coordinates = np.concatenate(
            (place, yuv[..., :1] / sigma_luma, yuv[..., 1:] / sigma_chroma), axis=-1
        ).astype(np.int64)
        # One number per cell: mixed radix, with an empty cell at both ends of every axis, so that a step
        # never leads to another row of cells.
        flat = coordinates.reshape(-1, coordinates.shape[-1]) + 1
        strides = np.concatenate(([1], np.cumprod(flat.max(axis=0) + 2)[:-1]))
        cells, self.cell_of_pixel = np.unique(flat @ strides, return_inverse=True)
        self.cell_of_pixel = self.cell_of_pixel.reshape(-1)
        self.num_cells = len(cells)
        self._pairs = []
        for stride in strides:
            place_above = np.minimum(np.searchsorted(cells, cells + stride), len(cells) - 1)
            lower = np.flatnonzero(cells[place_above] == cells + stride)
            self._pairs.append((lower, place_above[lower]))

    def splat(self, values: NDArray) -> NDArray[np.float64]:
        """Sum a quantity of the pixels, (H * W,), over every cell."""
        return np.bincount(self.cell_of_pixel, values, self.num_cells).astype(np.float64, copy=False)

    def slice(self, values: NDArray) -> NDArray[np.float64]:
        """Read a quantity of the cells back for the pixels, (H * W,)."""
        return values[self.cell_of_pixel]

    def blur(self, values: NDArray) -> NDArray[np.float64]:
        """Add up every cell, ten times, and its neighbours along the five axes."""
        blurred = 2.0 * len(self._pairs) * values
        for lower, upper in self._pairs:
            # No cell has two neighbours on the same side: plain indexing adds each once.
            blurred[lower] += values[upper]
            blurred[upper] += values[lower]
        return blurred

    def bistochastic(self, iterations: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the diagonals n and m, with which the rows of diag(n) B diag(n) sum up to m."""
        mass, scale = self.splat(np.ones(len(self.cell_of_pixel))), np.ones(self.num_cells)
        for _ in range(iterations):
            scale = np.sqrt(scale * mass / self.blur(scale))
        return scale, scale * self.blur(scale)


def bilateral_solver(
    image: NDArray,
    target: NDArray,
    sigma_spatial: float = 24,
    sigma_luma: float = 4,
    sigma_chroma: float = 4,
    smoothness: float = 256,
    confidence: float = 0.999,
    iterations: int = 25,
    tolerance: float = 1e-5,
    bistochastic_iterations: int = 10,
) -> SolvedMask:
    """Solve for the mask that is smooth within edges and close to a coarse one.

    The conjugate gradients usually end with their last iteration, so that the number of iterations is part of
    the definition (docs/specifications/found.md, section 4).

    Args:
        image: (H, W, 3) RGB, 0..255.
        target: Coarse mask, (H, W) in [0, 1].
        sigma_spatial: Side of a cell of the bilateral grid in pixels. The defaults are TokenCut's; FOUND has
            16, 16 and 8.
        sigma_luma: Its side along Y of the colour space YUV.
        sigma_chroma: Its side along U and V.
        smoothness: Weight of the smoothness.
        confidence: Weight of every pixel of the coarse mask.
        iterations: Largest number of iterations.
        tolerance: Residual, as a share of the right side, at which they end.
        bistochastic_iterations: Iterations that balance the grid.

    Returns:
        The mask.

    Raises:
        ValueError: If the shapes of image and mask differ, or a sigma is not positive.
    """
    if image.ndim != 3 or image.shape[2] != 3 or target.shape != image.shape[:2]:
        raise ValueError(
            f'image, target: expected the shapes (H, W, 3) and (H, W), got {image.shape} and {target.shape}'
        )
    if min(sigma_spatial, sigma_luma, sigma_chroma) <= 0:
        raise ValueError(
            'sigma_spatial, sigma_luma, sigma_chroma: expected positive numbers, got '
            f'{sigma_spatial}, {sigma_luma}, {sigma_chroma}'
        )
    grid = BilateralGrid(image, sigma_spatial, sigma_luma, sigma_chroma)
    scale, mass = grid.bistochastic(bistochastic_iterations)
    weight = grid.splat(np.full(target.size, confidence))
    wanted = grid.splat(target.reshape(-1).astype(np.float64) * confidence)

    def system(values: NDArray) -> NDArray[np.float64]:
        return smoothness * (mass * values - scale * grid.blur(scale * values)) + weight * values

    diagonal = smoothness * (mass - 10 * scale**2) + weight
    solved = _conjugate_gradients(
        system, wanted, wanted / weight, 1 / np.maximum(diagonal, _SMALLEST_DIAGONAL), iterations, tolerance
    )
    return SolvedMask(grid.slice(solved).reshape(target.shape), grid.num_cells)


def _conjugate_gradients(
    system: Callable[[NDArray], NDArray],
    wanted: NDArray,
    start: NDArray,
    preconditioner: NDArray,
    iterations: int,
    tolerance: float,
) -> NDArray[np.float64]:
    """Solve ``system(x) = wanted`` by conjugate gradients with a diagonal preconditioner."""
    solution = start
    residual = wanted - system(solution)
    enough = tolerance * np.linalg.norm(wanted)
    direction, previous = np.zeros_like(residual), 1.0
    for _ in range(iterations):
        if np.linalg.norm(residual) <= enough:
            break
        scaled = preconditioner * residual
        product = residual @ scaled
        direction = scaled + product / previous * direction
        image = system(direction)
        step = product / (direction @ image)
        solution = solution + step * direction
        residual = residual - step * image
        previous = product
    return solution


def solved_components(soft: NDArray[np.floating], components: Components = 'largest') -> NDArray[np.bool_]:
    """Turn a solved mask into a binary one: above 0.5, holes filled, of its 4-connected parts some.

    What is not object counts as one part, and the part with most pixels is taken for the background: where
    the object is larger than what is around it, the reference returns the surroundings, and so does this.

    Args:
        soft: (H, W).
        components: ``'largest'``: the part with the second most pixels, or everything if there is one part;
            ``'all'``: every part but the one with most pixels.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: If ``components`` has another value.
    """
    if components not in ('largest', 'all'):
        raise ValueError(f"components: expected 'largest' or 'all', got {components!r}")
    labels = _labels_in_raster_order(_filled(soft > 0.5))
    counts = np.bincount(labels.reshape(-1))
    order = np.argsort(counts)
    if components == 'all':
        return labels != order[-1]
    return labels == order[-2] if len(order) > 1 else np.ones_like(labels, bool)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes: background that is not 4-connected to the border."""
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    labels = cv2.connectedComponents(outside, connectivity=4)[1]
    return (labels != labels[0, 0])[1:-1, 1:-1]


def _labels_in_raster_order(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the 4-connected parts from 1 by their first pixel; OpenCV promises no order."""
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    parts, first = np.unique(labels, return_index=True)
    parts = parts[np.argsort(first)]
    renumbered = np.zeros(labels.max() + 1, np.int64)
    parts = parts[parts > 0]
    renumbered[parts] = np.arange(1, len(parts) + 1)
    return renumbered[labels]


def refine_mask(
    mask: NDArray,
    image: NDArray,
    sigma_spatial: float = 16,
    sigma_luma: float = 16,
    sigma_chroma: float = 8,
    min_iou: float = 0.5,
    components: Components = 'all',
) -> NDArray[np.bool_] | None:
    """Refine a mask on a grid by the edges of its image, as FOUND does.

    Args:
        mask: (h, w), in [0, 1].
        image: (H, W, 3) RGB uint8.
        sigma_spatial: See :func:`bilateral_solver`; the defaults are FOUND's.
        sigma_luma: See there.
        sigma_chroma: See there.
        min_iou: Least overlap of the solved mask and the enlarged one, exclusive.
        components: See :func:`solved_components`.

    Returns:
        The mask in the size of the image, (H, W); None if it overlaps too little with the given one, which is
        then to be kept.
    """
    height, width = image.shape[:2]
    enlarged = cv2.resize(np.asarray(mask, np.float32), (width, height))
    solved = bilateral_solver(image, enlarged, sigma_spatial, sigma_luma, sigma_chroma)
    binary, coarse = solved_components(solved.soft, components), enlarged > 0.5
    union = np.count_nonzero(binary | coarse)
    return binary if union and np.count_nonzero(binary & coarse) > min_iou * union else None
