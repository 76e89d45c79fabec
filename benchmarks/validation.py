"""Simulations that hold the statistics to what they promise; writes the tables of a document.

Usage: OMP_NUM_THREADS=1 python benchmarks/validation.py [--only NAME ...] [--document PATH]
"""

import argparse
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import integrate, stats
from sentence_transformers import SentenceTransformer
from tqdm import tqdm

from squbed_utils.archive.archive import open_archive
from squbed_utils.estimators import vmf
from squbed_utils.estimators.estimate import estimate
from squbed_utils.files import ROOT, SAMPLES, seed_of
from squbed_utils.statistics import cost, pooled
from squbed_utils.statistics.calibration import bootstrap_interval, kendall
from squbed_utils.statistics.decision import control_risk
from squbed_utils.statistics.resampling import (
    permuted_taus,
    rereferenced_taus,
    resampled_areas,
    task_counts,
    weighted_taus,
    widened,
)
from squbed_utils.statistics.summary import TERMS, measured_embeddings
from squbed_utils.world.scenes import ATTRIBUTES, TRAINING_PHRASINGS, complete, say
from training.tasks import completions

DOCUMENT = ROOT / "docs" / "validation.md"
TARGET, BOUND = 0.5, 1.5
RATIOS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Concentrations per dimension, from nearly uniform to tight."""

SETTINGS = ((40, 0.2), (75, 0.1), (75, 0.2), (300, 0.05), (300, 0.1))
"""Calibration tasks and level; accuracy is short of the target by 0.1 on average."""

SUBSPACE = 15
"""Directions in which the text of `SUBSPACE` dimensions spreads; real text has 11 to 25."""


def tau_coverage(reps: int = 2000) -> pd.DataFrame:
    """Return how often the bootstrap interval of tau holds the tau of a bivariate normal."""
    rows = []
    for n in (10, 20, 40, 75, 150):
        row = {"tasks": n}
        for tau in (0.0, -0.3, -0.5, -0.7):
            rng, rho = np.random.default_rng(seed_of("tau", n, tau)), np.sin(np.pi * tau / 2)
            held = []
            for _ in range(reps if n < 100 else reps // 2):
                x, noise = rng.normal(size=(2, n))
                y = rho * x + np.sqrt(1 - rho**2) * noise
                low, high = kendall(x, y, rng=rng, n_bootstrap=1000).interval
                held.append(low <= tau <= high)
            row[f"tau {tau:g}"] = percent(np.mean(held))
        rows.append(row)
    return pd.DataFrame(rows)


def area_coverage(reps: int = 2000, tasks: int = 3) -> pd.DataFrame:
    """Return how often the interval of the AUROC holds it, where subjects share part of a score.

    As `truth.separation_within`: subjects are resampled with their tasks.
    """
    rows = []
    for never, common in ((6, 9), (12, 18), (36, 54)):
        row = {"never-seen subjects": never, "common": common}
        subject = np.repeat(np.arange(never + common), tasks)
        coverage = np.where(subject < never, "never", "common")
        for area in (0.5, 0.7, 0.85, 0.95):
            rng, held = np.random.default_rng(seed_of("area", never, area)), []
            shift = np.sqrt(2) * stats.norm.ppf(area) * (coverage == "never")
            for _ in range(reps):
                x = np.sqrt(0.3) * rng.normal(size=never + common)[subject] + shift
                x += np.sqrt(0.7) * rng.normal(size=x.size)
                counts = task_counts(x.size, 500, rng, subject)
                found, *areas = resampled_areas(x, coverage, np.vstack([np.ones(x.size), counts]))
                low, high = bootstrap_interval(widened(np.array(areas), found, subject))
                held.append(low <= area <= high)
            row[f"AUROC {area:g}"] = percent(np.mean(held))
        rows.append(row)
    return pd.DataFrame(rows)


def jackknife_coverage(reps: int = 4000) -> pd.DataFrame:
    """Return how often a task's jackknife intervals hold the uncertainties of the population.

    Videos of a latent prompt are von Mises-Fisher with a concentration of its own, log-normal
    over latent prompts. Text is von Mises-Fisher, or spreads in a subspace, as real text does.
    """
    rows = []
    for text in ("vMF", "subspace"):
        for n, m, d in ((5, 5, 64), (6, 6, 64), (10, 3, 64), (10, 10, 64), (10, 10, 384)):
            rng, truth = np.random.default_rng(seed_of(text, n, m, d)), true_terms(text, d)
            held = np.zeros(3)
            for _ in range(reps if d < 100 else reps // 2):
                found = estimate(draw_text(text, n, d, rng), draw_videos(n, m, d, rng))
                ends = (found.aleatoric_interval, found.epistemic_interval, found.total_interval)
                held += [low <= t <= high for (low, high), t in zip(ends, truth, strict=True)]
            shares = held / (reps if d < 100 else reps // 2)
            row = {"text": text, "latent prompts": n, "videos": m, "width": d}
            names = ("aleatoric", "epistemic", "total")
            rows.append(row | dict(zip(names, map(percent, shares), strict=True)))
    return pd.DataFrame(rows)


def design_coverage(reps: int = 600) -> pd.DataFrame:
    """Return the same where only some of the latent prompts have videos."""
    rows = []
    for text in ("vMF", "subspace"):
        for n, k, m, d in ((20, 4, 6, 64), (20, 6, 6, 64), (12, 6, 2, 64)):
            rng, truth = np.random.default_rng(seed_of(text, n, k, m, d)), true_terms(text, d)
            held, none = np.zeros(3), [np.empty((0, d))] * (n - k)
            for _ in range(reps):
                videos = [*draw_videos(k, m, d, rng), *none]
                found = estimate(draw_text(text, n, d, rng), videos)
                ends = (found.aleatoric_interval, found.epistemic_interval, found.total_interval)
                held += [low <= t <= high for (low, high), t in zip(ends, truth, strict=True)]
            row = {"text": text, "latent prompts": n, "with videos": k, "videos": m, "width": d}
            names = ("aleatoric", "epistemic", "total")
            rows.append(row | dict(zip(names, map(percent, held / reps), strict=True)))
    return pd.DataFrame(rows)


def grammar_coverage(reps: int = 500) -> pd.DataFrame:
    """Return how often aleatoric intervals hold what the shapes world's grammar leaves open.

    Latent prompts are drawn from all that a prompt may mean, in every training phrasing. Columns
    are attributes left open; in brackets, how many tasks have no interval for few distinct prompts.
    """
    populations, rows = grammar_populations(), []
    for n in (6, 10, 20):
        row = {"latent prompts": n}
        for left_open, texts in populations.items():
            rng = np.random.default_rng(seed_of("grammar", n, left_open))
            videos = draw_videos(n, 2, 16, rng)
            held, withheld = [], 0
            for i in range(reps):
                text = texts[i % len(texts)]
                d, mean = text.shape[1], text.mean(axis=0)
                kappa = vmf.kappa_from_spherical_variance(d, 1 - np.linalg.norm(mean))
                truth = float(vmf.entropy(d, kappa))
                found = estimate(text[rng.integers(len(text), size=n)], videos).aleatoric_interval
                withheld += found is None
                held += [] if found is None else [found[0] <= truth <= found[1]]
            row[f"{left_open} open"] = f"{percent(np.mean(held))} ({percent(withheld / reps)})"
        rows.append(row)
    return pd.DataFrame(rows)


def grammar_populations(prompts: int = 20) -> dict[int, list[np.ndarray]]:
    """Return embeddings (captions, d) of all that some prompts may mean, by number left open."""
    encoder = SentenceTransformer(str(ROOT / "data/world/sentence_encoder"), device="cpu")
    populations = {}
    for left_open in range(5):
        rng, populations[left_open] = np.random.default_rng(seed_of("open", left_open)), []
        for _ in range(prompts):
            scene = complete({}, rng)
            for name in rng.permutation([a for a in ATTRIBUTES if a != "shape"])[:left_open]:
                del scene[name]
            meant = list(completions(scene))
            captions = [say(s, k) for s in meant for k in range(len(TRAINING_PHRASINGS))]
            text = encoder.encode(captions, batch_size=256).astype(float)
            populations[left_open].append(text / np.linalg.norm(text, axis=1, keepdims=True))
    return populations


def draw_text(kind: str, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the text embeddings (n, d) of a task."""
    if kind == "vMF":
        return vmf.sample(d, 2.0 * d, n, rng)
    x = np.zeros((n, d))
    x[:, 0], x[:, 1 : SUBSPACE + 1] = 1, 0.1 * rng.normal(size=(n, SUBSPACE))
    return x


