"""Curves that follow a law: five laws fitted as if one were true, and how likely one is.

A curve whose misfit is noise deserves the full strength of all its points: there laws are weighed
by their likelihood, fewer parameters first, and points without noise are continued to rounding.
This file knows the points of one curve, x in units of the largest x, and not what is to be done
where no law holds; that is the business of `forecast.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The parameters of y = excess * ((x + d) / (1 + d))^-b + floor, in this order; of each law, which
# of them are free: a constant, a power, a power with a floor, with a shift, and with both.
EXCESS, FLOOR, LOG_B, LOG_D = range(4)
LAWS = (
    (FLOOR,),
    (EXCESS, LOG_B),
    (EXCESS, FLOOR, LOG_B),
    (EXCESS, LOG_B, LOG_D),
    (EXCESS, FLOOR, LOG_B, LOG_D),
)
NOWHERE = -600.0  # log d where there is no shift
# The priors of log b and log d are normal: d is about 0.03 of the largest x, a factor e^2 either
# way. Excess and floor are in parts of the last error, which they share: their prior has density 1.
SHIFT, SHIFT_SPREAD = 0.03, 2.0
ROUNDING = 1e-7  # relative noise below which no curve is told from a law
FALLING = 20.0  # to 1: what one would bet, before, on each of the others against a constant
NOISE, WORTH = 0.01, 1.0  # likely relative noise, and how many points that guess is worth
ASTRAY = 0.5  # to 1: what one would bet, before, on a misfit that is large and no noise
STEPS = 40  # of Gauss and Newton
ENOUGH = 1e-9  # gain in log likelihood of the last step


@dataclass(frozen=True, kw_only=True, eq=False)
class Lawful:
    """The laws that fit a curve, and what they say of it together.

    Fields:
      values: excess, floor, log b, log d of each, [laws, 4].
      covariance: of these, 0 where they are not free, [laws, 4, 4].
      variance: of log y from point to point about each law, [laws].
      probability: of each if one of them is true, summing to 1, [laws].
      chance: that one of them is true, in (0, 1]: that the misfit of the likeliest law is noise.
    """

    values: Array
    covariance: Array
    variance: Array
    probability: Array
    chance: float

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of one more measurement of log y, [x] each."""
        means, variances = [], []
        for values, covariance, noise in zip(
            self.values, self.covariance, self.variance, strict=True
        ):
            y, slopes = law(x, values)
            slopes /= y[:, None]
            means.append(np.log(y))
            variances.append(noise + np.einsum("xi,ij,xj->x", slopes, covariance, slopes))
        mean = self.probability @ np.array(means)
        return mean, self.probability @ (np.array(variances) + (np.array(means) - mean) ** 2)


def law(x: Array, values: Array) -> tuple[Array, Array]:
    """y at `x`, and its derivatives by excess, floor, log b and log d, [x] and [x, 4]."""
    excess, floor, log_b, log_d = values
    b, d = np.exp(np.clip([log_b, log_d], [-20, NOWHERE], 2))  # a step may go far astray
    log_reach = np.log((x + d) / (1 + d))
    fall = np.exp(np.clip(-b * log_reach, -600, 250))
    by_log_b = -excess * b * log_reach * fall
    by_log_d = -excess * b * d * (1 - x) / ((1 + d) * (x + d)) * fall
    return excess * fall + floor, np.stack([fall, np.ones_like(fall), by_log_b, by_log_d], axis=1)


def lawful(
    x: Array, y: Array, starts: Sequence[Array | None], exponent: float, spread: float
) -> Lawful | None:
    """All laws fitted to one curve; None where there are too few points to doubt them.

    Args:
      x: in units of the largest, rising, [points].
      y: in units of its y there, [points].
      starts: values near the best fit of each law of LAWS; None: that law is out of question.
      exponent, spread: the likeliest b, and the standard deviation of log b.
    """
    if len(x) <= len(LAWS[-1]):
        return None
    centre = np.array([0.0, 0.0, np.log(exponent), np.log(SHIFT)])
    width = np.array([np.inf, np.inf, spread, SHIFT_SPREAD])
    found, chances = [], []
    for free, start in zip(LAWS, starts, strict=True):
        if start is None:
            continue
        values, errors, slopes = descend(x, y, start, free, centre, width)
        if values[EXCESS] < 0 or values[FLOOR] < 0:
            continue  # without that part it is another of the laws
        found.append(_weigh(values, errors, slopes, free, centre, width))
        chances.append(chance_of_noise(errors, slopes))
    all_values, covariances, variances, evidence = zip(*found, strict=True)
    evidences = np.array(evidence)
    evidences[1:] += np.log(FALLING)
    probability = np.exp(evidences - evidences.max())
    return Lawful(
        values=np.array(all_values),
        covariance=np.array(covariances),
        variance=np.array(variances),
        probability=probability / probability.sum(),
        chance=chances[int(evidences.argmax())],
    )


