"""Compiled kernels of the region finder: connected components at all levels.

Importing this module imports numba, and the kernels are compiled at their first call; both happen only where
:mod:`wsol_mm.evaluation.functional.regions` is asked for regions. The compiled code is kept beside this
file, or in the user's cache folder where that is not writable (``NUMBA_CACHE_DIR`` names another). numba
notices a change to the file of a kernel but not to what the kernel takes from another file: after a change
to the constants here or in ``neighbour_tables.py``, delete the ``*.nbi`` and ``*.nbc`` files.

How it works. Pixels are added in descending order of their level (raster order within a level) to a
union-find over *peaks*: a pixel without an added neighbour opens a peak, any other pixel takes the peak of
a neighbour. Which neighbours were added before is known without looking at the order, from the levels
alone, and is an 8-bit mask; tables (``neighbour_tables.py``) give from the mask

* one neighbour of every 8-connected arc of added neighbours (mostly one arc, so no two components meet),
* the change of the Euler number (components minus holes) of the set of added pixels, and
* the change of twice the area of the polygon through the pixel centres, as far as it is a sum over 2x2
  windows: 1 for a window with three pixels, 2 for a full one. Any two pixels of a window are 8-connected,
  so each window belongs to one component, and the sums of components that meet are added. For a component
  without holes (Euler number 1) the sum is exactly twice the area of its outer border.

Holes (``region_hole_kernels.py``) are found in the reverse of the same order, with the complement of the same
masks, and only up to the highest level at which the number of components differs from the Euler number.

Images carry a border of one pixel of level 0 and are flat, with row length ``stride``.
"""

import numba
import numpy as np

from .neighbour_tables import ARC_RING, ARCS, AREA2_CHANGE, EULER_CHANGE, RING_X, RING_Y

# Columns of a node: one component over a range of levels (both ends inclusive) on which it does not change.
# The first pixel is a flat index into the bordered image. Nodes of holes have the first six columns.
X0, Y0, X1, Y1, FIRST_LEVEL, LAST_LEVEL, FIRST_PIXEL, AREA2, EULER, COUNT = range(10)

# Columns of a peak's running state; minima are kept as maxima of the negative, so that the first five are
# maxima and the others sums. Holes have the first four.
MINUS_MIN_X, MAX_X, MINUS_MIN_Y, MAX_Y, _MINUS_FIRST, _AREA2, _EULER, _COUNT = range(8)

# The pixel touches one arc and closes no hole: nearly all pixels of a smooth map.
_SIMPLE = (ARCS == 1) & (EULER_CHANGE == 0)


