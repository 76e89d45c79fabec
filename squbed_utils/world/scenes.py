"""The grammar of the shapes world: scenes, the English that names them, and its entropy.

A scene gives one value to each of five attributes. English may leave any of them out, and a reader
has to guess those; so the aleatoric truth of a prompt has a closed form.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping

import numpy as np

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "size": ("small", "large"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    "shape": (
        *("circle", "square", "cross", "star", "hourglass"),
        *("ring", "triangle", "arrow", "spark", "fish"),
        *("crescent", "diamond", "heart", "flower", "house"),
    ),
    "motion": ("still", "left", "right", "up", "down"),
    "background": ("black", "grey", "white", "striped"),
}
"""Every attribute and the values it can take, each drawn with equal probability."""

CATEGORIES: dict[str, tuple[str, str, str]] = {
    "round": ("circle", "ring", "crescent"),
    "angular": ("square", "triangle", "diamond"),
    "sign": ("cross", "arrow", "heart"),
    "radial": ("star", "spark", "flower"),
    "thing": ("hourglass", "fish", "house"),
}
"""Five categories of shape; each holds one common, one rare and one never seen."""

COVERAGE: dict[str, float] = {"common": 0.19, "rare": 0.01, "never": 0.0}
"""How often a shape of each coverage level is drawn for the video model's training set."""

PHRASINGS = (
    "a {size} {colour} {shape} {motion} {background}",
    "{background} a {size} {colour} {shape} is {motion}",
    "a {size} {colour} {shape} {background} {motion}",
)
"""Three phrasings of one scene, equally likely; a part that is left out takes its words along."""

UNNAMED_SHAPE = "thing"
_ARTICLE_BEFORE_VOWEL = re.compile(r"\ba (?=orange|arrow|hourglass)")
_VALUE_ATTRIBUTE = {v: name for name, values in ATTRIBUTES.items() for v in values}
_FUNCTION_WORDS = {"a", "an", "is", "on", "background", "moving", "standing", UNNAMED_SHAPE}

Scene = Mapping[str, str]
"""Attribute -> value; an absent attribute is left open."""


def vocabulary() -> list[str]:
    """Return every word the grammar can say, sorted."""
    return sorted(_FUNCTION_WORDS | set(_VALUE_ATTRIBUTE))


def coverage_of(shape: str) -> str:
    """Return ``common``, ``rare`` or ``never``: how the video model's training set covers a shape.

    >>> coverage_of("heart")
    'never'
    """
    return next(
        level
        for shapes in CATEGORIES.values()
        for level, s in zip(COVERAGE, shapes, strict=True)
        if s == shape
    )


def category_of(shape: str) -> str:
    """Return the category of a shape.

    >>> category_of("fish")
    'thing'
    """
    return next(name for name, shapes in CATEGORIES.items() if shape in shapes)


def say(scene: Scene, phrasing: int = 0) -> str:
    """Say a scene in English, without the attributes that it leaves open.

    >>> say({"colour": "red", "shape": "circle", "motion": "left"})
    'a red circle moving left'
    >>> say({"colour": "orange", "shape": "star", "background": "black"}, phrasing=1)
    'on a black background an orange star'

    `phrasing` is an index of ``PHRASINGS``. An unknown attribute or value raises ValueError.
    """
    _check(scene)
    motion = scene.get("motion")
    words = {
        "size": scene.get("size", ""),
        "colour": scene.get("colour", ""),
        "shape": scene.get("shape", UNNAMED_SHAPE),
        "motion": motion and ("standing still" if motion == "still" else f"moving {motion}"),
        "background": scene.get("background") and f"on a {scene['background']} background",
    }
    template = PHRASINGS[phrasing] if motion else PHRASINGS[phrasing].replace(" is ", " ")
    sentence = " ".join(template.format(**{k: v or "" for k, v in words.items()}).split())
    return _ARTICLE_BEFORE_VOWEL.sub("an ", sentence)


def parse(sentence: str) -> dict[str, str]:
    """Read a sentence back into the (partial) scene that it names.

    >>> parse("a red circle moving left")
    {'colour': 'red', 'shape': 'circle', 'motion': 'left'}

    An unknown word, an attribute that is named twice, and another form of sentence raise
    ValueError.
    """
    scene: dict[str, str] = {}
    for word in sentence.split():
        attribute = _VALUE_ATTRIBUTE.get(word)
        if attribute is None and word not in _FUNCTION_WORDS:
            raise ValueError(
                f"the shapes world has no word {word!r} (in {sentence!r}); its words are: "
                + ", ".join(vocabulary())
            )
        if attribute in scene:
            raise ValueError(f"{sentence!r} names the {attribute} twice; name it at most once")
        if attribute:
            scene[attribute] = word
    scene = {name: scene[name] for name in ATTRIBUTES if name in scene}
    if not any(sentence == say(scene, p) for p in range(len(PHRASINGS))):
        raise ValueError(f"{sentence!r} fits no sentence form; one that does: {say(scene)!r}")
    return scene


def entails(refined: str, original: str) -> bool:
    """Say whether a sentence keeps everything that the original one names.

    >>> entails("a small red circle moving left", "a red circle")
    True
    """
    return parse(original).items() <= parse(refined).items()


def missing(scene: Scene) -> list[str]:
    """Return the attributes that a scene leaves open, in the order of ``ATTRIBUTES``."""
    _check(scene)
    return [name for name in ATTRIBUTES if name not in scene]


def completions(scene: Scene) -> Iterator[dict[str, str]]:
    """Yield every full scene compatible with a partial one.

    >>> sum(1 for _ in completions({"colour": "red", "shape": "circle"}))
    40
    """
    _check(scene)
    choices = [(scene[a],) if a in scene else ATTRIBUTES[a] for a in ATTRIBUTES]
    for values in itertools.product(*choices):
        yield dict(zip(ATTRIBUTES, values, strict=True))


def complete(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """Draw one completion of a scene, with every open attribute uniform over its values."""
    _check(scene)
    return {a: scene.get(a) or str(rng.choice(values)) for a, values in ATTRIBUTES.items()}


def entropy(scene: Scene) -> float:
    """Return the entropy of the scene that a prompt leaves open, in nats, range [0, log 4800].

    Attributes are independent and uniform, so it is the sum of log(number of values) over the
    attributes left out.

    >>> round(entropy({"shape": "circle", "size": "small", "motion": "up"}), 4)
    3.4657
    """
    return sum(math.log(len(ATTRIBUTES[a])) for a in missing(scene))


def _check(scene: Scene) -> None:
    for attribute, value in scene.items():
        if attribute not in ATTRIBUTES:
            raise ValueError(f"unknown attribute {attribute!r}; known: {', '.join(ATTRIBUTES)}")
        if value not in ATTRIBUTES[attribute]:
            known = ", ".join(ATTRIBUTES[attribute])
            raise ValueError(f"unknown {attribute} {value!r}; known: {known}")
