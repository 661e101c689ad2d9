"""Compiled kernels of the region finder: connected components and holes at all levels.

Importing this module imports numba, and the kernels are compiled at their first call; both happen only where
:mod:`wsol_mm.evaluation.functional.regions` is asked for regions. The compiled code is kept beside this
file, or in the user's cache folder where that is not writable (``NUMBA_CACHE_DIR`` names another). numba
notices a change to the file of a kernel but not to what the kernel takes from another file: after a change
to the constants here or in ``neighbour_tables.py``, delete the ``*.nbi`` and ``*.nbc`` files.

How it works. Think of the pixels as added in descending order: of their level, or of something finer of which
the level is a step function, such as 8-bit codes; raster order decides where even that is equal. Any such
order gives the same regions, and the finer it is, the fewer segments (below) there are. Which neighbours of a
pixel come before it is an 8-bit mask; nothing is sorted. A pixel without a neighbour before it opens a
*branch* of the component tree; any other belongs to the branch of one that comes before it. Tables
(``neighbour_tables.py``) give from the mask

* one neighbour of every 8-connected arc of neighbours that come before: mostly one arc; where there are
  more, the pixel is *critical*: branches may meet in it, and the one that began lower is absorbed,
* the change of the Euler number (components minus holes) of the set of added pixels, and
* the change of twice the area of the polygon through the pixel centres, as far as it is a sum over 2x2
  windows: 1 for a window with three pixels, 2 for a full one. Any two pixels of a window are 8-connected,
  so each window belongs to one component, and the sums of components that meet are added. For a component
  without holes (Euler number 1) the sum is exactly twice the area of its outer border.

A row of pixels is cut at its valleys into *segments*, which rise to a summit and fall again. All pixels of a
segment follow its summit, so that a branch is looked up once a segment and not once a pixel. A branch has an
*entry* for every level from its birth down, which sums up the pixels that follow it on that level; from the
top down, the entries add up to the components. Where a branch is absorbed, so are its entries of the levels
below. With very many branches, each has entries only for the levels on which it lives, and every pixel is
looked up.

Holes are components of the same kind: of the pixels not above a level, in the reverse of the same order, with
the complement of the same masks, 4-connected. The border is the first of them and never a hole.

Images are of uint16, carry a border of one pixel of level 0 and are flat, with row length ``stride``.
"""

from typing import NamedTuple

import numba
import numpy as np

from .neighbour_tables import (
    ARC_RING,
    ARC_RING_4,
    ARCS,
    ARCS_4,
    AREA2_CHANGE,
    EULER_CHANGE,
    NORTH,
    RING_X,
    RING_Y,
    WEST,
)
from .segment_kernels import cut_rows, segment_at

# Columns of a node: one component over a range of levels (both ends inclusive) on which it does not change.
# The first pixel is a flat index into the bordered image. Of holes the first six columns count.
X0, Y0, X1, Y1, FIRST_LEVEL, LAST_LEVEL, FIRST_PIXEL, AREA2, EULER, COUNT = range(10)

# Sums of an entry are one number: the pixels in the high half, twice the area in the low one; 0 where there
# are no pixels.
_HALF = 32
_SUMS = AREA2_CHANGE + (1 << _HALF)


class _Entries(NamedTuple):
    """What is known of every entry, arrays (entries,): ends, the first pixel, Euler number and sums."""

    left: np.ndarray
    right: np.ndarray
    bottom: np.ndarray
    first: np.ndarray
    euler: np.ndarray
    sums: np.ndarray


@numba.njit(cache=True, nogil=True)
def _find_root(parent, i):
    """Root of ``i``; halves the path."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=True, nogil=True)
def neighbour_masks(image, stride):
    """Mask of the neighbours that come before, of every pixel.

    Written over shifted views with a sum of choices, which the compiler turns into vector instructions (20
    times faster than indexing and shifting).

    Args:
        image: (rows * stride,), what the pixels are ordered by: levels or what they are a step function of,
            with a border of one pixel of 0.
        stride: Row length of ``image``.

    Returns:
        (rows * stride,) uint8. The border comes after all other pixels, and of its pixels the upper left one
        last.
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
    # A tie with the border is none. In the reverse order each of its pixels has one before it: the one to the
    # north, or to the west in the first and the last row.
    last = image.size - stride
    for column in range(stride):
        masks[column] = 255 ^ 1 << WEST
        masks[stride + column] &= 0b11110001
        masks[last + column] = 255 ^ 1 << WEST
    masks[0] = 255
    for row in range(stride, last, stride):
        masks[row] = 255 ^ 1 << NORTH
        masks[row + 1] &= 0b11000111
        masks[row + stride - 2] &= 0b01111100
        masks[row + stride - 1] = 255 ^ 1 << NORTH
    masks[last] = 255 ^ 1 << NORTH
    return masks


