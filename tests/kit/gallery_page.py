"""The page docs/gallery.md: every figure of the reference run with its question and its caption.

``python tests/kit/gallery_page.py`` writes it again.
"""

import html
from pathlib import Path

import nbformat

from squbed_utils.commands.notebooks import NOTEBOOKS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "gallery.md"
REFERENCE = ROOT / "figures" / "reference"

HEAD = (
    "# Gallery\n\nEvery figure of the reference run, with the question that it answers. A picture "
    "leads to the large one; PDF, caption (`.txt`) and numbers (`data/`) lie beside that. The "
    "captions are the figures' own, written from the data that they draw.\n"
)

BESIDE = {
    "encoders": "Do encoders that never saw this world say the same?",
    "compare": "Does a video model of fewer steps look more certain than it is?",
    "explorer": "Which prompt is this point, and what do its videos show?",
    "rate": "What do people say?",
}
"""Figures and pages of commands, which no notebook draws on its own -> their question."""

PAGES = {
    "explorer": "The [explorer](explorer.md): `squbed explore`, a page without server.\n",
    "rate": "A rater's page ([rating](rating.md)): `squbed rate`, without server.\n",
}


def page() -> str:
    """Return the page's text."""
    parts = [HEAD]
    for notebook in NOTEBOOKS:
        cells = nbformat.read(notebook.path, as_version=4).cells
        title = cells[0].source.splitlines()[0].removeprefix("# ")
        parts.append(f"## [{title}](../notebooks/{notebook.name}.ipynb)\n")
        parts += map(shown, notebook.figures + notebook.truth_figures + notebook.asked_figures)
    for name, question in BESIDE.items():
        parts += [f"## {question}\n", shown(name)]
    return "\n".join(parts)


def shown(name: str) -> str:
    """Return a figure's part: a small picture that leads to the large one, and the caption."""
    text = REFERENCE / f"{name}.txt"
    said = PAGES.get(name) or html.escape(text.read_text(encoding="utf-8"), quote=False)
    picture = f"../figures/reference/{name}.png"
    image = f'<img src="{picture}" alt="{name.replace("_", " ")}" width="400">'
    return f'<a href="{picture}">{image}</a>\n\n{said}'


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
