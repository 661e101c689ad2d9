"""Compiled kernels of the region finder: holes at all levels.

Pixels are taken in the reverse of the order of ``region_kernels.py``, so that the neighbours that come
before are those outside the mask. A pixel without a 4-neighbour before it opens a hole; any other takes the
label of one. Label 0 is the outside: what touches the edge of the image, or a hole after it has opened to
the outside.
"""

import numba
import numpy as np

from .neighbour_tables import HOLE_ARC_RING, HOLE_ARCS
from .region_kernels import (
    FIRST_LEVEL,
    LAST_LEVEL,
    MAX_X,
    MAX_Y,
    MINUS_MIN_X,
    MINUS_MIN_Y,
    X0,
    X1,
    Y0,
    Y1,
    find_root,
    ring_offsets,
)

_FOUR_NEIGHBOURS = 0b01010101


@numba.njit(cache=True, nogil=True)
def _open_hole(parent, state, since, label, x, y, level):
    parent[label] = label
    since[label] = level
    state[label, MINUS_MIN_X] = -x
    state[label, MAX_X] = x
    state[label, MINUS_MIN_Y] = -y
    state[label, MAX_Y] = y
    return np.uint32(label)


@numba.njit(cache=True, nogil=True)
def _grow_hole(state, root, x, y):
    state[root, MINUS_MIN_X] = max(state[root, MINUS_MIN_X], -x)
    state[root, MAX_X] = max(state[root, MAX_X], x)
    state[root, MINUS_MIN_Y] = max(state[root, MINUS_MIN_Y], -y)
    state[root, MAX_Y] = max(state[root, MAX_Y], y)


@numba.njit(cache=True, nogil=True)
def _join_holes(parent, state, a, b):
    """Join two roots; the smaller label stays, so that the outside (0) always does."""
    if a > b:
        a, b = b, a
    if a != b:
        parent[b] = a
        for c in range(4):
            state[a, c] = max(state[a, c], state[b, c])
    return a


@numba.njit(cache=True, nogil=True)
def _label_zero_holes(image, stride, labels, parent, state, since):
    """Open the holes of level 0: 4-connected pixels of level 0 that do not reach the edge.

    Works on the runs of each row: a run takes the labels of the runs above it and joins them.

    Returns:
        Number of labels used so far (label 0 is the outside).
    """
    rows = image.size // stride
    used = 1
    # Runs x0..x1-1 of the row above and of this row. The border above is one run of the outside.
    above = np.zeros((stride, 3), np.int64)
    here = np.empty((stride, 3), np.int64)
    num_above = 1
    above[0, 1] = stride
    for y in range(1, rows - 1):
        row = y * stride
        num_here = 0
        first = 0
        x = 1
        while x < stride - 1:
            if image[row + x] > 0:
                x += 1
                continue
            x0 = x
            while x < stride - 1 and image[row + x] == 0:
                x += 1
            joined = x0 == 1 or x == stride - 1 or y == rows - 2
            root = np.uint32(0)
            while first < num_above and above[first, 1] <= x0:
                first += 1
            i = first
            while i < num_above and above[i, 0] < x:
                other = find_root(parent, np.uint32(above[i, 2]))
                root = _join_holes(parent, state, root, other) if joined else other
                joined = True
                i += 1
            if not joined:
                root = _open_hole(parent, state, since, used, x0, y, 0)
                used += 1
            if root != 0:
                labels[row + x0 : row + x] = root
                _grow_hole(state, root, x0, y)
                _grow_hole(state, root, x - 1, y)
            here[num_here, 0] = x0
            here[num_here, 1] = x
            here[num_here, 2] = root
            num_here += 1
        above, here = here, above
        num_above = num_here
    return used


@numba.njit(cache=True, nogil=True)
def _emit_hole(nodes, n, root, state, first_level, last_level):
    """Write the border of a hole: the hole grown by one pixel on all sides; coordinates lose the border."""
    nodes[n, X0] = -state[root, MINUS_MIN_X] - 2
    nodes[n, Y0] = -state[root, MINUS_MIN_Y] - 2
    nodes[n, X1] = state[root, MAX_X] + 1
    nodes[n, Y1] = state[root, MAX_Y] + 1
    nodes[n, FIRST_LEVEL] = first_level
    nodes[n, LAST_LEVEL] = last_level


@numba.njit(cache=True, nogil=True)
def hole_nodes(image, stride, pixels, starts, holes):
    """Borders of all holes of ``image > j`` for every level j.

    A hole is a 4-connected component of ``image <= j`` that does not touch the edge of the image.

    Args:
        image, stride: As for :func:`sort_pixels`.
        pixels, starts: From :func:`sort_pixels`.
        holes: (num_levels,) from :func:`component_nodes`.

    Returns:
        nodes (n, 6) int32: box of the hole's border and range of levels.
    """
    num_levels = holes.size
    last = num_levels - 1
    while last >= 0 and holes[last] == 0:
        last -= 1
    if last < 0:
        return np.empty((0, 6), np.int32)

    seeds = 1
    for i in range(pixels.size):
        seeds += (pixels[i] & _FOUR_NEIGHBOURS) == _FOUR_NEIGHBOURS
    if holes[0] > 0:
        for p in range(stride + 1, image.size - stride - 1):
            seeds += (image[p] == 0) & (image[p - 1] > 0) & (image[p - stride] > 0)

    offsets = ring_offsets(HOLE_ARC_RING, stride)
    labels = np.zeros(image.size, np.uint32)
    parent = np.empty(seeds, np.uint32)
    since = np.empty(seeds, np.int32)
    state = np.empty((seeds, 4), np.int32)
    nodes = np.empty((pixels.size + seeds, 6), np.int32)
    emitted = 0
    used = 1
    parent[0] = 0
    since[0] = 0
    state[0] = 0
    if holes[0] > 0:
        used = _label_zero_holes(image, stride, labels, parent, state, since)
    live = holes[0]

    for v in range(1, last + 1):
        for i in range(starts[v - 1] - 1, starts[v] - 1, -1):
            entry = pixels[i]
            mask = np.uint8(entry & 255)
            arcs = HOLE_ARCS[mask]
            if live == 0 and arcs > 0:
                # No hole to join: the pixel is outside, as its label says already.
                continue
            x = (entry >> 8) & 0xFFFFFF
            y = entry >> 32
            p = y * stride + x
            if arcs == 0:
                labels[p] = _open_hole(parent, state, since, used, x, y, v)
                used += 1
                live += 1
                continue

            label = labels[p + offsets[mask, 0]]
            if arcs == 1 and label == 0:
                continue
            root = find_root(parent, label)
            if root != 0 and since[root] < v:
                _emit_hole(nodes, emitted, root, state, since[root], v - 1)
                emitted += 1
                since[root] = v
            for k in range(1, arcs):
                other = find_root(parent, labels[p + offsets[mask, k]])
                if other == root:
                    continue
                if other != 0 and since[other] < v:
                    _emit_hole(nodes, emitted, other, state, since[other], v - 1)
                    emitted += 1
                root = _join_holes(parent, state, root, other)
                since[root] = v
                live -= 1
            labels[p] = root
            if root != 0:
                _grow_hole(state, root, x, y)

    for hole in range(1, used):
        if parent[hole] == hole:
            _emit_hole(nodes, emitted, hole, state, since[hole], last)
            emitted += 1
    return nodes[:emitted]
