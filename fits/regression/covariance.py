"""Cluster-robust covariance of a fit's coordinates: CR2 with Satterthwaite degrees of freedom.

Clusters of points err independently of one another; within a cluster errors may be correlated, and
of any size. All is to first order: the jacobian stands for the curve. This file knows no law.

Sources: Bell and McCaffrey 2002, "Bias reduction in standard errors for linear regression with
multi-stage samples"; for any working model of the errors, Pustejovsky and Tipton 2018,
"Small-sample methods for cluster-robust variance estimation".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fits.base.numbers import Array, Indices
from fits.regression.error_model import ErrorModel

LEAST = 1e-10  # standard error of a coordinate that rounding alone leaves
GONE = 1e-8  # of a squared variance, below which nothing is left of it


@dataclass(frozen=True, eq=False)
class ClusterRobust:
    """The sandwich bread * meat * bread, where the meat is scores' scores.

    Under the working model V of the errors, the scores' covariance along a direction is diagonal,
    from `variances`, less factors coupling factors' (what the fit took); see `_freedom`.
    """

    bread: Array  # inverse of the loss's curvature, (X' X)^-1, [parameters, parameters]
    scores: Array  # X_g' A_g psi_g of each cluster g, [clusters, parameters]
    variances: Array  # X_g' A_g V_g A_g X_g, [clusters, parameters, parameters]
    factors: Array  # X_g' A_g (X_g, V_g X_g), [clusters, parameters, twice the parameters]
    coupling: Array  # [twice the parameters, twice the parameters]

    def standard_errors(self, gradients: Array, level: float) -> tuple[Array, Array, Array]:
        """Of quantities: curvature of their profile, standard error, quantile of Student's t.

        Args:
          gradients: by the coordinates, [quantities, parameters].
          level: of the interval that is so many standard errors to either side; the quantile is
            infinite where residuals say nothing, as those of a single cluster never do.
        """
        along, curvature = _along(self.bread, gradients)
        error = np.sqrt(((along @ self.scores.T) ** 2).sum(axis=1))
        freedom = self._freedom(along) if len(self.scores) > 1 else np.zeros(len(along))
        return curvature, _at_least(error, curvature), _quantile(freedom, level)

    def _freedom(self, along: Array) -> Array:
        """Satterthwaite's degrees of freedom, tr(G)^2 / tr(G^2), [quantities].

        G is the covariance of the clusters' scores under the working model, times `along`:
        [clusters, clusters] of each quantity, in the form diag(own) - F C F'.
        """
        own = np.einsum("qp,gpr,qr->qg", along, self.variances, along, optimize=True)
        factors = np.einsum("gpk,qp->qgk", self.factors, along)
        taken = np.einsum("qgk,kl,qgl->qg", factors, self.coupling, factors)
        trace = own.sum(axis=1) - taken.sum(axis=1)
        gram = factors.swapaxes(1, 2) @ factors @ self.coupling
        squares = (own**2 - 2 * own * taken).sum(axis=1) + np.einsum("qkl,qlk->q", gram, gram)
        known = (trace > 1e-9 * own.sum(axis=1)) & (squares > 0)
        return np.where(known, trace**2 / np.where(known, squares, 1.0), 0.0)


@dataclass(frozen=True, eq=False)
class ModelBased:
    """The covariance under an error model whose common variance alone is estimated."""

    bread: Array  # inverse of the loss's curvature, (X' X)^-1, [parameters, parameters]
    meat: Array  # X' V X, [parameters, parameters]
    freedom: float  # degrees of freedom of the common variance

    def standard_errors(self, gradients: Array, level: float) -> tuple[Array, Array, Array]:
        """As of `ClusterRobust`."""
        along, curvature = _along(self.bread, gradients)
        error = np.sqrt(np.einsum("qp,pr,qr->q", along, self.meat, along).clip(0))
        freedom = np.full(len(along), self.freedom)
        return curvature, _at_least(error, curvature), _quantile(freedom, level)


def _along(bread: Array, gradients: Array) -> tuple[Array, Array]:
    """How far each score moves each quantity, and the curvature of the quantity's profile."""
    along = gradients @ bread
    return along, 1 / np.maximum(np.einsum("qp,qp->q", along, gradients), 1e-300)


def _at_least(error: Array, curvature: Array) -> Array:
    return np.maximum(error, np.maximum(LEAST / np.sqrt(curvature), 1e-300))


