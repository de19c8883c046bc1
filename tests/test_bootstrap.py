"""The bootstrap against the standard error of a mean."""

import numpy as np
import pytest

from fits.forecast.evidence import CONSTANT
from fits.regression.bootstrap import DRAWS, bootstrap_weights, refits
from fits.regression.fit import every_point
from fits.regression.loss import Loss

RNG = np.random.default_rng(0)
REPLICATES = 4000


@pytest.mark.parametrize("size", [1, 4])
def test_the_spread_of_replicates_is_the_standard_error_of_a_mean_of_clusters(size):
    """So many times wider by the square root as more clusters are drawn than there are."""
    cluster = np.repeat(np.arange(15), size)
    y = 1 + 0.05 * RNG.normal(size=15)[cluster] + 0.01 * RNG.normal(size=len(cluster))
    x = np.arange(1.0, 1 + len(y))
    weights = bootstrap_weights(1, x, y, cluster, every_point, REPLICATES, np.random.default_rng(1))
    assert (weights.sum(axis=1) > 0).all()
    rows = weights[:, cluster == 3]
    assert (rows == rows[:, :1]).all()  # a cluster is drawn whole
    found = refits(CONSTANT, x, y, weights, np.ones(len(y)), np.array([y.mean()]), Loss(log=False))
    means = y.reshape(15, size).mean(axis=1)
    drawn = (weights @ y) / weights.sum(axis=1)
    np.testing.assert_allclose(found[:, 0], drawn, rtol=1e-6)
    assert found.std() * np.sqrt(DRAWS) == pytest.approx(means.std() / np.sqrt(15), rel=0.05)


def test_a_run_counts_as_often_as_its_cluster_is_drawn_where_every_run_is_fitted():
    cluster, x = np.arange(10), np.arange(1.0, 11)
    weights = bootstrap_weights(2, x, x, cluster, every_point, 500, np.random.default_rng(0))
    assert (weights.sum(axis=1) == 15).all()
    assert ((weights > 0).sum(axis=1) >= 2).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1.5, rtol=0.15)
