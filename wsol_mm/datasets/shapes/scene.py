"""Backgrounds, clutter and distractors of the embedded data set: everything that belongs to no class.

All lengths are fractions of ``unit``, the shorter side of the picture in canvas pixels; everything is drawn
in place on uint8 RGB canvases (H,W,3).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .parts import SHAPE_CLASSES

__all__ = ['draw_background', 'draw_distractors', 'draw_foreground_blades']

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class _Scene:
    """A kind of place: two ground colours, the colours of its clutter and the sort of its strokes."""

    ground: tuple[Rgb, Rgb]
    clutter: tuple[Rgb, ...]
    stroke: str  # 'blade' | 'pebble' | 'ripple' | 'crack'
    blade_colour: Rgb


_SCENES: tuple[_Scene, ...] = (
    _Scene(  # meadow
        ((70, 115, 45), (115, 150, 70)),
        ((50, 95, 35), (140, 170, 80), (165, 160, 90)),
        'blade',
        (60, 120, 40),
    ),
    _Scene(  # beach
        ((200, 175, 130), (170, 145, 105)),
        ((150, 125, 90), (225, 205, 165), (130, 120, 110)),
        'pebble',
        (150, 140, 80),
    ),
    _Scene(  # pond
        ((60, 110, 140), (95, 150, 165)),
        ((130, 180, 190), (45, 85, 120), (160, 200, 195)),
        'ripple',
        (50, 100, 80),
    ),
    _Scene(  # bark
        ((95, 70, 50), (130, 100, 75)),
        ((70, 50, 35), (150, 120, 90), (110, 110, 70)),
        'crack',
        (90, 100, 50),
    ),
    _Scene(  # gravel
        ((130, 130, 130), (165, 160, 150)),
        ((95, 95, 100), (190, 185, 175), (120, 105, 90)),
        'pebble',
        (100, 110, 70),
    ),
    _Scene(  # autumn
        ((120, 80, 50), (155, 105, 60)),
        ((180, 120, 60), (90, 60, 40), (140, 60, 35)),
        'blade',
        (150, 120, 60),
    ),
)


def draw_background(rng: np.random.Generator, height: int, width: int, unit: int) -> np.ndarray:
    """Paint a place: two ground colours in soft patches, grain, and strewn strokes.

    Returns:
        The canvas, uint8 RGB (height,width,3).
    """
    scene = _SCENES[rng.integers(len(_SCENES))]
    # Values of 8 bits are enlarged by OpenCV in fixed point, alike on every machine.
    patches = cv2.resize(
        rng.integers(0, 256, (5, 5), np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )
    speckle = cv2.resize(
        rng.integers(0, 256, (24, 24), np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )
    blend = (patches.astype(np.float64) * 0.65 + speckle * 0.35)[..., None] / 255
    grain = rng.integers(-14, 15, (height // 2, width // 2, 1), np.int16).repeat(2, 0).repeat(2, 1)
    tint = rng.uniform(-14, 14, 3)
    ground = [np.array(colour) + tint for colour in scene.ground]
    canvas = np.rint(ground[0] * (1 - blend) + ground[1] * blend)
    grain = cv2.resize(grain[..., 0], (width, height), interpolation=cv2.INTER_NEAREST)[..., None]
    canvas = np.clip(canvas + grain, 0, 255).astype(np.uint8)

    direction = rng.uniform(-90, 90)
    for _ in range(rng.integers(60, 140)):
        colour = _shift(rng, scene.clutter[rng.integers(len(scene.clutter))], 20)
        _draw_stroke(rng, canvas, scene.stroke, colour, direction, unit)
    return canvas


def _shift(rng: np.random.Generator, colour: Rgb, amount: int) -> Rgb:
    moved = zip(colour, rng.integers(-amount, amount + 1, 3), strict=True)
    red, green, blue = (int(np.clip(channel + step, 0, 255)) for channel, step in moved)
    return red, green, blue


def _draw_stroke(
    rng: np.random.Generator, canvas: np.ndarray, kind: str, colour: Rgb, direction: float, unit: int
) -> None:
    height, width = canvas.shape[:2]
    x, y = int(rng.integers(width)), int(rng.integers(height))
    if kind == 'blade':
        angle = np.deg2rad(direction + rng.normal(0, 18))
        length = rng.uniform(0.05, 0.16) * unit
        end = (x + round(length * np.cos(angle)), y + round(length * np.sin(angle)))
        cv2.line(canvas, (x, y), end, colour, max(1, round(rng.uniform(0.005, 0.014) * unit)), cv2.LINE_AA)
    elif kind == 'pebble':
        axes = (round(rng.uniform(0.008, 0.035) * unit), round(rng.uniform(0.008, 0.028) * unit))
        cv2.ellipse(canvas, (x, y), axes, direction + rng.normal(0, 25), 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 'ripple':
        axes = (round(rng.uniform(0.03, 0.10) * unit), round(rng.uniform(0.005, 0.02) * unit))
        start = int(rng.integers(0, 180))
        cv2.ellipse(
            canvas, (x, y), axes, 0, start, start + 180, colour, max(1, round(0.008 * unit)), cv2.LINE_AA
        )
    else:
        steps = rng.normal(0, 0.035, (5, 2)) * unit * (0.5, 1.6)
        points = np.rint(np.cumsum(steps, 0) + (x, y)).astype(np.int32)
        cv2.polylines(canvas, [points], False, colour, max(1, round(0.009 * unit)), cv2.LINE_AA)


def draw_distractors(rng: np.random.Generator, canvas: np.ndarray, unit: int) -> None:
    """Strew three to six shapes that belong to no class, plainly painted in the classes' colours."""
    height, width = canvas.shape[:2]
    for _ in range(rng.integers(3, 7)):
        extent = rng.uniform(0.05, 0.15) * unit  # half the longest side
        centre = rng.random(2) * (width, height)
        outline = _random_outline(rng) * extent + centre
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 255, shift=4)
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0 or h == 0:
            continue
        window = np.s_[y : y + h, x : x + w]
        inside = mask[window] > 0
        canvas[window][inside] = _plain_paint(rng, h, w)[inside]


