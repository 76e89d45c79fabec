"""The grammar of the shapes world: scenes, and the English that names them.

A scene gives one value to each of five attributes. English may leave any of them out, and a reader
has to guess those; so the aleatoric truth of a prompt has a closed form
(`training.tasks.entropy`).
"""

import itertools
import re
from collections.abc import Mapping

import numpy as np

CATEGORIES: dict[str, tuple[str, ...]] = {
    "round": ("circle", "ring", "crescent", "oval", "drop", "target", "dome", "pie", "leaf"),
    "angular": (
        *("square", "triangle", "diamond", "pentagon", "trapezoid"),
        *("slab", "frame", "bar", "pole"),
    ),
    "radial": ("star", "spark", "flower", "gear", "clover", "burst", "wheel", "fan", "pinwheel"),
    "letter": ("ell", "tee", "aitch", "vee", "wye", "zed", "ex", "en", "eff"),
    "sign": (
        *("cross", "arrow", "heart", "hourglass", "bowtie"),
        *("bolt", "chevron", "checker", "stairs"),
    ),
    "thing": ("fish", "house", "key", "mushroom", "tree", "boat", "crown", "cloud", "trident"),
}
"""Six families of subjects that look somewhat alike."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "size": ("small", "large"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    "shape": tuple(itertools.chain.from_iterable(CATEGORIES.values())),
    "motion": ("still", "left", "right", "up", "down"),
    "background": ("black", "grey", "white", "striped"),
}
"""Every attribute and the values it can take, each drawn with equal probability."""

TRAINING_PHRASINGS = (
    "a {size} {colour} {shape} {motion} {background}",
    "{background} a {size} {colour} {shape} is {motion}",
    "a {size} {colour} {shape} {background} {motion}",
    "here is a {size} {colour} {shape} {motion} {background}",
    "we see a {size} {colour} {shape} {background} {motion}",
    "{background} we see a {size} {colour} {shape} {motion}",
)
"""Ways to say a scene, equally likely; a part left out takes its words along."""

TASK_PHRASINGS = (
    "here we see a {size} {colour} {shape} {motion} {background}",
    "{background} a {size} {colour} {shape} {motion} is here",
    "a {size} {colour} {shape} is here {motion} {background}",
    "we see here a {size} {colour} {shape} {background} {motion}",
)
"""Ways to say a scene that only the tasks' prompts use; no model is trained with them."""

PHRASINGS = TRAINING_PHRASINGS + TASK_PHRASINGS
UNNAMED_SHAPE = "thing"
_ARTICLE_BEFORE_VOWEL = re.compile(r"\ba (?=[aeiou]|hourglass)")
_VALUE_ATTRIBUTE = {v: name for name, values in ATTRIBUTES.items() for v in values}
_FUNCTION_WORDS = {
    *("a", "an", "is", "on", "background", "moving", "standing", "here", "we", "see"),
    UNNAMED_SHAPE,
}

Scene = Mapping[str, str]
"""Attribute -> value; an attribute that is absent is left open."""


def vocabulary() -> list[str]:
    """Return every word the grammar can say, sorted."""
    return sorted(_FUNCTION_WORDS | set(_VALUE_ATTRIBUTE))


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
    template = PHRASINGS[phrasing]
    if not motion:
        template = template.replace("{shape} is {motion}", "{shape}")
    sentence = " ".join(template.format(**{k: v or "" for k, v in words.items()}).split())
    return with_articles(sentence)


def with_articles(sentence: str) -> str:
    """Write ``an`` for ``a`` before a vowel."""
    return _ARTICLE_BEFORE_VOWEL.sub("an ", sentence)


def parse(sentence: str) -> dict[str, str]:
    """Read a sentence back into the (partial) scene that it names; refuse any other sentence."""
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
    """Say whether a sentence keeps everything that the original one names."""
    return parse(original).items() <= parse(refined).items()


def missing(scene: Scene) -> list[str]:
    """Return the attributes that a scene leaves open, in the order of ``ATTRIBUTES``."""
    _check(scene)
    return [name for name in ATTRIBUTES if name not in scene]


def complete(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """Draw one completion of a scene, with every open attribute uniform over its values."""
    _check(scene)
    return {a: scene.get(a) or str(rng.choice(values)) for a, values in ATTRIBUTES.items()}


def _check(scene: Scene) -> None:
    for attribute, value in scene.items():
        if attribute not in ATTRIBUTES:
            raise ValueError(f"unknown attribute {attribute!r}; known: {', '.join(ATTRIBUTES)}")
        if value not in ATTRIBUTES[attribute]:
            known = ", ".join(ATTRIBUTES[attribute])
            raise ValueError(f"unknown {attribute} {value!r}; known: {known}")


VALUES = [f"{a}:{v}" for a, values in ATTRIBUTES.items() for v in values]
"""The recogniser's outputs: one softmax per attribute, laid out one after the other."""


def recognise(model: object, videos: np.ndarray) -> list[dict[str, str]]:
    """Name the five attributes of each video, uint8 (batch, 9, 32, 32, 3).

    `model` is the recogniser, in evaluation mode.
    """
    import torch

    frames = torch.from_numpy(np.asarray(videos)).permute(0, 1, 4, 2, 3).flatten(1, 2)
    with torch.inference_mode():
        logits = model(frames.to(model.device).float() / 127.5 - 1).logits
    parts = logits.split([len(values) for values in ATTRIBUTES.values()], dim=1)
    chosen = [part.argmax(1).tolist() for part in parts]
    return [
        {a: ATTRIBUTES[a][i] for a, i in zip(ATTRIBUTES, row, strict=True)}
        for row in zip(*chosen, strict=True)
    ]
