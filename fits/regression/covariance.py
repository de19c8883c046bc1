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

from fits.regression.error_model import noise

Array = NDArray[np.float64]

TENFOLD = np.log(100.0)  # change of the logarithm of a variance
CHANGES = TENFOLD * np.linspace(-3, 3, 31)
LEAST = 1e-10  # scatter of a coordinate that rounding alone leaves
ASKED = 0.5  # share of a variance that is asked of the groups one by one, not of all together
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
      apart, together: covariance of the sum of all scores if groups had nothing in common, and
        if the noise is what `noise` takes it for, [parameters, parameters].
      freedom: degrees of freedom of the size of that noise.
    """

    bread: Array
    scores: Array
    masses: Array
    pulls: Array
    sharing: Array
    apart: Array
    together: Array
    freedom: float

    def along(self, slopes: Array, level: float) -> tuple[Array, Array, Array]:
        """Of quantities: curvature of their profile, standard error, how many of these to allow.

        Args:
          slopes: by the coordinates, [quantities, parameters].
          level: probability with which a quantity is to lie within what is allowed; infinity
            where the groups say nothing, as one group alone never does.
        """
        turned = slopes @ self.bread
        stiff = 1 / np.maximum(np.einsum("qp,qp->q", turned, slopes), 1e-300)
        asked = ((turned @ self.scores.T) ** 2).sum(axis=1)
        apart, together = (
            np.maximum(np.einsum("qp,pr,qr->q", turned, each, turned), 1e-300)
            for each in (self.apart, self.together)
        )
        spread = np.sqrt(ASKED * asked * (together / apart) + (1 - ASKED) * together)
        mass = np.einsum("qp,gpr,qr->qg", turned, self.masses, turned, optimize=True).clip(0)
        pulls = np.einsum("gpr,qp->qgr", self.pulls, turned)
        trace = mass.sum(axis=1) - np.einsum("qgr,rs,qgs->q", pulls, self.sharing, pulls)
        solid = (trace > 1e-9 * mass.sum(axis=1)) & (len(self.scores) > 1)
        allowed = np.full(len(slopes), np.inf)
        if solid.any():
            share = (ASKED / trace[solid])[:, None]
            even = np.full((int(solid.sum()), 1), (1 - ASKED) / self.freedom)
            allowed[solid] = within(
                level,
                np.concatenate([mass[solid] * share, even], axis=1),
                np.append(np.ones(mass.shape[1]), self.freedom),
                pulls[solid] * np.sqrt(share)[..., None],
                self.sharing,
            )
        least = LEAST / np.sqrt(stiff)
        return stiff, np.maximum(spread, np.maximum(least, 1e-300)), allowed


def within(level: float, mass: Array, count: Array, pulls: Array, sharing: Array) -> Array:
    """How many standard errors a normal number lies within with probability `level`, [quantities].

    Student's answer for a standard error that is itself known from few and unequal groups: the
    square of it scatters as the sum of squares of normal numbers with covariance
    G = diag(mass) - pulls sharing pulls', and

        P(|z| > t sqrt(sum)) = 2/pi  integral from 0 to pi/2 of det(1 + t^2 G / sin^2 a)^(-1/2) da

    by Craig's formula (1991) for the normal tail and the sum's moment generating function.

    Args:
      mass: [quantities, masses]; the last may stand for several, or for a part of one.
      count: for how many, [masses].
      pulls: of the other masses, [quantities, groups, k].
      sharing: [k, k]; G of trace 1.
    """
    bottom, top = NormalDist().inv_cdf((1 + level) / 2), np.tan(np.pi / 2 * level)
    low, high = (np.full(len(mass), np.log(end)) for end in (bottom, top))  # none fewer, one group

    def beyond(log_t: Array) -> Array:
        s = np.exp(2 * log_t)[:, None] * NODES
        softer = 1 / (1 + s[..., None] * mass[:, None])  # [quantities, nodes, masses]
        held = pulls[:, None].swapaxes(2, 3) * softer[:, :, None, :-1] @ pulls[:, None]
        inner = np.eye(len(sharing)) - s[..., None, None] * (sharing @ held)
        log_det = np.linalg.slogdet(inner)[1] - np.log(softer) @ count
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


def scatter(
    place: Array, rows: Array, pull: Array, group: NDArray[np.int64], neighbours: bool
) -> Scatter:
    """The sandwich by groups, each group's residuals turned back into the errors they are left of.

    A curve is drawn to its points, so residuals are smaller than errors, and those of points with
    little noise, which the others drag the curve away from, larger. Both are undone, group by
    group, as if the noise were what `noise` takes it for: unbiased where it is, sound where not.
    What neighbours have in common enlarges it all, in the proportion that noise is taken to have.
    Half of each variance (ASKED) is what groups say in this way, one by one; that leans on nothing,
    but few groups know little. The other half is what `noise` says, of a size known from all.

    Args:
      place: of the points along the curve, such as log x, [points].
      rows: slopes of the residuals by the coordinates, times the roots of their weights,
        [parameters, points].
      pull: residuals, likewise, cut where Huber's loss cuts them, [points].
      group: number of the group that each point belongs to, from 0, [points].
      neighbours: whether these may err together, if every group is a single point.

    Source: Bell and McCaffrey 2002, "Bias reduction in standard errors for linear regression with
    multi-stage samples"; with noise that is not alike everywhere, Pustejovsky and Tipton 2018.
    """
    size = np.linalg.norm(rows, axis=1)
    size = np.where(size > 0, size, 1.0)  # a parameter that moves no point has no scale
    even = rows / size[:, None]
    plain = np.linalg.pinv(even @ even.T, rcond=1e-12, hermitian=True) / np.outer(size, size)
    errors = noise(place, even, pull, group, neighbours)
    count = np.bincount(group)
    alike = [_members(group, count, members) for members in np.unique(count)]
    apart = np.zeros_like(plain)
    for its in alike:
        part = rows.T[its]
        apart += np.einsum("gmp,gmn,gnq->pq", part, errors.block(its), part, optimize=True)
    together, spread = apart, plain @ apart @ plain
    if errors.neighbours is not None:
        whole = errors.neighbours * np.outer(errors.deviation, errors.deviation)
        told = rows @ whole
        together = told @ rows.T
        across = plain @ together @ plain
        alone = np.diag(whole) + ((across @ rows - 2 * plain @ told) * rows).sum(axis=0)
    scores, masses, pulls = [], [], []
    seen, expected = 0.0, 0.0  # squares of residuals, and what noise of size 1 would leave
    for its in alike:  # [groups, members]
        part, block = rows.T[its], errors.block(its)
        told = block @ part
        if errors.neighbours is None:
            taken = part @ plain @ told.swapaxes(1, 2)
            rest = block - taken - taken.swapaxes(1, 2) + part @ spread @ part.swapaxes(1, 2)
        else:
            rest = alone[its][..., None]
        sure = errors.deviation[its] ** -2
        seen += float((sure * pull[its] ** 2).sum())
        expected += float((sure * np.einsum("gmm->gm", rest)).sum())
        root = np.linalg.cholesky(block)
        shares, vectors = np.linalg.eigh(root.swapaxes(1, 2) @ rest @ root)
        gone = GONE * np.trace(block, axis1=1, axis2=2)[:, None] ** 2
        back = np.where(shares > gone, np.maximum(shares, gone) ** -0.5, 0)
        turn = root @ vectors
        enlarged = (turn * back[:, None]) @ turn.swapaxes(1, 2) @ part  # [groups, members, p]
        scores.append(np.einsum("gmp,gm->gp", enlarged, pull[its]))
        masses.append(enlarged.swapaxes(1, 2) @ block @ enlarged)
        pulls.append(enlarged.swapaxes(1, 2) @ np.concatenate([part, told], axis=2))
    freedom = errors.alone(len(count)) - np.linalg.matrix_rank(even)
    variance = seen / max(expected, 1e-300)
    return Scatter(
        bread=plain,
        scores=np.concatenate(scores),
        masses=np.concatenate(masses),
        pulls=np.concatenate(pulls),
        sharing=np.block([[-spread, plain], [plain, np.zeros_like(plain)]]),
        apart=variance * apart,
        together=variance * together,
        freedom=max(freedom, 1.0),
    )


def _members(group: NDArray[np.int64], count: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The points of each group of that size, [groups, size]."""
    its = np.flatnonzero(count[group] == size)
    return its[np.argsort(group[its], kind="stable")].reshape(-1, size)
