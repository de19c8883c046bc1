"""A model of the errors of a fit's points, by restricted maximum likelihood (REML).

Errors may be heteroscedastic: their variance changes exponentially along the curve. The points of
a cluster, such as a learning curve or the seeds of one configuration, may share a random effect;
or, where every point is a cluster of its own, neighbours on the curve may be autocorrelated. The
restricted likelihood (Patterson and Thompson 1971) allows for the degrees of freedom that the fit
took. It is evaluated on a grid; weak priors decide where residuals say little, and the estimate is
the posterior mean. This file knows no law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fits.base.numbers import Array, Indices

# Priors. The standard deviation changes tenfold, up or down, from the first position to the last
# at one standard deviation of a normal prior. Every intraclass correlation is equally likely. With
# probability UNCORRELATED there is no autocorrelation, else any share and length below.
TENFOLD = np.log(100.0)  # change of the log variance
CHANGES = TENFOLD * np.linspace(-3, 3, 31)
INTRACLASS = np.append(np.linspace(0, 0.95, 20), [0.99, 0.999, 1 - 1e-6])
UNCORRELATED = 0.9
SHARES = np.array([0.3, 0.6, 0.8, 0.95, 0.999])
LENGTHS = np.array([0.06, 0.12, 0.25, 0.5, 1.0, 2.0])  # of the correlation, curve of length 1
MOST = 2000  # points for which autocorrelation is estimated


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Covariance V of the errors of points, up to a common factor."""

    deviation: Array  # standard deviation of each, [points]
    cluster: Indices  # number of each point's cluster, from 0, [points]
    intraclass: float = 0.0  # correlation of two points of a cluster, in [0, 1)
    autocorrelation: Array | None = None  # of any two, [points, points]; None: clusters independent

    def within(self, members: Indices) -> Array:
        """Covariance within clusters of one size, [clusters, members, members].

        Args:
          members: positions of their points, [clusters, members].
        """
        correlation = self.intraclass + (1 - self.intraclass) * np.eye(members.shape[1])
        deviation = self.deviation[members]
        return correlation * deviation[:, :, None] * deviation[:, None]

    def times(self, rows: Array) -> Array:
        """rows V, [rows, points]."""
        scaled = rows * self.deviation
        if self.autocorrelation is not None:
            return scaled @ self.autocorrelation * self.deviation
        sums = np.array([np.bincount(self.cluster, each) for each in scaled])
        shared = self.intraclass * sums[:, self.cluster]
        return (shared + (1 - self.intraclass) * scaled) * self.deviation

    @property
    def effective_clusters(self) -> float:
        """How many independent clusters would determine the common variance equally well."""
        if self.autocorrelation is None:
            return float(self.cluster.max() + 1)
        return len(self.deviation) ** 2 / float((self.autocorrelation**2).sum())


def reml(
    position: Array,
    jacobian: Array,
    psi: Array,
    cluster: Indices,
    autocorrelated: bool,
) -> ErrorModel:
    """The posterior mean of the error model, given the residuals of a fit.

    Args:
      position: of the points along the curve, such as log x, [points].
      jacobian, psi: as of `covariance.model_based`, each row of the jacobian of length about 1.
      cluster: number of each point's cluster, from 0, [points].
      autocorrelated: whether neighbours may be, if every point is a cluster of its own.
    """
    points, length = len(psi), np.ptp(position)
    freedom = points - int(np.linalg.matrix_rank(jacobian))
    if length == 0 or freedom < 1:
        return ErrorModel(np.ones(points), cluster)
    position = (position - position.mean()) / length  # mean 0: CHANGES have determinant 1
    data = np.concatenate([jacobian, psi[None]])
    if autocorrelated and cluster.max() + 1 == points <= MOST:
        return _autocorrelated(position, data, freedom, cluster)
    shares = INTRACLASS if np.bincount(cluster).max() > 1 else np.zeros(1)
    products, log_det = clustered_products(position, data, cluster, shares)
    posterior = _posterior(products, log_det, freedom, np.ones(len(shares)))
    deviation = _deviation(position, posterior)
    return ErrorModel(deviation, cluster, float(posterior.sum(axis=0) @ shares))


def _autocorrelated(position: Array, data: Array, freedom: int, cluster: Indices) -> ErrorModel:
    share, length = (axis.ravel() for axis in np.meshgrid(SHARES, LENGTHS))
    prior = np.append(UNCORRELATED, np.full(len(share), (1 - UNCORRELATED) / len(share)))
    share, length = np.append(0.0, share), np.append(LENGTHS[0], length)
    order = np.argsort(position, kind="stable")
    products, log_det = autocorrelated_products(position[order], data[:, order], share, length)
    posterior = _posterior(products, log_det, freedom, prior)
    deviation, posterior = _deviation(position, posterior), posterior.sum(axis=0)
    if posterior[0] > 1 / 2:
        return ErrorModel(deviation, cluster)
    distance = np.abs(position[:, None] - position)
    correlation = np.eye(len(position)) * (1 - posterior @ share)
    for each in LENGTHS:
        correlation += (posterior * share)[length == each].sum() * np.exp(-distance / each)
    return ErrorModel(deviation, cluster, autocorrelation=correlation)


