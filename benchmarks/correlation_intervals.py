"""How often intervals of a correlation hold the truth: bootstraps over clusters, and the jackknife.

python benchmarks/correlation_intervals.py [TABLES]: nominal 90 % intervals of Pearson's correlation
of simulated tables; coverage, and mean width on Fisher's scale. Pairs are normal; where a model has
several runs, deviations of models (.64 of the variance) and of runs have the same correlation.
"""

import sys

import numpy as np
from scipy.special import ndtr, ndtri

from fits.regression.correlation import estimate, pearson

LEVEL, REPLICATES, MODEL = 0.9, 999, 0.8
CASES = [(8, 1, 0.8), (16, 1, 0.8), (16, 1, 0.3), (30, 1, 0.95), (8, 6, 0.8), (16, 6, 0.5)]
ENDS = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])


def table(rng, models, runs, rho):
    root = np.linalg.cholesky([[1, rho], [rho, 1]])
    own = rng.normal(size=(models, 1, 2)) @ root.T
    beside = rng.normal(size=(models, runs, 2)) @ root.T
    whole = MODEL * own + np.sqrt(1 - MODEL**2) * beside if runs > 1 else own
    return *whole.reshape(-1, 2).T, np.repeat(np.arange(models), runs)


def weighted(weights, x, y):
    """Pearson's correlation for each row of how often every run counts, on Fisher's scale."""
    total = weights.sum(1, keepdims=True)
    dx, dy = (each - (weights @ each)[:, None] / total for each in (x, y))
    product, a, b = ((weights * each).sum(1) for each in (dx * dy, dx**2, dy**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.arctanh(np.clip(product / np.sqrt(a * b), -1 + 1e-12, 1 - 1e-12))
    return found[np.isfinite(found)]


def intervals(rng, x, y, model):
    """Ends on Fisher's scale, by method."""
    count = model.max() + 1
    draws = rng.multinomial(count, np.ones(count) / count, size=REPLICATES)[:, model].astype(float)
    replicates = weighted(draws, x, y)
    parts = weighted(1.0 - (model == np.arange(count)[:, None]), x, y)
    (z,) = weighted(np.ones((1, len(x))), x, y)
    bias = ndtri(np.clip((replicates < z).mean(), 1e-3, 1 - 1e-3))
    off = parts.mean() - parts
    acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    moved = bias + ndtri(ENDS)
    corrected = ndtr(bias + moved / (1 - acceleration * moved))
    return {
        "bootstrap, percentiles": np.quantile(replicates, ENDS),
        "bootstrap, BCa": np.quantile(replicates, corrected),
        "jackknife": np.arctanh(estimate(pearson, x, y, model, LEVEL)[1:]),
    }


def main():
    tables = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("models,runs a model,correlation,method,coverage,width")
    for models, runs, rho in CASES:
        rng, found = np.random.default_rng(0), {}
        for _ in range(tables):
            for method, ends in intervals(rng, *table(rng, models, runs, rho)).items():
                found.setdefault(method, []).append(ends)
        for method, ends in found.items():
            low, high = np.array(ends).T
            held = np.mean((low < np.arctanh(rho)) & (np.arctanh(rho) < high))
            print(f'{models},{runs},{rho},"{method}",{held:.3f},{np.mean(high - low):.3f}')


if __name__ == "__main__":
    main()
