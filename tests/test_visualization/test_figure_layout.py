from wsol_mm.visualization.figure_layout import SheetBlock, TileRow, contact_sheet, figure_of_rows

import numpy as np
from PIL import Image

RED = (200, 0, 0)


def red(picture):
    return (np.asarray(picture) == RED).all(axis=2)


def test_rows_break_into_lines_and_nothing_overlaps():
    tile = Image.new('RGB', (50, 40), RED)
    rows = [TileRow([tile] * 2, ['a', 'b']), TileRow([tile] * 5, list('vwxyz'), 'heading')]
    figure = figure_of_rows('a very long title ' * 20, rows, [((0, 0, 200), 'legend ' * 40)], columns=3)
    assert red(figure).sum() == 7 * 50 * 40
    columns = np.flatnonzero(np.diff(red(figure).any(axis=0).astype(int)))
    assert len(columns) == 6, 'three tiles side by side'
    lines = np.flatnonzero(np.diff(red(figure).any(axis=1).astype(int)))
    assert len(lines) == 6, 'one line of the first row, two of the second'


def test_sheet_puts_blocks_side_by_side():
    tile = Image.new('RGB', (100, 100), RED)
    blocks = [SheetBlock([tile] * 3, f'image {i}') for i in range(6)]
    sheet = contact_sheet('title', blocks, ['a', 'b', 'c'], [((0, 0, 200), 'box')])
    assert red(sheet).sum() == 18 * 100 * 100
    assert 1200 < sheet.width < 1400 and sheet.height < 400
