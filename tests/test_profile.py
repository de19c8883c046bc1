"""Profile likelihood where the answer is known: a line, whose profile is a parabola."""

import numpy as np
import pytest
from scipy.stats import t as student

from fits.laws.chinchilla import CHINCHILLA
from fits.laws.constrained import Constraint, constrained
from fits.laws.lines import LOG_LINEAR
from fits.laws.powers import POWER
from fits.regression.covariance import cluster_robust, model_based
from fits.regression.error_model import ErrorModel
from fits.regression.fit import fit
from fits.regression.loss import Loss
from fits.regression.solver import minimise

POINTS = 15
X = np.geomspace(1, 1e4, POINTS)
DESIGN = np.stack([np.ones(POINTS), -np.log10(X)], axis=1)
EVEN = ErrorModel(np.ones(POINTS), np.arange(POINTS))


def line():
    """A fit whose errors are taken for equal and independent."""
    y = DESIGN @ [0.9, 0.1] + 0.02 * np.random.default_rng(0).normal(size=POINTS)
    profile = fit(LOG_LINEAR, X, y, loss=Loss(log=False)).profile
    profile.__dict__["sandwich"] = model_based(profile.jacobian, profile.residuals, EVEN)
    return profile, y


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_of_a_line_the_interval_is_student_s(level):
    profile, y = line()
    values, (squares,), *_ = np.linalg.lstsq(DESIGN, y, rcond=None)
    error = np.sqrt(squares / (POINTS - 2) * np.diag(np.linalg.inv(DESIGN.T @ DESIGN)))
    reach = student.ppf((1 + level) / 2, POINTS - 2) * error
    low, high = profile.interval(lambda drawn, which: drawn[which, np.arange(len(which))], 2, level)
    np.testing.assert_allclose(low, values - reach, rtol=1e-6)
    np.testing.assert_allclose(high, values + reach, rtol=1e-6)


def test_of_a_line_a_prediction_s_interval_is_that_of_regression():
    profile, y = line()
    at = np.array([1.0, -7.0])  # x = 1e7
    values, (squares,), *_ = np.linalg.lstsq(DESIGN, y, rcond=None)
    error = np.sqrt(squares / (POINTS - 2) * at @ np.linalg.inv(DESIGN.T @ DESIGN) @ at)
    low, high = profile.interval(lambda drawn, which: at @ drawn, 1, 0.9)
    reach = student.ppf(0.95, POINTS - 2) * error
    np.testing.assert_allclose([low[0], high[0]], at @ values + [-reach, reach], rtol=1e-6)


def test_of_a_function_of_a_parameter_the_interval_is_the_function_s_of_its_interval():
    """A profile depends on no choice of parameters; a standard error does."""
    profile, _ = line()
    (low, high), (low_cubed, high_cubed) = (
        np.ravel(profile.interval(lambda drawn, which, k=k: drawn[1] ** k, 1, 0.9)) for k in (1, 3)
    )
    np.testing.assert_allclose([low_cubed, high_cubed], [low**3, high**3], rtol=0.005)


def test_the_interval_of_a_fit_is_so_many_cluster_robust_standard_errors():
    """Of a power law, a line on log axes; the errors' model by REML is but CR2's working model."""
    cluster = np.repeat(np.arange(8), 5)
    x = np.geomspace(1, 1e4, 40)
    rng = np.random.default_rng(1)
    y = 0.5 * x**-0.2 * np.exp(0.02 * (rng.normal(size=8)[cluster] + rng.normal(size=40)))
    found = fit(POWER, x, y, clusters=cluster.tolist())
    design = np.stack([np.ones(40), np.log(x)])
    residuals = np.log(found.predict(x) / y)
    covariance = cluster_robust(design, residuals, found.profile.errors)
    _, error, quantile = covariance.standard_errors(np.array([[0.0, -1.0]]), 0.9)
    reach = float(error[0] * quantile[0])
    np.testing.assert_allclose(
        found.intervals[1], [found.values[1] - reach, found.values[1] + reach], rtol=0.002
    )


def held_at(found, name, value):
    """The smallest loss of all curves with a parameter at a value, by fits from many guesses."""
    profile = found.profile
    law = constrained(profile.law, Constraint(fix={name: value}), profile.unit)
    return minimise(law, profile.x, profile.y, profile.weights, profile.loss)[1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_beside_a_bound_an_interval_ends_where_a_fit_held_there_is_as_much_worse_as_it_may_be(seed):
    """Three amounts of data do not tell a floor from a slow fall: E rests on 0, or could, and the
    standard errors there are many times as wide as the profile.
    """
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(0.02, 0.5, 6), [1.2, 2.3, 4.6]))
    rng = np.random.default_rng(seed)
    loss = CHINCHILLA.predict((n, d), 0.0, 0.4, 0.25, 2.2, 0.04) * np.exp(rng.normal(0, 0.01, 18))
    found = fit(CHINCHILLA, (n, d), loss)
    profile = found.profile
    assert found.values[0] == 0
    gradients = np.eye(5)
    curvature, error, quantile = profile.sandwich.standard_errors(gradients, 0.9)
    assert (quantile * error)[0] > 2 * loss.min()  # of the floor: no use
    for k in (0, 2, 3, 4):
        for end, bound in zip(found.intervals[k], CHINCHILLA.bounds[k], strict=True):
            if end != bound:
                rise = held_at(found, CHINCHILLA.parameters[k], end) - profile.minimum
                root = np.sqrt(2 * rise / curvature[k]) / error[k]
                assert root == pytest.approx(quantile[k], rel=0.03), (k, end)
