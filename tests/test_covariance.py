"""Cluster-robust covariances against their definitions, written out with dense matrices."""

import numpy as np
import pytest
from scipy.stats import t as student

from fits.laws.powers import POWER
from fits.regression.covariance import ClusterRobust, ModelBased, cluster_robust, model_based
from fits.regression.error_model import ErrorModel
from fits.regression.fit import fit

RNG = np.random.default_rng(0)
CLUSTER = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 4, 4, 5, 6, 6])
POINTS = len(CLUSTER)
X = np.stack([np.ones(POINTS), RNG.normal(size=POINTS)], axis=1)  # [points, parameters]
Y = RNG.normal(size=POINTS)
QUANTITIES = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 2.5]])


def least_squares(x=X, y=Y):
    return y - x @ np.linalg.lstsq(x, y, rcond=None)[0]


def power(matrix, exponent):
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-9 * values.max()
    return (vectors[:, kept] * values[kept] ** exponent) @ vectors[:, kept].T


def by_definition(x, residuals, cluster, working, contrast):
    """Standard error and Satterthwaite's degrees of freedom (Pustejovsky and Tipton 2018).

    A_g = D_g' (D_g [(I - H) V (I - H)']_gg D_g')^(-1/2) D_g with V_g = D_g' D_g; the variance is
    the sum over clusters of (p_g' e)^2 and its degrees of freedom are tr(G)^2 / tr(G^2), with
    p_g = (I - H)_g' A_g X_g (X'X)^-1 c and G_gh = p_g' V p_h.
    """
    bread = np.linalg.inv(x.T @ x)
    maker = np.eye(len(x)) - x @ bread @ x.T
    left = maker @ working @ maker.T
    variance, directions = 0.0, []
    for g in np.unique(cluster):
        its = cluster == g
        root = np.linalg.cholesky(working[np.ix_(its, its)]).T
        adjustment = root.T @ power(root @ left[np.ix_(its, its)] @ root.T, -0.5) @ root
        weights = adjustment @ x[its] @ bread @ contrast
        variance += (weights @ residuals[its]) ** 2
        directions.append(maker[its].T @ weights)
    gram = np.array(directions) @ working @ np.array(directions).T
    return np.sqrt(variance), np.trace(gram) ** 2 / (gram**2).sum()


def dense(errors, cluster):
    same = cluster[:, None] == cluster
    correlation = errors.intraclass * same + (1 - errors.intraclass) * np.eye(len(cluster))
    return correlation * np.outer(errors.deviation, errors.deviation)


@pytest.mark.parametrize("intraclass", [0.0, 0.6])
@pytest.mark.parametrize("even", [True, False])
def test_standard_errors_and_degrees_of_freedom_are_those_of_the_definition(intraclass, even):
    deviation = np.ones(POINTS) if even else np.exp(RNG.normal(size=POINTS) / 2)
    errors = ErrorModel(deviation, CLUSTER, intraclass)
    residuals = least_squares()
    found = cluster_robust(X.T, residuals, errors)
    _, error, quantile = found.standard_errors(QUANTITIES, 0.9)
    for k, contrast in enumerate(QUANTITIES):
        wanted, freedom = by_definition(X, residuals, CLUSTER, dense(errors, CLUSTER), contrast)
        assert error[k] == pytest.approx(wanted, rel=1e-9)
        assert quantile[k] == pytest.approx(student.ppf(0.95, freedom), rel=1e-7)


def test_with_equal_errors_the_adjustment_is_that_of_bell_and_mccaffrey():
    """A_g = (I - H_gg)^(-1/2)."""
    residuals, bread = least_squares(), np.linalg.inv(X.T @ X)
    found = cluster_robust(X.T, residuals, ErrorModel(np.ones(POINTS), CLUSTER))
    meat = np.zeros((2, 2))
    for g in range(7):
        part = X[g == CLUSTER]
        adjusted = power(np.eye(len(part)) - part @ bread @ part.T, -0.5) @ residuals[g == CLUSTER]
        meat += np.outer(part.T @ adjusted, part.T @ adjusted)
    np.testing.assert_allclose(found.scores.T @ found.scores, meat, rtol=1e-9)
    np.testing.assert_allclose(found.bread, bread, rtol=1e-9)


