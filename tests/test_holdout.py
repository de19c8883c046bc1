"""Choice of law: the one that predicts the large runs from the small."""

import numpy as np
import pytest
from known_laws import known

from fits.data.frontier import on_frontier
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.lines import LOG_LINEAR
from fits.laws.powers import POWER, POWER_FLOOR, SATURATING, saturating
from fits.laws.registry import LAWS
from fits.laws.sigmoidal import M3, M4
from fits.regression.holdout import choose_law
from fits.regression.loss import Loss
from fits.report_json import holdout_json
from fits.report_text import holdout_line, holdout_table

X = np.geomspace(1e-2, 1e3, 30)
ERROR = saturating(X, 0.6, 0.35, 0.1, 0.5) * np.exp(
    0.005 * np.random.default_rng(0).normal(size=30)
)


def test_the_law_that_made_the_points_predicts_best():
    trials = choose_law(X, ERROR, [POWER, SATURATING, POWER_FLOOR])
    assert trials.trials[0].law is SATURATING
    assert trials.trials[0].error < 0.05 < trials.trials[-1].error
    assert (trials.fitted, trials.held_out) == (20, 10)
    assert trials.times_larger == pytest.approx(X[-1] / X[19])


def test_what_is_predicted_was_not_fitted():
    marred = np.where(np.arange(30) < 20, ERROR, 7.0)
    first, second = (choose_law(X, error, [POWER]).trials[0] for error in (ERROR, marred))
    assert first.values == second.values
    assert second.error > 1
    assert first.error == pytest.approx(
        np.sqrt(np.mean(np.log(POWER.predict(X[20:], *first.values) / ERROR[20:]) ** 2))
    )


def test_the_table_says_what_was_held_out_what_is_chosen_and_what_was_fitted():
    trials = choose_law(X, ERROR, [POWER, SATURATING, LOG_LINEAR])
    first, head, *lines = holdout_table(trials, "power")
    assert first.startswith("hold-out: fitted to the 20 smallest points, scored on the 10 largest")
    assert first.endswith(f", up to {trials.times_larger:.3g} times larger")
    assert head.split() == ["law", "log", "error"]
    names, errors, marks = zip(
        *((line.split()[0], line.split()[1], line.split()[2:]) for line in lines[:2]), strict=True
    )
    assert names == ("saturating", "power")
    assert errors == tuple(f"{row.error:.3g}" for row in trials.trials[:2])
    assert marks == (["best"], ["fitted"])
    assert (
        len({line.index(error) + len(error) for line, error in zip(lines[:2], errors, strict=True)})
        == 1
    )
    assert lines[2] == "  not tried, it predicts errors below 0: log-linear"


def test_on_one_line_the_best_are_named_and_the_law_that_was_fitted():
    trials = choose_law(X, ERROR, LAWS.values())
    (said,) = holdout_line(trials, "power")
    assert said.startswith("hold-out of the 10 largest, log error: ")
    assert trials.best == trials.trials[0].law.name
    named = [each.split()[0] for each in said.split(": ")[1].split(", ")]
    assert named == [*(row.law.name for row in trials.trials[:3]), "power"]
    none = choose_law(X[:3], ERROR[:3], [M4])
    assert list(holdout_line(none, "m4")) == ["hold-out of the 1 largest: no law could be tried"]
    assert none.best is None


def test_of_laws_that_predict_alike_the_simplest_is_chosen():
    """A curve that falls ever faster: its floor rests on 0, but for rounding."""
    steeper = 0.5 * X**-0.3 * np.exp(-0.01 * np.log(X) ** 2)
    floor, plain = (choose_law(X, steeper, [each]).trials[0] for each in (POWER_FLOOR, POWER))
    assert floor.error == pytest.approx(plain.error, rel=1e-4)
    assert choose_law(X, steeper, [POWER_FLOOR, POWER]).best == "power"


