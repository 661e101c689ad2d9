"""The ten classes of the embedded data set: outlines, patterns and colours.

Outlines live in an object frame (u to the right, v downward, about [-1, 1] each). Patterns are functions of
the position, counted in periods of the pattern, and say which pixels carry ink.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

__all__ = ['SHAPE_CLASSES', 'Colours', 'PartStyle', 'ShapeClass']


class PartStyle(IntEnum):
    """How a part of an object is painted."""

    PATTERN = 1
    INK = 2
    GROUND = 3


class Colours(NamedTuple):
    """The two colours of an object, float64 RGB (3), 0 to 255."""

    ground: np.ndarray
    ink: np.ndarray


Part = tuple[np.ndarray, PartStyle]
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class ShapeClass:
    """One class.

    Args:
        name: Name of the class.
        draw_parts: Takes a generator, returns polygons (M,2) with their styles, back to front.
        pattern: Takes u and v in periods and a generator, returns the ink, bool of u's shape.
        ground: Usual colour, RGB.
        ink: Usual colour of the pattern, RGB.
        max_rotation: Rotations are uniform in plus and minus this many degrees.
    """

    name: str
    draw_parts: Callable[[np.random.Generator], list[Part]]
    pattern: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
    ground: Rgb
    ink: Rgb
    max_rotation: float

    def pick_colours(self, rng: np.random.Generator) -> Colours:
        """Shift the usual colours and their brightness."""
        brightness = rng.uniform(0.8, 1.15)
        return Colours(
            *(
                np.clip(np.array(c) * brightness + rng.uniform(-28, 28, 3), 0, 255)
                for c in (self.ground, self.ink)
            )
        )


def _ellipse(u: float, v: float, a: float, b: float, angle: float = 0.0, n: int = 48) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    points = np.stack([a * np.cos(t), b * np.sin(t)], -1)
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return points @ np.array([[c, s], [-s, c]]) + (u, v)


def _polygon(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, float)


def _radial(radius: Callable[[np.ndarray], np.ndarray], n: int = 120) -> np.ndarray:
    t = np.linspace(-np.pi, np.pi, n, endpoint=False)
    r = radius(t)
    return np.stack([r * np.cos(t), r * np.sin(t)], -1)


def _profile(v: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    """An outline that is symmetric about the v axis."""
    return np.concatenate([np.stack([half_width, v], -1), np.stack([-half_width, v], -1)[::-1]])


def _ladybird(rng: np.random.Generator) -> list[Part]:
    width = rng.uniform(0.80, 0.95)
    return [(_ellipse(-0.85, 0, 0.30, 0.42), PartStyle.INK), (_ellipse(0, 0, 1.0, width), PartStyle.PATTERN)]


def _wasp(rng: np.random.Generator) -> list[Part]:
    width = rng.uniform(0.38, 0.48)
    t = np.linspace(-1, 1, 40)
    body = _profile(t, width * np.sqrt(1 - t**2) * (1 - 0.25 * t))[:, ::-1]  # thick in front, a sting behind
    return [
        (_ellipse(0.05, -0.45, 0.20, 0.42, 25), PartStyle.GROUND),
        (_ellipse(0.05, 0.45, 0.20, 0.42, -25), PartStyle.GROUND),
        (_ellipse(-0.95, 0, 0.22, 0.26), PartStyle.INK),
        (body, PartStyle.PATTERN),
    ]


def _fish(rng: np.random.Generator) -> list[Part]:
    width = rng.uniform(0.48, 0.62)
    tail = _polygon((0.55, 0), (1.15, -0.50), (1.0, 0), (1.15, 0.50))
    return [
        (tail, PartStyle.PATTERN),
        (_ellipse(-0.10, 0, 0.90, width), PartStyle.PATTERN),
        (_ellipse(-0.66, -0.12, 0.08, 0.08), PartStyle.INK),
    ]


def _leaf(rng: np.random.Generator) -> list[Part]:
    width = rng.uniform(0.48, 0.62)
    t = np.linspace(-1, 1, 60)
    blade = _profile(t, width * np.cos(0.5 * np.pi * t) ** 0.8 * (1 + 0.25 * t))
    stalk = _polygon((-0.05, 0.9), (0.05, 0.9), (0.05, 1.25), (-0.05, 1.25))
    return [(stalk, PartStyle.INK), (blade, PartStyle.PATTERN)]


def _house(rng: np.random.Generator) -> list[Part]:
    width, eaves = rng.uniform(0.75, 0.95), rng.uniform(-0.35, -0.10)
    walls = _polygon((-width, eaves), (width, eaves), (width, 1), (-width, 1))
    roof = _polygon((-width - 0.12, eaves), (0, -1), (width + 0.12, eaves))
    return [(walls, PartStyle.PATTERN), (roof, PartStyle.PATTERN)]


def _starfish(rng: np.random.Generator) -> list[Part]:
    depth = rng.uniform(0.40, 0.50)
    return [(_radial(lambda t: depth + (1 - depth) * (0.5 + 0.5 * np.cos(5 * t)) ** 1.3), PartStyle.PATTERN)]


def _kite(rng: np.random.Generator) -> list[Part]:
    width, waist = rng.uniform(0.65, 0.80), rng.uniform(-0.35, -0.20)
    return [(_polygon((0, -1), (width, waist), (0, 1), (-width, waist)), PartStyle.PATTERN)]


def _pineapple(rng: np.random.Generator) -> list[Part]:
    width = rng.uniform(0.52, 0.62)
    crown = [
        (_polygon((-0.16, -0.35), (tip, -1.05 + 0.45 * abs(tip)), (0.16, -0.35)), PartStyle.INK)
        for tip in (-0.48, -0.20, 0.08, 0.40)
    ]
    return [*crown, (_ellipse(0, 0.28, width, 0.78), PartStyle.PATTERN)]


def _snail(rng: np.random.Generator) -> list[Part]:
    foot = _polygon((-1.15, 0.62), (-1.05, 0.42), (-0.2, 0.55), (0.95, 0.80), (0.95, 0.92), (-0.9, 0.92))
    horn = _polygon((-1.05, 0.5), (-1.20, 0.1), (-1.08, 0.1), (-0.90, 0.5))
    size = rng.uniform(0.80, 0.90)
    return [
        (foot, PartStyle.GROUND),
        (horn, PartStyle.GROUND),
        (_ellipse(0, 0, size, size), PartStyle.PATTERN),
    ]


def _vase(rng: np.random.Generator) -> list[Part]:
    belly, neck = rng.uniform(0.62, 0.75), rng.uniform(0.22, 0.32)
    v = np.linspace(-1, 1, 40)
    bulge = np.exp(-(((v - 0.25) / 0.50) ** 2))
    lip = 0.20 * np.exp(-(((v + 1) / 0.16) ** 2))
    return [(_profile(v, neck + (belly - neck) * bulge + lip), PartStyle.PATTERN)]


def _fraction(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _triangle_wave(x: np.ndarray) -> np.ndarray:
    """0 at whole numbers, 1 half-way."""
    return 1 - np.abs(2 * _fraction(x) - 1)


def _dots(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    row = np.floor(v / 0.9)
    du = _fraction(u / 1.05 + 0.5 * (row % 2)) - 0.5
    return (1.05 * du) ** 2 + (v - 0.9 * (row + 0.5)) ** 2 < 0.33**2


def _stripes(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _fraction(u + rng.random()) < 0.5


def _scales(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of arcs that open backwards, each row shifted by half a scale."""
    column = np.floor(u / 0.6)
    dv = _fraction(v + 0.5 * (column % 2)) - 0.5
    du = u - 0.6 * column
    return np.abs(np.hypot(du - 0.55, dv) - 0.50) < 0.13