@pytest.mark.parametrize("intraclass", [0.0, 0.4, 1 - 1e-6])
def test_the_mean_of_balanced_clusters_is_student_s_of_their_means(intraclass):
    clusters, size = 6, 4
    y = RNG.normal(size=clusters * size)
    cluster = np.repeat(np.arange(clusters), size)
    errors = ErrorModel(np.ones(len(y)), cluster, intraclass)
    found = cluster_robust(np.ones((1, len(y))), y - y.mean(), errors)
    _, error, quantile = found.standard_errors(np.ones((1, 1)), 0.9)
    means = y.reshape(clusters, size).mean(axis=1)
    assert error[0] == pytest.approx(means.std(ddof=1) / np.sqrt(clusters), rel=1e-9)
    assert quantile[0] == pytest.approx(student.ppf(0.95, clusters - 1), rel=1e-9)


def test_one_cluster_alone_says_nothing():
    errors = ErrorModel(np.ones(POINTS), np.zeros(POINTS, int))
    found = cluster_robust(X.T, least_squares(), errors)
    assert np.isinf(found.standard_errors(QUANTITIES, 0.9)[2]).all()


def test_equal_independent_errors_of_a_single_curve_give_the_interval_of_least_squares():
    residuals = least_squares()
    errors = ErrorModel(np.ones(POINTS), np.arange(POINTS))
    _, error, quantile = model_based(X.T, residuals, errors).standard_errors(QUANTITIES, 0.9)
    variance = residuals @ residuals / (POINTS - 2)
    wanted = np.sqrt(variance * np.diag(QUANTITIES @ np.linalg.inv(X.T @ X) @ QUANTITIES.T))
    np.testing.assert_allclose(error, wanted, rtol=1e-9)
    np.testing.assert_allclose(quantile, student.ppf(0.95, POINTS - 2), rtol=1e-9)


def test_the_variance_under_a_model_is_unbiased_where_the_model_holds():
    """Its mean over studies is the variance of least squares under the model."""
    distance = np.abs(X[:, 1:] - X[:, 1])
    correlation = 0.3 * np.eye(POINTS) + 0.7 * np.exp(-distance)
    errors = ErrorModel(np.exp(X[:, 1] / 4), np.arange(POINTS), autocorrelation=correlation)
    model = correlation * np.outer(errors.deviation, errors.deviation)
    solve = np.linalg.inv(X.T @ X) @ X.T
    wanted = np.diag(QUANTITIES @ solve @ model @ solve.T @ QUANTITIES.T)
    # residuals whose squares are the model's expectation, one eigenvector of it after another
    left = (np.eye(POINTS) - X @ solve) @ model @ (np.eye(POINTS) - X @ solve).T
    values, vectors = np.linalg.eigh(left)
    found = np.zeros(3)
    for value, vector in zip(values.clip(0), vectors.T, strict=True):
        part = model_based(X.T, np.sqrt(value) * vector, errors)
        found += part.standard_errors(QUANTITIES, 0.9)[1] ** 2
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("intraclass", [0.0, 0.6])
def test_a_cluster_robust_variance_is_unbiased_where_the_working_model_holds(intraclass):
    errors = ErrorModel(np.exp(X[:, 1] / 4), CLUSTER, intraclass)
    model, solve = dense(errors, CLUSTER), np.linalg.inv(X.T @ X) @ X.T
    wanted = np.diag(QUANTITIES @ solve @ model @ solve.T @ QUANTITIES.T)
    maker = np.eye(POINTS) - X @ solve
    values, vectors = np.linalg.eigh(maker @ model @ maker.T)
    found = np.zeros(3)
    for value, vector in zip(values.clip(0), vectors.T, strict=True):
        part = cluster_robust(X.T, np.sqrt(value) * vector, errors)
        found += part.standard_errors(QUANTITIES, 0.9)[1] ** 2
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_covariance_times_rows_is_that_of_the_dense_matrix():
    errors = ErrorModel(np.exp(X[:, 1] / 4), CLUSTER, 0.3)
    np.testing.assert_allclose(errors.times(X.T), X.T @ dense(errors, CLUSTER), rtol=1e-12)


def test_only_a_single_curve_found_autocorrelated_has_the_covariance_of_its_model():
    x = np.geomspace(1, 1e4, 40)
    rng = np.random.default_rng(0)
    white, walk = 0.02 * rng.normal(size=40), 0.02 * np.cumsum(rng.normal(size=40))
    kinds = [
        type(fit(POWER, x, 0.5 * x**-0.2 * np.exp(error), clusters=clusters).profile.sandwich)
        for error, clusters in [(white, None), (walk, None), (walk, (np.arange(40) // 5).tolist())]
    ]
    assert kinds == [ClusterRobust, ModelBased, ClusterRobust]
