"""Laws weighed against each other: exact points, noise, and what no law describes."""

import numpy as np
import pytest

from fits.forecast.evidence import CONSTANT, chance_of_noise, evidence, independent_share
from fits.laws.powers import POWER, SATURATING, saturating

X = np.geomspace(1e-2, 1, 30)
TRUTH = (0.7 * 1.05**0.5, 0.5, 0.3, 0.05)  # 1 at the last point


def weighed(y, x=X):
    return evidence(x, y / y[-1], 0.7, 1.5)


def test_exact_points_return_the_law_that_made_them():
    found = weighed(saturating(X, *TRUTH))
    assert found.chance == pytest.approx(1)
    assert found.fits[-1].law is SATURATING
    assert found.probability[-1] > 0.999
    np.testing.assert_allclose(found.fits[-1].values, TRUTH, rtol=1e-6)


def test_a_power_law_needs_neither_floor_nor_shift():
    rng = np.random.default_rng(0)
    found = weighed(X**-0.3 * np.exp(0.01 * rng.normal(size=len(X))))
    lean = np.array([each.law in (CONSTANT, POWER) for each in found.fits])
    assert found.probability[lean].sum() > 0.5


def test_noise_about_a_constant_is_a_constant():
    rng = np.random.default_rng(1)
    found = weighed(np.exp(0.02 * rng.normal(size=len(X))))
    mean, variance = found(np.array([2.0]))
    assert found.probability[0] > 0.3
    assert np.sqrt(variance) == pytest.approx(0.02, rel=0.3)
    assert abs(mean[0] - found(np.array([1.0]))[0][0]) < 0.01


def test_a_smooth_misfit_leaves_no_chance_to_a_law():
    wavy = saturating(X, *TRUTH) * (1 + 0.02 * np.sin(4 * np.log(X)))
    assert weighed(wavy).chance < 1e-3


@pytest.mark.slow
def test_the_predicted_variance_is_what_repetition_shows():
    rng = np.random.default_rng(2)
    later, truth = np.array([2.0]), np.log(saturating(2.0, *TRUTH))
    z = []
    for _ in range(60):
        y = saturating(X, *TRUTH) * np.exp(0.01 * rng.normal(size=len(X)))
        mean, variance = weighed(y)(later)
        measured = truth + 0.01 * rng.normal()
        z.append((mean[0] + np.log(y[-1]) - measured) / np.sqrt(variance[0]))
    assert 0.75 < np.std(z) < 1.2


def test_four_points_cannot_doubt_four_parameters():
    x = X[-4:]
    assert weighed(x**-0.3, x) is None


def test_the_evidence_of_a_constant_is_its_integral():
    """By the midpoint rule over its one parameter, the noise at its likeliest size."""
    y = np.exp(0.02 * np.random.default_rng(1).normal(size=len(X)))
    found = weighed(y).fits[0]
    assert found.law is CONSTANT
    c = found.values[0] + np.linspace(-0.05, 0.05, 20_001)
    errors = 1 - c[:, None] / (y / y[-1])
    log = -((errors**2).sum(axis=1) - (found.errors**2).sum()) / (2 * found.variance)
    wanted = -len(X) / 2 * np.log((found.errors**2).sum()) + np.log(
        np.exp(log).sum() * (c[1] - c[0])
    )
    assert found.evidence == pytest.approx(wanted, abs=1e-6)


def test_the_evidence_of_a_power_is_its_integral():
    """Over the excess, evenly, and log b by its prior; the likelihood is all but normal there."""
    y = X**-0.3 * np.exp(0.001 * np.random.default_rng(0).normal(size=len(X)))
    y = y / y[-1]
    found = next(each for each in weighed(y).fits if each.law is POWER)
    a, b = (v * np.exp(np.linspace(-0.005, 0.005, 401)) for v in found.values)
    log_b = np.log(b)
    errors = 1 - a[:, None, None] * X ** -b[:, None] / y
    log = -((errors**2).sum(axis=2) - (found.errors**2).sum()) / (2 * found.variance)
    prior = np.exp(-0.5 * ((log_b - np.log(0.7)) / 1.5) ** 2) / (np.sqrt(2 * np.pi) * 1.5)
    cell = np.gradient(a)[:, None] * np.gradient(log_b) * prior
    wanted = -len(X) / 2 * np.log((found.errors**2).sum()) + np.log((np.exp(log) * cell).sum())
    assert found.evidence == pytest.approx(wanted, abs=0.01)


def left_over(jacobian, errors):
    """What a linear fit of these jacobian leaves of the errors."""
    return errors - jacobian @ np.linalg.lstsq(jacobian, errors, rcond=None)[0]


@pytest.mark.parametrize("count", [6, 8, 20, 60])
def test_what_a_fit_leaves_of_noise_is_taken_for_noise_however_few_the_points(count):
    rng = np.random.default_rng(4)
    jacobian = SATURATING.derivatives(np.geomspace(1e-2, 1, count), *TRUTH)[:3].T
    chances = [
        chance_of_noise(left_over(jacobian, 0.01 * rng.normal(size=count)), jacobian)
        for _ in range(200)
    ]
    assert np.mean(chances) > 0.85
    assert np.mean(np.array(chances) < 0.5) < 0.12


@pytest.mark.parametrize("count", [8, 20, 60])
def test_a_wave_that_a_fit_leaves_is_not(count):
    jacobian = SATURATING.derivatives(np.geomspace(1e-2, 1, count), *TRUTH)[:3].T
    wave = left_over(jacobian, np.sin(np.linspace(0, 2 * np.pi, count)))
    chances = [chance_of_noise(size * wave, jacobian) for size in (1e-9, 1e-3, 0.01, 0.1)]
    assert chances[0] == pytest.approx(1, abs=1e-3)  # below rounding it cannot be told
    assert (np.diff(chances) < 0).all()  # the larger, the less likely it is noise
    assert chances[-1] < 0.4 if count == 8 else chances[-1] < 0.02


def test_one_number_left_over_tells_nothing():
    assert chance_of_noise(np.linspace(-1, 1, 5), np.eye(5)[:, :4]) == 1


def test_the_share_of_noise_is_one_and_of_a_slope_nothing():
    rng = np.random.default_rng(3)
    assert independent_share(rng.normal(size=2000), 0.0) == pytest.approx(1, abs=0.05)
    assert independent_share(np.linspace(-1, 1, 2000), 0.0) < 1e-4
    assert independent_share(1e-9 * np.linspace(-1, 1, 50), 1e-7) == pytest.approx(1, abs=1e-3)