def test_where_no_variable_reaches_farther_nothing_is_said_of_reach():
    n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1, 9, 5), np.geomspace(1, 9, 5)))
    loss = CHINCHILLA.predict(np.stack([n, d]), 0.1, 1.0, 0.4, 1.0, 0.3)
    trials = choose_law((n, d), loss, [CHINCHILLA])
    assert trials.times_larger <= 1
    words = next(holdout_table(trials, "chinchilla"))
    assert words.endswith(f"scored on the {trials.held_out} largest")


@pytest.mark.parametrize("share", [0, 1, 2, -0.5, np.nan])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="it is that of the points to hold out, such as 1/3"):
        choose_law(X, ERROR, [POWER], share=share)


def test_points_too_steep_for_a_law_are_tried_without_a_stray_warning():
    """Warnings are errors here: M3's amplitude is below all numbers where x spans 12 decades."""
    x = np.geomspace(1, 1e12, 6)
    (row,) = choose_law(x, np.maximum(0.5 * x**-5, 1e-12), [M3]).trials
    assert row.values or row.refusal


def test_every_law_gets_a_row_and_those_that_cannot_be_tried_say_why():
    trials = choose_law(X[:8], ERROR[:8], LAWS.values())
    assert {row.law.name for row in trials.trials} == set(LAWS)
    (m4,) = (row for row in trials.trials if row.law is M4)
    assert m4.error is None
    assert m4.refusal == "5 different x to fit, 5 parameters"
    assert trials.trials[-1].error is None


def test_a_line_that_predicts_errors_below_0_is_refused():
    (row,) = choose_law(X, 0.5 * X**-1.5, [LOG_LINEAR]).trials
    assert row.error is None
    assert row.refusal == "it predicts errors below 0"
    assert len(row.values) == 2


def test_runs_of_one_size_stay_together():
    x = np.repeat([1.0, 2, 4, 8], 3)
    trials = choose_law(x, 0.5 * x**-0.3, [POWER], share=0.2)
    assert (trials.fitted, trials.held_out) == (9, 3)
    with pytest.raises(ValueError, match="the 12 points are of one size"):
        choose_law(np.ones(12), 0.5 * np.ones(12), [POWER])


def test_weights_count_in_the_fit_and_in_the_score():
    """Points off the law decide neither where they count for next to nothing."""
    off = np.arange(30) % 4 == 1
    error = np.where(off, 2 * ERROR, ERROR)
    weights = np.where(off, 1e-9, 1.0)
    kept = choose_law(X, error, [SATURATING], weights=weights)
    alone = choose_law(X[~off], ERROR[~off], [SATURATING], share=7 / 22)
    assert (kept.held_out, alone.held_out) == (10, 7)
    assert kept.trials[0].error == pytest.approx(alone.trials[0].error, rel=1e-6)
    assert kept.score == "weighted root mean square of log error"
    assert choose_law(X, error, [SATURATING]).trials[0].error > 0.3
    same = choose_law(X, ERROR, [SATURATING], weights=np.full(30, 7.0))
    assert same.trials[0].error == pytest.approx(choose_law(X, ERROR, [SATURATING]).trials[0].error)


def test_seeds_of_one_setting_are_fitted_or_predicted_together():
    """Also where what they spent is not the same to the digit."""
    x = np.repeat(np.geomspace(1, 100, 6), 2) * np.tile([1.0, 1.05], 6)
    trials = choose_law(x, 0.5 * x**-0.3, [POWER], clusters=np.repeat(range(6), 2), share=3 / 12)
    assert (trials.fitted, trials.left_out, trials.held_out, trials.clusters_split) == (8, 1, 3, 0)
    assert any("kept whole: 1 smaller points" in line for line in holdout_table(trials, "power"))
    apart = choose_law(x, 0.5 * x**-0.3, [POWER], share=3 / 12)
    assert (apart.fitted, apart.left_out) == (9, 0)


