"""Small pictures that figures are put together from: image, heat and boxes in a frame, and text that fits."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Colour = (250, 250, 250)
INK: Colour = (30, 30, 30)
FAINT: Colour = (110, 110, 110)

# Matplotlib brings the same fonts everywhere.
_FONT_DIR = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'


def load_font(size: int = 12, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of all figures, in a size in pixels."""
    return ImageFont.truetype(str(_FONT_DIR / ('DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf')), size)


class Tile(NamedTuple):
    """An image fitted into a frame.

    Attributes:
        picture: The frame's content, on the background colour.
        scale: Pixels of the tile per pixel of the image.
        corner: The image's upper left corner (x, y) on the tile.
    """

    picture: Image.Image
    scale: float
    corner: tuple[int, int]


def overlay_heat(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a heat map (H, W) in [0, 1] over an RGB image (H, W, 3)."""
    colours = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return cv2.addWeighted(image, 0.4, np.ascontiguousarray(colours), 0.6, 0)


def fit_tile(image: NDArray[np.uint8], size: int | tuple[int, int]) -> Tile:
    """Fit an RGB image (H, W, 3) into a frame, keeping its aspect ratio.

    Args:
        image: The image.
        size: Side of a square frame, or (width, height), in pixels.
    """
    frame = (size, size) if isinstance(size, int) else size
    height, width = image.shape[:2]
    scale = min(frame[0] / width, frame[1] / height)
    fitted = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.new('RGB', frame, BACKGROUND)
    corner = (frame[0] - fitted[0]) // 2, (frame[1] - fitted[1]) // 2
    picture.paste(Image.fromarray(image).resize(fitted, Image.Resampling.BICUBIC), corner)
    return Tile(picture, scale, corner)


def draw_boxes(tile: Tile, boxes: NDArray[np.floating], colour: Colour) -> None:
    """Draw boxes (N, 4) with exclusive ends, in pixels of the original image, on its tile."""
    draw = ImageDraw.Draw(tile.picture)
    for x0, y0, x1, y1 in np.asarray(boxes, float) * tile.scale + (*tile.corner, *tile.corner):
        corners = round(x0), round(y0), max(round(x0), round(x1) - 1), max(round(y0), round(y1) - 1)
        draw.rectangle(corners, outline=colour, width=2)


def draw_quadrilaterals(tile: Tile, corners: NDArray[np.floating], colour: Colour) -> None:
    """Draw closed outlines of four corners (N, 4, 2), in pixels of the image, cut where the image ends."""
    width, height = (side - 2 * low for side, low in zip(tile.picture.size, tile.corner, strict=True))
    window = Image.new('RGB', (width, height))
    window.paste(tile.picture, (-tile.corner[0], -tile.corner[1]))
    draw = ImageDraw.Draw(window)
    for outline in np.asarray(corners, float) * tile.scale:
        # Ends are exclusive: the last pixel is half a pixel further in than the corner, the first half out.
        points = [tuple(point) for point in outline - 0.5]
        draw.line([*points, *points[:2]], fill=colour, width=2)
    tile.picture.paste(window, tile.corner)


def shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut a text to a width in pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f'{text}…') > width:
        text = text[:-1]
    return f'{text}…'


def draw_legend(picture: Image.Image, corner: tuple[int, int], entries: Sequence[tuple[Colour, str]]) -> None:
    """Write entries of coloured outlines with their meaning in one line, each cut to the space left."""
    draw, font = ImageDraw.Draw(picture), load_font()
    x, y = corner
    for colour, text in entries:
        text = shorten(text, font, picture.width - x - 24)
        draw.rectangle((x, y + 3, x + 14, y + 13), outline=colour, width=2)
        draw.text((x + 20, y + 1), text, INK, font)
        x += 40 + round(font.getlength(text))
