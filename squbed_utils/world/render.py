"""The renderer of the shapes world: a scene in, an anti-aliased video out; a rule a subject."""

from collections.abc import Callable

import numpy as np

from squbed_utils.world.scenes import Scene, missing

FRAMES, SIDE, FPS = 9, 32, 8
"""Frames a video, pixels a side, frames a second."""

SUPERSAMPLING = 3
RADIUS = {"small": 7.5, "large": 11.0}
STEP = 1.0
"""Pixels that a moving subject covers between two frames."""

DRIFT = 0.5
"""The farthest, in pixels each way, from the middle of a path to the middle of the frame."""

DIRECTION = {"still": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
COLOUR = {
    "red": (0.86, 0.08, 0.10),
    "orange": (1.00, 0.52, 0.05),
    "yellow": (0.98, 0.90, 0.10),
    "green": (0.10, 0.60, 0.15),
    "cyan": (0.10, 0.85, 0.90),
    "blue": (0.10, 0.20, 0.90),
    "purple": (0.45, 0.08, 0.60),
    "pink": (1.00, 0.55, 0.80),
}
GREY = {"black": (0.0, 0.0), "grey": (0.5, 0.5), "white": (1.0, 1.0), "striped": (0.25, 0.75)}
Array = np.ndarray
Mask = Callable[[Array, Array], Array]


def box(x: Array, y: Array, left: float, top: float, right: float, bottom: float) -> Array:
    """Say which points lie in an upright rectangle."""
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def stroke(x: Array, y: Array, *points: tuple[float, float]) -> Array:
    """Say which points lie within 0.19 of a line through the given points."""
    near = np.full(np.broadcast(x, y).shape, np.inf)
    for (ax, ay), (bx, by) in zip(points[:-1], points[1:], strict=True):
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        near = np.minimum(near, np.hypot(x - ax - along * dx, y - ay - along * dy))
    return near < 0.19


def polygon(x: Array, y: Array, *points: tuple[float, float]) -> Array:
    """Say which points lie in a polygon (even-odd rule)."""
    inside = np.zeros(np.broadcast(x, y).shape, bool)
    for (ax, ay), (bx, by) in zip(points, (*points[1:], points[0]), strict=True):
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return inside


def regular(x: Array, y: Array, corners: int, inner: float, outer: float = 1.0) -> Array:
    """Say which points lie in a star of straight edges; the first point is up.

    ``inner`` is the radius half-way between two points; cos(pi / corners) makes it a polygon.
    """
    half = np.pi / corners
    angle = np.abs((np.arctan2(x, -y) + half) % (2 * half) - half)
    edge = outer * inner * np.sin(half) / (
        inner * np.sin(half - angle) + outer * np.sin(angle)
    )  # fmt: skip
    return np.hypot(x, y) < edge


def disc(x: Array, y: Array, cx: float, cy: float, radius: float) -> Array:
    """Say which points lie in a disc."""
    return np.hypot(x - cx, y - cy) < radius


def gear(x: Array, y: Array) -> Array:
    """Return a disc with eight square teeth and a round hole."""
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    return (r < np.where(np.cos(8 * angle) > 0, 1.0, 0.72)) & (r > 0.3)


def wheel(x: Array, y: Array) -> Array:
    """Return a ring with two thick spokes crossing in it."""
    r = np.hypot(x, y)
    return (r < 1) & ((r > 0.76) | (np.minimum(abs(x), abs(y)) < 0.12))


SHAPES: dict[str, Mask] = {
    # The family round.
    "circle": lambda x, y: np.hypot(x, y) < 0.92,
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.75) < 0.23,
    "crescent": lambda x, y: (np.hypot(x, y) < 0.98) & (np.hypot(x - 0.5, y) > 0.75),
    "oval": lambda x, y: (x / 1.0) ** 2 + (y / 0.52) ** 2 < 1,
    "drop": lambda x, y: (
        disc(x, y, 0, 0.36, 0.6) | ((y < 0.1) & (y > -1) & (abs(x) < 0.52 * (y + 1)))
    ),
    "target": lambda x, y: (np.hypot(x, y) < 0.36) | (abs(np.hypot(x, y) - 0.83) < 0.17),
    "dome": lambda x, y: disc(x, y, 0, 0.45, 1.0) & (y < 0.45),
    "pie": lambda x, y: (np.hypot(x, y) < 0.95) & ((x < 0) | (abs(y) > 0.9 * x)),
    "leaf": lambda x, y: disc(x, y, 0.53, 0.53, 1.25) & disc(x, y, -0.53, -0.53, 1.25),
    # The family angular.
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.82,
    "triangle": lambda x, y: (abs(x) < 0.58 * (y + 0.95)) & (y < 0.75),
    "diamond": lambda x, y: abs(x) / 0.7 + abs(y) < 1,
    "pentagon": lambda x, y: regular(x, y + 0.03, 5, 0.97 * np.cos(np.pi / 5), 0.97),
    "trapezoid": lambda x, y: (abs(y) < 0.55) & (abs(x) < 0.66 + 0.58 * y),
    "slab": lambda x, y: (abs(y) < 0.5) & (abs(x + 0.7 * y) < 0.6),
    "frame": lambda x, y: abs(np.maximum(abs(x), abs(y)) - 0.68) < 0.18,
    "bar": lambda x, y: (abs(x) < 1) & (abs(y) < 0.3),
    "pole": lambda x, y: (abs(y) < 1) & (abs(x) < 0.28),
    # The family radial.
    "star": lambda x, y: regular(x, y, 5, 0.42),
    "spark": lambda x, y: np.sqrt(abs(x)) + np.sqrt(abs(y)) < 1.05,
    "flower": lambda x, y: np.hypot(x, y) < 0.68 + 0.3 * np.cos(6 * np.arctan2(y, x)),
    "gear": gear,
    "clover": lambda x, y: np.hypot(x, y) < 0.3 + 0.7 * abs(np.sin(2 * np.arctan2(y, x))),
    "burst": lambda x, y: regular(x, y, 8, 0.55),
    "wheel": wheel,
    "fan": lambda x, y: (
        np.hypot(x, y) < 0.16 + 0.84 * abs(np.cos(1.5 * (np.arctan2(y, x) + np.pi / 2)))
    ),
    "pinwheel": lambda x, y: (
        polygon(x, y, (0, 0), (0, -1), (0.8, -0.8))
        | polygon(x, y, (0, 0), (1, 0), (0.8, 0.8))
        | polygon(x, y, (0, 0), (0, 1), (-0.8, 0.8))
        | polygon(x, y, (0, 0), (-1, 0), (-0.8, -0.8))
    ),
    # The family letter.
    "ell": lambda x, y: box(x, y, -0.62, -0.95, -0.2, 0.95) | box(x, y, -0.62, 0.53, 0.7, 0.95),
    "tee": lambda x, y: box(x, y, -0.85, -0.95, 0.85, -0.5) | box(x, y, -0.22, -0.95, 0.22, 0.95),
    "aitch": lambda x, y: (
        box(x, y, -0.8, -0.95, -0.4, 0.95)
        | box(x, y, 0.4, -0.95, 0.8, 0.95)
        | box(x, y, -0.8, -0.2, 0.8, 0.2)
    ),
    "vee": lambda x, y: (y > -0.9) & (y < 0.9) & (abs(abs(x) - 0.36 * (0.9 - y)) < 0.22),
    "wye": lambda x, y: (
        stroke(x, y, (-0.68, -0.78), (0, 0.05), (0, 0.8)) | stroke(x, y, (0.68, -0.78), (0, 0.05))
    ),
    "zed": lambda x, y: stroke(x, y, (-0.65, -0.74), (0.65, -0.74), (-0.65, 0.74), (0.65, 0.74)),
    "ex": lambda x, y: (
        stroke(x, y, (-0.7, -0.7), (0.7, 0.7)) | stroke(x, y, (-0.7, 0.7), (0.7, -0.7))
    ),
    "en": lambda x, y: stroke(x, y, (-0.62, 0.78), (-0.62, -0.78), (0.62, 0.78), (0.62, -0.78)),
    "eff": lambda x, y: (
        box(x, y, -0.62, -0.95, -0.22, 0.95)
        | box(x, y, -0.62, -0.95, 0.7, -0.57)
        | box(x, y, -0.62, -0.18, 0.45, 0.2)
    ),
    # The family sign.
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.28) & (np.maximum(abs(x), abs(y)) < 1),
    "arrow": lambda x, y: ((y < 0) & (abs(x) < y + 1)) | ((y >= 0) & (y < 1) & (abs(x) < 0.28)),
    "heart": lambda x, y: (
        (1.3 * x**2 + 1.3 * (y - 0.05) ** 2 - 0.9) ** 3 + 1.8 * x**2 * (y - 0.05) ** 3 < 0
    ),
    "hourglass": lambda x, y: (abs(x) < 0.12 + 0.85 * abs(y)) & (abs(y) < 0.95),
    "bowtie": lambda x, y: (abs(y) < 0.12 + 0.7 * abs(x)) & (abs(x) < 0.97),
    "bolt": lambda x, y: polygon(
        x, y, (0.3, -1), (-0.6, 0.2), (-0.05, 0.2), (-0.35, 1), (0.6, -0.25), (0.05, -0.25)
    ),
    "chevron": lambda x, y: (abs(y) < 0.9) & (abs(x + 0.85 * abs(y) - 0.4) < 0.36),
    "checker": lambda x, y: (np.maximum(abs(x), abs(y)) < 0.86) & (x * y > 0),
    "stairs": lambda x, y: (
        box(x, y, -0.9, 0.3, 0.9, 0.9)
        | box(x, y, -0.3, -0.3, 0.9, 0.4)
        | box(x, y, 0.3, -0.9, 0.9, 0)
    ),
    # The family thing.
    "fish": lambda x, y: (
        (((x + 0.25) / 0.72) ** 2 + (y / 0.5) ** 2 < 1) | ((x > 0.3) & (x < 1) & (abs(y) < x - 0.2))
    ),
    "house": lambda x, y: (
        ((y >= -0.15) & (y < 0.9) & (abs(x) < 0.62)) | ((y < -0.15) & (abs(x) < 1.15 * (y + 1)))
    ),
    "key": lambda x, y: (
        (abs(np.hypot(x, y + 0.5) - 0.32) < 0.17)
        | box(x, y, -0.14, -0.1, 0.14, 1)
        | box(x, y, 0, 0.3, 0.5, 0.52)
        | box(x, y, 0, 0.74, 0.5, 0.96)
    ),
    "mushroom": lambda x, y: (
        (disc(x, y, 0, 0.0, 0.95) & (y < 0.0)) | ((abs(x) < 0.27) & (y > -0.05) & (y < 0.92))
    ),
    "tree": lambda x, y: (
        ((y > -1) & (y < -0.1) & (abs(x) < 0.62 * (y + 1)))
        | ((y > -0.35) & (y < 0.55) & (abs(x) < 0.8 * (y + 0.5)))
        | ((abs(x) < 0.17) & (y > 0.5) & (y < 1))
    ),
    "boat": lambda x, y: (
        ((y > 0.3) & (y < 0.85) & (abs(x) < 1.15 - 0.6 * y))
        | ((x > -0.1) & (y < 0.12) & (y > -0.95) & (x < 0.75 * (y + 0.95)))
        | ((abs(x + 0.18) < 0.1) & (y < 0.4) & (y > -0.95))
    ),
    "crown": lambda x, y: polygon(
        x, y, (-0.9, 0.7), (-0.9, -0.7), (-0.45, 0), (0, -0.85), (0.45, 0), (0.9, -0.7), (0.9, 0.7)
    ),
    "cloud": lambda x, y: (
        (disc(x, y, -0.5, 0.12, 0.45) | disc(x, y, 0.5, 0.12, 0.45) | disc(x, y, 0, -0.22, 0.52))
        | ((abs(x) < 0.5) & (y > 0) & (y < 0.57))
    ),
    "trident": lambda x, y: (
        box(x, y, -0.15, -0.95, 0.15, 0.98)
        | box(x, y, -0.8, -0.95, -0.5, 0.2)
        | box(x, y, 0.5, -0.95, 0.8, 0.2)
        | box(x, y, -0.8, -0.05, 0.8, 0.22)
    ),
}
"""Shape -> is the point (x right, y down, both in radii) inside?"""


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw one video of a full scene: uint8 (9, 32, 32, 3), RGB.

    Words do not name the middle of the path, which `rng` draws uniformly within ``DRIFT`` of the
    middle of the frame. A shape never leaves the view.
    """
    if missing(scene):
        raise ValueError(
            f"cannot render {dict(scene)}: {', '.join(missing(scene))} left open; "
            "complete() the scene first"
        )
    middle = SIDE / 2 + rng.uniform(-DRIFT, DRIFT, 2)
    path = np.arange(FRAMES) - (FRAMES - 1) / 2 if scene["motion"] != "still" else np.zeros(1)
    centres = middle + np.outer(path, STEP * np.array(DIRECTION[scene["motion"]]))
    alpha = _coverage(SHAPES[scene["shape"]], centres, RADIUS[scene["size"]])[..., None]
    still = background(scene["background"])
    video = alpha * np.array(COLOUR[scene["colour"]]) + (1 - alpha) * still
    return np.broadcast_to(np.round(255 * video).astype(np.uint8), (FRAMES, SIDE, SIDE, 3))


def background(name: str) -> np.ndarray:
    """Return one background image, float, shape (32, 32, 1), range [0, 1]."""
    dark, light = GREY[name]
    rows = np.where(np.arange(SIDE) // 4 % 2 == 0, dark, light)  # 4 pixels a stripe
    return np.broadcast_to(rows[:, None, None], (SIDE, SIDE, 1))


def _coverage(inside: Mask, centres: np.ndarray, radius: float) -> np.ndarray:
    """Return the fraction of each pixel that a shape covers, by supersampling: (T, side, side).

    Only a box around the shape is sampled; the rest of the frame is empty.
    """
    s, side = SUPERSAMPLING, int(2 * radius) + 4
    corner = np.clip(np.floor(centres - side / 2), 0, SIDE - side).astype(int)
    grid = (np.arange(side * s) + 0.5) / s
    x, y = ((grid + (corner - centres)[:, axis, None]) / radius for axis in (0, 1))
    mask = inside(*np.broadcast_arrays(x[:, None, :], y[:, :, None]))
    alpha = np.zeros((len(centres), SIDE, SIDE))
    for frame, (left, top), part in zip(alpha, corner, mask, strict=True):
        part = part.reshape(side, s, side, s).mean((1, 3))
        frame[top : top + side, left : left + side] = part
    return alpha
