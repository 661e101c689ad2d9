"""Compiled kernels of the region finder: connected components and holes at all levels.

Importing this module imports numba, and the kernels are compiled at their first call; both happen only where
:mod:`wsol_mm.evaluation.functional.regions` is asked for regions. The compiled code is kept beside this
file, or in the user's cache folder where that is not writable (``NUMBA_CACHE_DIR`` names another). numba
notices a change to the file of a kernel but not to what the kernel takes from another file: after a change
to the constants here or in ``neighbour_tables.py``, delete the ``*.nbi`` and ``*.nbc`` files.

How it works. Think of the pixels as added in descending order of their level (raster order within a level).
Which neighbours of a pixel come before it follows from the levels alone and is an 8-bit mask; nothing is
sorted. A pixel without a neighbour before it opens a *branch* of the component tree; any other belongs to the
branch of one that comes before it. Tables (``neighbour_tables.py``) give from the mask

* one neighbour of every 8-connected arc of neighbours that come before: mostly one arc; where there are
  more, the pixel is *critical*: branches may meet in it, and the one that began lower is absorbed,
* the change of the Euler number (components minus holes) of the set of added pixels, and
* the change of twice the area of the polygon through the pixel centres, as far as it is a sum over 2x2
  windows: 1 for a window with three pixels, 2 for a full one. Any two pixels of a window are 8-connected,
  so each window belongs to one component, and the sums of components that meet are added. For a component
  without holes (Euler number 1) the sum is exactly twice the area of its outer border.

A row of pixels is cut at its valleys into *segments*, which rise to a summit and fall again. All pixels of a
segment follow its summit, so that a branch is looked up once a segment and not once a pixel. A branch has an
*entry* for every level on which it lives, which sums up the pixels of that level; from the top down, the
entries add up to the components.

Holes are components of the same kind: of the pixels not above a level, in the reverse of the same order, with
the complement of the same masks, 4-connected. The border is the first of them and never a hole.

Images carry a border of one pixel of level 0 and are flat, with row length ``stride``.
"""

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

# Ends of an entry, each a part of one array, of which the larger one holds: x to the left and y to the top
# are negative. Its sums are one number: the pixels in the high half, twice the area in the low one; 0 where
# there are no pixels.
_LEFT, _RIGHT, _TOP, _BOTTOM = range(4)
_NO_END = -(2**30)
_HALF = 32
_SUMS = AREA2_CHANGE + (1 << _HALF)


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
        image: (rows * stride,) int32, levels with a border of one pixel of level 0.
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
def _branch_at(branch, level, into, death):
    """The branch that a pixel of a level belongs to, as the pixels of ``branch`` do or did."""
    while level <= death[branch]:
        branch = into[branch]
    return branch


@numba.njit(cache=True, nogil=True)
def _entries_with_pixels(image, summits, starts, ends, branch_of, into, death, top, outside):
    """Numbers of the entries that have pixels, ascending."""
    numbers = np.empty(image.size, np.int64)
    count = 0
    for s in range(len(summits)):
        for p in range(starts[s], ends[s] + 1):
            branch = _branch_at(branch_of[s], image[p], into, death)
            if branch != outside:
                numbers[count] = top[branch] - image[p]
                count += 1
    return np.unique(numbers[:count])


@numba.njit(cache=True, nogil=True)
def _sum_up(
    image,
    masks,
    stride,
    starts,
    summits,
    ends,
    branch_of,
    into,
    death,
    top,
    outside,
    used,
    ends_of,
    first,
    sums,
):
    """Add every pixel to its entry.

    Rows come in their order, and pixels of a row nearly so: the first pixel of an entry that comes is its
    first. What an entry says holds for all below it, so that a segment gives its row to its summit alone.
    """
    sparse = len(used) > 0
    size = len(sums)
    for s in range(len(summits)):
        summit = np.int64(summits[s])
        y = summit // stride
        for side in range(2):
            # From the summit to either side the levels fall, and a branch that is left does not come back.
            branch = branch_of[s]
            dies, highest = death[branch], top[branch]
            step = 2 * side - 1
            p = summit + side
            reach = step * (p - y * stride)
            last = np.int64(ends[s] if side else starts[s])
            while (last - p) * step >= 0 and branch != outside:
                # Indices without a sign, which may not count from the end, are not checked for it.
                v = np.int64(image[np.uintp(p)])
                if v <= dies:
                    branch = _branch_at(branch, v, into, death)
                    dies, highest = death[branch], top[branch]
                    continue
                e = highest - v
                if sparse:
                    e = np.searchsorted(used, e)
                if sums[np.uintp(e)] == 0:
                    first[np.uintp(e)] = p
                    ends_of[np.uintp(_TOP * size + e)] = -y
                sums[np.uintp(e)] += _SUMS[masks[np.uintp(p)]]
                at = np.uintp(side * size + e)
                ends_of[at] = max(ends_of[at], reach)
                if p == summit:
                    at = np.uintp(_RIGHT * size + e)
                    ends_of[at] = max(ends_of[at], -reach)
                    ends_of[np.uintp(_BOTTOM * size + e)] = y
                p += step
                reach += 1


