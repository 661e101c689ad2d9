"""Arranges tiles: rows of one picture, or blocks of a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .tiles import BACKGROUND, FAINT, INK, Colour, draw_legend, load_font, shorten

GAP = 6
TEXT_HEIGHT = 20
_LEAST_WIDTH = 560
_SHEET_WIDTH = 1600  # about; as many blocks stand side by side as fit, one at least


@dataclass(frozen=True)
class TileRow:
    """Tiles of one size under a heading, which continue in further lines where they do not fit.

    Attributes:
        tiles: The tiles; at least one.
        labels: What stands above each tile.
        heading: What stands above all of them; '' for none.
        colour: Of the heading.
    """

    tiles: Sequence[Image.Image]
    labels: Sequence[str]
    heading: str = ''
    colour: Colour = INK


@dataclass(frozen=True)
class SheetBlock:
    """Tiles of one image on a contact sheet, and the line below them.

    Attributes:
        tiles: Square tiles, as many as the sheet has heads.
        caption: The line.
        colour: Its colour.
    """

    tiles: Sequence[Image.Image]
    caption: str
    colour: Colour = INK


def figure_of_rows(
    title: str,
    rows: Sequence[TileRow],
    legend: Sequence[tuple[Colour, str]] = (),
    columns: int = 6,
) -> Image.Image:
    """Lay out rows of labelled tiles under a title and a legend.

    Args:
        title: First line of the figure.
        rows: The rows; each has tiles of one size.
        legend: Colours of outlines and their meaning.
        columns: At most this many tiles in a line.

    Returns:
        The figure, RGB.
    """
    bold, font = load_font(14, bold=True), load_font()
    used = max(min(len(row.tiles), columns) for row in rows)
    width = max(used * (max(tile.width for row in rows for tile in row.tiles) + GAP) + 3 * GAP, _LEAST_WIDTH)
    top = GAP + TEXT_HEIGHT * (2 if legend else 1) + GAP
    heights = [_row_height(row, columns) for row in rows]
    figure = Image.new('RGB', (width, top + sum(heights) + GAP), BACKGROUND)
    draw = ImageDraw.Draw(figure)
    draw.text((2 * GAP, GAP), shorten(title, bold, width - 4 * GAP), INK, bold)
    draw_legend(figure, (2 * GAP, GAP + TEXT_HEIGHT), legend)
    y = top
    for row, height in zip(rows, heights, strict=True):
        line = y
        if row.heading:
            draw.text((2 * GAP, line), shorten(row.heading, bold, width - 4 * GAP), row.colour, bold)
            line += TEXT_HEIGHT
        tile_width, tile_height = row.tiles[0].size
        for index, (tile, label) in enumerate(zip(row.tiles, row.labels, strict=True)):
            place = divmod(index, columns)
            x = 2 * GAP + place[1] * (tile_width + GAP)
            upper = line + place[0] * (tile_height + TEXT_HEIGHT + GAP)
            draw.text((x, upper), shorten(label, font, tile_width), FAINT, font)
            figure.paste(tile, (x, upper + TEXT_HEIGHT))
        y += height
    return figure


def _row_height(row: TileRow, columns: int) -> int:
    lines = -(-len(row.tiles) // columns)
    return lines * (row.tiles[0].height + TEXT_HEIGHT + GAP) + (TEXT_HEIGHT if row.heading else 0) + GAP


def contact_sheet(
    title: str,
    blocks: Sequence[SheetBlock],
    heads: Sequence[str],
    legend: Sequence[tuple[Colour, str]],
) -> Image.Image:
    """Lay out blocks of square tiles, as many side by side as fit, under a title, a legend and column heads.

    Args:
        title: First line of the sheet.
        blocks: One for each image; their tiles are of one size.
        heads: What stands above the columns of a block.
        legend: Colours of outlines and their meaning.

    Returns:
        The sheet, RGB.
    """
    side = blocks[0].tiles[0].width
    block_width, block_height = len(heads) * (side + GAP) + 2 * GAP, side + TEXT_HEIGHT + GAP
    across = max(1, min(len(blocks), _SHEET_WIDTH // block_width))
    down = -(-len(blocks) // across)
    top = 3 * TEXT_HEIGHT + 3 * GAP
    sheet = Image.new('RGB', (across * block_width + 2 * GAP, top + down * block_height + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font, bold = load_font(), load_font(14, bold=True)
    draw.text((2 * GAP, GAP), shorten(title, bold, sheet.width - 4 * GAP), INK, bold)
    draw_legend(sheet, (2 * GAP, GAP + TEXT_HEIGHT + 2), legend)
    for column in range(across):
        for position, head in enumerate(heads):
            place = 2 * GAP + column * block_width + position * (side + GAP), 2 * TEXT_HEIGHT + 2 * GAP
            draw.text(place, shorten(head, font, side), FAINT, font)
    for index, block in enumerate(blocks):
        left = 2 * GAP + (index % across) * block_width
        upper = top + (index // across) * block_height
        for position, tile in enumerate(block.tiles):
            sheet.paste(tile, (left + position * (side + GAP), upper))
        text = shorten(block.caption, font, block_width - 3 * GAP)
        draw.text((left, upper + side + 2), text, block.colour, font)
    return sheet
