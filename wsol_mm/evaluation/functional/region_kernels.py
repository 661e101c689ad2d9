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
segment follow its summit, so that a branch is looked up once a segment and not once a pixel. A branch
has an *entry* for every level on which it lives, which sums up the pixels of that level; from the top down, the
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

# Columns of a node: one component over a range of levels (both ends inclusive) on which it does not change.
# The first pixel is a flat index into the bordered image. Of holes the first six columns count.
X0, Y0, X1, Y1, FIRST_LEVEL, LAST_LEVEL, FIRST_PIXEL, AREA2, EULER, COUNT = range(10)

# Columns of an entry; minima are kept as maxima of the negative, so that the first five are maxima and the
# others sums.
_MINUS_MIN_X, _MAX_X, _MINUS_MIN_Y, _MAX_Y, _MINUS_FIRST, _AREA2, _EULER, _COUNT = range(8)
_MAXIMA = 5
_NOTHING = np.array([-(2**31)] * _MAXIMA + [0] * 3, np.int32)

# Columns of a segment: flat indices of its first pixel, its summit and its last pixel.
_START, _SUMMIT, _END = range(3)

# Pixels that may join branches or change the number of holes: few of a smooth map.
_CRITICAL = (ARCS != 1) | (EULER_CHANGE != 0)
_CRITICAL_4 = ARCS_4 > 1


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
        image: (rows * stride,) uint16, levels with a border of one pixel of level 0.
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
        masks[column] = 255 ^ WEST
        masks[stride + column] &= 0b11110001
        masks[last + column] = 255 ^ WEST
    masks[0] = 255
    for row in range(stride, last, stride):
        masks[row] = 255 ^ NORTH
        masks[row + 1] &= 0b11000111
        masks[row + stride - 2] &= 0b01111100
        masks[row + stride - 1] = 255 ^ NORTH
    masks[last] = 255 ^ NORTH
    return masks


@numba.njit(cache=True, nogil=True)
def _cut_rows(image, masks, flip, base, sign, critical):
    """Cut the rows into segments and list the critical pixels; see :func:`region_nodes` for the arguments.

    Returns:
        segments (S, 3) int32, segment_of (pixels,) uint32, and the flat indices of the critical pixels.
    """
    # Two summits of a row are not next to each other, and rows do not share segments.
    segments = np.empty((image.size, 3), np.int32)
    segment_of = np.empty(image.size, np.uint32)
    found = np.empty(image.size, np.int32)
    number = -1
    num_found = 0
    rising = False
    for p in range(image.size):
        if base + sign * image[p] == 0:
            rising = False
            continue
        mask = masks[p] ^ flip
        if mask & WEST:
            rising = False
        elif rising:
            segments[number, _SUMMIT] = p
        else:
            number += 1
            rising = True
            segments[number, _START] = p
            segments[number, _SUMMIT] = p
        segments[number, _END] = p
        segment_of[p] = number
        if critical[mask]:
            found[num_found] = p
            num_found += 1
    return segments[: number + 1], segment_of, found[:num_found]


@numba.njit(cache=True, nogil=True)
def _open_branches(image, masks, flip, base, sign, segments, segment_of, arcs, offsets):
    """Find the branch of every segment.

    Returns:
        branch_of (S,) uint32, and birth (branches,) int64, the level of the first pixel of every branch.
    """
    link = np.empty(len(segments), np.uint32)
    birth = np.empty(len(segments), np.int64)
    branch_of = np.empty(len(segments), np.uint32)
    opened = 0
    for s in range(len(segments)):
        p = segments[s, _SUMMIT]
        mask = masks[p] ^ flip
        if arcs[mask] == 0:
            link[s] = s
            branch_of[s] = opened
            birth[opened] = base + sign * image[p]
            opened += 1
        else:
            link[s] = segment_of[p + offsets[mask, 0]]
    for s in range(len(segments)):
        branch_of[s] = branch_of[_find_root(link, s)]
    return branch_of, birth[:opened]


@numba.njit(cache=True, nogil=True)
def _sorted_by_level(pixels, image, base, sign, highest):
    """Sort flat indices by falling level."""
    position = np.zeros(highest + 2, np.int64)
    for p in pixels:
        position[base + sign * image[p]] += 1
    total = 0
    for v in range(highest, -1, -1):
        position[v], total = total, total + position[v]
    ordered = np.empty_like(pixels)
    for p in pixels:
        v = base + sign * image[p]
        ordered[position[v]] = p
        position[v] += 1
    return ordered


