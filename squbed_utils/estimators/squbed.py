"""S-QUBED: entropies of von Mises-Fisher fits, corrected for few samples or as published."""

from collections.abc import Sequence

import numpy as np

from squbed_utils.estimators import vmf
from squbed_utils.estimators.registry import Estimator, Terms, Videos, equal_groups


@Estimator(
    "squbed",
    "S-QUBED",
    "arXiv 2510.02571, small-sample correction",
    "nats",
    sphere_entropy=True,
    equal_counts=False,
).register
def squbed(text: np.ndarray | None, videos: Videos) -> Terms:
    """Return S-QUBED's terms with the small-sample correction of `vmf.fit`.

    aleatoric h(Z|l) = vMF entropy of the text embeddings; epistemic h(V|Z) = mean over latent
    prompts of the vMF entropy of their videos; total = their sum (arXiv 2510.02571, Prop. 1).

    Nats; tasks with unequal counts compare.

    >>> round(float(squbed(np.eye(3), np.stack([np.eye(3)] * 3)).total), 6)  # 2 log(4 pi)
    5.062048
    """
    return _vmf_terms(text, videos, corrected=True)


@Estimator(
    "squbed_mle", "S-QUBED, plug-in", "arXiv 2510.02571", "nats", sphere_entropy=True
).register
def squbed_mle(text: np.ndarray | None, videos: Videos) -> Terms:
    """Return S-QUBED's terms with maximum-likelihood fits, as the paper computes them.

    As `squbed`, but biased by -(d-1)/2 log(m/(m-1)) nats a term: comparable at equal n and m only.

    >>> squbed_mle(np.eye(3), np.stack([np.eye(3)] * 3)) < squbed(np.eye(3), [np.eye(3)] * 3)
    True
    """
    return _vmf_terms(text, videos, corrected=False)


@Estimator(
    "entropy_power",
    "Entropy power",
    "Shannon 1948; arXiv 2510.02571",
    "log power",
    equal_counts=False,
).register
def entropy_power(text: np.ndarray | None, videos: Videos) -> Terms:
    """Return S-QUBED's terms as log entropy powers per degree of freedom, and that of their sum.

    aleatoric = 2A / (d_t - 1), epistemic = 2E / (d_v - 1), total = log(exp(aleatoric) +
    exp(epistemic)), with A and E of `squbed` in nats. Entropies are logarithms of spread, so a sum
    of entropies multiplies two spreads; here the spreads add, as errors of independent causes do.
    docs/method.md derives it. Unequal counts compare.

    >>> text, videos = np.eye(3), np.stack([np.eye(3)] * 3)
    >>> np.exp(entropy_power(text, videos)[:3]).round(4).tolist()  # 4 pi of either, 8 pi
    [12.5664, 12.5664, 25.1327]
    """
    aleatoric, epistemic, _, degenerate = squbed(text, videos)
    epistemic *= 2 / (videos[0].shape[-1] - 1)
    if text is None:
        return Terms(None, epistemic, None, degenerate)
    aleatoric *= 2 / (text.shape[-1] - 1)
    return Terms(aleatoric, epistemic, float(np.logaddexp(aleatoric, epistemic)), degenerate)


def concentrations(
    videos: Videos, others: Sequence[np.ndarray], *, corrected: bool = True
) -> tuple[np.ndarray, list[float], bool]:
    """Return kappa of each latent prompt's videos, (n,) in no order, and of other samples (m, d).

    The last says whether one of them is capped.
    """
    groups = equal_groups(videos)
    fits = vmf.fit_all([*groups, *others], corrected=corrected)
    of_videos = np.concatenate([f.kappa for f in fits[: len(groups)]])
    of_others = [float(f.kappa) for f in fits[len(groups) :]]
    return of_videos, of_others, any(np.any(f.degenerate) for f in fits)


def _vmf_terms(text: np.ndarray | None, videos: Videos, *, corrected: bool) -> Terms:
    d_video, texts = videos[0].shape[-1], () if text is None else (text,)
    kappa, latent, degenerate = concentrations(videos, texts, corrected=corrected)
    widths = [d_video] * len(kappa) + [x.shape[-1] for x in texts]
    entropies = vmf.entropy(widths, [*kappa, *latent])
    epistemic = float(entropies[: len(kappa)].mean())
    if text is None:
        return Terms(None, epistemic, None, degenerate)
    aleatoric = float(entropies[-1])
    return Terms(aleatoric, epistemic, aleatoric + epistemic, degenerate)
