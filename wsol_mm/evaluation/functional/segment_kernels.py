"""Compiled kernels that cut the rows of a level image into segments; see ``region_kernels.py``.

Pixels at which something happens, one in ten of a smooth map, are marked by vector instructions over the
whole image and read off a bitmap.
"""

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from .neighbour_tables import WEST

# Marks of a pixel: a segment begins here, it rises no more, the one before has ended, the pixel is critical.
_BEGINS, _RISEN, _ENDED, _CRITICAL = 1, 2, 4, 8
_ONES = np.uint64(0x0101010101010101)
_GATHER = np.uint64(0x0102040810204080)


@intrinsic
def _trailing_zeros(context: Any, word: Any) -> Any:
    """Number of the lowest bit of a word that is set."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], context.get_constant(types.boolean, 1))

    return types.uint64(types.uint64), build


@intrinsic
def _set_bits(context: Any, word: Any) -> Any:
    """Number of bits of a word that are set."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), build


@numba.njit(cache=True, nogil=True)
def _mark_pixels(image, masks, four):
    """Mark what happens at every pixel.

    A pixel is critical for components if its neighbours before it are not just one 8-connected arc with a gap
    among the 4-neighbours, and for holes (``four``) if they are several 4-connected arcs. Both are counts of
    bits: of positions at which an arc ends, one for every arc (S. Yokoi, J. Toriwaki, T. Fukumura, *An
    analysis of topological properties of digitized binary pictures using local features*, 1975).

    Returns:
        (pixels,) uint8, then zeros up to a multiple of 64.
    """
    size = image.size
    marks = np.zeros((size + 63) // 64 * 64, np.uint8)
    inside = np.empty(size, np.uint8)
    rising = np.empty(size, np.uint8)
    for p in range(size):
        inside[p] = 1 if image[p] > 0 else 0
    for p in range(size):
        rising[p] = inside[p] & ~(masks[p] >> WEST)
    if four:
        for p in range(size):
            mask = masks[p]
            ends = np.uint8(mask & ~((mask >> 1 | mask << 7) & (mask >> 2 | mask << 6)) & 0x55)
            marks[p] = _CRITICAL if (np.uint8(ends & (ends - 1)) != 0) & (inside[p] != 0) else 0
    else:
        for p in range(size):
            mask = masks[p]
            ends = np.uint8(~mask & ((mask >> 1 | mask << 7) | (mask >> 2 | mask << 6)) & 0x55)
            other = (ends == 0) | (np.uint8(ends & (ends - 1)) != 0)
            marks[p] = _CRITICAL if other & (inside[p] != 0) else 0
    # Views, so that the loop over neighbours becomes vector instructions.
    rose, rises, was_inside, is_inside = rising[:-1], rising[1:], inside[:-1], inside[1:]
    out = marks[1:size]
    for p in range(size - 1):
        begins = rises[p] & ~rose[p]
        out[p] |= begins | (rose[p] & ~rises[p]) << 1 | (was_inside[p] & (begins | (is_inside[p] ^ 1))) << 2
    marks[0] |= rising[0]
    return marks


@numba.njit(cache=True, nogil=True)
def cut_rows(image, masks, four):
    """Cut the rows into segments and list the critical pixels.

    Args:
        image: As for :func:`~.region_kernels.neighbour_masks`.
        masks: From :func:`~.region_kernels.neighbour_masks`.
        four: Whether pixels are critical for 4-connected components, or else for 8-connected ones.

    Returns:
        starts, summits and ends (S,), flat indices of the first, the highest and the last pixel of every
        segment; the indices of the critical pixels; and, for :func:`segment_at`, the bitmap of the starts and
        how many there are before each of its words.
    """
    marks = _mark_pixels(image, masks, four)
    bytes_of_8 = marks.view(np.uint64)
    words = marks.size // 64
    marked = np.empty(words, np.uint64)
    begins = np.empty(words, np.uint64)
    before = np.empty(words, np.int64)
    number = begun = 0
    for w in range(words):
        any_mark = start = np.uint64(0)
        for part in range(8):
            eight = bytes_of_8[8 * w + part]
            shift = np.uint64(8 * part)
            one_of_two = eight | eight >> np.uint64(1)
            marks_of_8 = (one_of_two | one_of_two >> np.uint64(2)) & _ONES
            any_mark |= (marks_of_8 * _GATHER >> np.uint64(56)) << shift
            start |= ((eight & _ONES) * _GATHER >> np.uint64(56)) << shift
        marked[w], begins[w], before[w] = any_mark, start, begun
        number += np.int64(_set_bits(any_mark))
        begun += np.int64(_set_bits(start))

    starts = np.empty(number + 1, np.int32)
    summits = np.empty(number + 1, np.int32)
    ends = np.empty(number + 1, np.int32)
    found = np.empty(number + 1, np.int32)
    num_starts = num_summits = num_ends = num_found = 0
    for w in range(words):
        word = marked[w]
        while word != 0:
            p = 64 * w + np.int64(_trailing_zeros(word))
            word &= word - np.uint64(1)
            mark = marks[p]
            # Sums instead of branches: what a pixel is is hard to predict.
            starts[num_starts] = p
            num_starts += mark & 1
            summits[num_summits] = p - 1
            num_summits += mark >> 1 & 1
            ends[num_ends] = p - 1
            num_ends += mark >> 2 & 1
            found[num_found] = p
            num_found += mark >> 3 & 1
    # The last pixel is of the border, whose row is one segment where it counts.
    summits[num_summits] = ends[num_ends] = image.size - 1
    return starts[:num_starts], summits[:num_starts], ends[:num_starts], found[:num_found], begins, before


@numba.njit(cache=True, nogil=True)
def segment_at(begins, before, p):
    """Return the segment of a pixel: the one that began last.

    Args:
        begins, before: From :func:`cut_rows`.
        p: Flat index of a pixel that is in a segment.
    """
    w = p >> 6
    upto = begins[w] << np.uint64(63 - (p & 63))
    return before[w] + np.int64(_set_bits(upto)) - 1
