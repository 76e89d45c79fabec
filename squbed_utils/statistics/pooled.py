"""Epistemic uncertainty of tasks that learn from one another: a Gaussian process over prompts.

A few videos tell h(V given z) of one latent prompt z badly. Latent prompts that say nearly the same
have nearly the same, so a task may learn from others. Latent prompt i of task t, with the text
embedding x_i and m_i videos, is taken to show

    h_i = mu + f(x_i) + u_t + e_i,   f ~ GP(0, s^2 exp(-|x - x'|^2 / 2 l^2)),
    u_t ~ N(0, b s^2),   e_i ~ N(0, c s^2 / (m_i - 1)),

where u is what the words do not tell. l, b and c maximise the marginal likelihood of the archive's
own samples, mu and s^2 integrated out (Rasmussen and Williams 2006, ch. 2.7 and 5.4).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, pdist
from scipy.stats import t as student_t

from squbed_utils.archive.archive import Archive
from squbed_utils.archive.layout import made_by, require_one_video_model
from squbed_utils.estimators import vmf
from squbed_utils.estimators.checks import require, unit_rows
from squbed_utils.estimators.registry import Videos
from squbed_utils.statistics.calibration import CONFIDENCE
from squbed_utils.statistics.summary import measured_embeddings
from squbed_utils.statistics.tables import NotShown

BOUNDS = {"length": (0.05, 10.0), "task": (1e-4, 1e3), "noise": (1e-4, 1e4)}
"""Ends of l, in units of the unit sphere's radius, and of b and c."""

MOST = 3000
"""Latent prompts with videos, at most: time grows as their cube, to a minute here."""

MOST_FITTED = 700
"""Latent prompts that the three numbers are fitted to: as many of each task, at least two."""

EXACT = {"ftol": 1e-13, "gtol": 1e-7}
"""Tolerances of the fit: its last digits would else be those of rounding, and hang on threads."""


class Prior(NamedTuple):
    """What `fit` finds: l, b and c of the module's equation, and s in the unit of h."""

    length: float
    task: float
    noise: float