def draw_videos(n: int, m: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the video embeddings (n, m, d) of a task."""
    kappas = d * np.exp(0.4 * rng.normal(size=n))
    return np.stack([vmf.sample(d, k, m, rng) for k in kappas])


def true_terms(kind: str, d: int) -> tuple[float, float, float]:
    """Return the aleatoric, epistemic and total uncertainty of the population drawn from."""
    if kind == "vMF":
        kappa = 2.0 * d
    else:
        chi2 = stats.chi2(SUBSPACE)
        length = integrate.quad(lambda s: chi2.pdf(s) / np.sqrt(1 + 0.01 * s), 0, 200)[0]
        kappa = vmf.kappa_from_spherical_variance(d, 1 - length)
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    aleatoric = float(vmf.entropy(d, kappa))
    epistemic = float(weights @ vmf.entropy(d, d * np.exp(0.4 * points)))
    return aleatoric, epistemic, aleatoric + epistemic


def pooled_coverage(reps: int = 60) -> pd.DataFrame:
    """Return how often intervals that are pooled over tasks hold the uncertainty of the population.

    An archive has 60 tasks of six latent prompts; tasks of a subject share words, and part of the
    logarithm of their concentrations, or of nothing that is said. Beside it, Kendall's tau of the
    truth with the plain epistemic part and with the pooled one, means over archives.
    """
    rows, n, d = [], 6, 64
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    for told, each in (("subjects", 5), ("subjects", 2), ("subjects", 1), ("nothing", 5)):
        for k, m in ((3, 3), (6, 2), (6, 6)):
            rng = np.random.default_rng(seed_of("pooled", told, each, k, m))
            held, taus = [], []
            for _ in range(reps):
                subject = np.repeat(np.arange(60 // each), each)
                words = [directions((60 // each, d), rng)[subject], 0.6 * directions((60, d), rng)]
                text = sum(words)[:, None] + 0.35 * directions((60, n, d), rng)
                spread = rng.normal(size=(2, 60))
                shared = 0.3 * (spread[0][subject] if told == "subjects" else spread[0])
                means = shared + 0.1 * spread[1]
                kappas = d * np.exp(means[:, None] + 0.25 * rng.normal(size=(60, n)))
                videos = [vmf.sample(d, kappa, m, rng) for kappa in kappas.ravel()]
                h = vmf.entropy(d, vmf.fit(np.stack(videos)).kappa)
                each_h = vmf.entropy(d, d * np.exp(means[:, None] + 0.25 * nodes))
                truth = each_h @ weights / weights.sum()
                counts = np.where(np.arange(60 * n) % n < k, m, 0)
                found = pooled.pool(text.reshape(-1, d), h, counts, np.repeat(np.arange(60), n))
                held.append((found.low <= truth) & (truth <= found.high))
                plain = h.reshape(60, n)[:, :k].mean(axis=1)
                taus.append([stats.kendalltau(x, truth).statistic for x in (plain, found.value)])
            row = {"words tell": told, "tasks a subject": each, "latent prompts": k, "videos": m}
            ranked = dict(zip(("tau plain", "tau pooled"), np.mean(taus, axis=0), strict=True))
            row |= {"coverage": percent(np.mean(held))}
            rows.append(row | {name: f"{tau:.2f}" for name, tau in ranked.items()})
    return pd.DataFrame(rows)


def directions(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw unit vectors (..., d) of uniform direction."""
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def plan_widths(draws: int = 3) -> pd.DataFrame:
    """Return by how much planned median widths of tasks' intervals miss those of `world-10x10`.

    Found ones are of subsets of its latent prompts and videos. Pilots are the archive itself, and
    `world`, other latent prompts and videos of the same tasks, of which it has six times six.
    """
    archives = {name: open_archive(SAMPLES / name) for name in ("world-10x10", "world")}
    samples, rows = measured_embeddings(archives["world-10x10"]), []
    pilots = {name: cost.pilot(archive) for name, archive in archives.items()}
    for n, m in ((5, 5), (5, 10), (6, 2), (6, 6), (8, 8), (10, 2), (10, 3), (10, 5), (10, 10)):
        found = {}
        for task, (text, videos) in tqdm(samples.items(), desc=f"{n} x {m}"):
            rng, widths = np.random.default_rng(seed_of("plan", task, n, m)), []
            for _ in range(draws):
                kept = rng.permutation(len(videos))[:n]
                few = [videos[i][rng.permutation(len(videos[i]))[:m]] for i in kept]
                of = estimate(text[kept], few)
                ends = [getattr(of, f"{term}_interval") or (np.nan, np.nan) for term in TERMS]
                widths.append(np.ptp(ends, axis=1))
            found[task] = np.mean(widths, axis=0)
        found = pd.DataFrame(found, index=TERMS).T.dropna()
        for pilot, known in pilots.items():
            planned = cost.widths(known, cost.Design(n, n, m)).set_axis(known.tasks.task)
            both = found.index.intersection(planned.index)
            missed = planned.loc[both].median() / found.loc[both].median() - 1
            row = {"pilot": pilot, "latent prompts": n, "videos": m, "tasks": len(both)}
            rows.append(row | {term: f"{missed[term]:+.0%}" for term in TERMS})
    return pd.DataFrame(rows).sort_values("pilot", kind="stable")


def null_band(reps: int = 5000, permutations: int = 1000) -> pd.DataFrame:
    """Return how often tau leaves the middle 95 % of taus under permuted accuracies, by chance.

    Uncertainty and accuracy are independent; "ties" rounds the accuracy to about five values.
    """
    rows = []
    for n in (10, 40, 75, 150):
        row = {"tasks": n}
        for kind in ("continuous", "ties"):
            rng = np.random.default_rng(seed_of("null", n, kind))
            outside = []
            for _ in range(reps):
                y = rng.normal(size=n) if kind == "continuous" else rng.normal(size=n).round()
                y = stats.rankdata(y, "dense").astype(np.int16)
                null = ordered_pairs(rng.permuted(np.tile(y, (permutations, 1)), axis=1))
                low, high = np.quantile(null, [0.025, 0.975])
                outside.append(not low <= ordered_pairs(y[None])[0] <= high)
            row[kind] = percent(np.mean(outside))
        rows.append(row)
    return pd.DataFrame(rows)


def ordered_pairs(ranks: np.ndarray) -> np.ndarray:
    """Return concordant minus discordant pairs of ranks (k, n) with the order of the columns.

    Ties do not differ between permutations of one row, so this ranks them as tau-b does.
    """
    columns = np.ascontiguousarray(ranks.T)
    total = np.zeros(len(ranks))
    for i in range(len(columns) - 1):
        total += np.sign(columns[i + 1 :] - columns[i]).sum(axis=0, dtype=np.int16)
    return total


def reference_band(reps: int = 5000, permutations: int = 1000) -> pd.DataFrame:
    """Return how often tau leaves the null band where scatter alone ties it to the accuracy.

    The videos of a task have a mean embedding of some length, in a direction that has nothing to do
    with the task's reference; uncertainty falls with the length, as does the mean cosine to any
    reference. "references": those of other tasks are dealt, as the leaderboard does;
    "accuracies": these are, which takes scatter for skill.
    """
    dealt = {"references": rereferenced_taus, "accuracies": permuted_taus}
    rows = []
    for n in (10, 40, 75, 150):
        rng, outside = np.random.default_rng(seed_of("references", n)), {name: [] for name in dealt}
        for _ in range(reps):
            length = rng.uniform(0.3, 1, size=n)
            directions, references = rng.normal(size=(2, n, 16)) + 1
            similarity = (length[:, None] * directions) @ references.T
            own = np.diag(similarity)
            tau = stats.kendalltau(-length, own).statistic
            for name, what in (("references", similarity), ("accuracies", own)):
                null = dealt[name](-length[None], what, permutations, rng)[0]
                low, high = np.quantile(null, [0.025, 0.975])
                outside[name].append(not low <= tau <= high)
        rows.append(
            {"tasks": n} | {name: percent(np.mean(found)) for name, found in outside.items()}
        )
    return pd.DataFrame(rows)


def risk_control(draws: int = 500) -> pd.DataFrame:
    """Return the risk that a threshold leads to, over draws of calibration tasks.

    Where uncertainty is informative, accuracy falls with it; else it does not hang on it.
    """
    rows = []
    for world in ("informative", "uninformative"):
        u, losses = draw_tasks(world, 200_000, np.random.default_rng(seed_of("all", world)))
        order = np.argsort(u)
        u, sums = u[order], np.append(0, np.cumsum(losses[order]))
        for n, level in SETTINGS:
            rng = np.random.default_rng(seed_of(world, "marginal", n, level))
            accepted, risks = np.zeros((2, draws))
            for i in range(draws):
                threshold = control_risk(*draw_tasks(world, n, rng), level=level, bound=BOUND)
                k = threshold.accepts(u).sum()
                accepted[i], risks[i] = k / u.size, sums[k] / u.size
            row = {"uncertainty": world, "tasks": n, "level": level}
            row["mean risk"] = f"{risks.mean():.4f} ± {risks.std(ddof=1) / np.sqrt(draws):.4f}"
            row["above the level"] = percent((risks > level).mean())
            row["tasks accepted"] = percent(accepted.mean())
            rows.append(row | {"accepts none": percent((accepted == 0).mean())})
    return pd.DataFrame(rows)


def difference_coverage(reps: int = 2000, resamples: int = 1000) -> pd.DataFrame:
    """Return how often the 95 % interval of the difference of two taus holds it.

    Two scores follow the accuracy equally well, so that the true difference is 0; of their noise
    they have a share in common.
    """
    rows = []
    for n in (10, 20, 40, 150):
        row = {"tasks": n}
        for r, own in ((0.5, 0.5), (0.9, 0.3), (0.95, 0.5)):
            rng = np.random.default_rng(seed_of("difference", n, r, own))
            held = []
            for _ in range(reps):
                y, common = rng.normal(size=(2, n))
                noise = np.sqrt(1 - own) * common + np.sqrt(own) * rng.normal(size=(2, n))
                scores = -(r * y + np.sqrt(1 - r**2) * noise)
                one, other = weighted_taus(scores, y, task_counts(n, resamples, rng))
                low, high = bootstrap_interval(one - other, 0.95)
                held.append(low <= 0 <= high)
            row[f"r {r:g}, {own:.0%} own noise".replace("%", " %")] = percent(np.mean(held))
        rows.append(row)
    return pd.DataFrame(rows)


def draw_tasks(world: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw uncertainties and shortfalls of n tasks."""
    u, noise = rng.normal(size=(2, n))
    mean = 0.5 - 0.3 * u if world == "informative" else 0.5
    accuracy = np.clip(mean + 0.25 * noise, -1, 1)
    return u, np.clip(TARGET - accuracy, 0, BOUND)


def entropy_bias(reps: int = 2000) -> pd.DataFrame:
    """Return the worst bias of the entropy over concentrations, corrected and plug-in, in nats."""
    rows = []
    for d in (64, 384, 512):
        biases = {}
        for ratio in RATIOS:
            rng = np.random.default_rng(seed_of("bias", d, ratio))
            x, truth = vmf.sample(d, ratio * d, (reps, 20), rng), vmf.entropy(d, ratio * d)
            for m in (2, 3, 5, 10, 20):
                for corrected in (True, False):
                    h = vmf.entropy(d, vmf.fit(x[:, :m], corrected=corrected).kappa)
                    biases.setdefault((m, corrected), []).append((h - truth).mean())
        for m in (2, 3, 5, 10, 20):
            row = {"width": d, "samples": m}
            for corrected, name in ((True, "corrected"), (False, "plug-in")):
                found = np.array(biases[m, corrected])
                row[f"{name}, worst"] = f"{found[np.abs(found).argmax()]:.2f}"
            row["corrected, kappa >= d"] = (
                f"{np.abs(biases[m, True][RATIOS.index(1.0) :]).max():.2f}"
            )
            row["-(d-1)/2 log(m/(m-1))"] = f"{-(d - 1) / 2 * np.log(m / (m - 1)):.2f}"
            rows.append(row)
    return pd.DataFrame(rows)


SIMULATIONS = {
    f.__name__: f
    for f in (
        *(tau_coverage, difference_coverage, area_coverage, jackknife_coverage, design_coverage),
        *(grammar_coverage, pooled_coverage, plan_widths),
        *(null_band, reference_band, risk_control, entropy_bias),
    )
}


def percent(share: float) -> str:
    """Write a share.

    >>> percent(0.9514)
    '95.1 %'
    """
    return f"{share:.1%}".replace("%", " %")


def as_markdown(table: pd.DataFrame) -> str:
    """Write a table in Markdown."""
    lines = [list(table), ["---"] * len(table.columns), *table.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def with_table(text: str, name: str, table: str) -> str:
    """Put a table between its two marks in the text.

    Raises
    ------
    ValueError
        If the marks are not there once.
    """
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)"
    found, count = re.subn(pattern, rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the document has {count} places for {name}; expected one")
    return found


def main() -> None:
    """Run the simulations asked for, and write their tables into the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SIMULATIONS, default=list(SIMULATIONS))
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args()
    for name in options.only:
        start = time.process_time()
        table = as_markdown(SIMULATIONS[name]())
        tqdm.write(f"{name}: {time.process_time() - start:.0f} CPU-seconds\n{table}")
        text = options.document.read_text(encoding="utf-8")
        options.document.write_text(with_table(text, name, table), encoding="utf-8")


if __name__ == "__main__":
    main()
