"""How long a path of logistic regressions takes, against scikit-learn's.

    python benchmarks/linear_probe.py [--images 4000] [--width 256] [--classes 100] [--penalties 5]

Features are the sum of a class's centre and noise, with scales from 1 to 0.01 and means of 1, as
frozen features have scales of their own. The same penalties, spread over Kornblith's path from
large to small, are fitted by both, each from the last one's solution; scikit-learn's L-BFGS
(float64, its default tolerance, up to 20,000 iterations) on all cores. Prints seconds, their ratio,
and how much larger the value is that scikit-learn reached; `--alone` leaves scikit-learn out.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

from scaling.evaluate.linear_probe import PATHS
from scaling.evaluate.logistic import Regression


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
    for name, value in (("images", 4000), ("width", 256), ("classes", 100), ("penalties", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--alone", action="store_true")
    asked = parser.parse_args()
    features, labels = made_up(asked.images, asked.width, asked.classes)
    low, high, _ = PATHS["kornblith"]
    penalties = np.geomspace(high, low, asked.penalties).tolist()

    began = time.monotonic()
    path = Regression(features, labels, asked.classes, asked.dtype).path(penalties)
    ours, seconds = [], []
    for solution in path:
        ours.append(solution)
        seconds.append(time.monotonic() - began)
        began = time.monotonic()
    shape = f"{asked.images:,} x {asked.width}, {asked.classes} classes, {asked.dtype}"
    print(f"{shape}; compiling is part of the first\n")
    print("| l2 | steps | s | scikit-learn: iterations | s | times as long | value larger by |")
    print("|---|---|---|---|---|---|---|")
    warnings.simplefilter("ignore")  # that it did not converge: seen in its iterations
    other = LogisticRegression(max_iter=20_000, warm_start=True)
    whole = 0.0
    for solution, mine in zip(ours, seconds, strict=True):
        line = f"| {solution.l2:.1e} | {solution.steps} | {mine:.1f} |"
        if not asked.alone:
            began = time.monotonic()
            other.set_params(C=1 / solution.l2).fit(features.astype(np.float64), labels)
            its = time.monotonic() - began
            whole += its
            scores = features.astype(np.float64) @ other.coef_.T + other.intercept_
            largest = scores.max(1)
            losses = np.log(np.exp(scores - largest[:, None]).sum(1)) + largest
            losses -= scores[np.arange(len(labels)), labels]
            value = losses.sum() + solution.l2 / 2 * np.square(other.coef_).sum()
            more = value / solution.value - 1
            line += f" {other.n_iter_[0]} | {its:.1f} | {its / mine:.1f} | {more:.1e} |"
        print(line, flush=True)
    print(f"\nAll: {sum(seconds):.1f} s", end="")
    print("" if asked.alone else f", scikit-learn {whole / sum(seconds):.1f} times as long.")


if __name__ == "__main__":
    main()