@numba.njit(cache=True, nogil=True)
def _join_branches(
    image, masks, flip, base, sign, critical, segment_of, branch_of, birth, arcs, offsets, euler
):
    """Let branches absorb each other in the critical pixels, which are sorted by falling level.

    Returns:
        into (branches,), the branch that absorbed each; death (branches,), the level at which it did, 0 for
        one that is left; absorbed, the absorbed branches in their order; and whether there is a hole at any
        level.
    """
    parent = np.arange(len(birth)).astype(np.uint32)
    into = parent.copy()
    death = np.zeros(len(birth), np.int64)
    absorbed = np.empty(len(birth), np.uint32)
    joined = 0
    holes = 0
    any_holes = False
    level = np.int64(0)
    for p in critical:
        v = base + sign * image[p]
        if v != level:
            any_holes |= holes > 0
            level = v
        mask = masks[p] ^ flip
        if arcs[mask] == 0:
            continue
        holes -= euler[mask]
        root = _find_root(parent, branch_of[segment_of[p + offsets[mask, 0]]])
        for k in range(1, arcs[mask]):
            other = _find_root(parent, branch_of[segment_of[p + offsets[mask, k]]])
            if other == root:
                continue
            # The one that began higher stays; of equals the first, which is the outside where there is one.
            if birth[other] > birth[root] or (birth[other] == birth[root] and other < root):
                root, other = other, root
            parent[other] = root
            into[other] = root
            death[other] = v
            absorbed[joined] = other
            joined += 1
            holes -= 1
    any_holes |= holes > 0
    # Of branches that end at one level, each is led to the one that goes on: a way up is never longer than
    # there are levels.
    for i in range(joined - 1, -1, -1):
        branch = absorbed[i]
        if death[into[branch]] == death[branch]:
            into[branch] = into[into[branch]]
    return into, death, absorbed[:joined], any_holes


@numba.njit(cache=True, nogil=True)
def _add(entry, other):
    for c in range(_MAXIMA):
        entry[c] = max(entry[c], other[c])
    for c in range(_MAXIMA, 8):
        entry[c] += other[c]


@numba.njit(cache=True, nogil=True)
def _sum_up(
    image, masks, stride, base, sign, segments, branch_of, outside, birth, death, into, first, used, entries
):
    """Add every pixel to its entry.

    Args:
        outside: Branch that is left out, -1 for none.
        first: (branches,) number of the first entry of each branch.
        used: Numbers of the entries that are kept, ascending; empty: all of them.
        entries: (E, 8) int32. Without rows: only the numbers of the entries are found.

    Returns:
        Numbers of the entries of all pixels where ``entries`` has no rows, else nothing.
    """
    numbering = len(entries) == 0
    numbers = np.empty(image.size if numbering else 0, np.int64)
    count = 0
    for s in range(len(segments)):
        summit = segments[s, _SUMMIT]
        y = summit // stride
        row = y * stride
        # From the summit to either side the levels fall, and a branch that is left does not come back.
        for step, end in ((-1, segments[s, _START]), (1, segments[s, _END])):
            branch = np.int64(branch_of[s])
            dies = death[branch]
            top = first[branch] + birth[branch]
            p = np.int64(summit)
            while True:
                v = base + sign * image[p]
                if v <= dies:
                    while v <= death[branch]:
                        branch = np.int64(into[branch])
                    dies = death[branch]
                    top = first[branch] + birth[branch]
                if branch == outside:
                    break
                e = top - v
                if numbering:
                    numbers[count] = e
                    count += 1
                else:
                    if len(used):
                        e = np.searchsorted(used, e)
                    x = p - row
                    if step < 0:
                        entries[e, _MINUS_MIN_X] = max(entries[e, _MINUS_MIN_X], -x)
                        entries[e, _MINUS_FIRST] = max(entries[e, _MINUS_FIRST], -p)
                    else:
                        entries[e, _MAX_X] = max(entries[e, _MAX_X], x)
                    if p == summit:
                        entries[e, _MINUS_MIN_Y] = max(entries[e, _MINUS_MIN_Y], -y)
                        entries[e, _MAX_Y] = max(entries[e, _MAX_Y], y)
                    # The summit counts once.
                    if step < 0 or p != summit:
                        entries[e, _AREA2] += AREA2_CHANGE[masks[p]]
                        entries[e, _COUNT] += 1
                if p == end:
                    break
                p += step
    return numbers[:count]


