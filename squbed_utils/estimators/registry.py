"""The registry of estimators by name, and the contract that they share.

An estimator is one function (text, videos) -> `Terms`. `text` holds the embeddings of n latent
prompts, float (n, d_t), n >= 3; None: these are not known, and n may be 1. `videos` holds those of
m_i >= `least_videos` videos of each, float (n, m, d_v) or, where counts differ, a list of arrays
(m_i, d_v). A latent prompt of fewer videos is left out of it by `evaluate`, and of the text only
for an estimator that cannot do without text, as that looks at both together. All rows are finite
and of unit length; `estimate` checks and scales them.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

Videos = np.ndarray | Sequence[np.ndarray]


class Terms(NamedTuple):
    """An estimator's three uncertainties (higher = less certain), and whether a fit was degenerate.

    Aleatoric and total are None without text; a component that the estimator lacks, or that needs
    more videos than there are, is None too.
    """

    aleatoric: float | None
    epistemic: float | None
    total: float | None
    degenerate: bool = False


@dataclass(frozen=True)
class Estimator:
    """An estimator: its name, what figures and tables call it, a short citation and a unit.

    `Estimator(...).register` decorates its function (text, videos) -> Terms, as the module says.
    `sphere_entropy`: its terms are differential entropies on the sphere (text, then video), which
    alone have a form per degree of freedom. `equal_counts`: its values depend on n and m, so that
    tasks with unequal counts must not be compared. `needs_text`: without text it gives no epistemic
    term either. `least_videos` is what it needs of a latent prompt to read its videos; 2 where it
    looks at pairs of them.
    """

    name: str
    label: str
    source: str
    unit: str
    sphere_entropy: bool = False
    equal_counts: bool = True
    needs_text: bool = False
    least_videos: int = 2
    function: Callable[[np.ndarray | None, Videos], Terms] | None = None

    def register(self, function: Callable[[np.ndarray | None, Videos], Terms]) -> Callable:
        """Add the estimator with its function to `ESTIMATORS`; a name that is taken is refused.

        >>> from squbed_utils.estimators.estimate import ESTIMATORS
        >>> ESTIMATORS["squbed"].unit
        'nats'
        """
        if self.name in ESTIMATORS:
            raise ValueError(f"estimator {self.name!r} is already registered; choose another name")
        ESTIMATORS[self.name] = replace(self, function=function)
        return function


ESTIMATORS: dict[str, Estimator] = {}


def lookup(name: str) -> Estimator:
    """Return a registered estimator; refuse an unknown name and list the known ones."""
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {name!r}; known: {', '.join(sorted(ESTIMATORS))}")
    return ESTIMATORS[name]


def evaluate(estimator: Estimator, text: np.ndarray | None, videos: Videos) -> Terms:
    """Return an estimator's terms of the latent prompts with enough videos, and all their texts.

    It refuses an infinite or NaN term, and terms that are all missing.
    """
    least = estimator.least_videos
    enough = [i for i, x in enumerate(videos) if len(x) >= least]
    if not enough:
        raise ValueError(
            f"estimator {estimator.name!r} needs {least} videos of a latent prompt; there are "
            f"{max(map(len, videos))} at most: make more, or use 'energy_split'"
        )
    if len(enough) < len(videos):
        videos = [videos[i] for i in enough]
        text = text[enough] if estimator.needs_text else text
    terms = estimator.function(text, videos)
    there = [value for value in terms[:3] if value is not None]
    if not there or not np.isfinite(there).all():
        raise ValueError(
            f"estimator {estimator.name!r} returned {terms}; its terms must be finite numbers"
        )
    return terms


def equal_groups(videos: Videos) -> list[np.ndarray]:
    """Return the videos as arrays (k, m, d), one for each distinct m, for batched work."""
    if isinstance(videos, np.ndarray):
        return [videos]
    groups = defaultdict(list)
    for x in videos:
        groups[len(x)].append(x)
    return [np.stack(group) for group in groups.values()]


def mean_over_latents(function: Callable[[np.ndarray], np.ndarray], videos: Videos) -> float:
    """Return the mean over latent prompts of a batched function (k, m, d) -> (k,)."""
    return float(np.mean(np.concatenate([function(group) for group in equal_groups(videos)])))


def alike(
    function: Callable[[np.ndarray], np.ndarray], text: np.ndarray | None, videos: Videos
) -> Terms:
    """Return the terms that one batched function (k, m, d) -> (k,) of samples gives."""
    epistemic = mean_over_latents(function, videos)
    if text is None:
        return Terms(None, epistemic, None)
    return Terms(float(function(text)), epistemic, float(function(pooled(videos))))


def pooled(videos: Videos) -> np.ndarray:
    """Return all videos of a task, shape (N, d), latent prompt after latent prompt."""
    return np.concatenate(list(videos))


def latent_of(videos: Videos) -> np.ndarray:
    """Return the latent prompt of each pooled video, shape (N,)."""
    return np.repeat(np.arange(len(videos)), [len(x) for x in videos])


def shares(videos: Videos) -> np.ndarray:
    """Return the weight of each pooled video, 1 / (n m_i): latent prompts weigh the same."""
    counts = np.array([len(x) for x in videos])
    return np.repeat(1 / (len(videos) * counts), counts)