class Pooled(NamedTuple):
    """Each task's pooled mean of h over its latent prompts (T,), and the ends of its interval."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def fit(text: np.ndarray, h: np.ndarray, m: np.ndarray, task: np.ndarray) -> Prior:
    """Return the numbers of the process that maximise the marginal likelihood; see `pool`."""
    text, known, task = _checked(text, h, m, task)
    _, number = np.unique(task, return_inverse=True)
    each = max(2, MOST_FITTED // (number.max() + 1))
    chosen = np.concatenate([i[known[i]][:each] for i in _places(number)])
    sample = (text[chosen], h[chosen], 1 / (m[chosen] - 1), task[chosen])
    # What varies from one latent prompt of a task to the next is noise, and no shape of f.
    least = np.median(np.concatenate([pdist(text[i]) for i in _places(number)]))
    least = float(np.clip(least, *BOUNDS["length"]))
    ends = np.log([(least, BOUNDS["length"][1]), BOUNDS["task"], BOUNDS["noise"]])
    start = np.log([max(1.0, least), 0.1, 1.0])

    def loss(theta: np.ndarray) -> float:
        return _Solved(Prior(*np.exp(theta)), *sample).loss

    found = minimize(loss, start, method="L-BFGS-B", jac="3-point", bounds=ends, options=EXACT)
    return Prior(*np.exp(found.x).tolist())


def pool(
    text: np.ndarray, h: np.ndarray, m: np.ndarray, task: np.ndarray, *, prior: Prior | None = None
) -> Pooled:
    """Return the posterior of each task's mean entropy over its latent prompts.

    A row a latent prompt: `text` (N, d_t), its embedding; `h` (N,), the entropy of its videos in
    nats; `m` (N,), their number, of fewer than two of which nothing is read, and the value comes
    from other prompts; `task` (N,). The prior is by default as `fit` finds it on these samples.

    Tasks are returned in the order in which they come first. The interval is for the mean over all
    latent prompts that the task may have: to the posterior's variance it adds that of having drawn
    these, the variance of the posterior means over the task's latent prompts, over their number.
    ValueError if lengths differ, fewer than three latent prompts have two videos or more than
    `MOST` have, or a value is not finite.

    >>> text, h = np.repeat(np.eye(3), 4, axis=0), np.array([1.0, 2, 1, 2, 5, 6, 5, 6, 9, 8, 9, 8])
    >>> pool(text, h, np.full(12, 3), np.repeat(["a", "b", "c"], 4)).value.round(1).tolist()
    [1.5, 5.5, 8.5]
    """
    prior = prior or fit(text, h, m, task)
    text, known, task = _checked(text, h, m, task)
    names, first, number = np.unique(task, return_index=True, return_inverse=True)
    seen = _Solved(prior, text[known], h[known], 1 / (m[known] - 1), task[known])
    across = _covariance(prior, text, task, text[known], task[known])
    means = seen.mu + across @ seen.weights
    of_task = np.eye(len(names))[:, number]
    of_task /= of_task.sum(axis=1, keepdims=True)
    value, reach = of_task @ means, of_task @ across
    own = [_covariance(prior, text[i], task[i], text[i], task[i]).mean() for i in _places(number)]
    unsure = np.array(own) - np.einsum("tk,kt->t", reach, seen.solve(reach.T))
    unsure += (1 - reach @ seen.ones) ** 2 / seen.ones.sum()
    drawn = [np.var(means[i], ddof=min(1, len(i) - 1)) / len(i) for i in _places(number)]
    half = np.sqrt(seen.scale * np.maximum(unsure, 0) + drawn)
    half *= student_t.ppf((1 + CONFIDENCE) / 2, max(len(names) - 1, 1))
    order = np.argsort(first)
    return Pooled(*(x[order] for x in (value, value - half, value + half)))


def beside(archive: Archive, summary: pd.DataFrame) -> pd.DataFrame:
    """Return S-QUBED's epistemic uncertainty of each task, and what it is when tasks are pooled.

    `summary` is as `summary.summarize` of the archive by the estimator squbed. Columns: task,
    prompt, epistemic, epistemic_low, epistemic_high, pooled, pooled_low, pooled_high, of the tasks
    whose latent prompts are known and which can be ranked; `NotShown` if there are none.
    """
    require_one_video_model(made_by(summary), archive.video_model, "the summary")
    pairs = {t: pair for t, pair in measured_embeddings(archive).items() if pair[0] is not None}
    if not pairs:
        raise NotShown("the latent prompts of no task are known, and pooling reads their texts")
    h = [_entropies(videos) for _, videos in pairs.values()]
    m = [[len(x) for x in videos] for _, videos in pairs.values()]
    texts, task = [text for text, _ in pairs.values()], np.repeat(list(pairs), [*map(len, h)])
    found = pool(*map(np.concatenate, (texts, h, m)), task)
    table = pd.DataFrame({"task": list(pairs), "pooled": found.value})
    table = table.assign(pooled_low=found.low, pooled_high=found.high)
    columns = ["task", "prompt", "epistemic", "epistemic_low", "epistemic_high"]
    return summary[columns].merge(table, on="task")


def _entropies(videos: Videos) -> list[float]:
    return [float(vmf.entropy(x.shape[1], vmf.fit(x).kappa)) if len(x) > 1 else 0.0 for x in videos]


class _Solved:
    """The system of the samples with videos: its factor, the mean mu, the scale s^2, the loss."""

    def __init__(
        self, prior: Prior, text: np.ndarray, h: np.ndarray, noise: np.ndarray, task: np.ndarray
    ) -> None:
        covariance = _covariance(prior, text, task, text, task)
        covariance[np.diag_indices_from(covariance)] += prior.noise * noise + 1e-9
        self.factor = cho_factor(covariance, lower=True, check_finite=False)
        self.ones = self.solve(np.ones_like(h))
        self.mu = (self.ones @ h) / self.ones.sum()
        self.weights = self.solve(h - self.mu)
        self.scale = (h - self.mu) @ self.weights / (len(h) - 1)
        log_determinant = 2 * np.log(np.diag(self.factor[0])).sum() + np.log(self.ones.sum())
        self.loss = ((len(h) - 1) * np.log(self.scale) + log_determinant) / 2

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return the inverse covariance times x."""
        return cho_solve(self.factor, x, check_finite=False)


def _covariance(
    prior: Prior, x: np.ndarray, task_x: np.ndarray, y: np.ndarray, task_y: np.ndarray
) -> np.ndarray:
    near = np.exp(cdist(x, y, "sqeuclidean") / (-2 * prior.length**2))
    return near + prior.task * (task_x[:, None] == task_y)


def _places(number: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(number == i) for i in range(number.max() + 1)]


def _checked(
    text: np.ndarray, h: np.ndarray, m: np.ndarray, task: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit texts, which latent prompts have two videos or more, and tasks as an array."""
    text, task, known = unit_rows(text, "text embedding"), np.asarray(task), np.asarray(m) >= 2
    if not len(text) == len(h) == len(m) == len(task):
        raise ValueError(
            f"there are {len(text)} texts, {len(h)} entropies, {len(m)} counts and {len(task)} "
            "tasks; expected one of each a latent prompt"
        )
    if not 3 <= known.sum() <= MOST:
        raise ValueError(
            f"{known.sum()} latent prompts have two videos; pooling needs 3 and takes {MOST} at "
            "most: take fewer tasks"
        )
    require(np.isfinite(h[known]), h[known], "entropy h", "a finite number of nats")
    return text, known, task
