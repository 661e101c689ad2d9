from wsol_mm.visualization.tiles import draw_boxes, draw_quadrilaterals, fit_tile, load_font, shorten

import numpy as np

GREEN = (60, 200, 60)


def extent(tile):
    drawn = (np.asarray(tile.picture) == GREEN).all(axis=2)
    return [np.flatnonzero(drawn.any(axis=axis))[[0, -1]].tolist() for axis in (0, 1)]


def test_tile_keeps_the_aspect_ratio_and_boxes_follow():
    tile = fit_tile(np.zeros((50, 100, 3), np.uint8), 40)
    assert (tile.picture.size, tile.scale, tile.corner) == ((40, 40), 0.4, (0, 10))
    draw_boxes(tile, np.array([[10, 10, 60, 40]]), GREEN)
    # 10 * 0.4 to 60 * 0.4, exclusive
    assert extent(tile) == [[4, 23], [14, 25]]


def test_frame_need_not_be_square():
    tile = fit_tile(np.full((30, 30, 3), 255, np.uint8), (60, 20))
    assert (tile.picture.size, tile.corner) == ((60, 20), (20, 0))


def test_outline_ends_where_the_image_does():
    tile = fit_tile(np.zeros((20, 40, 3), np.uint8), 40)
    draw_quadrilaterals(tile, np.array([[(10, 5), (60, 5), (60, 15), (10, 15)]]), GREEN)
    (left, right), (top, bottom) = extent(tile)
    # The upper edge is at 10 + 5, the lower one at 10 + 15; the right one lies outside.
    assert right == 39 and np.abs(np.array([left - 10, top - 15, bottom - 24])).max() <= 2
    draw_quadrilaterals(tile, np.array([[(0, -9), (40, -9), (40, 29), (0, 29)]]), GREEN)
    assert extent(tile)[1][0] >= 10 and extent(tile)[1][1] < 30, 'nothing is drawn beside the image'


def test_text_is_cut_to_the_width():
    font = load_font()
    assert shorten('short', font, 100) == 'short'
    cut = shorten('a text that is far too long', font, 60)
    assert cut.endswith('…') and font.getlength(cut) <= 60
