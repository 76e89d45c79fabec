"""An answer for one prompt as HTML that needs no other file."""

import base64
import html
import io

import numpy as np
from PIL import Image

from squbed_utils.text import visible
from squbed_utils.video import Video, resize_area, scan

LONGEST_SIDE, MOST_FRAMES = 128, 16
"""Of a preview: pixels, and frames, evenly spaced."""

STYLE = """
.squbed { font: 14px/1.4 system-ui, sans-serif; color: #111; background: #fff; }
.squbed h1 { font-size: 18px; margin: 0 0 8px; }
.squbed table { border-collapse: collapse; }
.squbed td { padding: 4px 16px 4px 0; text-align: left; vertical-align: top; }
.squbed .prompt { min-width: 220px; max-width: 320px; }
.squbed .note, .squbed .meaning { color: #666; }
.squbed img { width: 96px; margin: 0 3px 3px 0; border: 1px solid #ccc; }
.squbed img.small { image-rendering: pixelated; }
"""


def escape(text: str) -> str:
    """Return a text as HTML that shows it as it is written."""
    return html.escape(visible(text))


def page(answer: object) -> str:
    """Return a whole page.

    Parameters
    ----------
    answer : quantify.Answer
    """
    head = f'<meta charset="utf-8"><title>{escape(answer.prompt)}</title>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>{fragment(answer)}</body></html>\n"


def fragment(answer: object) -> str:
    """Return what a notebook shows: the numbers, and a line a latent prompt with its videos."""
    terms = "".join(
        f"<tr><td><b>{t.term}</b></td><td>{escape(t.text)}</td>"
        f'<td class="meaning">{t.meaning}</td></tr>'
        for t in answer.terms().itertuples()
    )
    lines = "".join(_line(answer, row) for row in answer.latents().itertuples())
    return (
        f'<div class="squbed tex2jax_ignore mathjax_ignore"><style>{STYLE}</style>'
        f'<h1 dir="auto">“{escape(answer.prompt)}”</h1>'
        f'<table>{terms}</table><p class="note">{escape(answer.note())}</p>'
        f"<table>{lines}</table></div>"
    )


def _line(answer: object, row: tuple) -> str:
    number = row.latent + 1
    images = "".join(
        _image(scan(answer.archive.inside(path)), f"video {i} of latent prompt {number}")
        for i, path in enumerate(row.paths, 1)
    )
    videos = images or "no video"
    prompt = f'<td class="prompt" dir="auto">{escape(row.prompt)}</td>'
    return f"<tr><td>z{number}</td>{prompt}<td>{videos}</td></tr>"


def _image(video: Video, description: str) -> str:
    """Return an element that plays a small copy of a video over and over."""
    count = min(MOST_FRAMES, len(video.frames))
    chosen = np.linspace(0, len(video.frames) - 1, count).round().astype(int)
    height, width = video.frames.shape[1:3]
    scale = min(1, LONGEST_SIDE / max(height, width))
    size = [max(1, round(scale * side)) for side in (height, width)]
    first, *others = map(Image.fromarray, resize_area(video.frames[chosen], *size))
    duration = round(1000 * len(video.frames) / video.fps / count)
    buffer = io.BytesIO()
    animated = {"save_all": True, "append_images": others, "duration": duration, "loop": 0}
    first.save(buffer, "WEBP", quality=80, **animated)
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = ' class="small"' if width < LONGEST_SIDE else ""
    return f'<img{kind} alt="{description}" src="data:image/webp;base64,{data}">'
