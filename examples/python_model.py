"""A video model as a Python function: a square that drifts. Put a call of your own model here."""

import numpy as np

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 230)}


def generate(prompts, seeds):
    """Return for each prompt its frames, uint8 (T, H, W, 3), and how many a second has."""
    return [(draw(*asked), 8) for asked in zip(prompts, seeds, strict=True)]


def draw(prompt, seed):
    """Draw the colour that the prompt names, or any; where to and from, the seed decides."""
    random = np.random.default_rng(seed)
    named = [colour for name, colour in COLOURS.items() if name in prompt]
    colour = named[0] if named else random.integers(0, 256, 3)
    start, step = random.integers(8, 20, 2), random.integers(-1, 2, 2)
    frames = np.zeros((9, 32, 32, 3), np.uint8)
    for t, frame in enumerate(frames):
        top, left = start + t * step
        frame[top : top + 8, left : left + 8] = colour
    return frames