@numba.njit(cache=True, nogil=True)
def region_nodes(image, masks, stride, num_levels, holes):
    """All 8-connected components of ``image > j`` for every level j, or all holes in them.

    A hole is a 4-connected component of ``image <= j`` that does not touch the edge of the image.

    Args:
        image: (rows * stride,) uint16, levels with a border of one pixel of level 0.
        masks: From :func:`neighbour_masks`.
        stride: Row length of ``image``.
        num_levels: Number of levels.
        holes: Whether to look for holes.

    Returns:
        nodes (n, 10) int32, one row per component and range of levels on which it does not change; of a hole
        the box of its border, which is the hole grown by one pixel on all sides. And whether there is a hole
        at any level, if components were asked for.
    """
    # The highest level comes first: of holes the lowest of the image.
    flip = np.uint8(255 if holes else 0)
    base, sign = (num_levels + 1, -1) if holes else (0, 1)
    highest = num_levels + 1 if holes else num_levels
    arcs, ring = (ARCS_4, ARC_RING_4) if holes else (ARCS, ARC_RING)
    is_critical = _CRITICAL_4 if holes else _CRITICAL
    offsets = np.empty(ring.shape, np.int64)
    for mask in range(256):
        for k in range(4):
            offsets[mask, k] = RING_Y[ring[mask, k]] * stride + RING_X[ring[mask, k]]

    segments, segment_of, critical = _cut_rows(image, masks, flip, base, sign, is_critical)
    branch_of, birth = _open_branches(
        image, masks, flip, base, sign, segments, segment_of, arcs, offsets
    )
    critical = _sorted_by_level(critical, image, base, sign, highest)
    into, death, absorbed, any_holes = _join_branches(
        image, masks, flip, base, sign, critical, segment_of, branch_of, birth, arcs, offsets, EULER_CHANGE
    )

    # The outside lives at all levels and has no entries.
    outside = 0 if holes else -1
    first = np.empty(len(birth) + 1, np.int64)
    first[0] = 0
    for branch in range(len(birth)):
        first[branch + 1] = first[branch] + (0 if branch == outside else birth[branch] - death[branch])
    size = first[-1]
    used = np.empty(0, np.int64)
    # Many levels with few pixels each: only entries with pixels are kept.
    if size > 4 * image.size:
        used = np.unique(
            _sum_up(
                image, masks, stride, base, sign, segments, branch_of, outside, birth, death, into, first, used,
                np.empty((0, 8), np.int32),
            )
        )
        size = len(used)
    entries = np.empty((size, 8), np.int32)
    for e in range(size):
        entries[e] = _NOTHING
    _sum_up(
        image, masks, stride, base, sign, segments, branch_of, outside, birth, death, into, first, used, entries
    )
    if not holes:
        for p in critical:
            v = base + sign * image[p]
            branch = branch_of[segment_of[p]]
            while v <= death[branch]:
                branch = into[branch]
            e = first[branch] + birth[branch] - v
            if len(used):
                e = np.searchsorted(used, e)
            entries[e, _EULER] += EULER_CHANGE[masks[p]]

    nodes = np.empty((min(size, image.size), 10), np.int32)
    num_nodes = 0
    grow = 1 if holes else 0
    is_left = death == 0
    order = np.append(absorbed, np.flatnonzero(is_left).astype(np.uint32))
    state = np.empty(8, np.int32)
    for branch in order:
        if branch == outside:
            continue
        start, stop = first[branch], first[branch + 1]
        if len(used):
            start, stop = np.searchsorted(used, start), np.searchsorted(used, stop)
        state[:] = _NOTHING
        level = np.int64(0)
        for e in range(start, stop + 1):
            if e < stop:
                if entries[e, _COUNT] == 0:
                    continue
                number = used[e] if len(used) else e
                below = birth[branch] - (number - first[branch])
            else:
                below = death[branch]
            if level > below:
                nodes[num_nodes, X0] = -state[_MINUS_MIN_X] - 1 - grow
                nodes[num_nodes, Y0] = -state[_MINUS_MIN_Y] - 1 - grow
                nodes[num_nodes, X1] = state[_MAX_X] + grow
                nodes[num_nodes, Y1] = state[_MAX_Y] + grow
                nodes[num_nodes, FIRST_LEVEL] = highest - level if holes else below
                nodes[num_nodes, LAST_LEVEL] = highest - below - 1 if holes else level - 1
                nodes[num_nodes, FIRST_PIXEL] = -state[_MINUS_FIRST]
                nodes[num_nodes, AREA2] = state[_AREA2]
                nodes[num_nodes, EULER] = state[_EULER]
                nodes[num_nodes, COUNT] = state[_COUNT]
                num_nodes += 1
            if e < stop:
                _add(state, entries[e])
                level = below
        if death[branch] > 0 and into[branch] != outside:
            heir = into[branch]
            e = first[heir] + birth[heir] - death[branch]
            if len(used):
                e = np.searchsorted(used, e)
            _add(entries[e], state)
    return nodes[:num_nodes], any_holes
