"""Speed and correctness of `estimators.vmf` beside scipy.stats.vonmises_fisher, in one run.

Usage: OMP_NUM_THREADS=1 python benchmarks/vmf.py [--entropies N] [--fits N]
"""

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import vonmises_fisher

from squbed_utils.estimators import vmf

TRUTH = Path(__file__).parents[1] / "tests" / "data" / "vmf_truth.csv"
DIMENSIONS = (3, 16, 64, 512)
N_SAMPLES = 10
PEER_CALLS = 200
REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    """Return the shortest processor time of several runs of `work`."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def entropy_rates(n: int, count: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return entropies per second, batched here and one by one in scipy."""
    kappa = 10 ** rng.uniform(-3, 6, count)
    mu = np.eye(1, n)[0]
    ours = count / seconds(lambda: vmf.entropy(n, kappa))
    peer = seconds(lambda: [vonmises_fisher.entropy(mu, k) for k in kappa[:PEER_CALLS]])
    return ours, PEER_CALLS / peer


def fit_rates(n: int, count: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return fits of 10 samples per second, batched here and one by one in scipy."""
    x = vmf.sample(n, 3.0 * n, (max(count * 3 // n, PEER_CALLS), N_SAMPLES), rng)
    ours = len(x) / seconds(lambda: vmf.fit(x))
    peer = seconds(lambda: [vonmises_fisher.fit(sample) for sample in x[:PEER_CALLS]])
    return ours, PEER_CALLS / peer


def print_speeds(entropies: int, fits: int) -> None:
    """Print rates and ratios for each dimension."""
    rng = np.random.default_rng(0)
    print(f"{'n':>6}{'entropies/s':>14}{'scipy':>10}{'ratio':>8}", end="")
    print(f"{'fits/s':>12}{'scipy':>10}{'ratio':>8}")
    for n in DIMENSIONS:
        a, b = entropy_rates(n, entropies, rng)
        c, d = fit_rates(n, fits, rng)
        print(f"{n:>6}{a:>14,.0f}{b:>10,.0f}{a / b:>8.0f}{c:>12,.0f}{d:>10,.0f}{c / d:>8.0f}")


def print_bandwidth(rng: np.random.Generator) -> None:
    """Print how much of the memory's bandwidth fits of 10 samples of dimension 512 reach."""
    print("\nsamples in memory, read once: fits beside the mean of all samples over axis 0")
    print(f"{'':>8}{'mean, GB/s':>12}{'fit, GB/s':>12}{'share':>8}{'fits/s':>12}{'scipy':>10}")
    for kind in (np.float64, np.float32):
        x = vmf.sample(512, 3.0 * 512, (4000, N_SAMPLES), rng).astype(kind)
        one_pass = x.nbytes / 1e9 / seconds(lambda x=x: x.reshape(-1, 512).mean(axis=0))
        taken = seconds(lambda x=x: vmf.fit(x))
        fit, rate = x.nbytes / 1e9 / taken, len(x) / taken
        peer = PEER_CALLS / seconds(lambda x=x: [vonmises_fisher.fit(s) for s in x[:PEER_CALLS]])
        shares = f"{one_pass:>12.1f}{fit:>12.1f}{fit / one_pass:>8.0%}{rate:>12,.0f}{peer:>10,.0f}"
        print(f"{kind.__name__:>8}{shares}")


def print_entropy_errors() -> None:
    """Print how each entropy stands against the truth table."""
    with TRUTH.open() as file:
        table = [[float(row[c]) for c in ("n", "kappa", "entropy")] for row in csv.DictReader(file)]
    rows = [(int(n), kappa, h) for n, kappa, h in table if kappa > 0]  # scipy refuses kappa = 0
    n, kappa, truth = map(np.array, zip(*rows, strict=True))
    peer = np.array([vonmises_fisher.entropy(np.eye(1, d)[0], k) for d, k, _ in rows])
    print(f"\nentropy on {len(rows)} true values (n 2 to 4096, kappa 1e-8 to 1e9), 160 digits")
    print(f"{'':>14}{'nan or inf':>12}{'off by > 1e-6':>15}{'worst error / max(1, |h|)':>28}")
    for name, h in (("squbed_utils", vmf.entropy(n, kappa)), ("scipy", peer)):
        finite = np.isfinite(h)
        error = np.abs(h - truth)[finite] / np.maximum(1, np.abs(truth[finite]))
        print(f"{name:>14}{(~finite).sum():>12}{(error > 1e-6).sum():>15}{error.max():>28.1e}")


def print_finite_but_wrong() -> None:
    """Print scipy's worst finite entropy just above the kappa where its nan ends."""
    print("\nscipy's worst finite entropy just above its last nan")
    print(f"{'n':>6}{'kappa':>12}{'scipy':>14}{'true':>14}")
    for n in (512, 1024, 2048, 4096):
        mu, kappa = np.eye(1, n)[0], np.logspace(-2, 4, 2000)
        last = max(k for k in kappa if not np.isfinite(vonmises_fisher.entropy(mu, k)))
        kappa = np.linspace(last, 1.03 * last, 2000)
        peer, true = (
            np.array([vonmises_fisher.entropy(mu, k) for k in kappa]),
            vmf.entropy(n, kappa),
        )
        worst = np.argmax(np.where(np.isfinite(peer), np.abs(peer - true), 0))
        print(f"{n:>6}{kappa[worst]:>12.6g}{peer[worst]:>14.4f}{true[worst]:>14.4f}")


def print_fits() -> None:
    """Print the kappa that each fit finds in 1,000 samples of known kappa."""
    rng = np.random.default_rng(1)
    print("\nkappa fitted to 1,000 samples")
    print(f"{'n':>6}{'true kappa':>12}{'squbed_utils':>14}{'scipy':>12}")
    for n in (3, 16, 64, 67, 128, 384, 512):
        x = vmf.sample(n, 5.0 * n, 1000, rng)
        _, peer = vonmises_fisher.fit(x)
        print(f"{n:>6}{5.0 * n:>12.1f}{float(vmf.fit(x).kappa):>14.2f}{peer:>12.4g}")


def main() -> None:
    """Parse the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entropies", type=int, default=1_000_000, help="entropies a timing")
    parser.add_argument("--fits", type=int, default=100_000, help="fits a timing, at n = 3")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's divisions by zero are what the tables count
        print_speeds(options.entropies, options.fits)
        print_bandwidth(np.random.default_rng(2))
        print_entropy_errors()
        print_finite_but_wrong()
        print_fits()


if __name__ == "__main__":
    main()
