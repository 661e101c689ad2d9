"""Compiled kernels of the region finder (:mod:`wsol_mm.evaluation.functional.regions`).

Importing this module imports numba; the kernels are compiled at their first call and kept on disk. It is
therefore imported only where regions are asked for.

How it works. Pixels are added in descending order of their level (raster order within a level) to a union-find
over *peaks*: a pixel without an added neighbour opens a peak, any other pixel takes the peak of a neighbour.
Which neighbours were added before is known without looking at the order, from the levels alone, and is an 8-bit
mask; three tables with 256 entries give from the mask

* one neighbour of every 8-connected arc of added neighbours (mostly one arc, so no two components meet),
* the change of the Euler number (components minus holes) of the set of added pixels, and
* the change of twice the area of the polygon through the pixel centres, as far as it is a sum over 2x2 windows:
  1 for a window with three pixels, 2 for a full one. Any two pixels of a window are 8-connected, so each window
  belongs to one component, and the sums of components that meet are added. For a component without holes
  (Euler number 1) the sum is exactly twice the area of its outer border.

Holes are 4-connected components of the other pixels. They are found in the reverse of the same order, with the
complement of the same masks, and only at the levels where the number of components differs from the Euler number.

Ring of neighbours, in this order: east, north-east, north, north-west, west, south-west, south, south-east; bit k
of a mask stands for neighbour k. Images carry a border of one pixel of level 0 and are flat, with row ``stride``.
"""

from __future__ import annotations

import numba
import numpy as np

RING_X = np.array([1, 1, 0, -1, -1, -1, 0, 1], np.int64)
RING_Y = np.array([0, -1, -1, -1, 0, 1, 1, 1], np.int64)
_FOUR_NEIGHBOURS = 0b01010101

# Columns of a node: one component over a range of levels (both ends inclusive) on which it does not change. The
# first pixel is a flat index into the bordered image. Nodes of holes have the first six columns.
X0, Y0, X1, Y1, FIRST_LEVEL, LAST_LEVEL, FIRST_PIXEL, AREA2, EULER, COUNT = range(10)

# Columns of a peak's running state; minima are kept as maxima of the negative, so that the first five are maxima
# and the others sums.
_MINUS_X0, _X1, _MINUS_Y0, _Y1, _MINUS_FIRST, _AREA2, _EULER, _COUNT = range(8)

# Sort keys of the contest hold the first pixel in their low bits.
_PIXEL_BITS = 31


def _arc_representatives(links: list[tuple[int, int]], members: list[int]) -> list[int]:
    """One member of every connected group of ring positions, west and north first (in the cache already)."""
    group = {k: k for k in members}
    for a, b in links:
        old, new = group[b], group[a]
        group = {k: new if g == old else g for k, g in group.items()}
    chosen: dict[int, int] = {}
    for k in (4, 2, 3, 1, 0, 6, 5, 7):
        if k in group:
            chosen.setdefault(group[k], k)
    return list(chosen.values())


def build_neighbour_tables() -> tuple[np.ndarray, ...]:
    """What follows from the mask of a pixel's neighbours, from the definitions of connectivity.

    Returns:
        Six int64 arrays: arcs (256,), number of 8-connected arcs of the neighbours in the mask; arc_ring
        (256, 4), ring position of one neighbour of each arc; euler (256,), change of the Euler number when the
        middle pixel is added; area2 (256,), change of the sum over 2x2 windows; hole_arcs (256,) and
        hole_arc_ring (256, 4), the arcs of the neighbours *not* in the mask, 4-connected.
    """
    arcs, euler, area2, hole_arcs = (np.zeros(256, np.int64) for _ in range(4))
    arc_ring, hole_arc_ring = (np.zeros((256, 4), np.int64) for _ in range(2))
    for mask in range(256):
        inside = [bool(mask >> k & 1) for k in range(8)]

        members = [k for k in range(8) if inside[k]]
        links = [(k, (k + 1) % 8) for k in members if inside[(k + 1) % 8]]
        # Two 4-neighbours on either side of a corner are diagonal to each other.
        links += [(k, (k + 2) % 8) for k in members if k % 2 == 0 and inside[(k + 2) % 8]]
        chosen = _arc_representatives(links, members)
        arcs[mask] = len(chosen)
        arc_ring[mask, : len(chosen)] = chosen

        holes = [k for k in range(0, 8, 2) if not inside[k]]
        # Two 4-neighbours outside are 4-connected through the diagonal between them.
        links = [(k, (k + 2) % 8) for k in holes if not inside[(k + 1) % 8] and not inside[(k + 2) % 8]]
        chosen = _arc_representatives(links, holes)
        hole_arcs[mask] = len(chosen)
        hole_arc_ring[mask, : len(chosen)] = chosen

        # The pixel joins its arcs into one component; with all 4-neighbours inside it also fills a hole.
        euler[mask] = 1 - arcs[mask] + (not holes)
        windows = [inside[k] + inside[k + 1] + inside[(k + 2) % 8] for k in range(0, 8, 2)]
        area2[mask] = sum(others >= 2 for others in windows)
    return arcs, arc_ring, euler, area2, hole_arcs, hole_arc_ring


