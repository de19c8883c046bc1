"""Laws weighed against each other: exact points, noise, and what no law describes."""

import numpy as np
import pytest

from fits.forecast.evidence import (
    EXCESS,
    FLOOR,
    LAWS,
    LOG_B,
    LOG_D,
    NOWHERE,
    chance_of_noise,
    independent_share,
    law,
    lawful,
)

X = np.geomspace(1e-2, 1, 30)
TRUTH = np.array([0.7, 0.3, np.log(0.5), np.log(0.05)])


def starts_near(values):
    """The same for every law, without what it has not."""
    starts = []
    for free in LAWS:
        start = np.array([0.0, 0.0, values[LOG_B], NOWHERE])
        for k in free:
            start[k] = values[k]
        starts.append(start)
    return starts


def weighed(y, values=TRUTH):
    return lawful(X, y / y[-1], starts_near(values), 0.7, 1.5)


@pytest.mark.parametrize("k", [EXCESS, FLOOR, LOG_B, LOG_D])
def test_derivatives_of_the_law_are_those_of_differences(k):
    step = np.zeros(4)
    step[k] = 1e-5
    numeric = (law(X, TRUTH + step)[0] - law(X, TRUTH - step)[0]) / 2e-5
    np.testing.assert_allclose(law(X, TRUTH)[1][:, k], numeric, rtol=1e-8, atol=1e-9)


def test_without_a_shift_the_law_is_a_power():
    values = np.array([0.5, 0.5, np.log(0.4), NOWHERE])
    np.testing.assert_allclose(law(X, values)[0], 0.5 + 0.5 * X**-0.4, rtol=1e-14)


def test_exact_points_return_the_law_that_made_them():
    found = weighed(law(X, TRUTH)[0], TRUTH + np.array([0.05, -0.05, 0.1, 0.3]))
    assert found.chance == pytest.approx(1)
    assert found.probability[-1] > 0.999
    np.testing.assert_allclose(found.values[-1], TRUTH, rtol=1e-6)


def test_a_power_law_needs_neither_floor_nor_shift():
    rng = np.random.default_rng(0)
    found = weighed(X**-0.3 * np.exp(0.01 * rng.normal(size=len(X))))
    lean = (found.values[:, LOG_D] == NOWHERE) & (found.values[:, FLOOR] == 0)
    assert found.probability[lean].sum() > 0.5


def test_noise_about_a_constant_is_a_constant():
    rng = np.random.default_rng(1)
    found = weighed(np.exp(0.02 * rng.normal(size=len(X))))
    mean, variance = found(np.array([2.0]))
    assert found.probability[0] > 0.3
    assert np.sqrt(variance) == pytest.approx(0.02, rel=0.3)
    assert abs(mean[0] - found(np.array([1.0]))[0][0]) < 0.01


def test_a_smooth_misfit_leaves_no_chance_to_a_law():
    wavy = law(X, TRUTH)[0] * (1 + 0.02 * np.sin(4 * np.log(X)))
    assert weighed(wavy).chance < 1e-3


def test_the_predicted_variance_is_what_repetition_shows():
    rng = np.random.default_rng(2)
    later, truth = np.array([2.0]), np.log(law(np.array([2.0]), TRUTH)[0][0])
    z = []
    for _ in range(60):
        y = law(X, TRUTH)[0] * np.exp(0.01 * rng.normal(size=len(X)))
        mean, variance = weighed(y)(later)
        measured = truth + 0.01 * rng.normal()
        z.append((mean[0] + np.log(y[-1]) - measured) / np.sqrt(variance[0]))
    assert 0.75 < np.std(z) < 1.2


def test_four_points_cannot_doubt_four_parameters():
    x = X[-4:]
    assert lawful(x, x**-0.3, starts_near(TRUTH), 0.7, 1.5) is None


def left_over(slopes, errors):
    """What a linear fit of these slopes leaves of the errors."""
    return errors - slopes @ np.linalg.lstsq(slopes, errors, rcond=None)[0]


@pytest.mark.parametrize("count", [6, 8, 20, 60])
def test_what_a_fit_leaves_of_noise_is_taken_for_noise_however_few_the_points(count):
    rng = np.random.default_rng(4)
    slopes = law(np.geomspace(1e-2, 1, count), TRUTH)[1][:, :3]
    chances = [
        chance_of_noise(left_over(slopes, 0.01 * rng.normal(size=count)), slopes)
        for _ in range(200)
    ]
    assert np.mean(chances) > 0.85
    assert np.mean(np.array(chances) < 0.5) < 0.12


@pytest.mark.parametrize("count", [8, 20, 60])
def test_a_wave_that_a_fit_leaves_is_not(count):
    slopes = law(np.geomspace(1e-2, 1, count), TRUTH)[1][:, :3]
    wave = left_over(slopes, np.sin(np.linspace(0, 2 * np.pi, count)))
    chances = [chance_of_noise(size * wave, slopes) for size in (1e-9, 1e-3, 0.01, 0.1)]
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
