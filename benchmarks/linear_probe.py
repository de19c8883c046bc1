"""How long a path of logistic regressions takes, against scikit-learn's.

    python benchmarks/linear_probe.py [--images 4000] [--width 256] [--classes 100] [--penalties 12]

Features are the sum of a class's centre and noise, with scales from 1 to 0.01 and means of 1, as
frozen features have scales of their own. The same penalties, spread over Kornblith's path from
large to small, are fitted by both, each from the last one's solution, in float64 on all cores.
scikit-learn's L-BFGS stops where its default tolerance says, far from the optimum on such features;
so each penalty is fitted with tolerances from 1e-4 to 1e-9, and the first counts that reaches a
value within 1e-6 of the optimum (up to 20,000 iterations), the time of the others does not. `*`
marks where none did. `--at-most 10` ends a fit of scikit-learn's after ten times as long as ours,
for sizes at which waiting for it would take days: `>` says that it was not there yet, and it begins
the next penalty at our solution. `--penalties` sets how far apart the values are; `--from-l2`
leaves smaller ones out. `so far` is the ratio of the sums down to that row. `--alone` leaves
scikit-learn out; `--dtype float32` is what the probe chooses its penalty with. Compiling is part
of the first penalty.
"""

from __future__ import annotations

import argparse
import copy
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from scaling.evaluate.frozen.logistic import Regression, Solution
from scaling.evaluate.linear_probe import PATHS

NEAR = 1e-6  # of the optimum's value
TOLERANCES = 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9


def made_up(images: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = (rng.permutation(images) % classes).astype(np.int32)
    scales = np.logspace(0, -2, width, dtype=np.float32)
    features = rng.standard_normal((images, width), np.float32)
    features += 0.3 * rng.standard_normal((classes, width), np.float32)[labels]
    return features * scales + 1, labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("images", 4000), ("width", 256), ("classes", 100), ("penalties", 12)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--from-l2", type=float, default=0.0)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--at-most", type=float, default=math.inf)
    asked = parser.parse_args()
    features, labels = made_up(asked.images, asked.width, asked.classes)
    low, high, _ = PATHS["kornblith"]
    penalties = np.geomspace(high, low, asked.penalties)
    penalties = penalties[penalties >= asked.from_l2].tolist()

    shape = f"{asked.images:,} x {asked.width}, {asked.classes} classes, {asked.dtype}"
    print(f"{shape}\n")
    columns = ["l2", "steps", "s", "scikit-learn: iterations", "s", "times as long"]
    columns += ["value larger by", "so far"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    warnings.simplefilter("ignore")  # that it did not converge: seen in its value
    other = LogisticRegression(max_iter=20_000, warm_start=True)
    its, mine = 0.0, 0.0
    for solution, seconds in timed(features, labels, asked, penalties):
        mine += seconds
        line = f"| {solution.l2:.1e} | {solution.steps} | {seconds:.1f} |"
        if not asked.alone:
            limit = asked.at_most * seconds
            found = as_near(other, features, labels, solution, limit)
            if found is None:
                its += limit
                line += f" | > {limit:.1f} | > {asked.at_most:g} | |"
                other = begun_at(solution, other)
            else:
                other, spent, more = found
                its += spent
                missed = "" if more <= NEAR else "*"
                line += f" {other.n_iter_[0]}{missed} | {spent:.1f} | {spent / seconds:.1f} |"
                line += f" {more:.1e} |"
            line += f" {its / mine:.1f} |"
        print(line, flush=True)
    print(f"\nAll: {mine:.1f} s", end="")
    least = "" if asked.at_most == math.inf else "at least "
    print("" if asked.alone else f", scikit-learn {least}{its / mine:.1f} times as long.")


def timed(
    features: np.ndarray,
    labels: np.ndarray,
    asked: argparse.Namespace,
    penalties: list[float],
) -> Iterator[tuple[Solution, float]]:
    """Solutions, and the seconds that each took."""
    began = time.monotonic()
    for solution in Regression(features, labels, asked.classes, asked.dtype).path(penalties):
        yield solution, time.monotonic() - began
        began = time.monotonic()


def as_near(
    last: LogisticRegression,
    features: np.ndarray,
    labels: np.ndarray,
    best: Solution,
    limit: float,
) -> tuple[LogisticRegression, float, float] | None:
    """The fit that reaches the optimum first, its seconds, and by how much its value is larger;
    None: `limit` seconds did not suffice."""
    x = features.astype(np.float64)
    for tolerance in TOLERANCES:
        found = copy.deepcopy(last).set_params(C=1 / best.l2, tol=tolerance)
        began = time.monotonic()
        try:
            with ended_after(limit):
                found.fit(x, labels)
        except TimeoutError:
            return None
        spent = time.monotonic() - began
        scores = x @ found.coef_.T + found.intercept_
        losses = logsumexp(scores, axis=1) - scores[np.arange(len(labels)), labels]
        more = (losses.sum() + best.l2 / 2 * np.square(found.coef_).sum()) / best.value - 1
        if more <= NEAR:
            break
    return found, spent, more


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """TimeoutError where it takes longer."""
    if seconds == math.inf:
        yield
        return

    def end(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def begun_at(best: Solution, last: LogisticRegression) -> LogisticRegression:
    """A fit that goes on from a solution."""
    found = copy.deepcopy(last)
    found.coef_, found.intercept_ = best.weights.T.copy(), best.bias.copy()
    found.classes_ = np.arange(len(best.bias))
    return found


if __name__ == "__main__":
    main()
