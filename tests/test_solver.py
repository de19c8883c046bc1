"""Levenberg-Marquardt against SciPy's least squares and closed forms."""

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.optimize import minimize as scipy_minimize

from fits.laws.law import Law
from fits.laws.lines import LOG_LINEAR
from fits.laws.powers import POWER, POWER_FLOOR, SATURATING, saturating
from fits.regression.fit import fit
from fits.regression.loss import Loss, Penalty
from fits.regression.solver import levenberg_marquardt, minimise

RNG = np.random.default_rng(0)
X = np.geomspace(0.02, 50, 40)
ERROR = saturating(X, 0.5, 0.4, 0.1, 0.3) * np.exp(
    0.02 * RNG.normal(size=40) * np.where(RNG.random(40) < 0.15, 8, 1)
)
ONES = np.ones((1, 40))


@pytest.mark.parametrize("delta", [np.inf, 0.02, 1e-3])
@pytest.mark.parametrize("log", [True, False])
def test_the_minimum_is_that_of_scipy(delta, log):
    """Whose loss "huber" is twice rho at the threshold `f_scale`, and "linear" is squares."""

    def residuals(values):
        curve = saturating(X, *values)
        return np.log(curve / ERROR) if log else curve - ERROR

    start, bounds = [0.4, 0.5, 0.08, 0.2], ([1e-9] * 4, [np.inf] * 4)
    kind = {"loss": "huber", "f_scale": delta} if np.isfinite(delta) else {}
    theirs = least_squares(
        residuals, start, bounds=bounds, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15, **kind
    )
    values, least = minimise(SATURATING, X, ERROR, ONES[0], Loss(log=log, delta=delta))
    assert least <= theirs.cost * (1 + 1e-9)
    np.testing.assert_allclose(least, theirs.cost, rtol=1e-5)
    np.testing.assert_allclose(values, theirs.x, rtol=0.02)


def test_psi_is_the_derivative_of_rho_and_rho_is_half_the_square_below_the_threshold():
    loss, at = Loss(delta=0.3), np.linspace(-1, 1, 41) + 1e-3
    numeric = (loss.rho(at + 1e-6) - loss.rho(at - 1e-6)) / 2e-6
    np.testing.assert_allclose(loss.psi(at), numeric, atol=1e-6)
    np.testing.assert_allclose(loss.rho(np.array([0.2, 0.3, 1.3])), [0.02, 0.045, 0.345])
    np.testing.assert_allclose(Loss().rho(np.array([4.0])), 8)


def test_huber_s_line_balances_its_psi_and_one_wild_point_hardly_moves_it():
    x, noise = np.geomspace(1, 1e4, 25), 0.01 * RNG.normal(size=25)
    truth = LOG_LINEAR.predict(x, 0.9, 0.1)
    wild = np.where(np.arange(25) == 20, 5.0, 0.0)
    loss = Loss(log=False, delta=0.01)
    values, _ = minimise(LOG_LINEAR, x, truth + noise + wild, np.ones(25), loss)
    psi = loss.psi(LOG_LINEAR.predict(x, *values) - truth - noise - wild)
    np.testing.assert_allclose([psi.sum(), psi @ np.log(x)], 0, atol=1e-7)  # of 0.01 each
    np.testing.assert_allclose(values, [0.9, 0.1], atol=0.01)
    squares, _ = minimise(LOG_LINEAR, x, truth + noise + wild, np.ones(25), Loss(log=False))
    assert abs(squares[0] - 0.9) > 0.1


def test_a_penalty_finds_the_least_squares_of_all_lines_of_that_slope():
    """Of a line the rise of the loss is (slope - fitted)^2 / 2 over ((X' X)^-1)_22."""
    x = np.geomspace(1, 1e3, 20)
    y = 0.5 * x**-0.2 * np.exp(0.05 * RNG.normal(size=20))
    values, least = minimise(POWER, x, y, np.ones(20))

    def exponent(at, which):
        return POWER.from_unconstrained(*at.T)[1][:, None]

    target = np.array([[0.15], [0.2], [0.3]])
    penalty = Penalty(exponent, np.arange(3), target, np.full((3, 1), 50.0))
    guess = np.repeat(values[:, None], 3, axis=1)
    found, losses = levenberg_marquardt(POWER, x, y, np.ones((3, 20)), guess, penalty=penalty)
    design = np.stack([np.ones(20), np.log(x)])
    curvature = 1 / np.linalg.inv(design @ design.T)[1, 1]
    np.testing.assert_allclose(losses - least, curvature * (found[1] - values[1]) ** 2 / 2)
    rest = (50 * target[:, 0] + curvature * values[1]) / (50 + curvature)
    np.testing.assert_allclose(found[1], rest, rtol=1e-6)


def test_of_noise_of_unknown_size_and_a_prior_the_likeliest_parameters_are_found():
    def objective(at):
        curve = np.exp(at[0] - np.exp(at[1]) * np.log(X))
        size = ((np.log(curve / ERROR)) ** 2).mean() + 1e-6
        return 20 * np.log(size) + (at[1] - np.log(0.7)) ** 2 / (2 * 0.1**2)

    theirs = scipy_minimize(objective, [0, -1], method="Nelder-Mead", options={"xatol": 1e-10})
    prior = Penalty(
        lambda at, which: at[:, 1:], np.zeros(1, int), np.log([[0.7]]), 100 * ONES[:, :1]
    )
    values, _ = levenberg_marquardt(
        POWER, X, ERROR, ONES, np.array([[1.0], [0.4]]), penalty=prior, rounding=1e-6
    )
    np.testing.assert_allclose(POWER.to_unconstrained(*values)[:, 0], theirs.x, rtol=1e-5)


def test_a_floor_that_the_points_want_below_zero_rests_on_its_bound():
    x = np.geomspace(1, 100, 20)
    values, _ = minimise(POWER_FLOOR, x, 0.5 * x**-0.3 - 0.05, np.ones(20), Loss(log=False))
    assert values[2] == 0
    power, _ = minimise(POWER, x, 0.5 * x**-0.3 - 0.05, np.ones(20), Loss(log=False))
    np.testing.assert_allclose(values[:2], power, rtol=1e-6)


def test_a_law_of_a_function_bounds_and_a_guess_is_fitted_as_one_with_derivatives():
    law = Law(
        name="bare",
        formula="a x^-b + c",
        parameters=("a", "b", "c"),
        predict=lambda x, a, b, c: a * x**-b + c,
        source="none",
        bounds=((1e-9, 1e9), (1e-3, 10.0), (0.0, np.inf)),
        guess=lambda x, y, weights: np.array([[np.ptp(y)], [0.5], [y.min() / 2]]),
    )
    x = np.geomspace(0.1, 100, 30)
    y = (0.3 * x**-0.4 + 0.1) * np.exp(0.01 * RNG.normal(size=30))
    bare, whole = fit(law, x, y), fit(POWER_FLOOR, x, y)
    np.testing.assert_allclose(bare.values, whole.values, rtol=1e-5)
    np.testing.assert_allclose(bare.intervals, whole.intervals, rtol=1e-3)
