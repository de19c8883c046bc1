"""Hold-out: which law, fitted to the small runs, predicts the large ones best.

How well a law describes the points it was fitted to says little: more parameters always describe
them better. What a scaling law is for is to be right where it has seen nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, Indices, Mask, arrays
from fits.laws.constrained import Constraint, constrained
from fits.laws.law import Law
from fits.regression.bootstrap import Choose
from fits.regression.fit import FREE, every_point
from fits.regression.inputs import checked_weights, in_order
from fits.regression.loss import LOG, Loss
from fits.regression.solver import in_units, minimise, unit_of, with_threshold
from fits.regression.squash import MANY, merged
from fits.spec import HELD_OUT, Huber

WHOLE = 1 / 2  # of the points below those, so many are to be fitted for clusters to be kept whole


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How a law did where it had seen nothing."""

    law: Law
    error: float | None = None  # over the points held out, see `Trials.score`; None: not tried
    values: tuple[float, ...] = ()  # parameters fitted to the other points
    refusal: str = ""  # why it could not be tried
    few: bool = False  # whether that is for too few points


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Laws in the order in which they predicted."""

    trials: tuple[Trial, ...]  # the best first, of equals the simplest; those not tried last
    fitted: int  # points fitted
    held_out: int  # points predicted
    left_out: int  # neither: smaller points of clusters that reach among the largest
    clusters_split: int  # clusters with points on both sides, fitted and predicted
    times_larger: float  # the largest x held out, in largest x fitted
    loss: Loss  # as the points were fitted, but for a threshold found anew for each law
    robust: bool  # fitted by Huber's loss
    weighted: bool  # some points counted more than others

    @property
    def score(self) -> str:
        """What the error of a trial is."""
        return " ".join(
            [
                *(["weighted"] if self.weighted else []),
                self._of,
                "log error" if self.loss.log else "error",
            ]
        )

    @property
    def _of(self) -> str:
        if self.loss.tau is not None:
            return "mean quantile loss of"
        return "mean absolute" if self.robust else "root mean square of"

    @property
    def tried(self) -> list[tuple[str, float]]:
        """Names and errors, the best first."""
        return [(row.law.name, row.error) for row in self.trials if row.error is not None]

    @property
    def best(self) -> str | None:
        """The law that predicted best; None: none could be tried."""
        return self.tried[0][0] if self.tried else None


def choose_law(
    x: ArrayLike,
    y: ArrayLike,
    laws: Iterable[Law],
    *,
    by: ArrayLike | None = None,
    share: float = float(HELD_OUT),
    choose: Choose = every_point,
    weights: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    loss: Loss = LOG,
    huber: Huber = None,
    constraints: Mapping[str, Constraint] | None = None,
) -> Trials:
    """Fit each law to the points of smaller x, and see how well it predicts those of larger.

    Weights count in the fits to the smaller points, and in the score. The score is the root mean
    square of log(predicted / measured), or of predicted - measured where errors count as
    differences; with the loss of a quantile the mean of it, unsmoothed; with Huber's loss the mean
    absolute size of these, so that one run that went wrong among the largest does not drown what
    tells the laws apart. (Huber's loss itself would not do:
    its threshold follows each law's own residuals, and would favour one that fits too closely.)

    Clusters are kept whole where that can be: runs with correlated errors would, apart, tell the
    law some of the noise it then predicts. Of a learning curve that reaches among the largest
    points the smaller ones are neither fitted nor predicted. Where that would leave less than half
    of the smaller points, curves are cut along x instead, an easier question, and `Trials` says so.

    Args:
      x: resource spent by each run, > 0, [runs] or [variables, runs].
      y: its error, > 0, [runs].
      laws: to try, all of as many variables as x holds.
      by: what makes a run a large one, [runs]; None: x, or the product of its variables.
      share: of the points to hold out; those of equal size stay together.
      choose: which of the runs are points at all, as in `fit`.
      weights, clusters, loss, huber: as in `fit`; "auto" is found anew for each law, from the
        smaller points.
      constraints: law -> what is held of its parameters.

    Raises:
      ValueError: all points are of one size, so that none can be held out; or weights or clusters
        are not one for each run; or `share` is no share.
    """
    if not 0 < share < 1:
        raise ValueError(
            f"share is {share:g}; it is that of the points to hold out, such as {HELD_OUT}."
        )
    every_x, every_y = arrays(x, y)
    counts = checked_weights(weights, len(every_y))
    order, cluster = in_order(every_x, every_y, counts, clusters)
    every_x, every_y = every_x[..., order], every_y[order]
    points = choose(every_x, every_y, np.ones((1, len(every_y)), bool))[0]
    counts, cluster = counts[order][points], cluster[points]
    compute, error = every_x[..., points], every_y[points]
    sizes = np.atleast_2d(np.log(compute)).sum(axis=0)
    if by is not None:
        sizes = np.asarray(by, float)[order][points]
    small, large = _split(sizes, cluster, share)
    points = compute[..., small], error[small], counts[small]
    robust, how = _robust(loss, huber), (loss, huber)
    if len(points[1]) > MANY:  # what all of them say of each law, cells of neighbours say as well
        points = merged(*points, loss, loss.tau or (0.5 if robust else None))
        how = Loss(log=loss.log), None
    large_points = compute[..., large], error[large], counts[large]
    held, score = constraints or {}, _score(loss, robust)
    rows = [_try(law, held.get(law.name, FREE), points, large_points, *how, score) for law in laws]
    rows.sort(key=_rank)
    return Trials(
        trials=tuple(rows),
        fitted=int(small.sum()),
        held_out=int(large.sum()),
        left_out=int((~small & ~large).sum()),
        clusters_split=len(np.intersect1d(cluster[small], cluster[large])),
        times_larger=float(
            np.max(compute[..., large].max(axis=-1) / compute[..., small].max(axis=-1))
        ),
        loss=loss,
        robust=robust,
        weighted=bool(np.ptp(counts) > 0),
    )


def _rank(row: Trial) -> tuple[float, int]:
    """Of laws that predict alike to the three digits shown, the one of fewest parameters first."""
    error = np.inf if row.error is None else float(f"{row.error:.3g}")
    return error, len(row.law.parameters)  # of the whole law


def _split(sizes: Array, cluster: Indices, share: float) -> tuple[Mask, Mask]:
    """The points to fit and those to predict, each [points]."""
    edge = float(np.sort(sizes)[-max(1, round(share * len(sizes)))])
    below = sizes < edge - 1e-12 * abs(edge)
    if not below.any():
        raise ValueError(
            f"the {len(sizes)} points are of one size: a law can be tried only where some runs are "
            "larger than others, the small ones to fit and the large ones to predict."
        )
    whole = below & ~np.isin(cluster, cluster[~below])
    return (whole if whole.sum() >= WHOLE * below.sum() else below), ~below


def _robust(loss: Loss, huber: Huber) -> bool:
    return huber is not None or bool(np.isfinite(loss.delta))


def _score(loss: Loss, robust: bool) -> Callable[[Array, Array], float]:
    """(residuals, weights) -> what a law is ranked by."""

    def score(missed: Array, weights: Array) -> float:
        if loss.tau is not None:
            above, below = 2 * loss.tau, 2 * (1 - loss.tau)
            return float(np.average(np.where(missed < 0, -above, below) * missed, weights=weights))
        if robust:
            return float(np.average(np.abs(missed), weights=weights))
        return float(np.sqrt(np.average(missed**2, weights=weights)))

    return score


def _try(
    whole: Law,
    constraint: Constraint,
    points: tuple[Array, Array, Array],
    held: tuple[Array, Array, Array],
    loss: Loss,
    huber: Huber,
    score: Callable[[Array, Array], float],
) -> Trial:
    """Fitted to some points and scored on others: x, y and weight of each."""
    x, y, weights = points
    unit = unit_of(whole, x)
    law = constrained(whole, constraint, unit)
    seen = x if law.reads is None else x[list(law.reads)]
    different = np.unique(seen, axis=-1).shape[-1]
    if different <= len(law.parameters):
        return Trial(
            law=whole,
            refusal=f"{different} different x to fit, {len(law.parameters)} parameters",
            few=True,
        )
    plain = in_units(x, unit)
    try:
        points = plain, y, weights
        values, _ = minimise(law, *points, with_threshold(loss, huber, law, *points))
    except ValueError as wrong:
        return Trial(law=whole, refusal=str(wrong))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        curve = law.predict(in_units(held[0], unit), *values)
        missed = loss.residuals(curve, held[1])
        values = law.in_ones(unit, *values)
    if not (np.isfinite(missed) & (curve > 0)).all():
        return Trial(law=whole, values=tuple(values.tolist()), refusal="it predicts errors below 0")
    return Trial(law=whole, error=score(missed, held[2]), values=tuple(values.tolist()))