@numba.njit(cache=True, nogil=True)
def _add(ends_of, first, euler, sums, e, other):
    """Add an entry with pixels to entry ``e``."""
    size = len(sums)
    for side in range(4):
        ends_of[side * size + e] = max(ends_of[side * size + e], ends_of[side * size + other])
    first[e] = min(first[e], first[other])
    euler[e] += euler[other]
    sums[e] += sums[other]


@numba.njit(cache=True, nogil=True)
def _tree_nodes(image, masks, stride, highest, arcs, ring, four, outside):
    """Nodes of the component tree of ``image >= v`` for every v from 1.

    Args:
        image: (rows * stride,) int32; pixels of 0 belong to nothing.
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

    # Entry of level v of a branch: top - v.
    top = np.empty(len(birth), np.int64)
    size = 0
    for branch in range(len(birth)):
        top[branch] = size + birth[branch]
        if branch != outside:
            size += birth[branch] - death[branch]
    used = np.empty(0, np.int64)
    if size > 4 * image.size:
        # Many levels with few pixels each.
        used = _entries_with_pixels(image, summits, starts, ends, branch_of, into, death, top, outside)
        size = len(used)
    sparse = len(used) > 0
    ends_of = np.full(4 * size, _NO_END, np.int32)
    first = np.full(size, image.size, np.int32)
    euler = np.zeros(size, np.int32)
    sums = np.zeros(size, np.int64)
    _sum_up(
        image,
        masks,
        stride,
        starts,
        summits,
        ends,
        branch_of,
        into,
        death,
        top,
        outside,
        used,
        ends_of,
        first,
        sums,
    )
    if outside < 0:
        for p in critical:
            branch = _branch_at(branch_of[segment_at(begins, before, p)], image[p], into, death)
            e = top[branch] - image[p]
            if sparse:
                e = np.searchsorted(used, e)
            euler[e] += EULER_CHANGE[masks[p]]

    nodes = np.empty((min(size, image.size), 10), np.int32)
    n = 0
    # What a branch absorbs is complete when it is its turn.
    for branch in np.append(absorbed, np.flatnonzero(death == 0)):
        # One that is absorbed at the level at which it began is on none.
        if branch == outside or birth[branch] == death[branch]:
            continue
        e, stop = top[branch] - birth[branch], top[branch] - death[branch]
        if sparse:
            e, stop = np.searchsorted(used, e), np.searchsorted(used, stop)
        while True:
            following = e + 1
            while following < stop and sums[following] == 0:
                following += 1
            nodes[n, X0], nodes[n, Y0] = -ends_of[e], -ends_of[_TOP * size + e]
            nodes[n, X1], nodes[n, Y1] = ends_of[_RIGHT * size + e], ends_of[_BOTTOM * size + e]
            nodes[n, LAST_LEVEL] = top[branch] - (used[e] if sparse else e)
            nodes[n, FIRST_PIXEL] = first[e]
            nodes[n, AREA2] = sums[e] & ((1 << _HALF) - 1)
            nodes[n, EULER] = euler[e]
            nodes[n, COUNT] = sums[e] >> _HALF
            n += 1
            if following == stop:
                nodes[n - 1, FIRST_LEVEL] = death[branch] + 1
                break
            nodes[n - 1, FIRST_LEVEL] = top[branch] - (used[following] if sparse else following) + 1
            _add(ends_of, first, euler, sums, following, e)
            e = following
        if death[branch] > 0 and into[branch] != outside:
            heir = top[into[branch]] - death[branch]
            if sparse:
                heir = np.searchsorted(used, heir)
            _add(ends_of, first, euler, sums, heir, e)
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
    # Higher pixels are in no hole.
    nodes, _ = _tree_nodes(
        np.maximum(np.int32(hole_levels) - image, np.int32(0)),
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