@numba.njit(cache=True, nogil=True)
def _open_branches(image, masks, summits, begins, before, arcs, offsets):
    """Find the branch of every segment.

    Returns:
        branch_of (S,), and birth (branches,), the level of the first pixel of every branch.
    """
    link = np.empty(len(summits), np.int64)
    birth = np.empty(len(summits), np.int64)
    branch_of = np.empty(len(summits), np.int64)
    opened = 0
    for s in range(len(summits)):
        p = summits[s]
        mask = masks[p]
        if arcs[mask] == 0:
            link[s] = s
            branch_of[s] = opened
            birth[opened] = image[p]
            opened += 1
        else:
            link[s] = segment_at(begins, before, p + offsets[mask, 0])
    for s in range(len(summits)):
        branch_of[s] = branch_of[_find_root(link, s)]
    return branch_of, birth[:opened]


@numba.njit(cache=True, nogil=True)
def _sort_by_level(pixels, image, highest):
    """Sort flat indices by falling level."""
    position = np.zeros(highest + 1, np.int64)
    for p in pixels:
        position[image[p]] += 1
    total = 0
    for v in range(highest, -1, -1):
        position[v], total = total, total + position[v]
    ordered = np.empty_like(pixels)
    for p in pixels:
        ordered[position[image[p]]] = p
        position[image[p]] += 1
    return ordered


@numba.njit(cache=True, nogil=True)
def _join_branches(image, masks, critical, begins, before, branch_of, birth, arcs, offsets):
    """Let branches absorb each other in the critical pixels, which are sorted by falling level.

    Returns:
        into (branches,), the branch that absorbed each; death (branches,), the level at which it did, 0 for
        one that is left; the absorbed branches in their order; and the highest v at which 8-connected
        components of ``image >= v`` have a hole, 0 for none.
    """
    parent = np.arange(len(birth))
    into = np.arange(len(birth))
    death = np.zeros(len(birth), np.int64)
    absorbed = np.empty(len(birth), np.int64)
    joined = holes = level = hole_level = 0
    for p in critical:
        v = image[p]
        if v != level:
            if hole_level == 0 and holes > 0:
                hole_level = level
            level = v
        mask = masks[p]
        if arcs[mask] == 0:
            continue
        holes -= EULER_CHANGE[mask]
        root = _find_root(parent, branch_of[segment_at(begins, before, p + offsets[mask, 0])])
        for k in range(1, arcs[mask]):
            other = _find_root(parent, branch_of[segment_at(begins, before, p + offsets[mask, k])])
            if other == root:
                continue
            # The one that began higher stays; of equals the first, which is the outside where there is one.
            if birth[other] > birth[root] or (birth[other] == birth[root] and other < root):
                root, other = other, root
            parent[other] = into[other] = root
            death[other] = v
            absorbed[joined] = other
            joined += 1
            holes -= 1
    if hole_level == 0 and holes > 0:
        hole_level = level
    # Of branches that end at one level, each is led to the one that goes on: a way up is never longer than
    # there are levels.
    for i in range(joined - 1, -1, -1):
        branch = absorbed[i]
        if death[into[branch]] == death[branch]:
            into[branch] = into[into[branch]]
    return into, death, absorbed[:joined], hole_level


@numba.njit(cache=True, nogil=True)
def _branch_at(branch, level, into, lowest):
    """The branch that has the entry of a pixel of a level which follows ``branch``."""
    while level <= lowest[branch]:
        branch = into[branch]
    return branch


@numba.njit(cache=True, nogil=True)
def _place(number, used):
    """Place of the entry of a number, or where it would be; ``used`` is empty where all numbers are."""
    return np.searchsorted(used, number) if len(used) > 0 else number


@numba.njit(cache=True, nogil=True)
def _entries_with_pixels(image, summits, starts, ends, branch_of, into, lowest, top, outside):
    """Numbers of the entries that have pixels, ascending."""
    numbers = np.empty(image.size, np.int64)
    count = 0
    for s in range(len(summits)):
        for p in range(starts[s], ends[s] + 1):
            branch = _branch_at(branch_of[s], image[p], into, lowest)
            if branch != outside:
                numbers[count] = top[branch] - image[p]
                count += 1
    return np.unique(numbers[:count])


