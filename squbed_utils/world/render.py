"""The renderer of the shapes world: a scene in, an anti-aliased video out."""

from collections.abc import Callable

import numpy as np

from squbed_utils.world.scenes import Scene, missing

FRAMES, SIDE, FPS = 9, 32, 8
"""Frames a video, pixels a side, frames a second."""

SUPERSAMPLING = 3
RADIUS = {"small": 6.0, "large": 9.5}
STEP = 1.25
"""Pixels that a moving shape covers between two frames."""

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
STRIPE = 4
"""Height of a background stripe in pixels."""

Mask = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Say which points lie in a star of five straight-edged rays, between two radii."""
    outer, inner, half = 1.0, 0.42, np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + half) % (2 * half) - half)
    edge = outer * inner * np.sin(half) / (
        inner * np.sin(half - angle) + outer * np.sin(angle)
    )  # fmt: skip
    return np.hypot(x, y) < edge


SHAPES: dict[str, Mask] = {
    "circle": lambda x, y: np.hypot(x, y) < 0.92,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.82,
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.28) & (np.maximum(abs(x), abs(y)) < 1),
    "star": _star,
    "hourglass": lambda x, y: (abs(x) < 0.12 + 0.85 * abs(y)) & (abs(y) < 0.95),
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.75) < 0.23,
    "triangle": lambda x, y: (abs(x) < 0.58 * (y + 0.95)) & (y < 0.75),
    "arrow": lambda x, y: ((y < 0) & (abs(x) < y + 1)) | ((y >= 0) & (y < 1) & (abs(x) < 0.28)),
    "spark": lambda x, y: np.sqrt(abs(x)) + np.sqrt(abs(y)) < 1.05,
    "fish": lambda x, y: (
        (((x + 0.25) / 0.72) ** 2 + (y / 0.5) ** 2 < 1) | ((x > 0.3) & (x < 1) & (abs(y) < x - 0.2))
    ),
    "crescent": lambda x, y: (np.hypot(x, y) < 0.98) & (np.hypot(x - 0.5, y) > 0.75),
    "diamond": lambda x, y: abs(x) / 0.7 + abs(y) < 1,
    "heart": lambda x, y: (
        (1.3 * x**2 + 1.3 * (y - 0.05) ** 2 - 0.9) ** 3 + 1.8 * x**2 * (y - 0.05) ** 3 < 0
    ),
    "flower": lambda x, y: np.hypot(x, y) < 0.68 + 0.3 * np.cos(6 * np.arctan2(y, x)),
    "house": lambda x, y: (
        ((y >= -0.15) & (y < 0.9) & (abs(x) < 0.62)) | ((y < -0.15) & (abs(x) < 1.15 * (y + 1)))
    ),
}
"""Shape -> is the point (x right, y down, both in radii) inside?"""


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw one video of a full scene: uint8 (9, 32, 32, 3), RGB.

    The scene fixes size, colour, shape, motion and background. Words do not name the middle of the
    path, which `rng` draws uniformly within ``DRIFT`` of the middle of the frame. A shape never
    leaves the view.
    """
    if missing(scene):
        raise ValueError(
            f"cannot render {dict(scene)}: {', '.join(missing(scene))} left open; "
            "complete() the scene first"
        )
    radius, direction = RADIUS[scene["size"]], np.array(DIRECTION[scene["motion"]])
    middle = SIDE / 2 + rng.uniform(-DRIFT, DRIFT, 2)
    centres = middle + np.outer(np.arange(FRAMES) - (FRAMES - 1) / 2, STEP * direction)
    alpha = _coverage(SHAPES[scene["shape"]], centres, radius)[..., None]
    video = alpha * np.array(COLOUR[scene["colour"]]) + (1 - alpha) * background(
        scene["background"]
    )
    return np.round(255 * video).astype(np.uint8)


def background(name: str) -> np.ndarray:
    """Return one background image, float, shape (32, 32, 1), range [0, 1]."""
    dark, light = GREY[name]
    rows = np.where(np.arange(SIDE) // STRIPE % 2 == 0, dark, light)
    return np.broadcast_to(rows[:, None, None], (SIDE, SIDE, 1))


def _coverage(inside: Mask, centres: np.ndarray, radius: float) -> np.ndarray:
    """Return the fraction of each pixel that a shape covers, by supersampling: (T, side, side).

    Only a box around the shape is sampled; the rest of the frame is empty.
    """
    s, box = SUPERSAMPLING, int(2 * radius) + 4
    corner = np.clip(np.floor(centres - box / 2), 0, SIDE - box).astype(int)
    grid = (np.arange(box * s) + 0.5) / s
    x, y = ((grid + (corner - centres)[:, axis, None]) / radius for axis in (0, 1))
    mask = inside(*np.broadcast_arrays(x[:, None, :], y[:, :, None]))
    alpha = np.zeros((len(centres), SIDE, SIDE))
    for frame, (left, top), part in zip(alpha, corner, mask, strict=True):
        part = part.reshape(box, s, box, s).mean((1, 3))
        frame[top : top + box, left : left + box] = part
    return alpha
