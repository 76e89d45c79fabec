"""What a prompt leaves open, told from its latent prompts alone, and the question to ask of it.

Latent prompts differ in aspects: groups of words that stand for one another, such as colours. The
most telling question names the aspect whose fixing would lower h(Z given l) most. It is estimated
by doing so: one word takes the place of all others of the aspect, and the texts are embedded again.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from squbed_utils.estimators.baselines import mean_pairwise_cosine
from squbed_utils.estimators.estimate import LEAST_LATENTS, estimate
from squbed_utils.files import seed_of
from squbed_utils.statistics.calibration import bootstrap_interval, holm, kendall, tau_difference
from squbed_utils.statistics.controls import word_spreads
from squbed_utils.statistics.resampling import N_RESAMPLES, plain_tau, resampled_taus, task_counts

WORD = re.compile(r"\w+(?:['’-]\w+)*")

FUNCTION_WORDS = "a an the this that its his her their we i and or with without of in on at by to "
FUNCTION_WORDS += "from into onto over under as for near is are was were be has have there here see"
"""Words that name nothing, and so are no answer to a question."""

LIKENESS = 0.4
"""How alike two words must be to be of one aspect: shared neighbours (0 to 1) plus cosine."""

VALUE = ("aleatoric", "aleatoric_low", "aleatoric_high")

LADDER = ["measure", "tau", "low", "high", "pvalue"]
LADDER += ["difference", "difference_low", "difference_high", "difference_pvalue"]
LADDER += ["within", "within_low", "within_high"]

MOST_WORDS = 6
"""Most words of a question."""

Embed = Callable[[list[str]], np.ndarray]
"""n texts -> unit vectors (n, d)."""


def describe(prompt: str, latents: Sequence[str], embed: Embed) -> dict:
    """Return h(Z given l) of a prompt, and its aspects with what fixing each would remove.

    Keys: aleatoric, aleatoric_low and _high (nats, of the estimator squbed; None where there is
    none), aleatoric_remark (why it has no value or no interval), and aspects, a list of {words,
    removes}, the most telling first. `removes` is the share of the spread, 1 - mean pairwise
    cosine, of which the entropy is an increasing function.
    """
    told = dict.fromkeys(VALUE, None) | {"aleatoric_remark": "", "aspects": []}
    if len(latents) < LEAST_LATENTS:
        remark = f"accepted draws: {len(latents)}; at least {LEAST_LATENTS} are needed"
        return told | {"aleatoric_remark": remark}
    text = embed(list(latents))
    stand_ins = np.broadcast_to(np.eye(2), (len(text), 2, 2))  # the aleatoric part reads no video
    found = estimate(text, stand_ins)
    told["aleatoric_remark"] = found.aleatoric_remark
    if found.identical or found.degenerate:
        return told
    interval = found.aleatoric_interval or (None, None)
    told |= dict(zip(VALUE, (found.aleatoric, *interval), strict=True))
    spread, groups = _spread(text), aspects(prompt, latents, embed)
    groups = [group for group in groups if len(group) > 1] or groups
    removes = [1 - _spread_when_fixed(latents, words, embed) / spread for words in groups]
    pairs = sorted(zip(groups, removes, strict=True), key=lambda pair: -pair[1])
    return told | {"aspects": [{"words": words, "removes": share} for words, share in pairs]}


def aspects(prompt: str, latents: Sequence[str], embed: Embed) -> list[list[str]]:
    """Group the words in which latent prompts differ, and which their prompt lacks.

    Words of one group never stand in one latent prompt. The two most alike groups are joined as
    long as they are alike: by the neighbours that their words share, and by their embeddings. Each
    group begins with its most frequent word.

    >>> latents = ["a red star", "a blue star", "a red star"]
    >>> aspects("a star", latents, lambda words: np.eye(len(words)))
    [['red', 'blue']]
    """
    said = [words_of(text) for text in latents]
    counts = Counter(chain.from_iterable(map(set, said)))
    known = {*words_of(FUNCTION_WORDS), *words_of(prompt)}
    words = [w for w in dict.fromkeys(chain(*said)) if w not in known and counts[w] < len(said)]
    if not words:
        return []
    there = np.array([[word in text for word in words] for text in said], dtype=int)
    apart, alike = there.T @ there == 0, _likeness(words, said, embed)
    groups = [[word] for word in words]
    while True:
        scores = np.where(apart, alike, -np.inf)
        i, j = sorted(np.unravel_index(scores.argmax(), scores.shape))
        if scores[i, j] < LIKENESS:
            return [sorted(group, key=lambda word: -counts[word]) for group in groups]
        a, b = len(groups[i]), len(groups[j])
        alike[i] = alike[:, i] = (a * alike[i] + b * alike[j]) / (a + b)
        apart[i] = apart[:, i] = apart[i] & apart[j]
        alike, apart = (np.delete(np.delete(x, j, 0), j, 1) for x in (alike, apart))
        groups[i] += groups.pop(j)


def question(words: Sequence[str]) -> str:
    """Return the question that the words of an aspect answer, with `MOST_WORDS` of them at most.

    >>> question(["red", "blue", "green"]), question(["tabby"]), question([])
    ('red, blue or green?', 'tabby or not?', '')
    """
    words = [*words[:MOST_WORDS], *(["another"] if len(words) > MOST_WORDS else [])]
    *others, last = [*words, "not"] if len(words) == 1 else words or [""]
    return f"{', '.join(others)} or {last}?" if others else ""


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return WORD.findall(text.casefold())


def ladder_taus(
    table: pd.DataFrame, latents: pd.DataFrame, *, rungs: Sequence[str]
) -> pd.DataFrame:
    """Hold h(Z given l) to a ladder of prompts that say more and more, beside measures of words.

    A ladder on which a count of words ranks as well tells nothing of meaning; what the measures
    share within a rung does.

    `table` is as `vagueness`, with the rung in `category`; prompts without a rank are left out.
    `latents` has task and prompt, a row a latent prompt; `rungs` begin with those that say least.

    Columns: measure; tau, low, high, pvalue: Kendall's tau with the rung (negative: prompts that
    say more are less vague); difference, difference_low and so on: S-QUBED's tau less the
    measure's, on the same resamples; within, within_low, within_high: the measure's tau with
    S-QUBED, of pairs of one rung. p-values are corrected by Holm's method, each of the two columns
    as one family.
    """
    tasks = table[table["rank"].notna()].set_index("task")
    rung = tasks.category.map({name: i for i, name in enumerate(rungs)}).to_numpy(float)
    measures = {"S-QUBED": tasks.aleatoric, "word count": -tasks.prompt.str.split().map(len)}
    measures |= word_spreads(latents[latents.task.isin(tasks.index)])
    ours, rows = tasks.aleatoric.to_numpy(), []
    for name, series in measures.items():
        x, rng = series[tasks.index].to_numpy(float), np.random.default_rng(seed_of("ladder", name))
        tau = kendall(x, rung, rng=rng)
        row = [name, tau.tau, *tau.interval, tau.pvalue]
        if name != "S-QUBED":
            less = tau_difference(ours, x, rung, rng=rng)
            (taus,) = resampled_taus(
                x[None], ours, task_counts(len(x), N_RESAMPLES, rng), levels=rung
            )
            row += [*less, plain_tau(x, ours, rung), *bootstrap_interval(taus)]
        rows.append(dict(zip(LADDER, row, strict=False)))
    found = pd.DataFrame(rows, columns=LADDER)
    for column in ("pvalue", "difference_pvalue"):
        told = found[column].notna()
        found.loc[told, column] = holm(found.loc[told, column])
    return found


def _likeness(words: list[str], said: list[list[str]], embed: Embed) -> np.ndarray:
    """Return how alike words are (k, k): the share of neighbours in common, plus the cosine."""
    beside: dict[str, set] = {word: set() for word in words}
    for text in said:
        for before, word, after in zip(["", *text], text, [*text[1:], ""], strict=False):
            if word in beside:
                beside[word] |= {("before", before), ("after", after)}
    sets = list(beside.values())
    shared = [[len(a & b) / min(len(a), len(b)) for b in sets] for a in sets]
    vectors = embed(words)
    return np.array(shared) + vectors @ vectors.T


def _spread_when_fixed(latents: Sequence[str], words: list[str], embed: Embed) -> float:
    """Return the expected spread once an aspect is fixed to one of its words, or to none."""
    said = [next((word for word in words_of(text) if word in words), "") for text in latents]
    one = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
    spreads = [
        count * _spread(embed([one.sub(word, text) for text in latents]))
        for word, count in Counter(said).items()
    ]
    return sum(spreads) / len(said)


def _spread(x: np.ndarray) -> float:
    """Return 1 - mean pairwise cosine of unit vectors (n, d), not below 0."""
    return max(0.0, float(1 - mean_pairwise_cosine(np.asarray(x, dtype=float))))