def _random_outline(rng: np.random.Generator) -> np.ndarray:
    """A random outline within the unit circle: polygon, blob, cross or crescent."""
    kind = rng.integers(4)
    turn = rng.uniform(0, 2 * np.pi)
    if kind == 0:  # polygon
        t = np.sort(rng.random(rng.integers(3, 7))) * 2 * np.pi
        r = rng.uniform(0.6, 1.0, t.size)
    elif kind == 1:  # blob
        t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        r = 0.75 + 0.2 * np.sin(2 * t + rng.uniform(0, 6)) * rng.random() + 0.05 * np.sin(3 * t)
    elif kind == 2:  # cross
        arm = rng.uniform(0.18, 0.32)
        corner = np.hypot(1, arm)
        near = np.arctan2(arm, 1)
        quarter = np.array([-near, near, np.pi / 4])
        t = (quarter + np.arange(4)[:, None] * np.pi / 2).ravel()
        r = np.tile([corner, corner, arm * np.sqrt(2)], 4) / corner
    else:  # crescent: an arc there and a flatter one back
        t = np.linspace(-2.2, 2.2, 30)
        outer = np.stack([np.cos(t), np.sin(t)], -1)
        inner = np.stack([0.7 * np.cos(t[::-1]) - 0.35, np.sin(t[::-1])], -1)
        points = np.concatenate([outer, inner])
        return points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.stack([r * np.cos(t + turn), r * np.sin(t + turn)], -1)


def _plain_paint(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One colour, a shade from one colour to another, or soft mottles, uint8 RGB (height,width,3)."""
    palette = [c for shape_class in SHAPE_CLASSES for c in (shape_class.ground, shape_class.ink)]
    first, second = (np.array(_shift(rng, palette[i], 28)) for i in rng.integers(len(palette), size=2))
    kind = rng.integers(3)
    if kind == 0:
        blend = np.zeros((height, width))
    elif kind == 1:
        blend = np.broadcast_to(np.linspace(0, 1, width), (height, width))
    else:
        blend = cv2.resize(rng.integers(0, 256, (4, 4), np.uint8), (width, height)) / 255
    return np.rint(first * (1 - blend[..., None]) + second * blend[..., None]).astype(np.uint8)


def draw_foreground_blades(rng: np.random.Generator, canvas: np.ndarray, mask: np.ndarray, unit: int) -> None:
    """Let up to three thin blades cross the object, as a small occlusion.

    Args:
        rng: Source of all choices.
        canvas: uint8 RGB (H,W,3), changed in place.
        mask: The object's pixels, uint8 (H,W); not changed: the box is the whole object's.
        unit: Shorter side of the picture in canvas pixels.
    """
    x, y, w, h = cv2.boundingRect(mask)
    for _ in range(rng.integers(0, 4)):
        colour = _shift(rng, _SCENES[rng.integers(len(_SCENES))].blade_colour, 20)
        foot = (x + int(rng.integers(w)), y + h + round(0.05 * unit))
        tip = (foot[0] + round(rng.normal(0, 0.12) * unit), y + round(rng.uniform(0.2, 0.8) * h))
        cv2.line(canvas, foot, tip, colour, max(1, round(0.012 * unit)), cv2.LINE_AA)