@numba.njit(cache=True, nogil=True)
def _sum_up(
    image, masks, stride, starts, summits, ends, branch_of, into, lowest, top, outside, used, entries
):
    """Add every pixel to its entry.

    What an entry says holds for all below it: a segment gives its row to its summit alone, each side only the
    end that it can move, and the right one never a first pixel.
    """
    left, right, bottom, first, _, sums = entries
    row = y = np.int64(0)
    for s in range(len(summits)):
        branch = branch_of[s]
        if branch == outside:
            continue
        start, summit, end = np.int64(starts[s]), np.int64(summits[s]), np.int64(ends[s])
        while summit >= row + stride:
            row += stride
            y += 1
        highest = top[branch]
        e = _place(highest - image[summit], used)
        bottom[e] = y
        right[e] = max(right[e], summit - row)
        # Two loops without a branch; indices without a sign, which may not count from the end, are not
        # checked for it.
        if len(used) == 0 and min(image[start], image[end]) > lowest[branch]:
            for p in range(start, summit + 1):
                e = np.uintp(highest - np.int64(image[np.uintp(p)]))
                sums[e] += _SUMS[masks[np.uintp(p)]]
                left[e] = min(left[e], p - row)
                first[e] = min(first[e], p)
            for p in range(summit + 1, end + 1):
                e = np.uintp(highest - np.int64(image[np.uintp(p)]))
                sums[e] += _SUMS[masks[np.uintp(p)]]
                right[e] = max(right[e], p - row)
            continue
        for p in range(start, end + 1):
            other = _branch_at(branch, image[p], into, lowest)
            if other != outside:
                e = _place(top[other] - image[p], used)
                sums[e] += _SUMS[masks[p]]
                left[e] = min(left[e], p - row)
                right[e] = max(right[e], p - row)
                first[e] = min(first[e], p)


@numba.njit(cache=True, nogil=True)
def _plus(total, entries, e):
    """A total, as a tuple of what entries hold, with entry ``e`` added."""
    left, right, bottom, first, euler, sums = total
    return (
        min(left, np.int64(entries.left[e])),
        max(right, np.int64(entries.right[e])),
        max(bottom, np.int64(entries.bottom[e])),
        min(first, np.int64(entries.first[e])),
        euler + entries.euler[e],
        sums + entries.sums[e],
    )


@numba.njit(cache=True, nogil=True)
def _add(entries, e, total):
    """Add a total to entry ``e``."""
    (
        entries.left[e],
        entries.right[e],
        entries.bottom[e],
        entries.first[e],
        entries.euler[e],
        entries.sums[e],
    ) = _plus(total, entries, e)


@numba.njit(cache=True, nogil=True)
def _number_entries(birth, lowest, outside):
    """Number of level v's entry of every branch, as that number plus v, and how many numbers there are."""
    top = np.empty(len(birth), np.int64)
    size = 0
    for branch in range(len(birth)):
        top[branch] = size + birth[branch]
        if branch != outside:
            size += birth[branch] - lowest[branch]
    return top, size