_ARCS, _ARC_RING, _EULER_CHANGE, _AREA2_CHANGE, _HOLE_ARCS, _HOLE_ARC_RING = build_neighbour_tables()
# The pixel touches one arc and closes no hole: nearly all pixels of a smooth map.
_SIMPLE = (_ARCS == 1) & (_EULER_CHANGE == 0)


@numba.njit(cache=True, nogil=True)
def _find(parent, i):
    """Root of ``i``; halves the path."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=True, nogil=True)
def _ring_offsets(ring, stride):
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

    Written over shifted views with a sum of choices, which the compiler turns into vector instructions (20 times
    faster than indexing and shifting).
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
    """Pixels with level > 0 in descending order of level, each with the mask of its neighbours that come before.

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
    """Write node ``n``: the component of ``peak`` as it is on the given levels; coordinates lose the border."""
    nodes[n, X0] = -state[peak, _MINUS_X0] - 1
    nodes[n, Y0] = -state[peak, _MINUS_Y0] - 1
    nodes[n, X1] = state[peak, _X1]
    nodes[n, Y1] = state[peak, _Y1]
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
    offsets = _ring_offsets(_ARC_RING, stride)
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

    for v in range(num_levels, 0, -1):
        for i in range(starts[v], starts[v - 1]):
            entry = pixels[i]
            mask = np.uint8(entry & 255)
            x = (entry >> 8) & 0xFFFFFF
            y = entry >> 32
            p = y * stride + x
            if mask == 0:
                labels[p] = peaks
                parent[peaks] = peaks
                since[peaks] = v
                state[peaks, _MINUS_X0] = -x
                state[peaks, _X1] = x
                state[peaks, _MINUS_Y0] = -y
                state[peaks, _Y1] = y
                state[peaks, _MINUS_FIRST] = -p
                state[peaks, _AREA2] = 0
                state[peaks, _EULER] = 1
                state[peaks, _COUNT] = 1
                peaks += 1
                components += 1
                euler_sum += 1
                continue

            root = _find(parent, labels[p + offsets[mask, 0]])
            if since[root] > v:
                _emit(nodes, emitted, root, state, v, since[root] - 1)
                emitted += 1
                since[root] = v
            if not _SIMPLE[mask]:
                euler_sum += _EULER_CHANGE[mask]
                state[root, _EULER] += _EULER_CHANGE[mask]
                for k in range(1, _ARCS[mask]):
                    other = _find(parent, labels[p + offsets[mask, k]])
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
            state[root, _MINUS_X0] = max(state[root, _MINUS_X0], np.int32(-x))
            state[root, _X1] = max(state[root, _X1], np.int32(x))
            state[root, _MINUS_Y0] = max(state[root, _MINUS_Y0], np.int32(-y))
            state[root, _Y1] = max(state[root, _Y1], np.int32(y))
            state[root, _MINUS_FIRST] = max(state[root, _MINUS_FIRST], np.int32(-p))
            state[root, _AREA2] += _AREA2_CHANGE[mask]
            state[root, _COUNT] += 1
        holes[v - 1] = components - euler_sum

    for peak in range(peaks):
        if parent[peak] == peak:
            _emit(nodes, emitted, peak, state, 0, since[peak] - 1)
            emitted += 1
    return nodes[:emitted], holes


@numba.njit(cache=True, nogil=True)
def _open_hole(parent, state, since, label, x, y, level):
    parent[label] = label
    since[label] = level
    state[label, _MINUS_X0] = -x
    state[label, _X1] = x
    state[label, _MINUS_Y0] = -y
    state[label, _Y1] = y
    return np.uint32(label)


@numba.njit(cache=True, nogil=True)
def _grow_hole(state, root, x, y):
    state[root, _MINUS_X0] = max(state[root, _MINUS_X0], -x)
    state[root, _X1] = max(state[root, _X1], x)
    state[root, _MINUS_Y0] = max(state[root, _MINUS_Y0], -y)
    state[root, _Y1] = max(state[root, _Y1], y)


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
                other = _find(parent, np.uint32(above[i, 2]))
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
    nodes[n, X0] = -state[root, _MINUS_X0] - 2
    nodes[n, Y0] = -state[root, _MINUS_Y0] - 2
    nodes[n, X1] = state[root, _X1] + 1
    nodes[n, Y1] = state[root, _Y1] + 1
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

    offsets = _ring_offsets(_HOLE_ARC_RING, stride)
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
            arcs = _HOLE_ARCS[mask]
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
            root = _find(parent, label)
            if root != 0 and since[root] < v:
                _emit_hole(nodes, emitted, root, state, since[root], v - 1)
                emitted += 1
                since[root] = v
            for k in range(1, arcs):
                other = _find(parent, labels[p + offsets[mask, k]])
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