def test_a_curve_that_reaches_the_largest_points_does_not_tell_the_fit_what_to_predict():
    """Each run has luck of its own, all along its curve; that of the last is not to be seen."""
    starts = np.geomspace(1, 1e4, 6)
    x = np.concatenate([start * np.geomspace(1, 30, 8) for start in starts])
    run = np.repeat(range(6), 8)
    trials = choose_law(x, 0.5 * x**-0.3, [POWER], clusters=run.tolist())
    beyond = np.sort(x)[-16]
    reaching = np.isin(run, run[x >= beyond])
    assert trials.fitted == (~reaching).sum()
    assert trials.left_out == (reaching & (x < beyond)).sum() > 0
    lucky = np.where(reaching, 0.8, 1.0) * 0.5 * x**-0.3
    torn, whole = (
        choose_law(x, lucky, [POWER], clusters=groups) for groups in (None, run.tolist())
    )
    assert whole.trials[0].values == pytest.approx((0.5, 0.3))
    assert whole.trials[0].error == pytest.approx(-np.log(0.8))
    assert torn.trials[0].error < 0.7 * whole.trials[0].error


def test_curves_that_all_reach_equally_far_are_cut_along_x_and_that_is_said():
    x = np.tile(np.geomspace(1, 100, 9), 4)
    curve = np.repeat(range(4), 9)
    trials = choose_law(x, 0.5 * x**-0.3, [POWER], clusters=curve.tolist())
    assert (trials.fitted, trials.left_out, trials.held_out, trials.clusters_split) == (
        24,
        0,
        12,
        4,
    )
    assert any("4 clusters are split along x" in line for line in holdout_table(trials, "power"))
    assert holdout_json(trials).clusters_split == 4


@pytest.mark.parametrize("huber", ["auto", 0.01])
def test_by_huber_s_loss_runs_that_went_wrong_do_not_choose_the_law(huber):
    """One among the small, which squares would bend to, and one among the large."""
    error = ERROR * np.where(np.isin(np.arange(30), [15, 24]), 2.5, 1.0)
    laws = [POWER, SATURATING, POWER_FLOOR]
    robust = choose_law(X, error, laws, huber=huber)
    assert robust.score == "mean absolute log error"
    assert robust.trials[0].law is SATURATING
    assert robust.trials[0].error == pytest.approx(np.log(2.5) / 10, rel=0.3)
    assert "law          mean absolute log error" in list(holdout_table(robust, "power"))[1]
    np.testing.assert_allclose(robust.trials[0].values, (0.6, 0.35, 0.1, 0.5), rtol=0.3)
    squares = next(row for row in choose_law(X, error, laws).trials if row.law is SATURATING)
    assert abs(squares.values[2] - 0.1) > 0.05  # the floor


def test_errors_that_count_as_differences_are_scored_as_such():
    trials = choose_law(X, ERROR, [POWER_FLOOR], loss=Loss(log=False))
    (row,) = trials.trials
    missed = POWER_FLOOR.predict(X[20:], *row.values) - ERROR[20:]
    assert row.error == pytest.approx(np.sqrt(np.mean(missed**2)))
    assert trials.score == "root mean square of error"
    assert holdout_json(trials).trials == {"power-floor": row.error}


def test_weights_and_clusters_are_one_for_each_run():
    with pytest.raises(ValueError, match="give one number above 0 for each of 30 runs"):
        choose_law(X, ERROR, [POWER], weights=np.ones(29))
    with pytest.raises(ValueError, match="29 labels of clusters for 30 runs"):
        choose_law(X, ERROR, [POWER], clusters=range(29))


def test_only_chosen_points_are_fitted_and_predicted():
    error = np.where(np.arange(30) % 5 == 2, 3 * ERROR, ERROR)
    assert choose_law(X, error, [SATURATING], choose=on_frontier).trials[0].error < 0.05
    assert choose_law(X, error, [SATURATING]).trials[0].error > 0.1


def test_a_law_of_several_variables_predicts_the_runs_of_most_compute():
    (n, d), loss = known(CHINCHILLA)
    trials = choose_law((n, d), loss, [CHINCHILLA])
    assert trials.trials[0].error < 1e-10
    assert choose_law((n, d), loss, [CHINCHILLA], by=n).held_out == 12
