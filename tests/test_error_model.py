"""The error model against the restricted likelihood written out with dense matrices."""

import numpy as np
import pytest

from fits.regression.error_model import (
    CHANGES,
    ErrorModel,
    autocorrelated_products,
    clustered_products,
    reml,
    restricted_log_likelihood,
)

RNG = np.random.default_rng(0)
POINTS, FREEDOM = 12, 10
POSITION = np.sort(RNG.uniform(size=POINTS))
POSITION = (POSITION - POSITION.mean()) / np.ptp(POSITION)
X = np.stack([np.ones(POINTS), POSITION])  # [parameters, points]
Y = RNG.normal(size=POINTS)
DATA = np.concatenate([X, Y[None]])


def dense_log_likelihood(covariance):
    """Patterson and Thompson 1971, from its definition, at the best common variance."""
    inverse = np.linalg.inv(covariance)
    bread = np.linalg.inv(X @ inverse @ X.T)
    residuals = Y - X.T @ bread @ X @ inverse @ Y
    squares = residuals @ inverse @ residuals
    log_det = np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(bread)[1]
    return -0.5 * (FREEDOM * np.log(squares / FREEDOM) + log_det)


def dense(correlations):
    """For each change of the variance and each correlation matrix, [changes, correlations]."""
    found = []
    for change in CHANGES:
        deviation = np.exp(change / 2 * POSITION)
        scale = np.outer(deviation, deviation)
        found.append([dense_log_likelihood(scale * each) for each in correlations])
    return np.array(found)


def test_the_likelihood_of_a_random_effect_is_that_of_the_dense_covariance():
    cluster, shares = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 4, 4]), np.array([0, 0.3, 0.9])
    products, log_det = clustered_products(POSITION, DATA, cluster, shares)
    found = restricted_log_likelihood(products, log_det, FREEDOM)
    same = cluster[:, None] == cluster
    wanted = dense([share * same + (1 - share) * np.eye(POINTS) for share in shares])
    np.testing.assert_allclose(found - found[0, 0], wanted - wanted[0, 0], atol=1e-8)


def test_the_kalman_filter_gives_the_likelihood_of_the_dense_autocorrelation():
    share, length = np.array([0.0, 0.3, 0.8, 0.999]), np.array([0.1, 0.5, 0.25, 2.0])
    products, log_det = autocorrelated_products(POSITION, DATA, share, length)
    found = restricted_log_likelihood(products, log_det, FREEDOM)
    distance = np.abs(POSITION[:, None] - POSITION)
    wanted = dense(
        [
            a * np.exp(-distance / b) + (1 - a) * np.eye(POINTS)
            for a, b in zip(share, length, strict=True)
        ]
    )
    np.testing.assert_allclose(found - found[0, 0], wanted - wanted[0, 0], atol=1e-8)


def test_a_balanced_random_effect_is_estimated_as_by_analysis_of_variance():
    """Where clusters are many the prior is weak: REML is the ANOVA estimator in balanced data."""
    rng, clusters, size = np.random.default_rng(1), 200, 4
    effect = rng.normal(size=clusters)[:, None]
    errors = np.sqrt(0.6) * effect + np.sqrt(0.4) * rng.normal(size=(clusters, size))
    means = errors.mean(axis=1)
    between = size * means.var(ddof=1)
    within = ((errors - means[:, None]) ** 2).sum() / (clusters * (size - 1))
    wanted = (between - within) / (between + (size - 1) * within)
    position = np.tile(np.arange(size), clusters) / size
    cluster = np.repeat(np.arange(clusters), size)
    found = reml(position, np.ones((1, clusters * size)), errors.ravel(), cluster, False)
    assert found.intraclass == pytest.approx(wanted, abs=0.02)
    assert found.autocorrelation is None


def test_a_standard_deviation_that_grows_tenfold_is_found_and_an_even_one_stays_even():
    rng, position = np.random.default_rng(0), np.linspace(0, 1, 200)
    rows, alone = np.ones((1, 200)), np.arange(200)
    grows = reml(position, rows, 10**position * rng.normal(size=200), alone, False)
    assert grows.deviation[-1] / grows.deviation[0] == pytest.approx(10, rel=0.3)
    even = reml(position, rows, rng.normal(size=200), alone, True)
    assert even.deviation[-1] / even.deviation[0] == pytest.approx(1, rel=0.4)
    assert even.autocorrelation is None


def test_neighbours_that_err_together_by_eight_tenths_are_found_out():
    position, found = np.linspace(0, 1, 40), []
    design = np.stack([np.ones(40), position - 0.5]) / np.sqrt([[40], [3.5]])
    for seed in range(20):
        error = np.random.default_rng(seed).normal(size=40)
        for k in range(1, 40):
            error[k] = 0.8 * error[k - 1] + 0.6 * error[k]
        residuals = error - np.linalg.lstsq(design.T, error, rcond=None)[0] @ design
        errors = reml(position, design, residuals, np.arange(40), True)
        found.append(0.0 if errors.autocorrelation is None else errors.autocorrelation[0, 1])
    assert np.median(found) == pytest.approx(0.75, abs=0.1)


def test_the_covariance_within_clusters_is_written_out():
    errors = ErrorModel(np.array([1.0, 2.0, 3.0]), np.zeros(3, int), 0.5)
    np.testing.assert_allclose(errors.within(np.array([[0, 2]])), [[[1, 1.5], [1.5, 9]]])


def test_correlated_points_count_as_fewer_clusters():
    alone = ErrorModel(np.ones(4), np.arange(4))
    together = ErrorModel(np.ones(4), np.arange(4), autocorrelation=np.ones((4, 4)))
    assert alone.effective_clusters == 4
    assert together.effective_clusters == pytest.approx(1)
