"""What follows from the mask of a pixel's eight neighbours.

Ring of neighbours, in this order: east, north-east, north, north-west, west, south-west, south, south-east
(counter- clockwise on the screen); bit k of a mask stands for neighbour k.
"""

import numpy as np

RING_X = np.array([1, 1, 0, -1, -1, -1, 0, 1], np.int64)
RING_Y = np.array([0, -1, -1, -1, 0, 1, 1, 1], np.int64)
NORTH, WEST = 2, 4


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
        (256, 4), ring position of one neighbour of each arc; euler (256,), change of the Euler number when
        the middle pixel is added; area2 (256,), change of the sum over 2x2 windows; arcs4 (256,) and
        arc_ring4 (256, 4), as the first two for 4-connected arcs of 4-neighbours.
    """
    arcs, euler, area2, arcs4 = (np.zeros(256, np.int64) for _ in range(4))
    arc_ring, arc_ring4 = (np.zeros((256, 4), np.int64) for _ in range(2))
    for mask in range(256):
        inside = [bool(mask >> k & 1) for k in range(8)]

        members = [k for k in range(8) if inside[k]]
        links = [(k, (k + 1) % 8) for k in members if inside[(k + 1) % 8]]
        # Two 4-neighbours on either side of a corner are diagonal to each other.
        links += [(k, (k + 2) % 8) for k in members if k % 2 == 0 and inside[(k + 2) % 8]]
        chosen = _arc_representatives(links, members)
        arcs[mask] = len(chosen)
        arc_ring[mask, : len(chosen)] = chosen

        # The pixel joins its arcs into one component; with all 4-neighbours inside it also fills a hole.
        euler[mask] = 1 - arcs[mask] + all(inside[::2])
        windows = [inside[k] + inside[k + 1] + inside[(k + 2) % 8] for k in range(0, 8, 2)]
        area2[mask] = sum(others >= 2 for others in windows)

        members = [k for k in range(0, 8, 2) if inside[k]]
        # Two 4-neighbours are 4-connected through the diagonal between them.
        links = [(k, (k + 2) % 8) for k in members if inside[k + 1] and inside[(k + 2) % 8]]
        chosen = _arc_representatives(links, members)
        arcs4[mask] = len(chosen)
        arc_ring4[mask, : len(chosen)] = chosen
    return arcs, arc_ring, euler, area2, arcs4, arc_ring4


ARCS, ARC_RING, EULER_CHANGE, AREA2_CHANGE, ARCS_4, ARC_RING_4 = build_neighbour_tables()