def _veins(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (_fraction(v + 0.9 * np.abs(u) + rng.random()) < 0.28) | (np.abs(u) < 0.16)


def _bricks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    row = np.floor(v / 0.62)
    joint = _fraction(u / 1.25 + 0.5 * (row % 2)) < 0.16
    return joint | (_fraction(v / 0.62) < 0.26)


def _granules(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Small grains, one in each cell of a fine grid, at a random place in the cell and of a random size."""
    u, v = u / 0.55, v / 0.55
    n = 64
    jitter, radius = rng.uniform(0.3, 0.7, (n, n, 2)), rng.uniform(0.18, 0.40, (n, n))
    i, j = (np.floor(v).astype(int) % n), (np.floor(u).astype(int) % n)
    du, dv = _fraction(u) - jitter[i, j, 0], _fraction(v) - jitter[i, j, 1]
    return du**2 + dv**2 < radius[i, j] ** 2


def _checks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (np.floor(u / 0.55) + np.floor(v / 0.55)) % 2 == 0


def _lattice(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    a, b = 0.8 * u + 0.6 * v, 0.8 * u - 0.6 * v
    return (_fraction(a) < 0.24) | (_fraction(b) < 0.24)


def _spiral(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _fraction(np.hypot(u, v) + np.arctan2(v, u) / (2 * np.pi)) < 0.42


def _zigzag(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _fraction(v + 0.55 * _triangle_wave(u / 1.3)) < 0.45


SHAPE_CLASSES: tuple[ShapeClass, ...] = (
    ShapeClass('ladybird', _ladybird, _dots, (205, 45, 35), (30, 20, 20), 180),
    ShapeClass('wasp', _wasp, _stripes, (235, 195, 45), (35, 25, 20), 180),
    ShapeClass('fish', _fish, _scales, (90, 150, 205), (20, 50, 110), 35),
    ShapeClass('leaf', _leaf, _veins, (70, 150, 50), (195, 220, 120), 180),
    ShapeClass('house', _house, _bricks, (170, 75, 55), (225, 210, 190), 12),
    ShapeClass('starfish', _starfish, _granules, (225, 105, 45), (250, 225, 170), 180),
    ShapeClass('kite', _kite, _checks, (215, 50, 110), (250, 215, 60), 180),
    ShapeClass('pineapple', _pineapple, _lattice, (225, 170, 50), (95, 75, 20), 40),
    ShapeClass('snail', _snail, _spiral, (225, 195, 150), (110, 70, 45), 25),
    ShapeClass('vase', _vase, _zigzag, (235, 235, 225), (35, 75, 165), 15),
)  # fmt: skip