def restricted_log_likelihood(products: Array, log_det: Array, freedom: int) -> Array:
    """Up to a constant, the common variance at its maximum, [...].

    -2 l = freedom log(r' V^-1 r) + log det V + log det(X' V^-1 X), with X the jacobian and r the
    residuals of generalised least squares.

    Args:
      products: (X, y)' V^-1 (X, y), y the psi; [..., parameters + 1, parameters + 1].
      log_det: of V, broadcast to [...].
      freedom: points less parameters.
    """
    values, vectors = np.linalg.eigh(products[..., :-1, :-1])
    solid = values > 1e-12 * values[..., -1:]
    projected = (products[..., -1:, :-1] @ vectors)[..., 0, :]
    whole = products[..., -1, -1]
    squares = whole - (projected**2 / np.where(solid, values, np.inf)).sum(axis=-1)
    squares = np.maximum(squares, 1e-12 * whole) + 1e-300
    log_det = log_det + np.log(np.where(solid, values, 1)).sum(axis=-1)
    return -0.5 * (freedom * np.log(squares) + log_det)


def _posterior(products: Array, log_det: Array, freedom: int, prior: Array) -> Array:
    """Probability of each change of the variance and each correlation, [changes, correlations]."""
    log = np.log(prior) + restricted_log_likelihood(products, log_det, freedom)
    log -= 0.5 * (CHANGES[:, None] / TENFOLD) ** 2
    posterior = np.exp(log - log.max())
    return posterior / posterior.sum()


def _deviation(position: Array, posterior: Array) -> Array:
    return np.exp(posterior.sum(axis=1) @ CHANGES / 2 * position)


def _standardised(position: Array, data: Array) -> Array:
    """Divided by the standard deviation, for each of CHANGES, [changes, rows, points]."""
    return data * np.exp(-CHANGES[:, None, None] / 2 * position)


def clustered_products(
    position: Array, data: Array, cluster: Indices, shares: Array
) -> tuple[Array, Array]:
    """Products data V^-1 data', and log det V, of a random effect of each cluster.

    By the Sherman-Morrison formula, as each cluster adds a matrix of rank one.

    Args:
      position: with mean 0 and range 1, [points].
      data: [rows, points].
      cluster: [points].
      shares: intraclass correlations, [shares].

    Returns:
      [changes, shares, rows, rows] and, less a constant, [shares].
    """
    count = np.bincount(cluster)
    odds = shares[:, None] / (1 - shares[:, None])
    common = odds / (1 + odds * count)  # [shares, clusters]
    products = []
    for change in CHANGES:  # one after another: memory is that of the points
        scaled = data * np.exp(-change / 2 * position)
        whole = scaled @ scaled.T
        sums = np.array([np.bincount(cluster, each) for each in scaled])
        products.append([whole - (sums * each) @ sums.T for each in common])
    return np.array(products), np.log1p(odds * count).sum(axis=1)


def autocorrelated_products(
    position: Array, data: Array, share: Array, length: Array
) -> tuple[Array, Array]:
    """Products data V^-1 data', and log det V, of autocorrelated errors by the Kalman filter.

    Errors are white noise and an Ornstein-Uhlenbeck process, which is AR(1) at points unevenly
    spaced: two points d apart have the correlation share * exp(-d / length).

    Args:
      position: ascending, with mean 0 and range 1, [points].
      data: [rows, points].
      share, length: [correlations].

    Returns:
      [changes, correlations, rows, rows] and [correlations].
    """
    scaled = _standardised(position, data)
    state = np.zeros((len(scaled), len(share), len(data)))
    state_variance = share
    products, log_det = np.zeros(1), np.zeros(len(share))
    before = np.append(position[0], position[:-1])
    for here, last, point in zip(position, before, scaled.transpose(2, 0, 1), strict=True):
        decay = np.exp((last - here) / length)
        state = state * decay[:, None]
        state_variance = share + decay**2 * (state_variance - share)
        variance = state_variance + 1 - share
        innovation = (point[:, None] - state) / np.sqrt(variance)[:, None]
        products = products + innovation[..., None] * innovation[..., None, :]
        log_det += np.log(variance)
        state = state + (state_variance / np.sqrt(variance))[:, None] * innovation
        state_variance = state_variance - state_variance**2 / variance
    return products, log_det
