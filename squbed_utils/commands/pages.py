"""Pages that a browser opens alone: their templates, and previews of videos that play in them."""

import base64
import hashlib
import io
import json
from collections.abc import Sequence

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from squbed_utils.files import ROOT
from squbed_utils.text import visible
from squbed_utils.video import Video, resize_area

LONGEST_SIDE, MOST_FRAMES = 128, 16
"""Longest side in pixels and number of frames, evenly spaced, of a preview."""

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOT / "data" / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: (
        visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
    ),
)
"""All text is escaped, and characters that act but cannot be seen are shown as escapes."""


def render(template: str, scripts: tuple[str, ...], data: dict, *, images: str) -> str:
    """Return a page that holds its data as JSON, and scripts, which its policy admits by hash."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":  # what could end the element, or a line of a script
        text = text.replace(char, f"\\u{ord(char):04x}")
    script = "\n".join(TEMPLATES.loader.get_source(TEMPLATES, name)[0] for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; script-src "
    policy += f"'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    shown = {"data": Markup(text), "script": Markup(script), "policy": Markup(policy)}
    return TEMPLATES.get_template(template).render(data | shown)


def preview(video: Video, *, side: int = LONGEST_SIDE, frames: int = MOST_FRAMES) -> bytes:
    """Return a small copy of a video as an animated WebP, which browsers show in right colours."""
    count = min(frames, len(video.frames))
    chosen = np.linspace(0, len(video.frames) - 1, count).round().astype(int)
    height, width = video.frames.shape[1:3]
    scale = min(1, side / max(height, width))
    size = [max(1, round(scale * length)) for length in (height, width)]
    first, *others = map(Image.fromarray, resize_area(video.frames[chosen], *size))
    duration = round(1000 * len(video.frames) / video.fps / count)
    buffer = io.BytesIO()
    animated = {"save_all": True, "append_images": others, "duration": duration, "loop": 0}
    first.save(buffer, "WEBP", quality=90, method=6, **animated)
    return buffer.getvalue()


def fitting(videos: list[Video], forms: Sequence[tuple[int, int]], room: float) -> tuple[int, int]:
    """Return the first form, (side, frames), in which previews take `room` bytes, or the last."""
    for side, frames in forms:
        sizes = [len(as_address(preview(v, side=side, frames=frames))) for v in videos]
        if not sizes or np.mean(sizes) < room:
            return side, frames
    return forms[-1]


def as_address(webp: bytes) -> str:
    """Return a preview as an address that holds it."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
