"""What the text encoder reads: captions of the whole world, and what its things are like."""

import numpy as np

from squbed_utils.world.scenes import ATTRIBUTES, CATEGORIES, vocabulary, with_articles
from training.draw import any_scene, caption, partial

LIKENESS: dict[str, tuple[str, ...]] = {
    "circle": ("is round", "has no corners"),
    "ring": ("is a circle with a hole", "is round with a round hole"),
    "crescent": ("is a circle with a round bite", "is a thin moon with two points"),
    "oval": ("is a wide flat circle", "is round with no corners"),
    "drop": ("is a circle with a point above", "is round below with one point above"),
    "target": ("is a ring with a small circle within", "is a circle in a ring"),
    "dome": ("is half a circle", "is round above with a flat foot"),
    "pie": ("is a circle with a wedge cut out", "is round with one bite"),
    "leaf": ("is a thin oval with two points", "is an oval that leans"),
    "square": ("has four corners and four equal sides", "has flat sides"),
    "triangle": ("has three corners and three sides", "has one point above with a flat foot"),
    "diamond": ("is a square on its corner", "has four corners with one point above"),
    "pentagon": ("has five corners and five sides", "is a house without an edge"),
    "trapezoid": ("is a triangle without its point", "has four corners with a wide foot"),
    "slab": ("is a wide square that leans", "has four corners and leans"),
    "frame": ("is a square with a square hole", "is a ring with four corners"),
    "bar": ("is a wide thin square", "has four corners and is flat and wide"),
    "pole": ("is a bar on its end", "is tall and thin with four corners"),
    "star": ("has five points", "is a pentagon with five long points"),
    "spark": ("has four long thin points", "is a thin star with four points"),
    "flower": ("has six round arms", "is a star with six round arms"),
    "gear": ("is a circle with teeth", "is a ring with eight teeth"),
    "clover": ("has four round leaves", "is a cross with four round arms"),
    "burst": ("has eight points", "is a star with eight points"),
    "wheel": ("is a ring with a cross within", "is a ring with four arms within"),
    "fan": ("has three round leaves", "is a clover with three leaves"),
    "pinwheel": ("has four wings that turn", "is four triangles that meet"),
    "ell": ("is a letter with a tall line and a foot", "is a corner of a frame"),
    "tee": ("is a letter with a tall line and a roof", "is a cross without its head"),
    "aitch": ("is a letter with two tall lines and a bar", "has two legs and two arms"),
    "vee": ("is a letter with two lines that meet below", "is a triangle without a roof"),
    "wye": ("is a letter with two arms and one leg", "is a vee on a tall line"),
    "zed": ("is a letter with three lines", "has a roof and a foot and a line that leans"),
    "ex": ("is a letter with two lines that cross", "is a cross that leans"),
    "en": ("is a letter with two tall lines and one that leans", "is a zed on its side"),
    "eff": ("is a letter with a tall line and two arms", "is a tall line with a flag"),
    "cross": ("has four equal arms", "is two lines that cross"),
    "arrow": ("is a triangle on a leg", "has a point above and a leg"),
    "heart": ("has a point below and is round above", "is a drop with two heads on its head"),
    "hourglass": ("is two triangles that meet", "is wide above and below and thin within"),
    "bowtie": ("is an hourglass on its side", "is two triangles side by side"),
    "bolt": ("is a thin line with two corners and two points", "is a zed with long points"),
    "chevron": ("is a vee on its side", "is a corner that points to the right"),
    "checker": ("is two squares that meet at a corner", "is half a square"),
    "stairs": ("is a square with steps", "has steps up to the right"),
    "fish": ("is an oval with a triangle on its side", "has a round head and a tail"),
    "house": ("is a square with a triangle above", "has a roof"),
    "key": ("is a ring on a tall line with teeth", "has a round head and teeth"),
    "mushroom": ("is a dome on a leg", "has a round head and one leg"),
    "tree": ("is two triangles on a leg", "is an arrow with two points above"),
    "boat": ("is a triangle above a trapezoid", "has a sail above a flat foot"),
    "crown": ("is a bar with three points above", "has three teeth above a flat foot"),
    "cloud": ("is three circles with a flat foot", "is a dome with three heads"),
    "trident": ("has three long teeth on a leg", "is a crown on a pole"),
}
"""Subject -> how it is described, after its name."""

KINDS = {
    "round": "round thing",
    "angular": "thing with corners",
    "radial": "thing with points around",
    "letter": "letter",
    "sign": "sign",
    "thing": "thing",
}
ATTRIBUTE_KINDS = {"size": "size", "colour": "colour", "motion": "way", "background": "background"}


def facts() -> list[str]:
    """Return every sentence that says what something is like."""
    told = [f"a {s} {likeness}" for s, sayings in LIKENESS.items() for likeness in sayings]
    told += [f"a {s} is a {KINDS[c]}" for c, shapes in CATEGORIES.items() for s in shapes]
    told += [f"{v} is a {kind}" for a, kind in ATTRIBUTE_KINDS.items() for v in ATTRIBUTES[a]]
    return [with_articles(sentence) for sentence in told]


def words() -> list[str]:
    """Return every word of the captions and the facts, sorted."""
    return sorted({*vocabulary(), *" ".join(facts()).split()})


def sentence(rng: np.random.Generator) -> str:
    """Draw what the text encoder reads: a caption, whole or in part, or one time in four a fact."""
    u = rng.random()
    if u < 0.25:
        return str(rng.choice(FACTS))
    scene = any_scene(rng)
    return caption(partial(scene, rng) if u < 0.5 else scene, rng)


FACTS = facts()
