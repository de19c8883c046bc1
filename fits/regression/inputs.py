"""What a fit refuses, in words: numbers without logarithms, too few points, impossible options."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import X_RANGE, Array, Indices
from fits.base.order import canonical
from fits.laws.law import Law
from fits.spec import LEVEL

SAMPLE = 1000  # points among which different x are counted first
WEAK = 0.3  # a correlation that is no fall


def refuse_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(
            f"level is {level:g}; it is a probability between 0 and 1, such as {LEVEL:g}."
        )


def refuse_no_logarithm(name: str, numbers: Array) -> None:
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers > 0)))
    if len(wrong):
        raise ValueError(
            f"{name}[{wrong[0]}] is {numbers[wrong[0]]:g}; fits are on log axes, so every {name} "
            f"must be above 0 and finite ({len(wrong)} are not). Leave those out."
        )


def refuse_options(level: float, huber: float | str | None, replicates: int) -> None:
    refuse_level(level)
    if not (huber is None or huber == "auto" or (isinstance(huber, float | int) and huber > 0)):
        raise ValueError(
            f"huber is {huber!r}; give a residual above 0, such as 0.01, beyond which points count "
            'less, or "auto" for one from the noise, or None for squares.'
        )
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}; it must be a whole number of 1 or more.")


def checked_points(law: Law, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    several = len(law.variables) > 1
    shape = (len(law.variables), *y.shape) if several else y.shape
    if y.ndim != 1 or x.shape != shape:
        what = f"{', '.join(law.variables)} stacked" if several else "one x"
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}; give {what} and one y for every run."
        )
    named = zip(law.variables, x, strict=True) if several else [("x", x)]
    for name, numbers, (low, high) in (*((n, v, X_RANGE) for n, v in named), ("y", y, law.y_range)):
        refuse_no_logarithm(name, numbers)
        beyond = np.flatnonzero((numbers < low) | (numbers > high))
        if len(beyond):
            raise ValueError(
                f"{name}[{beyond[0]}] is {numbers[beyond[0]]:g}, not from {low:g} to {high:g} "
                f"({len(beyond)} are not). Count {name} in another unit, or leave those runs out."
            )
    return x, y


def checked_weights(weights: ArrayLike | None, runs: int) -> Array:
    """One number above 0 for each run, 1 where none are given, [runs]."""
    counts = np.ones(runs) if weights is None else np.asarray(weights, float)
    if counts.shape != (runs,) or not (np.isfinite(counts) & (counts > 0)).all():
        raise ValueError(
            f"weights have shape {counts.shape}, from {counts.min(initial=np.inf):g} to "
            f"{counts.max(initial=-np.inf):g}; give one number above 0 for each of {runs} runs, "
            "and leave out the runs that are not to count."
        )
    return counts


def numbered(clusters: Sequence[Hashable] | None, runs: int) -> Indices:
    """The number of each run's cluster, in order of first appearance, [runs]."""
    if clusters is None:
        return np.arange(runs)
    if len(clusters) != runs:
        raise ValueError(f"{len(clusters)} labels of clusters for {runs} runs; give one for each.")
    numbers = {label: k for k, label in enumerate(dict.fromkeys(clusters))}
    return np.fromiter((numbers[label] for label in clusters), np.int64, runs)


def in_order(
    x: Array, y: Array, counts: Array, clusters: Sequence[Hashable] | None
) -> tuple[Indices, Indices]:
    """Canonical order of the runs by x, y and weight, and numbers of their clusters in it."""
    return canonical(np.vstack([x, y, counts]), numbered(clusters, len(y)))


def refuse_too_few(law: Law, x: Array, runs: int) -> None:
    step = max(1, x.shape[-1] // SAMPLE)
    if np.unique(x[..., ::step], axis=-1).shape[-1] >= len(law.parameters):
        return
    different = np.unique(x, axis=-1).shape[-1]
    if different < len(law.parameters):
        raise ValueError(
            f"{x.shape[-1]} of {runs} points are to be fitted, with {different} different x; law "
            f"{law.name} has {len(law.parameters)} parameters ({', '.join(law.parameters)}) and "
            "needs at least as many."
        )


def refuse_too_steep(values: Array, unit: Array, x: Array, y: Array) -> None:
    if np.isfinite(values).all():
        return
    line, height = np.log(np.atleast_2d(x)), np.log(y)
    fall = -(line - line.mean(axis=1, keepdims=True)) @ (height - height.mean()) / len(y)
    if (fall <= WEAK * line.std(axis=1) * height.std()).all():
        raise ValueError(
            "the points hardly fall with x, and a parameter of the nearest curve overflows. "
            "Fit points that fall, or a law of fewer parameters."
        )
    raise ValueError(
        "the points fall so steeply that a parameter overflows for x in this unit. "
        f"Count x in units of {float(np.max(unit)):.0e}."
    )
