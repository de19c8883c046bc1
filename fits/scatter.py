"""How coordinates of a fit would scatter from study to study, asked of the points themselves.

Points come in groups that err independently of one another; within a group they may err together,
and nowhere need the noise be of equal size. What is said here is to first order: the curve's
slopes by its coordinates stand for the curve. This file knows no law.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TENFOLD = np.log(100.0)  # change of the logarithm of a variance
CHANGES = TENFOLD * np.linspace(-3, 3, 31)
SHARES = np.append(
    np.linspace(0, 0.95, 20), [0.99, 0.999, 1 - 1e-6]
)  # of a variance that a group has in common
LEAST = 1e-10  # scatter of a coordinate that rounding alone leaves
GONE = 1e-8  # of a variance, below which nothing is left of it
NODES = np.sin((np.arange(16) + 0.5) * np.pi / 32) ** -2.0  # 1 / sin^2 in the midst of 16 angles
HALVINGS = 10


@dataclass(frozen=True, eq=False)
class Scatter:
    """What groups say of coordinates, and how far they share what they say.

    A group's score is a sum over all errors, for the fit has mixed them. So the products of two
    scores are, in the mean, masses (of a group with itself) less what `sharing` makes of pulls.

    Fields:
      bread: inverse of the loss's curvature, [parameters, parameters].
      scores: how each group pulls at the coordinates, [groups, parameters].
      masses: [groups, parameters, parameters].
      pulls: [groups, parameters, twice the parameters].
      sharing: [twice the parameters, twice the parameters].
    """

    bread: Array
    scores: Array
    masses: Array
    pulls: Array
    sharing: Array

    def along(self, slopes: Array, level: float) -> tuple[Array, Array, Array]:
        """Of quantities: curvature of their profile, standard error, how many of these to allow.

        Args:
          slopes: by the coordinates, [quantities, parameters].
          level: probability with which a quantity is to lie within what is allowed; infinity
            where the groups say nothing, as one group alone never does.
        """
        turned = slopes @ self.bread
        stiff = 1 / np.maximum(np.einsum("qp,qp->q", turned, slopes), 1e-300)
        spread = np.sqrt(((turned @ self.scores.T) ** 2).sum(axis=1))
        mass = np.einsum("qp,gpr,qr->qg", turned, self.masses, turned, optimize=True)
        pulls = np.einsum("gpr,qp->qgr", self.pulls, turned)
        trace = mass.sum(axis=1) - np.einsum("qgr,rs,qgs->q", pulls, self.sharing, pulls)
        solid = (trace > 1e-9 * mass.sum(axis=1)) & (len(self.scores) > 1)
        allowed = np.full(len(slopes), np.inf)
        if solid.any():
            total = trace[solid]
            mass, pulls = mass[solid] / total[:, None], pulls[solid] / np.sqrt(total)[:, None, None]
            allowed[solid] = within(level, mass, pulls, self.sharing)
        least = LEAST * np.linalg.norm(slopes, axis=1)
        return stiff, np.maximum(spread, np.maximum(least, 1e-300)), allowed


def within(level: float, mass: Array, pulls: Array, sharing: Array) -> Array:
    """How many standard errors a normal number lies within with probability `level`, [quantities].

    Student's answer for a standard error that is itself known from few and unequal groups: the
    square of it scatters as the sum of squares of normal numbers with covariance
    G = diag(mass) - pulls sharing pulls', and

        P(|z| > t sqrt(sum)) = 2/pi  integral from 0 to pi/2 of det(1 + t^2 G / sin^2 a)^(-1/2) da

    by Craig's formula (1991) for the normal tail and the sum's moment generating function.

    Args:
      mass: [quantities, groups]; pulls: [quantities, groups, k]; sharing: [k, k]; G of trace 1.
    """
    bottom, top = NormalDist().inv_cdf((1 + level) / 2), np.tan(np.pi / 2 * level)
    low, high = (np.full(len(mass), np.log(end)) for end in (bottom, top))  # none fewer, one group

    def beyond(log_t: Array) -> Array:
        s = np.exp(2 * log_t)[:, None] * NODES
        softer = 1 / (1 + s[..., None] * mass[:, None])  # [quantities, nodes, groups]
        held = pulls[:, None].swapaxes(2, 3) * softer[:, :, None] @ pulls[:, None]
        inner = np.eye(len(sharing)) - s[..., None, None] * (sharing @ held)
        log_det = np.linalg.slogdet(inner)[1] - np.log(softer).sum(axis=2)
        return np.exp(-0.5 * log_det).mean(axis=1)

    at_low, at_high = beyond(low), beyond(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = beyond(middle)
        more = found > 1 - level
        low, at_low = np.where(more, middle, low), np.where(more, found, at_low)
        high, at_high = np.where(more, high, middle), np.where(more, at_high, found)
    part = np.clip((at_low - (1 - level)) / np.maximum(at_low - at_high, 1e-300), 0, 1)
    return np.exp(low + part * (high - low))


def scatter(place: Array, rows: Array, pull: Array, group: NDArray[np.int64]) -> Scatter:
    """The sandwich by groups, each group's residuals turned back into the errors they are left of.

    A curve is drawn to its points, so residuals are smaller than errors, and those of points with
    little noise, which the others drag the curve away from, larger. Both are undone, group by
    group, as if the noise were what `noise` takes it for: unbiased where it is, sound where not.

    Args:
      place: of the points along the curve, such as log x, [points].
      rows: slopes of the residuals by the coordinates, times the roots of their weights,
        [parameters, points].
      pull: residuals, likewise, cut where Huber's loss cuts them, [points].
      group: number of the group that each point belongs to, from 0, [points].

    Source: Bell and McCaffrey 2002, "Bias reduction in standard errors for linear regression with
    multi-stage samples"; with noise that is not alike everywhere, Pustejovsky and Tipton 2018.
    """
    size = np.linalg.norm(rows, axis=1)
    size = np.where(size > 0, size, 1.0)  # a parameter that moves no point has no scale
    even = rows / size[:, None]
    plain = np.linalg.pinv(even @ even.T, rcond=1e-12, hermitian=True) / np.outer(size, size)
    deviation, share = noise(place, even, pull, group)
    members = [np.flatnonzero(group == number) for number in range(int(group.max()) + 1)]
    blocks = [
        np.outer(deviation[its], deviation[its]) * (share + (1 - share) * np.eye(len(its)))
        for its in members
    ]
    noisy = [rows[:, its] @ block for its, block in zip(members, blocks, strict=True)]
    middle = sum(part @ rows[:, its].T for its, part in zip(members, noisy, strict=True))
    spread = plain @ middle @ plain
    scores, masses, pulls = [], [], []
    for its, block, told in zip(members, blocks, noisy, strict=True):
        part = rows[:, its]
        taken = part.T @ plain @ told
        left = block - taken - taken.T + part.T @ spread @ part
        root = np.linalg.cholesky(block)
        shares, vectors = np.linalg.eigh(root.T @ left @ root)
        gone = GONE * np.trace(block) ** 2
        back = np.where(shares > gone, np.maximum(shares, gone) ** -0.5, 0)
        turn = root @ vectors
        enlarged = part @ turn * back @ turn.T
        scores.append(enlarged @ pull[its])
        masses.append(enlarged @ block @ enlarged.T)
        pulls.append(np.concatenate([enlarged @ part.T, enlarged @ told.T], axis=1))
    sharing = np.block([[-spread, plain], [plain, np.zeros_like(plain)]])
    return Scatter(plain, np.array(scores), np.array(masses), np.array(pulls), sharing)


def noise(place: Array, rows: Array, pull: Array, group: NDArray[np.int64]) -> tuple[Array, float]:
    """Standard deviations of the errors, up to a factor, [points], and the share groups have.

    As if the noise grew or shrank evenly along the curve, and a group had a share of its variance
    in common: the mean change and share by the restricted likelihood of the residuals, which gives
    back what the fit took from them. Before, the change of the noise from the first place to the
    last is tenfold at one standard deviation, either way, and every share as likely.

    Args:
      As those of `scatter`; rows of length 1.

    Source: Patterson and Thompson 1971.
    """
    reach, left = np.ptp(place), len(pull) - np.linalg.matrix_rank(rows)
    if reach == 0 or left < 1:
        return np.ones(len(pull)), 0.0
    place = (place - place.mean()) / reach  # mean 0: the determinant of the errors is the shares'
    count = np.bincount(group)
    shares = SHARES if count.max() > 1 else SHARES[:1]
    both = np.concatenate([rows, pull[None]])
    scaled = both * np.exp(-CHANGES[:, None, None] / 2 * place)  # [changes, parameters + 1, points]
    sums = scaled @ (group[:, None] == np.arange(len(count)))
    odds = shares[:, None] / (1 - shares[:, None])
    common = odds / (1 + odds * count)  # [shares, groups]
    gram = (scaled @ scaled.swapaxes(1, 2))[:, None]
    gram = gram - (sums[:, None] * common[:, None]) @ sums[:, None].swapaxes(2, 3)
    values, vectors = np.linalg.eigh(gram[..., :-1, :-1])
    solid = values > 1e-12 * values[..., -1:]
    along = (gram[..., -1:, :-1] @ vectors)[..., 0, :]
    whole = gram[..., -1, -1]
    squares = whole - (along**2 / np.where(solid, values, np.inf)).sum(axis=-1)
    volume = np.log(np.where(solid, values, 1)).sum(axis=-1) + np.log1p(odds * count).sum(axis=1)
    likelihood = -0.5 * (left * np.log(np.maximum(squares, 1e-12 * whole) + 1e-300) + volume)
    likelihood -= 0.5 * (CHANGES[:, None] / TENFOLD) ** 2
    chance = np.exp(likelihood - likelihood.max())
    chance /= chance.sum()
    return np.exp(chance.sum(axis=1) @ CHANGES / 2 * place), float(chance.sum(axis=0) @ shares)