@numba.njit(cache=True, nogil=True)
def _tree_nodes(image, masks, stride, highest, arcs, ring, four, outside):
    """Nodes of the component tree of ``image >= v`` for every v from 1.

    Args:
        image: (rows * stride,) uint16; pixels of 0 belong to nothing.
        masks: Neighbours that come before.
        stride: Row length.
        highest: Highest level.
        arcs, ring, four: Tables of the connectivity, and whether it is 4.
        outside: Branch that is left out, 0 or -1 for none.

    Returns:
        nodes (n, 10) int32 with x and y in ``image`` (ends inclusive) and, as range of levels, the lowest and
        the highest v; and the highest v at which 8-connected components have a hole, 0 for none.
    """
    offsets = np.empty(ring.shape, np.int64)
    for mask in range(256):
        for k in range(4):
            offsets[mask, k] = RING_Y[ring[mask, k]] * stride + RING_X[ring[mask, k]]
    starts, summits, ends, critical, begins, before = cut_rows(image, masks, four)
    branch_of, birth = _open_branches(image, masks, summits, begins, before, arcs, offsets)
    critical = _sort_by_level(critical, image, highest)
    into, death, absorbed, hole_level = _join_branches(
        image, masks, critical, begins, before, branch_of, birth, arcs, offsets
    )
    for s in range(len(summits)):
        branch_of[s] = _branch_at(branch_of[s], image[summits[s]], into, death)

    # A branch has entries of all levels above its lowest: of all there are, if these are few beside the
    # pixels. One that is absorbed at the level at which it began has none, and no segment is left to it.
    lowest = np.where(birth > death, 0, birth)
    top, size = _number_entries(birth, lowest, outside)
    if size > image.size // 8:
        lowest = death
        top, size = _number_entries(birth, lowest, outside)
    used = np.empty(0, np.int64)
    if size > 4 * image.size:
        # Many levels with few pixels each.
        used = _entries_with_pixels(image, summits, starts, ends, branch_of, into, lowest, top, outside)
        size = len(used)
    entries = _Entries(
        np.full(size, stride, np.int32),
        np.zeros(size, np.int32),
        np.zeros(size, np.int32),
        np.full(size, image.size, np.int32),
        np.zeros(size, np.int32),
        np.zeros(size, np.int64),
    )
    _sum_up(image, masks, stride, starts, summits, ends, branch_of, into, lowest, top, outside, used, entries)
    if outside < 0:
        for p in critical:
            branch = _branch_at(branch_of[segment_at(begins, before, p)], image[p], into, lowest)
            entries.euler[_place(top[branch] - image[p], used)] += EULER_CHANGE[masks[p]]

    nothing = (stride, 0, 0, image.size, 0, 0)
    nodes = np.empty((min(size, image.size), 10), np.int32)
    n = 0
    # What a branch absorbs is complete when it is its turn.
    for branch in np.append(absorbed, np.flatnonzero(death == 0)):
        if branch == outside or birth[branch] == death[branch]:
            continue
        e, stop = _place(top[branch] - birth[branch], used), _place(top[branch] - death[branch], used)
        total = nothing
        while e < stop:
            total = _plus(total, entries, e)
            left, right, bottom, first, euler, sums = total
            following = e + 1
            while following < stop and entries.sums[following] == 0:
                following += 1
            nodes[n, X0], nodes[n, Y0], nodes[n, X1], nodes[n, Y1] = left, first // stride, right, bottom
            nodes[n, LAST_LEVEL] = top[branch] - (used[e] if len(used) > 0 else e)
            nodes[n, FIRST_LEVEL] = death[branch] + 1
            if following < stop:
                below = used[following] if len(used) > 0 else following
                nodes[n, FIRST_LEVEL] = top[branch] - below + 1
            nodes[n, FIRST_PIXEL] = first
            nodes[n, AREA2] = sums & ((1 << _HALF) - 1)
            nodes[n, EULER] = euler
            nodes[n, COUNT] = sums >> _HALF
            n += 1
            e = following
        heir = into[branch]
        if death[branch] > 0 and heir != outside:
            _add(entries, _place(top[heir] - death[branch], used), total)
            for v in range(death[branch], lowest[branch], -1):
                e = top[branch] - v
                if entries.sums[e] > 0:
                    _add(entries, top[_branch_at(heir, v, into, lowest)] - v, _plus(nothing, entries, e))
    return nodes[:n], hole_level


@numba.njit(cache=True, nogil=True)
def component_nodes(image, masks, stride, num_levels):
    """All 8-connected components of ``image > j`` for every level j.

    Args:
        image: As for :func:`neighbour_masks`.
        masks: From :func:`neighbour_masks`.
        stride: Row length of ``image``.
        num_levels: Number of levels.

    Returns:
        nodes (n, 10) int32, one row per component and range of levels on which it does not change, and the
        number of levels up to the highest one with a hole.
    """
    nodes, hole_level = _tree_nodes(image, masks, stride, num_levels, ARCS, ARC_RING, False, -1)
    for n in range(len(nodes)):
        # Coordinates lose the border; the upper ends become exclusive.
        nodes[n, X0] -= 1
        nodes[n, Y0] -= 1
        nodes[n, FIRST_LEVEL] -= 1
        nodes[n, LAST_LEVEL] -= 1
    return nodes, hole_level


@numba.njit(cache=True, nogil=True)
def hole_nodes(image, masks, stride, hole_levels):
    """Borders of all holes of ``image > j`` for every level j.

    A hole is a 4-connected component of ``image <= j`` that does not touch the edge of the image; its border
    is the hole grown by one pixel on all sides.

    Args:
        image, masks, stride: As for :func:`component_nodes`.
        hole_levels: Number of levels up to the highest one with a hole, at least 1.

    Returns:
        nodes (n, 6) int32: box of the hole's border and range of levels.
    """
    below = np.empty_like(image)
    for p in range(image.size):
        # Higher pixels are in no hole.
        below[p] = hole_levels - min(image[p], hole_levels)
    nodes, _ = _tree_nodes(
        below,
        ~masks,
        stride,
        hole_levels,
        ARCS_4,
        ARC_RING_4,
        True,
        0,
    )
    borders = np.empty((len(nodes), 6), np.int32)
    for n in range(len(nodes)):
        borders[n, X0] = nodes[n, X0] - 2
        borders[n, Y0] = nodes[n, Y0] - 2
        borders[n, X1] = nodes[n, X1] + 1
        borders[n, Y1] = nodes[n, Y1] + 1
        borders[n, FIRST_LEVEL] = hole_levels - nodes[n, LAST_LEVEL]
        borders[n, LAST_LEVEL] = hole_levels - nodes[n, FIRST_LEVEL]
    return borders