@numba.njit(cache=True, nogil=True)
def _outer_border_area2(image, offsets, start, level):
    """Twice the area of the polygon through the pixel centres of the outer border.

    Follows the border as OpenCV does (S. Suzuki, K. Abe, *Topological structural analysis of digitized binary
    images by border following*, 1985, algorithm 1), of the component of ``image > level`` whose first pixel in
    raster order is ``start``; ``offsets`` are the flat offsets of the ring.
    """
    # The first pixel has neighbours only after it in raster order: clockwise from west, east comes first.
    back = -1
    for k in (0, 7, 6, 5):
        if image[start + offsets[k]] > level:
            back = k
            break
    if back < 0:
        return 0
    last = start + offsets[back]
    p = start
    x = y = area2 = 0
    while True:
        k = (back + 1) & 7
        while image[p + offsets[k]] <= level:
            k = (k + 1) & 7
        area2 += x * RING_Y[k] - y * RING_X[k]
        x += RING_X[k]
        y += RING_Y[k]
        before = p
        p += offsets[k]
        if p == start and before == last:
            return abs(area2)
        back = (k + 4) & 7


@numba.njit(cache=True, nogil=True)
def _boxes_of(nodes, winner):
    """Boxes of the winning row of ``nodes`` at each level; -1 where there is none (winner -1)."""
    boxes = np.full((winner.size, 4), -1, np.int32)
    for j in range(winner.size):
        if winner[j] >= 0:
            boxes[j] = nodes[winner[j], :4]
    return boxes


@numba.njit(cache=True, nogil=True)
def polygon_boxes(nodes, image, stride, num_levels):
    """Component with the largest polygon at each level; among equal ones that whose first pixel comes last.

    The sum over 2x2 windows is the area of a component without holes and a lower bound with holes, the box an
    upper bound. A border is followed only where the bounds leave more than one component in the contest.

    Args:
        nodes: (n, 10) from :func:`component_nodes`.
        image, stride: As for :func:`sort_pixels`.
        num_levels: Number of levels.

    Returns:
        (num_levels, 4) int32 boxes, -1 where there is no component.
    """
    offsets = RING_Y * stride + RING_X
    lower = np.full(num_levels, -1, np.int64)
    for n in range(nodes.shape[0]):
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            lower[j] = max(lower[j], nodes[n, AREA2])

    best = np.full(num_levels, -1, np.int64)
    winner = np.full(num_levels, -1, np.int64)
    rivals = np.zeros(num_levels, np.int64)
    upper = np.empty(nodes.shape[0], np.int64)
    for n in range(nodes.shape[0]):
        exact = nodes[n, EULER] == 1
        if exact:
            upper[n] = nodes[n, AREA2]
        else:
            upper[n] = 2 * (nodes[n, X1] - nodes[n, X0] - 1) * (nodes[n, Y1] - nodes[n, Y0] - 1)
        key = upper[n] << _PIXEL_BITS | nodes[n, FIRST_PIXEL]
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            if upper[n] < lower[j]:
                continue
            if not exact:
                rivals[j] += 1
                if winner[j] < 0:
                    winner[j] = n
            elif key > best[j]:
                best[j] = key
                winner[j] = n

    for n in range(nodes.shape[0]):
        if nodes[n, EULER] == 1:
            continue
        bound = upper[n] << _PIXEL_BITS | nodes[n, FIRST_PIXEL]
        contested = False
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            alone = rivals[j] == 1 and best[j] < 0
            contested |= upper[n] >= lower[j] and not alone and bound > best[j]
        if not contested:
            continue
        area2 = _outer_border_area2(image, offsets, nodes[n, FIRST_PIXEL], nodes[n, LAST_LEVEL])
        key = area2 << _PIXEL_BITS | nodes[n, FIRST_PIXEL]
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            if upper[n] >= lower[j] and key > best[j]:
                best[j] = key
                winner[j] = n
    return _boxes_of(nodes, winner)


@numba.njit(cache=True, nogil=True)
def pixel_boxes(nodes, num_levels):
    """Component with the most pixels at each level; among equal ones that whose first pixel comes first.

    Args:
        nodes: (n, 10) from :func:`component_nodes`.
        num_levels: Number of levels.

    Returns:
        (num_levels, 4) int32 boxes, -1 where there is no component.
    """
    best = np.full(num_levels, -1, np.int64)
    winner = np.full(num_levels, -1, np.int64)
    for n in range(nodes.shape[0]):
        key = ((nodes[n, COUNT] + 1) << _PIXEL_BITS) - nodes[n, FIRST_PIXEL]
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            if key > best[j]:
                best[j] = key
                winner[j] = n
    return _boxes_of(nodes, winner)


@numba.njit(cache=True, nogil=True)
def max_over_ranges(values, first_level, last_level, num_levels, empty):
    """Largest value among the ranges that hold a level; ``empty`` where none does."""
    result = np.full(num_levels, empty)
    filled = np.zeros(num_levels, np.bool_)
    for n in range(values.size):
        value = values[n]
        for j in range(first_level[n], last_level[n] + 1):
            if not filled[j] or value > result[j]:
                result[j] = value
                filled[j] = True
    return result
