"""python benchmarks/chinchilla_fit.py [CSV]: how well and how fast the laws are fitted.

Prints, in CPU seconds of one core, all from this run:
  the law L(N, D) on the points that Epoch AI read off the paper's figure, Huber's loss on log
  loss: how far above the smallest objective known; 1,000 bootstrap refits, each against the best of
  the solver from four other initial guesses and, for some, of scipy's BFGS from the same place;
  the one-variable law with floor and shift: refits side by side against scipy's curve_fit from 5
  initial guesses each.

CSV: the points, columns "Model Size", "Training FLOP" and "loss"
(github.com/epoch-research/analyzing-chinchilla, data/svg_extracted_data.csv); by default
../shared/data/chinchilla_epoch/svg_extracted_data.csv.
"""

from __future__ import annotations

import csv
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fits.base.numbers import Array
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.powers import SATURATING, saturating
from fits.regression.fit import fit
from fits.regression.loss import Loss
from fits.regression.solver import in_units, levenberg_marquardt, minimise, unit_of

DATA = Path(__file__).resolve().parents[2] / "shared/data/chinchilla_epoch/svg_extracted_data.csv"
LEAST = 1.0182740178e-3  # smallest objective that anybody has found
HUBER = 1e-3
REFITS = 1000


def read(path: Path) -> tuple[Array, Array]:
    """(N, D) [2, 240] and loss [240]: without the 5 highest losses, as in arXiv 2404.10102."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    params, flops, loss = (
        np.array([float(row[name]) for row in rows])
        for name in ("Model Size", "Training FLOP", "loss")
    )
    kept = np.sort(np.argsort(loss)[:-5])
    return np.stack([params, flops / (6 * params)])[:, kept], loss[kept]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def draws(points: int, replicates: int) -> Array:
    rng = np.random.default_rng(0)
    return rng.multinomial(points, np.full(points, 1 / points), size=replicates).astype(float)


def surface(path: Path) -> None:
    x, loss = read(path)
    found, seconds = timed(lambda: fit(CHINCHILLA, x, loss, huber=HUBER))
    plain, bare = timed(
        lambda: minimise(
            CHINCHILLA,
            in_units(x, unit_of(CHINCHILLA, x)),
            loss,
            np.ones(240),
            Loss(delta=HUBER),
        )
    )
    print(f"L(N, D) on {len(loss)} points: objective {found.objective:.10e}, ", end="")
    print(f"{found.objective / LEAST - 1:+.1e} of the smallest known")
    named = zip(CHINCHILLA.parameters, found.values, strict=True)
    print("  " + ", ".join(f"{name} = {value:.7g}" for name, value in named))
    print(f"  {bare:.3f} s for the minimum, {seconds:.3f} s with intervals and warnings")

    unit, huber = unit_of(CHINCHILLA, x), Loss(delta=HUBER)
    x = in_units(x, unit)
    values, _ = plain
    rows = draws(len(loss), REFITS)
    start = np.repeat(values[:, None], REFITS, axis=1)
    (refitted, losses), seconds = timed(
        lambda: levenberg_marquardt(CHINCHILLA, x, loss, rows, start, loss=huber, gain=1e-6)
    )
    best = losses.copy()
    for other in CHINCHILLA.guess(x, loss, np.ones(len(loss))).T:
        start = np.repeat(other[:, None], REFITS, axis=1)
        best = np.minimum(
            best, levenberg_marquardt(CHINCHILLA, x, loss, rows, start, loss=huber)[1]
        )
    some = range(0, REFITS, 20)
    best[some] = np.minimum(best[some], [_bfgs(x, loss, rows[k], refitted[:, k]) for k in some])
    excess = losses / best - 1
    print(f"{REFITS} bootstrap refits: {seconds:.2f} s; ", end="")
    print(f"largest excess of the objective {excess.max():.1e}, median {np.median(excess):.1e}\n")


def _bfgs(x: Array, loss: Array, weights: Array, values: Array) -> float:
    """The least that another optimizer finds from there, with its own derivatives."""
    from scipy.optimize import minimize

    n, d = np.log(x)

    def objective(q: Array) -> tuple[float, Array]:
        size, data = np.exp(q[1] - q[2] * n), np.exp(q[3] - q[4] * d)
        curve = q[0] + size + data
        residual = np.log(curve / loss)
        bent = np.clip(residual, -HUBER, HUBER)
        jacobian = np.stack([np.ones_like(n), size, -n * size, data, -d * data]) / curve
        total = (weights * bent * (residual - bent / 2)).sum()
        return total / LEAST, jacobian @ (weights * bent) / LEAST

    start = CHINCHILLA.to_unconstrained(*values)
    found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9})
    return float(found.fun) * LEAST


def curve() -> None:
    x = np.geomspace(1e-2, 1e3, 24)
    error = saturating(x, 0.6, 0.35, 0.1, 0.5) * np.exp(
        0.02 * np.random.default_rng(0).normal(size=24)
    )
    rows = draws(24, REFITS)
    rows = rows[(rows > 0).sum(axis=1) > 8]
    unit = unit_of(SATURATING, x)
    plain = in_units(x, unit)
    values, _ = minimise(SATURATING, plain, error, np.ones(24))
    start = np.repeat(values[:, None], len(rows), axis=1)
    (_, losses), ours = timed(
        lambda: levenberg_marquardt(SATURATING, plain, error, rows, start, gain=1e-6)
    )
    some = range(0, len(rows), len(rows) // 40)
    theirs, seconds = timed(lambda: [_curve_fit(x, error, rows[k]) for k in some])
    ours, seconds = ours / len(rows), seconds / len(some)
    excess = losses[some] / np.array(theirs) - 1
    print(f"a (x + d)^-b + c on 24 points: {1e3 * ours:.3f} ms a refit, side by side")
    print(f"  curve_fit from 5 guesses {1e3 * seconds:.1f} ms: {seconds / ours:.0f} times slower")
    print(f"  our objective exceeds theirs by {excess.min():+.1e} to {excess.max():+.1e}")


def _curve_fit(x: Array, error: Array, times: Array) -> float:
    """Half the smallest sum of squares of 5 initial guesses."""
    from scipy.optimize import curve_fit

    again = np.repeat(np.arange(len(x)), times.astype(int))
    x, error = x[again], error[again]
    best = np.inf
    for b in (0.1, 0.2, 0.4, 0.7, 1.0):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, _ = curve_fit(
                    lambda x, *values: np.log(saturating(x, *values)),
                    x,
                    np.log(error),
                    p0=[0.5, b, error.min() / 2, x.min()],
                    bounds=([0, 0, 0, 0], [np.inf, 10, 1, np.inf]),
                    maxfev=2000,
                )
        except RuntimeError:  # it has not converged
            continue
        best = min(best, (np.log(saturating(x, *found) / error) ** 2).sum() / 2)
    return best


def main() -> None:
    surface(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
    curve()


if __name__ == "__main__":
    main()
