"""Losses for undertuned runs: one-sided Huber, and a quantile."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from binomial import fewest

from fits.laws.chinchilla import CHINCHILLA
from fits.laws.lines import LOG_LINEAR
from fits.laws.powers import POWER, POWER_FLOOR
from fits.regression.fit import fit
from fits.regression.loss import Loss
from fits.regression.solver import minimise
from fits.saved.law_file import read_law

X = np.geomspace(1, 1e4, 80)
TRUTH = 0.6, 0.4, 0.1
LOSSES = [
    Loss(delta=0.3),
    Loss(delta=0.3, one_sided=True),
    *(Loss(delta=0.3, tau=tau) for tau in (0.1, 0.5, 0.8)),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda each: f"{each.one_sided}-{each.tau}")
def test_psi_is_the_derivative_of_rho_and_rho_is_least_where_psi_is_0(loss):
    residuals = np.linspace(-2, 2, 4001)
    slope = (loss.rho(residuals + 1e-6) - loss.rho(residuals - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, loss.psi(residuals), atol=1e-5)
    assert loss.rho(np.array([loss.lowest]))[0] == 0
    assert (loss.rho(residuals) >= 0).all()


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.8])
def test_a_quantile_s_loss_is_koenker_s_far_from_the_curve(tau):
    """Twice its slopes: so that the loss of the median is that of absolute errors."""
    loss = Loss(delta=0.1, tau=tau)
    np.testing.assert_allclose(loss.psi(np.array([-1.0, 1.0])) / 0.1, [-2 * tau, 2 * (1 - tau)])


@pytest.mark.parametrize("tau", [0.1, 0.3, 0.5, 0.8])
def test_the_curve_of_a_quantile_is_that_of_linear_programming(tau):
    """Errors that count as differences, and a line: ordinary quantile regression."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(0)
    y = 3 - 0.2 * np.log10(X) + rng.gamma(2.0, 0.05, len(X))
    design = np.stack([np.ones_like(X), -np.log10(X)], axis=1)
    eye = np.eye(len(X))
    cost = np.r_[0, 0, np.full(len(X), tau), np.full(len(X), 1 - tau)]
    bounds = [(None, None)] * 2 + [(0, None)] * 2 * len(X)
    exact = linprog(cost, A_eq=np.hstack([design, eye, -eye]), b_eq=y, bounds=bounds).x[:2]
    loss = Loss(log=False, delta=1e-4, tau=tau)
    found, _ = minimise(LOG_LINEAR, X, y, np.ones_like(y), loss)
    np.testing.assert_allclose(found, exact, rtol=2e-3)
    below = np.mean(y < LOG_LINEAR.predict(X, *found))
    assert below == pytest.approx(tau, abs=0.03)


def undertuned(seed, share=0.3):
    rng = np.random.default_rng(seed)
    worse = (rng.random(len(X)) < share) * rng.exponential(0.15, len(X))
    return POWER_FLOOR.predict(X, *TRUTH) * np.exp(rng.normal(0, 0.01, len(X)) + worse)


def test_undertuned_runs_raise_a_curve_of_squares_and_hardly_one_of_a_one_sided_loss():
    off = {"squares": [], "one-sided": []}
    for seed in range(6):
        for name, loss, huber in (
            ("squares", Loss(), None),
            ("one-sided", Loss(one_sided=True), "auto"),
        ):
            found = fit(POWER, X, undertuned(seed) - TRUTH[2], loss=loss, huber=huber)
            off[name].append(np.log(found.predict(100.0) / POWER.predict(100.0, *TRUTH[:2])))
    assert np.mean(off["squares"]) > 0.03
    assert np.mean(off["one-sided"]) < np.mean(off["squares"]) / 3


def test_squares_and_huber_s_loss_are_as_they_were():
    """One threshold for both sides: the bits of a fit do not know that there could be two."""
    size, residuals = np.abs(np.linspace(-1, 1, 101)), np.linspace(-1, 1, 101)
    inside = np.minimum(size, 0.3)
    np.testing.assert_array_equal(Loss(delta=0.3).rho(residuals), inside * (size - inside / 2))
    np.testing.assert_array_equal(Loss().rho(residuals), residuals**2 / 2)
    assert replace(Loss(), delta=0.3) == Loss(delta=0.3)


@pytest.mark.parametrize(
    ("loss", "huber", "side"),
    [
        (Loss(tau=0.01), "auto", "below"),
        (Loss(tau=0.99), "auto", "above"),
        (Loss(one_sided=True), 1e-5, "below"),
    ],
)
def test_a_curve_with_next_to_no_points_on_one_side_is_not_trusted(loss, huber, side):
    y = POWER.predict(X, *TRUTH[:2]) * np.exp(np.random.default_rng(0).normal(0, 0.05, len(X)))
    said = fit(POWER, X, y, loss=loss, huber=huber).diagnostics
    (found,) = (each for each in said if each.code == "few_beside")
    assert found.parameters == (side,)
    assert f"{side} the curve, of 2 parameters: too few to trust the intervals" in found.words
    sound = Loss(tau=0.1) if loss.tau else Loss(one_sided=True)
    assert not fit(POWER, X, y, loss=sound, huber="auto").diagnostics
    assert not fit(POWER, X, y, huber=1e-5).diagnostics


@pytest.mark.slow
def test_intervals_of_a_quantile_hold_it():
    from statistics import NormalDist

    inside = {0.1: 0, 0.5: 0}
    for tau, seed in product(inside, range(30)):
        rng, shift = np.random.default_rng(seed), np.exp(0.02 * NormalDist().inv_cdf(tau))
        y = POWER.predict(X, *TRUTH[:2]) * np.exp(rng.normal(0, 0.02, len(X)))
        low, high = fit(POWER, X, y, loss=Loss(tau=tau), huber="auto").band([1e5])
        inside[tau] += int(low[0] <= POWER.predict(1e5, *TRUTH[:2]) * shift <= high[0])
    assert min(inside.values()) >= fewest(30, chance=0.01)
    assert fewest(60) <= sum(inside.values()) <= fewest(60, chance=0.995)


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
@pytest.mark.parametrize(
    ("options", "said", "quantile"),
    [
        (["--loss", "one-sided"], "for points above the curve, squares below", None),
        (["--loss", "quantile"], "the curve that 10 % of the points lie below", 0.1),
        (["--quantile", "0.25"], "the curve that 25 % of the points lie below", 0.25),
    ],
)
def test_a_law_fitted_so_says_it_and_is_kept_and_checked(
    surface, tmp_path, command, options, said, quantile
):
    law = tmp_path / "law.json"
    columns = "--x", "params", "--x", "images", "--y", "loss", "--y-is", "loss"
    asked = (surface, *columns, "--law", CHINCHILLA.name, *options)
    status, printed, _ = command(*asked, "--save", law)
    assert status == 0
    assert said in printed
    assert read_law(law).evidence.spec.quantile == quantile
    assert "to every digit" in command("check", law)[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--loss", "one-side"], "--loss: no 'one-side'. Did you mean 'one-sided'?"),
        (["--quantile", "1.5"], "--quantile: 1.5 is not from 0.01 to 0.99."),
        (["--loss", "huber", "--quantile", ".1"], "--quantile: loss huber has none."),
    ],
)
def test_a_loss_that_there_is_not_is_named_with_those_there_are(surface, command, options, said):
    status, _, wrong = command(surface, "--x", "params", "--y", "loss", "--y-is", "loss", *options)
    assert status == 2
    assert said in wrong
