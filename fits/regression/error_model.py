"""What the errors of points may be like, as far as the residuals of a fit tell.

Noise may grow or shrink along a curve; a group of points, such as a learning curve or the seeds of
one configuration, may have a share of it in common; or neighbours on a curve may, the less the
farther apart they are. How much of each is asked of the restricted likelihood of the residuals
(Patterson and Thompson 1971), which gives back what the fit took from them; where they say little,
weak priors do. This file knows no law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Before: noise changes tenfold, either way, from the first place to the last at one standard
# deviation; of the variance every share is as likely to be a group's; nine times of ten neighbours
# have nothing in common, and else any share, over any length, of those below.
TENFOLD = np.log(100.0)  # change of the logarithm of a variance
CHANGES = TENFOLD * np.linspace(-3, 3, 31)
OF_GROUP = np.append(np.linspace(0, 0.95, 20), [0.99, 0.999, 1 - 1e-6])
ALONE = 0.9
OF_NEIGHBOURS = np.array([0.3, 0.6, 0.8, 0.95, 0.999])
LENGTHS = np.array([0.06, 0.12, 0.25, 0.5, 1.0, 2.0])  # over which it fades, of the whole curve
MOST = 2000  # points of which neighbours are looked at


@dataclass(frozen=True, eq=False)
class Noise:
    """Errors of points, up to a common factor.

    Fields:
      deviation: standard deviation of each, [points].
      group: share of the variance that the points of a group have in common, in [0, 1).
      neighbours: correlation of any two points, [points, points]; None: groups alone have any.
    """

    deviation: Array
    group: float
    neighbours: Array | None

    def block(self, its: NDArray[np.int64]) -> Array:
        """Covariance of the points of each group, [groups, members, members].

        Args:
          its: their positions, [groups, members].
        """
        alike = self.group + (1 - self.group) * np.eye(its.shape[1])
        mine = self.deviation[its]
        return alike * mine[:, :, None] * mine[:, None]

    def alone(self, groups: int) -> float:
        """How many groups that err on their own would tell as much of the size of the noise."""
        if self.neighbours is None:
            return float(groups)
        return groups**2 / float((self.neighbours**2).sum())


def noise(
    place: Array, rows: Array, pull: Array, group: NDArray[np.int64], neighbours: bool
) -> Noise:
    """The mean of what residuals and priors leave likely.

    Args:
      place: of the points along the curve, such as log x, [points].
      rows: slopes of the residuals by the coordinates, each of length about 1, times the roots of
        the points' weights, [parameters, points].
      pull: residuals, likewise, cut where Huber's loss cuts them, [points].
      group: number of the group that each point belongs to, from 0, [points].
      neighbours: whether these may err together, if every group is a single point.
    """
    points, reach = len(pull), np.ptp(place)
    left = points - np.linalg.matrix_rank(rows)
    if reach == 0 or left < 1:
        return Noise(np.ones(points), 0.0, None)
    place = (place - place.mean()) / reach  # mean 0: changes alone leave the determinant at 1
    both = np.concatenate([rows, pull[None]])
    neighbours = neighbours and group.max() + 1 == points <= MOST
    if neighbours:
        order = np.argsort(place, kind="stable")
        share, length, odds = _shares_of_neighbours()
        gram, volume = _of_neighbours(place[order], both[:, order], share, length)
    else:
        count = np.bincount(group)
        share = OF_GROUP if count.max() > 1 else np.zeros(1)
        odds = np.ones(len(share))
        gram, volume = _of_groups(place, both, group, share)
    values, vectors = np.linalg.eigh(gram[..., :-1, :-1])
    solid = values > 1e-12 * values[..., -1:]
    along = (gram[..., -1:, :-1] @ vectors)[..., 0, :]
    whole = gram[..., -1, -1]
    squares = whole - (along**2 / np.where(solid, values, np.inf)).sum(axis=-1)
    squares = np.maximum(squares, 1e-12 * whole) + 1e-300
    volume = volume + np.log(np.where(solid, values, 1)).sum(axis=-1)
    likelihood = np.log(odds) - 0.5 * (left * np.log(squares) + volume)
    likelihood -= 0.5 * (CHANGES[:, None] / TENFOLD) ** 2
    chance = np.exp(likelihood - likelihood.max())
    chance /= chance.sum()
    deviation = np.exp(chance.sum(axis=1) @ CHANGES / 2 * place)
    chance = chance.sum(axis=0)
    if not neighbours:
        return Noise(deviation, float(chance @ share), None)
    apart = np.abs(place[:, None] - place)
    alike = np.eye(points) * (1 - chance @ share)
    for fade in LENGTHS:
        alike += (chance * share)[length == fade].sum() * np.exp(-apart / fade)
    return Noise(deviation, 0.0, alike)


def _scaled(place: Array, both: Array) -> Array:
    """In units of the noise, as it may change, [changes, parameters + 1, points]."""
    return both * np.exp(-CHANGES[:, None, None] / 2 * place)


def _of_groups(
    place: Array, both: Array, group: NDArray[np.int64], share: Array
) -> tuple[Array, Array]:
    """Products of rows and residuals, weighed by the inverse of the errors' covariance.

    Returns:
      [changes, shares, parameters + 1, parameters + 1], and the logarithm of the determinant of
      that covariance, [shares].
    """
    count = np.bincount(group)
    scaled = _scaled(place, both)
    sums = scaled @ (group[:, None] == np.arange(len(count)))
    odds = share[:, None] / (1 - share[:, None])
    common = odds / (1 + odds * count)  # [shares, groups]
    gram = (scaled @ scaled.swapaxes(1, 2))[:, None]
    gram = gram - (sums[:, None] * common[:, None]) @ sums[:, None].swapaxes(2, 3)
    return gram, np.log1p(odds * count).sum(axis=1)


def _shares_of_neighbours() -> tuple[Array, Array, Array]:
    """Shares, lengths over which they fade, and their odds before; the first has no share."""
    share, length = (axis.ravel() for axis in np.meshgrid(OF_NEIGHBOURS, LENGTHS))
    odds = np.append(ALONE, np.full(len(share), (1 - ALONE) / len(share)))
    return np.append(0.0, share), np.append(LENGTHS[0], length), odds


def _of_neighbours(place: Array, both: Array, share: Array, length: Array) -> tuple[Array, Array]:
    """As `_of_groups`, of places in rising order whose errors fade into one another.

    What neighbours have in common is a random walk with a spring (Ornstein and Uhlenbeck), so each
    point is foretold from those before it (Kalman 1960), and what it adds stands alone.
    """
    scaled = _scaled(place, both)
    foretold = np.zeros((len(scaled), len(share), len(both)))
    unsure = share  # variance of what is foretold
    gram, volume = np.zeros(1), np.zeros(len(share))
    for here, before, point in zip(
        place, np.append(place[0], place), scaled.transpose(2, 0, 1), strict=False
    ):
        fade = np.exp((before - here) / length)
        foretold = foretold * fade[:, None]
        unsure = share + fade**2 * (unsure - share)
        variance = unsure + 1 - share
        new = (point[:, None] - foretold) / np.sqrt(variance)[:, None]
        gram = gram + new[..., None] * new[..., None, :]
        volume += np.log(variance)
        foretold = foretold + (unsure / np.sqrt(variance))[:, None] * new
        unsure = unsure - unsure**2 / variance
    return gram, volume