@numba.njit(cache=True, nogil=True)
def find_root(parent, i):
    """Root of ``i``; halves the path."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=True, nogil=True)
def ring_offsets(ring, stride):
    """Flat offsets of the ring positions of a (256, 4) table."""
    offsets = np.empty(ring.shape, np.int64)
    for i in range(ring.shape[0]):
        for j in range(ring.shape[1]):
            k = ring[i, j]
            offsets[i, j] = RING_Y[k] * stride + RING_X[k]
    return offsets


@numba.njit(cache=True, nogil=True)
def _neighbour_masks(image, stride):
    """Mask of the neighbours that come before, of every pixel inside the border.

    Written over shifted views with a sum of choices, which the compiler turns into vector instructions (20
    times faster than indexing and shifting).
    """
    masks = np.empty(image.size, np.uint8)
    a, b = stride + 1, image.size - stride - 1
    middle, out = image[a:b], masks[a:b]
    east, west = image[a + 1 : b + 1], image[a - 1 : b - 1]
    north, south = image[a - stride : b - stride], image[a + stride : b + stride]
    north_east, north_west = image[a - stride + 1 : b - stride + 1], image[a - stride - 1 : b - stride - 1]
    south_east, south_west = image[a + stride + 1 : b + stride + 1], image[a + stride - 1 : b + stride - 1]
    for i in range(middle.size):
        v = middle[i]
        # The four that precede in raster order win ties.
        out[i] = (
            (1 if east[i] > v else 0)
            | (2 if north_east[i] >= v else 0)
            | (4 if north[i] >= v else 0)
            | (8 if north_west[i] >= v else 0)
            | (16 if west[i] >= v else 0)
            | (32 if south_west[i] > v else 0)
            | (64 if south[i] > v else 0)
            | (128 if south_east[i] > v else 0)
        )
    return masks


@numba.njit(cache=True, nogil=True)
def sort_pixels(image, stride, num_levels):
    """Sort the pixels with level > 0 by falling level, each with the mask of its neighbours that come before.

    Args:
        image: (rows * stride,) uint16, levels with a border of one pixel of level 0.
        stride: Row length of ``image``.
        num_levels: Highest level.

    Returns:
        pixels (n,) int64 with ``mask | x << 8 | y << 32`` (x, y with the border), starts (num_levels + 2,)
        int64 (pixels of level v are ``starts[v]:starts[v - 1]``), and the number of peaks.
    """
    rows = image.size // stride
    masks = _neighbour_masks(image, stride)
    histogram = np.zeros(num_levels + 1, np.int64)
    for p in range(image.size):
        histogram[image[p]] += 1
    starts = np.empty(num_levels + 2, np.int64)
    starts[num_levels + 1] = 0
    total = 0
    for v in range(num_levels, 0, -1):
        starts[v] = total
        total += histogram[v]
    starts[0] = total
    position = starts.copy()
    pixels = np.empty(total, np.int64)
    peaks = 0
    for y in range(1, rows - 1):
        row = y * stride
        for x in range(1, stride - 1):
            v = image[row + x]
            if v > 0:
                mask = np.int64(masks[row + x])
                peaks += mask == 0
                pixels[position[v]] = mask | x << 8 | y << 32
                position[v] += 1
    return pixels, starts, peaks


@numba.njit(cache=True, nogil=True)
def _emit(nodes, n, peak, state, first_level, last_level):
    """Write node ``n``, the component of ``peak`` on the given levels; coordinates lose the border."""
    nodes[n, X0] = -state[peak, MINUS_MIN_X] - 1
    nodes[n, Y0] = -state[peak, MINUS_MIN_Y] - 1
    nodes[n, X1] = state[peak, MAX_X]
    nodes[n, Y1] = state[peak, MAX_Y]
    nodes[n, FIRST_LEVEL] = first_level
    nodes[n, LAST_LEVEL] = last_level
    nodes[n, FIRST_PIXEL] = -state[peak, _MINUS_FIRST]
    nodes[n, AREA2] = state[peak, _AREA2]
    nodes[n, EULER] = state[peak, _EULER]
    nodes[n, COUNT] = state[peak, _COUNT]


@numba.njit(cache=True, nogil=True)
def component_nodes(pixels, starts, num_peaks, image_size, stride):
    """All 8-connected components of ``image > j`` for every level j.

    Args:
        pixels, starts, num_peaks: From :func:`sort_pixels`.
        image_size: Number of pixels with the border.
        stride: Row length with the border.

    Returns:
        nodes (n, 10) int32, one row per component and range of levels on which it does not change, and
        holes (num_levels,) int64, the number of holes at each level.
    """
    num_levels = starts.size - 2
    offsets = ring_offsets(ARC_RING, stride)
    # Unsigned: an index that cannot be negative needs no check for it.
    labels = np.empty(image_size, np.uint32)
    parent = np.empty(num_peaks, np.uint32)
    since = np.empty(num_peaks, np.int32)
    state = np.empty((num_peaks, 8), np.int32)
    nodes = np.empty((pixels.size, 10), np.int32)
    holes = np.zeros(num_levels, np.int64)
    peaks = 0
    emitted = 0
    components = 0
    euler_sum = 0

    root = np.uint32(0)
    for v in range(num_levels, 0, -1):
        previous = -1
        for i in range(starts[v], starts[v - 1]):
            entry = pixels[i]
            mask = np.uint8(entry & 255)
            x = (entry >> 8) & 0xFFFFFF
            y = entry >> 32
            p = y * stride + x
            if mask == 0:
                previous = -1
                labels[p] = peaks
                parent[peaks] = peaks
                since[peaks] = v
                state[peaks, MINUS_MIN_X] = -x
                state[peaks, MAX_X] = x
                state[peaks, MINUS_MIN_Y] = -y
                state[peaks, MAX_Y] = y
                state[peaks, _MINUS_FIRST] = -p
                state[peaks, _AREA2] = 0
                state[peaks, _EULER] = 1
                state[peaks, _COUNT] = 1
                peaks += 1
                components += 1
                euler_sum += 1
                continue

            if p == previous + 1 and _SIMPLE[mask]:
                # The run goes on: same root, and only these three can change.
                previous = p
                labels[p] = root
                state[root, MAX_X] = max(state[root, MAX_X], np.int32(x))
                state[root, _AREA2] += AREA2_CHANGE[mask]
                state[root, _COUNT] += 1
                continue
            previous = p

            root = find_root(parent, labels[p + offsets[mask, 0]])
            if since[root] > v:
                _emit(nodes, emitted, root, state, v, since[root] - 1)
                emitted += 1
                since[root] = v
            if not _SIMPLE[mask]:
                euler_sum += EULER_CHANGE[mask]
                state[root, _EULER] += EULER_CHANGE[mask]
                for k in range(1, ARCS[mask]):
                    other = find_root(parent, labels[p + offsets[mask, k]])
                    if other == root:
                        continue
                    if since[other] > v:
                        _emit(nodes, emitted, other, state, v, since[other] - 1)
                        emitted += 1
                    if state[other, _COUNT] > state[root, _COUNT]:
                        root, other = other, root
                    parent[other] = root
                    since[root] = v
                    components -= 1
                    for c in range(5):
                        state[root, c] = max(state[root, c], state[other, c])
                    for c in range(5, 8):
                        state[root, c] += state[other, c]

            labels[p] = root
            state[root, MINUS_MIN_X] = max(state[root, MINUS_MIN_X], np.int32(-x))
            state[root, MAX_X] = max(state[root, MAX_X], np.int32(x))
            state[root, MINUS_MIN_Y] = max(state[root, MINUS_MIN_Y], np.int32(-y))
            state[root, MAX_Y] = max(state[root, MAX_Y], np.int32(y))
            state[root, _MINUS_FIRST] = max(state[root, _MINUS_FIRST], np.int32(-p))
            state[root, _AREA2] += AREA2_CHANGE[mask]
            state[root, _COUNT] += 1
        holes[v - 1] = components - euler_sum

    for peak in range(peaks):
        if parent[peak] == peak:
            _emit(nodes, emitted, peak, state, 0, since[peak] - 1)
            emitted += 1
    return nodes[:emitted], holes
