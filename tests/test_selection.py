"""Choice of law: the one that foretells the large runs from the small."""

import numpy as np
import pytest
from known_laws import known

from fits.frontier import on_frontier
from fits.laws import LAWS, LOG_LINEAR, M3, M4, POWER, POWER_FLOOR, SATURATING, saturating
from fits.selection import choose_law
from fits.surfaces import CHINCHILLA

X = np.geomspace(1e-2, 1e3, 30)
ERROR = saturating(X, 0.6, 0.35, 0.1, 0.5) * np.exp(
    0.005 * np.random.default_rng(0).normal(size=30)
)


def test_the_law_that_made_the_points_foretells_best():
    trials = choose_law(X, ERROR, [POWER, SATURATING, POWER_FLOOR])
    assert trials.rows[0].law is SATURATING
    assert trials.rows[0].rmsle < 0.05 < trials.rows[-1].rmsle
    assert (trials.fitted, trials.held_out) == (20, 10)
    assert trials.reach == pytest.approx(X[-1] / X[19])


def test_what_is_foretold_was_not_fitted():
    marred = np.where(np.arange(30) < 20, ERROR, 7.0)
    first, second = (choose_law(X, error, [POWER]).rows[0] for error in (ERROR, marred))
    assert first.values == second.values
    assert second.rmsle > 1
    assert first.rmsle == pytest.approx(
        np.sqrt(np.mean(np.log(POWER.predict(X[20:], *first.values) / ERROR[20:]) ** 2))
    )


def test_points_too_steep_for_a_law_are_tried_without_a_stray_warning():
    """Warnings are errors here: M3's amplitude is below all numbers where x spans 12 decades."""
    x = np.geomspace(1, 1e12, 6)
    (row,) = choose_law(x, np.maximum(0.5 * x**-5, 1e-12), [M3]).rows
    assert row.values or row.refusal


def test_every_law_gets_a_row_and_those_that_cannot_be_tried_say_why():
    trials = choose_law(X[:8], ERROR[:8], LAWS.values())
    assert {row.law.name for row in trials.rows} == set(LAWS)
    (m4,) = (row for row in trials.rows if row.law is M4)
    assert m4.rmsle is None
    assert m4.refusal == "5 different x to fit, 5 parameters"
    assert trials.rows[-1].rmsle is None


def test_a_line_that_foretells_errors_below_0_is_refused():
    (row,) = choose_law(X, 0.5 * X**-1.5, [LOG_LINEAR]).rows
    assert row.rmsle is None
    assert row.refusal == "it foretells errors below 0"
    assert len(row.values) == 2


def test_runs_of_one_size_stay_together():
    x = np.repeat([1.0, 2, 4, 8], 3)
    trials = choose_law(x, 0.5 * x**-0.3, [POWER], share=0.2)
    assert (trials.fitted, trials.held_out) == (9, 3)
    with pytest.raises(ValueError, match="the 12 points are of one size"):
        choose_law(np.ones(12), 0.5 * np.ones(12), [POWER])


def test_only_chosen_points_are_fitted_and_foretold():
    error = np.where(np.arange(30) % 5 == 2, 3 * ERROR, ERROR)
    assert choose_law(X, error, [SATURATING], choose=on_frontier).rows[0].rmsle < 0.05
    assert choose_law(X, error, [SATURATING]).rows[0].rmsle > 0.1


def test_a_law_of_several_variables_foretells_the_runs_of_most_compute():
    (n, d), loss = known(CHINCHILLA)
    trials = choose_law((n, d), loss, [CHINCHILLA])
    assert trials.rows[0].rmsle < 1e-10
    assert choose_law((n, d), loss, [CHINCHILLA], by=n).held_out == 12
