"""Localization maps as transparent pictures over an image."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def map_overlay(file: Path, label: int | None) -> bytes:
    """Colour a saved map: PNG with the cells of the grid as pixels, more opaque where the map is higher.

    Args:
        file: ``.npz`` with ``maps`` (K, h, w) and ``labels`` (K), of ``tools/predict.py --save-maps``.
        label: Class index whose map is wanted; the first one where it has none, or for None.

    Returns:
        The picture.

    Raises:
        OSError: If the file is missing.
        ValueError: If it is no such file.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            maps, labels = content['maps'], content['labels'].tolist()
        grid = np.asarray(maps[labels.index(label) if label in labels else 0], np.float32)
    except (KeyError, ValueError, IndexError, TypeError, EOFError) as error:
        raise ValueError(f'{file}: expected maps and labels of a prediction, got others ({error})') from error
    low, high = float(grid.min()), float(grid.max())
    heat = (grid - low) / (high - low) if high > low else np.zeros_like(grid)
    # From violet over red to yellow: lightness grows with the map, so that it reads without colours too.
    stops = np.array([[72, 20, 120], [190, 40, 100], [250, 120, 40], [255, 235, 90]], np.float32)
    places = np.linspace(0, 1, len(stops))
    channels = [np.interp(heat, places, stops[:, channel]) for channel in range(3)]
    picture = np.stack([*channels, 200 * heat], axis=-1)
    out = BytesIO()
    Image.fromarray(picture.round().astype(np.uint8), 'RGBA').save(out, 'PNG')
    return out.getvalue()