def _quantile(freedom: Array, level: float) -> Array:
    from scipy.special import stdtrit

    known = freedom > 0
    return np.where(known, stdtrit(np.where(known, freedom, 1.0), (1 + level) / 2), np.inf)


def _scale(jacobian: Array) -> Array:
    """Lengths of the rows, 1 for a parameter that moves no point, [parameters, 1]."""
    length = np.linalg.norm(jacobian, axis=1, keepdims=True)
    return np.where(length > 0, length, 1.0)


def _bread(jacobian: Array) -> Array:
    scale = _scale(jacobian)
    rows = jacobian / scale
    return np.linalg.pinv(rows @ rows.T, rcond=1e-12, hermitian=True) / (scale * scale.T)


def model_based(jacobian: Array, psi: Array, errors: ErrorModel) -> ModelBased:
    """With the common variance that makes the standardised squared residuals as expected.

    Args:
      jacobian: of the residuals by the coordinates, times the roots of the points' weights,
        [parameters, points].
      psi: derivative of the loss at the residuals (for squares the residuals themselves), times
        the roots of the weights, [points].
      errors: of the points.
    """
    bread, predicted = _bread(jacobian), errors.times(jacobian)
    meat = predicted @ jacobian.T
    taken = ((bread @ meat @ bread @ jacobian - 2 * bread @ predicted) * jacobian).sum(axis=0)
    expected = (1 + taken / errors.deviation**2).sum()
    variance = ((psi / errors.deviation) ** 2).sum() / max(float(expected), 1e-300)
    rank = int(np.linalg.matrix_rank(jacobian / _scale(jacobian)))
    return ModelBased(bread, variance * meat, max(errors.effective_clusters - rank, 1.0))


def cluster_robust(jacobian: Array, psi: Array, errors: ErrorModel) -> ClusterRobust:
    """CR2, with a working model of the errors that are independent between clusters.

    Residuals are smaller than errors, and correlated, for the curve is drawn to its points. Each
    cluster's are multiplied by the matrix A_g that makes up for it where the working model holds:
    then the variance is unbiased. Where it does not hold, the variance is still consistent.

    Args as of `model_based`.
    """
    bread = _bread(jacobian)
    meat = errors.times(jacobian) @ jacobian.T  # X' V X
    spread = bread @ meat @ bread
    scores, variances, factors = [], [], []
    for members in _by_size(errors.cluster):
        part, model = jacobian.T[members], errors.within(members)
        predicted = model @ part
        taken = part @ bread @ predicted.swapaxes(1, 2)
        left = model - taken - taken.swapaxes(1, 2) + part @ spread @ part.swapaxes(1, 2)
        adjusted = _adjustment(model, left) @ part
        turned = adjusted.swapaxes(1, 2)
        scores.append(np.einsum("gmp,gm->gp", adjusted, psi[members]))
        variances.append(turned @ model @ adjusted)
        factors.append(turned @ np.concatenate([part, predicted], axis=2))
    return ClusterRobust(
        bread=bread,
        scores=np.concatenate(scores),
        variances=np.concatenate(variances),
        factors=np.concatenate(factors),
        coupling=np.block([[-spread, bread], [bread, np.zeros_like(bread)]]),
    )


def _adjustment(model: Array, left: Array) -> Array:
    """A_g = D' (D R D')^(-1/2) D with V = D' D, so that A R A = V, [clusters, members, members].

    With equal errors this is (I - H_gg)^(-1/2). A direction of which the fit left nothing is left
    out (the Moore-Penrose inverse).

    Args:
      model: V_g, of the errors, [clusters, members, members].
      left: R_g, of the residuals.
    """
    values, vectors = np.linalg.eigh(model)
    root = vectors * np.sqrt(values.clip(0))[:, None]  # D'
    shares, vectors = np.linalg.eigh(root.swapaxes(1, 2) @ left @ root)
    gone = GONE * np.trace(model, axis1=1, axis2=2)[:, None] ** 2
    power = np.where(shares > gone, np.maximum(shares, gone) ** -0.5, 0)
    turned = root @ vectors
    return (turned * power[:, None]) @ turned.swapaxes(1, 2)


def _by_size(cluster: Indices) -> list[Indices]:
    """The points of all clusters of one size, for each size, [clusters, size]."""
    count = np.bincount(cluster)
    found = []
    for size in np.unique(count):
        members = np.flatnonzero(count[cluster] == size)
        order = np.argsort(cluster[members], kind="stable")
        found.append(members[order].reshape(-1, size))
    return found
