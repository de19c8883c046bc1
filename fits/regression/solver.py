"""Levenberg-Marquardt for squares or Huber's loss, for many replicates at once, within bounds.

Written over a leading axis of replicates: a thousand refits of a bootstrap cost about as much as
ten one after another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fits.base.numbers import Array, Indices, Mask
from fits.laws.law import Law
from fits.regression.loss import LOG, Loss, Penalty
from fits.spec import Huber

STEPS = 200
LONG = 3000  # more for the best of several minima, where it was not reached by then
GAIN = 1e-13  # share of the objective, less than which steps promise at a minimum
IDLE = 2  # steps that promise no gain after which a replicate is at its minimum
SAMPLE = 2000  # points that guesses look at, and by which a fit to many begins
TURNS = 12  # of the curve and the noise that it leaves, where points above it are of another kind
CELLS = 24_000  # parameters x replicates x points worked on at once: what a cache holds


class State(NamedTuple):
    """Where replicates stand."""

    at: Array  # coordinates, [replicates, parameters]
    jacobian: Array  # of the residuals by the coordinates, [replicates, parameters, points]
    residuals: Array  # [replicates, points]
    loss: Array  # weighted sum of rho, [replicates]
    objective: Array  # what is minimised, [replicates]

    def or_better(self, better: Mask, other: State) -> State:
        if better.all():
            return other
        return State(
            *(
                np.where(better.reshape(-1, *(1,) * (mine.ndim - 1)), its, mine)
                for mine, its in zip(self, other, strict=True)
            )
        )

    def keep(self, rows: Mask) -> State:
        return State(*(each[rows] for each in self))


@dataclass(frozen=True, eq=False)
class Problem:
    """What is minimised; fields as the arguments of `levenberg_marquardt`."""

    law: Law
    x: Array
    y: Array
    weights: Array
    loss: Loss
    penalty: Penalty | None
    rounding: float | None

    def keep(self, rows: slice | Mask) -> Problem:
        penalty = self.penalty and self.penalty.keep(rows)
        y, weights = self.y[rows], self.weights[rows]
        return Problem(self.law, self.x, y, weights, self.loss, penalty, self.rounding)

    def state(self, at: Array) -> State:
        with np.errstate(all="ignore"):  # a step too far may overflow: its loss is no better
            values = self.law.from_unconstrained(*at.T[..., None])
            curve = self.law.predict(self.x, *values)
            residuals = self.loss.residuals(curve, self.y)
            jacobian = self.loss.jacobian(self.law.derivatives(self.x, *values), curve)
            loss = np.einsum("rn,rn->r", self.weights, self.loss.rho(residuals))
            objective = loss
            if self.rounding is not None:
                count = residuals.shape[1]
                objective = count / 2 * np.log(2 * loss + count * self.rounding)
            if self.penalty is not None:
                objective = objective + self.penalty.value(at)
        return State(at, jacobian.transpose(1, 0, 2), residuals, loss, objective)

    def step(self, state: State, damping: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """The coordinates to try next, [replicates, parameters], and the promised gain.

        Residuals beyond Huber's threshold have no curvature of their own. Their share in the
        curvature of the parabola that touches the loss from above (iteratively reweighted least
        squares) enters with the damping: far from the minimum it keeps steps short, near it they
        are Newton's.
        """
        weights = self.weights
        if self.rounding is not None:
            count = weights.shape[1]
            weights = weights * (count / (2 * state.loss + count * self.rounding))[:, None]
        psi = self.loss.psi(state.residuals)
        gradient = np.einsum("rpn,rn->rp", state.jacobian, weights * psi)
        if np.isfinite(self.loss.delta):
            size = np.maximum(np.abs(state.residuals - self.loss.lowest), 1e-300)
            above = np.where(size > 1e-300, np.minimum(1, np.abs(psi) / size), 1.0)
            weights = weights * (self.loss.within(state.residuals) + damping[:, None] * above)
        hessian = (state.jacobian * weights[:, None]) @ state.jacobian.transpose(0, 2, 1)
        if self.penalty is not None:
            rows, strength = self.penalty.jacobian(self.law, state.at), self.penalty.strength
            gradient += np.einsum("rq,rqp->rp", strength * self.penalty.excess(state.at), rows)
            hessian += np.einsum("rq,rqp,rqs->rps", strength, rows, rows)
        held = (state.at <= low) & (gradient > 0) | (state.at >= high) & (gradient < 0)
        each = np.arange(len(low))
        gradient = np.where(held, 0, gradient)
        hessian = np.where(held[:, :, None] | held[:, None, :], 0, hessian)
        diagonal = hessian[:, each, each]
        scale = np.where(diagonal > 0, diagonal, 1.0) ** -0.5  # so that steps know no units
        hessian = hessian * scale[:, :, None] * scale[:, None, :]
        hessian[:, each, each] = 1 + damping[:, None]
        step = np.linalg.solve(hessian, (gradient * scale)[..., None])[..., 0] * scale
        return np.clip(state.at - step, low, high), (gradient * step).sum(axis=1)


def levenberg_marquardt(
    law: Law,
    x: Array,
    y: Array,
    weights: Array,
    guess: Array,
    *,
    loss: Loss = LOG,
    penalty: Penalty | None = None,
    rounding: float | None = None,
    gain: float = GAIN,
    steps: int = STEPS,
) -> tuple[Array, Array]:
    """Minimise the weighted sum of losses, and a penalty, within the law's bounds.

    Args:
      x: in units of its geometric mean, [points] or [variables, points].
      y: [points], or [replicates, points]; > 0 if residuals are logarithmic.
      weights: >= 0, [replicates, points].
      guess: parameters to begin with, [parameters, replicates].
      loss: of the residuals.
      penalty: on each replicate.
      rounding: None: the variance of the errors is known up to the weights. Else it is not, and
        the negative log likelihood at its maximum takes the loss's place, N / 2 log(mean weighted
        square + rounding); squares only.
      gain: a replicate is done when steps promise to lower the objective by less than this share
        (of a log likelihood: by less than this).
      steps: at most.

    Returns:
      Parameters at the minimum, [parameters, replicates], and the loss there, [replicates],
      without the penalty.

    Source: Marquardt 1963; bounds by cutting the step, and by holding a coordinate on its bound
    while the objective would fall only beyond it.
    """
    y = np.broadcast_to(y, weights.shape)
    problem = Problem(law, x, y, weights, loss, penalty, rounding)
    values, losses, _ = _minima(problem, guess, gain, steps)
    return values, losses


def _minima(problem: Problem, guess: Array, gain: float, steps: int) -> tuple[Array, Array, Mask]:
    """Parameters, losses, and which replicates are at their minimum, some replicates at a time."""
    size = max(1, CELLS // (problem.weights.shape[1] * len(problem.law.parameters)))
    pieces = [slice(first, first + size) for first in range(0, len(problem.weights), size)]
    with np.errstate(over="ignore", invalid="ignore"):  # a penalty may overflow
        found = [_solve(problem.keep(rows), guess[:, rows], gain, steps) for rows in pieces]
    values, losses, finished = zip(*found, strict=True)
    return np.concatenate(values, axis=1), np.concatenate(losses), np.concatenate(finished)


def _solve(problem: Problem, guess: Array, gain: float, steps: int) -> tuple[Array, Array, Mask]:
    law = problem.law
    with np.errstate(divide="ignore"):  # the logarithm of a guess of 0 is then cut at its bound
        low, high = law.to_unconstrained(*np.array(law.bounds)).T
        state = problem.state(np.clip(law.to_unconstrained(*guess).T, low, high))
    found, losses = state.at.copy(), state.loss.copy()
    finished = np.zeros(len(found), bool)
    going = np.arange(len(found))  # the replicates still on their way
    damping, idle = np.full(len(found), 1e-3), np.zeros(len(found), np.int64)
    least = 1e-30 if problem.loss.log else 1e-30 * float(np.mean(problem.y**2))  # rounding
    for _ in range(steps):
        at, promised = problem.step(state, damping, low, high)
        trial = problem.state(at)
        better = trial.objective < state.objective
        share = state.objective if problem.rounding is None else 1.0
        idle = np.where(promised > gain * share + least, 0, idle + 1)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-12, 1e12)
        state = state.or_better(better, trial)
        found[going], losses[going] = state.at, state.loss

        on = idle < IDLE
        finished[going] = ~on
        if not on.any():
            break
        if not on.all():
            going, idle, damping = going[on], idle[on], damping[on]
            state, problem = state.keep(on), problem.keep(on)
    return law.from_unconstrained(*found.T), losses, finished


def minimise(law: Law, x: Array, y: Array, weights: Array, loss: Loss = LOG) -> tuple[Array, float]:
    """The best of the minima from the law's own guesses: parameters, and the loss there.

    Args as of `levenberg_marquardt`, weights [points]. Raises ValueError where the loss has a value
    at none of the minima.
    """
    with np.errstate(all="ignore"):  # parts of a grid of guesses may overflow: not chosen
        some = sampled(len(y))
        guesses = law.guess(x[..., some], y[some], weights[some])
    rows = np.broadcast_to(weights, (guesses.shape[1], len(y)))
    every = np.broadcast_to(y, rows.shape)
    problem = Problem(law, x, every, rows, loss, penalty=None, rounding=None)
    found, losses, finished = _minima(problem, guesses, GAIN, STEPS)
    best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
    if not np.isfinite(losses[best]):
        raise ValueError(
            f"no curve of law {law.name} that was tried is above 0 at every point, as errors that "
            "count as ratios must be. Try another law, or let errors count as differences."
        )
    if not finished[best]:
        only = slice(best, best + 1)
        values, (least,), _ = _minima(problem.keep(only), found[:, only], GAIN, LONG)
        if least < losses[best]:
            return values[:, 0], float(least)
    return found[:, best], float(losses[best])


def sampled(count: int, most: int = SAMPLE) -> Indices:
    """Evenly spaced positions among so many points; all of them if they are few."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def with_threshold(loss: Loss, huber: Huber, law: Law, x: Array, y: Array, weights: Array) -> Loss:
    """With Huber's threshold as `fit` is told; "auto" by the residuals of least absolute errors."""
    if huber is None:
        return loss
    if huber != "auto":
        return replace(loss, delta=float(huber))
    found = replace(loss, delta=np.inf)
    for _ in range(TURNS if loss.one_sided else 3):  # squares first, then what they say of noise
        values, _ = minimise(law, x, y, weights, found)
        residuals = loss.residuals(law.predict(x, *values), y)
        deviation = loss.deviation(residuals, len(values))
        last, delta = found.delta, loss.threshold(deviation, len(y), len(values))
        found = replace(loss, delta=max(delta, 1e-9))
        if loss.one_sided and abs(found.delta - last) < 1e-3 * found.delta:
            break
    return found


def unit_of(law: Law, x: Array) -> Array:
    """The geometric mean of x, or of each of its variables; of those of one unit together.

    1 for a variable that is taken as it is.
    """
    if law.rescale is None:
        return np.ones(x.shape[:-1])
    if x.ndim == 1:
        return np.exp(np.log(x).mean())
    means, units = np.log(x).mean(axis=1), np.array(law.units, object)
    each = [0.0 if unit is None else means[units == unit].mean() for unit in law.units]
    return np.exp(each)


def in_units(x: Array, unit: Array) -> Array:
    return (x.T / unit).T
