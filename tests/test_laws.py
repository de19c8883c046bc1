"""Laws: formulas, their special cases, derivatives and units."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fits.laws import LAWS, POWER, POWER_FLOOR, POWER_SHIFT, SATURATING, Law, saturating

VALUES = {"a": 0.63, "b": 0.32, "c": 0.12, "d": 0.52}
EVERY_LAW = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def some(law: Law) -> list[float]:
    return [VALUES[name] for name in law.parameters]


def test_a_saturating_law_leaves_a_plateau_and_settles_on_its_floor():
    a, b, c, d = 0.63, 0.32, 0.12, 0.52
    assert saturating(0, a, b, c, d) == pytest.approx(a * d**-b + c)
    assert saturating(1e30, a, b, c, d) == pytest.approx(c)


def test_the_published_10_shot_law_gives_the_errors_of_its_paper():
    error = saturating([1, 10, 100, 1000, 1e4], 0.63, 0.32, 0.12, 0.52)
    np.testing.assert_allclose(error, [0.671, 0.417, 0.264, 0.189, 0.153], atol=5e-4)


@pytest.mark.parametrize(
    ("law", "zero"), [(POWER, "cd"), (POWER_FLOOR, "d"), (POWER_SHIFT, "c"), (SATURATING, "")]
)
def test_special_cases_are_the_saturating_law_without_floor_or_head_start(law, zero):
    x = np.geomspace(0.01, 100, 7)
    values = [0 if name in zero else VALUES[name] for name in "abcd"]
    np.testing.assert_array_equal(law.predict(x, *some(law)), saturating(x, *values))


@EVERY_LAW
def test_a_formula_names_the_arguments_of_its_function(law):
    assert tuple(inspect.signature(law.predict).parameters) == ("x", *law.parameters)
    assert tuple(letter for letter in "abcd" if letter in law.formula) == law.parameters
    assert len(law.bounds) == len(law.parameters)


@EVERY_LAW
def test_coordinates_unfold_to_the_values_that_were_folded(law):
    np.testing.assert_allclose(law.unfold(*law.fold(*some(law))), some(law), rtol=1e-12)


@EVERY_LAW
def test_every_coordinate_grows_with_its_own_parameter(law):
    for k in range(len(law.parameters)):
        more = np.array(some(law))
        more[k] *= 1.1
        assert law.fold(*more)[k] > law.fold(*some(law))[k]


@EVERY_LAW
def test_slopes_are_the_derivatives_by_the_coordinates(law):
    x = np.geomspace(0.01, 100, 9)
    at = law.fold(*some(law))
    for k in range(len(at)):
        step = np.eye(len(at))[k] * 1e-6
        up, down = (law.predict(x, *law.unfold(*(at + sign * step))) for sign in (1, -1))
        np.testing.assert_allclose(law.slopes(x, *some(law))[k], (up - down) / 2e-6, rtol=1e-6)


@EVERY_LAW
@given(unit=st.floats(1e-12, 1e24))
def test_a_curve_does_not_depend_on_the_unit_of_x(law, unit):
    x = np.geomspace(0.01, 100, 5)
    rescaled = law.rescale(unit, *some(law))
    np.testing.assert_allclose(law.predict(x * unit, *rescaled), law.predict(x, *some(law)))


@EVERY_LAW
def test_a_guess_is_near_the_curve_and_blind_to_hidden_points(law):
    x = np.geomspace(0.01, 100, 20)
    truth = law.predict(x, *some(law))
    weights = np.ones((1, 20))
    weights[0, ::4] = 0
    marred = np.where(weights[0] > 0, truth, 0.9)
    guess = law.guess(x, marred, weights)[:, 0]
    np.testing.assert_allclose(law.predict(x, *guess), truth, rtol=0.1)  # a grid's step