def chance_of_noise(errors: Array, slopes: Array) -> float:
    """Chance that what a law leaves over is noise, in (0, 1], told by how smooth it is.

    A fit takes from noise what its own slopes can follow, which is the smooth part: the fewer
    points, the more. Of noise that a linear fit leaves over, von Neumann's ratio has a known mean,
    above 1, and variance (Durbin and Watson 1950). With z standard deviations below that mean the
    odds against noise are exp(z^2 / 2) - 1, times those before: ASTRAY, or less for a misfit below
    the likely noise. Errors below ROUNDING are as noise would be.

    Args:
      errors: relative, [points].
      slopes: their derivatives by the free parameters, [points, parameters].
    """
    count, left = len(errors), len(errors) - slopes.shape[1]
    if left < 2:
        return 1.0  # one number has no shape
    basis, _ = np.linalg.qr(slopes / np.maximum(np.linalg.norm(slopes, axis=0), 1e-300))
    changes = np.diff(np.eye(count) - basis @ basis.T, axis=0)
    squares = changes @ changes.T / 2
    mean = np.trace(squares) / left
    variance = 2 * ((squares**2).sum() / left - mean**2) / (left + 2)
    floor, total = count * ROUNDING**2, float((errors**2).sum())
    ratio = (float((np.diff(errors) ** 2).sum()) / 2 + mean * floor) / (total + floor)
    z = max(mean - ratio, 0) / np.sqrt(max(variance, 1e-12))
    size = np.sqrt(total / count)
    return float(1 / (1 + ASTRAY * size / (size + NOISE) * np.expm1(z**2 / 2)))


def independent_share(errors: Array, unseen: float) -> float:
    """Share of a misfit that changes from point to point, in [0, 1]: von Neumann's ratio (1941).

    Half the sum of squared successive differences over the sum of squares, 1 for noise and near 0
    for a smooth misfit. Errors below `unseen` count as noise.
    """
    floor = len(errors) * unseen**2
    changes = float((np.diff(errors) ** 2).sum()) / 2 + floor
    return min(1.0, changes / (float((errors**2).sum()) + floor))


def descend(
    x: Array, y: Array, values: Array, free: Sequence[int], centre: Array, width: Array
) -> tuple[Array, Array, Array]:
    """Likeliest values of the free parameters, with relative errors and derivatives there.

    Noise of unknown size makes the likelihood S^(-N/2), S the sum of squares of N errors; the prior
    is normal, about `centre` with standard deviations `width`. Levenberg's damping keeps the steps
    of Gauss and Newton from going astray.
    """
    chosen = list(free)

    def look(values: Array) -> tuple[float, Array, Array]:
        told, slopes = law(x, values)
        errors = 1 - told / y
        size = float((errors**2).sum()) + len(x) * ROUNDING**2
        astray = float((((values - centre) / width)[chosen] ** 2).sum())
        return 0.5 * (len(x) * np.log(size) + astray), errors, slopes[:, chosen] / y[:, None]

    height, errors, slopes = look(values)
    damping = 1e-3
    for _ in range(STEPS):
        pull = ((errors**2).mean() + ROUNDING**2) / width[chosen] ** 2
        curvature = slopes.T @ slopes + np.diag(pull)
        downhill = slopes.T @ errors - pull * (values - centre)[chosen]
        while damping < 1e8:
            stiff = np.diag(damping * (np.diag(curvature) + 1e-30))
            new = values.copy()
            new[chosen] += np.clip(np.linalg.solve(curvature + stiff, downhill), -2, 2)
            there = look(new)
            if there[0] < height:
                break
            damping *= 10
        else:
            break
        gain = height - there[0]
        values, (height, errors, slopes) = new, there
        damping = max(damping / 30, 1e-12)
        if gain < ENOUGH:
            break
    return values, errors, slopes


def _weigh(
    values: Array, errors: Array, slopes: Array, free: Sequence[int], centre: Array, width: Array
) -> tuple[Array, Array, float, float]:
    """Values, covariance, noise and log evidence (Laplace's approximation) of one law.

    The noise is that of the misfit and, worth WORTH points, a guess; of such sizes the logarithms
    are averaged, so that points without noise have none. The mean logarithm of a variance is low by
    1 / left, and Student's interval wider than the normal by about 1 + 2 / left in its square.
    """
    chosen, size = list(free), float((errors**2).sum())
    left = len(errors) - len(chosen)
    logarithms = left * np.log(size / left + ROUNDING**2) + WORTH * np.log(NOISE**2)
    variance = float(np.exp(logarithms / (left + WORTH))) * (left + 3) / left
    precision = slopes.T @ slopes / variance + np.diag(1 / width[chosen] ** 2)
    inverse = np.linalg.inv(precision + 1e-12 * np.diag(np.diag(precision)))
    covariance = np.zeros((len(values), len(values)))
    covariance[np.ix_(chosen, chosen)] = inverse
    shapes = [k for k in chosen if k in (LOG_B, LOG_D)]
    likelihood = -0.5 * len(errors) * np.log(size + len(errors) * ROUNDING**2)
    prior = -0.5 * (((values - centre) / width)[shapes] ** 2).sum()
    prior -= np.log(np.sqrt(2 * np.pi) * width[shapes]).sum()
    volume = 0.5 * (np.linalg.slogdet(inverse)[1] + len(chosen) * np.log(2 * np.pi))
    return values, covariance, variance, float(likelihood + prior + volume)
