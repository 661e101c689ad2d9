"""A review of a few small images."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
SCORES = (0.9, 0.1, 0.5, 0.3)


def write_samples(folder: Path, scores=SCORES) -> tuple[Path, Path]:
    """Write images of a grey square on noise, with a box of each a bit beside it; return both places."""
    photos = folder / 'photos'
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number, score in enumerate(scores, 1):
        pixels = rng.integers(40, 90, (HEIGHT, WIDTH, 3), np.uint8)
        pixels[10:30, 20:50] = 180
        Image.fromarray(pixels).save(photos / f'{number}.png')
        images.append(dict(id=number, file_name=f'{number}.png', width=WIDTH, height=HEIGHT))
        if score is not None:
            annotations.append(
                dict(
                    id=10 * number, image_id=number, category_id=1 + number % 2, bbox=[18, 12, 20, 16],
                    area=320, iscrowd=0, segmentation=[], score=score,
                )
            )  # fmt: skip
    categories = [dict(id=1, name='cat'), dict(id=2, name='dog')]
    coco = dict(
        info=dict(description='samples'), images=images, annotations=annotations, categories=categories
    )
    (folder / 'boxes.json').write_text(json.dumps(coco))
    return folder / 'boxes.json', photos


def wire(state) -> list[dict]:
    """Return the boxes of a state as a page sends them."""
    return [dict(id=box.id, category=box.category, bbox=list(box.bbox)) for box in state.boxes]
