"""Forecasts of curves whose learning rate is told, and the schedules themselves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fits.base.errors import UserError
from fits.cli.rate import Typed, rate_of
from fits.fit_laws import main
from fits.forecast.schedule import Schedule
from fits.forecast.scheduled import scheduled

END, SCALE = 100_000.0, 2_000.0


def annealed(area, rate):
    return 2 + 0.4 * area**-0.4 + 0.2 * np.sqrt(rate)


def noisy(y, seed=0):
    return y * np.exp(1e-3 * np.random.default_rng(seed).normal(size=len(y)))


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_the_sum_of_a_rate_is_its_integral(kind):
    schedule = Schedule(kind=kind, until=END, final=0.1)
    grid = np.linspace(0, END, 200_001)
    rates = schedule.rate(grid)
    whole = np.sum((rates[1:] + rates[:-1]) / 2 * np.diff(grid)) / END
    assert schedule.area(np.array([END]))[0] == pytest.approx(whole, rel=1e-5)
    assert schedule.rate(np.array([0.0, END, 2 * END])) == pytest.approx([1, 0.1, 0.1])
    beyond = schedule.area(np.array([2 * END])) - schedule.area(np.array([END]))
    assert beyond[0] == pytest.approx(0.1)


@pytest.mark.parametrize(("kind", "scale"), [("constant", None), ("rsqrt", SCALE)])
def test_a_run_that_cools_down_sums_its_trunk_and_a_falling_rest(kind, scale):
    schedule = Schedule(kind=kind, until=END, timescale=scale)
    grid = np.linspace(0, END, 200_001)
    rates = schedule.rate(grid)
    whole = np.sum((rates[1:] + rates[:-1]) / 2 * np.diff(grid)) / END
    assert schedule.cooled(np.array([END]))[0] == pytest.approx(whole, rel=1e-4)
    early = np.array([0.5 * END])
    assert schedule.rate(early) == pytest.approx(schedule.trunk_rate(early))
    assert schedule.rate(np.array([END])) == pytest.approx([0])


def test_a_constant_trunk_cools_down_over_half_of_its_cooldown():
    schedule = Schedule(kind="constant", until=10.0, cooldown=0.2)
    assert schedule.cooled(np.array([10.0])) == pytest.approx([0.9])


@pytest.mark.parametrize("seed", range(4))
def test_a_curve_under_a_cosine_is_forecast_to_its_end(seed):
    schedule = Schedule(kind="cosine", until=END)
    x = np.linspace(0.02, 1, 50) * END
    y = noisy(annealed(schedule.area(x), schedule.rate(x)), seed)
    for seen, error in ((0.5, 0.005), (0.3, 0.04)):  # early, the rate has hardly fallen
        known = x <= seen * END
        median, low, high = scheduled(x[known], y[known], schedule)(x[~known])
        assert np.sqrt(np.mean(np.log(median / y[~known]) ** 2)) < error
        assert np.mean((low < y[~known]) & (y[~known] < high)) > 0.85


@pytest.mark.parametrize(("kind", "scale"), [("constant", None), ("rsqrt", SCALE)])
def test_the_cooled_down_error_of_a_longer_duration_is_foreseen_from_trunk_and_shorter_ones(
    kind, scale
):
    longest = Schedule(kind=kind, until=4 * END, timescale=scale)
    x = np.linspace(0.05, 1, 40) * END
    ends = np.array([0.1, 0.25, 0.5, 1.0]) * END
    trunk = noisy(annealed(longest.trunk_area(x), longest.trunk_rate(x)))
    cooled = noisy(annealed(longest.cooled(ends), 0.0 * ends), seed=1)
    found = scheduled(np.r_[x, ends], np.r_[trunk, cooled], longest, cooled=np.r_[x < 0, ends > 0])
    truth = annealed(longest.cooled(np.array([4 * END])), 0.0)
    median, low, high = found([4 * END])
    assert low < truth < high
    assert abs(np.log(median / truth)) < 0.01
    assert np.log(high / low) < 0.1


def test_where_cooled_runs_and_the_law_disagree_both_count_and_the_interval_has_it():
    schedule = Schedule(kind="constant", until=4 * END)
    x, ends = np.linspace(0.05, 1, 40) * END, np.geomspace(0.05, 1, 6) * END
    trunk = noisy(annealed(schedule.trunk_area(x), schedule.trunk_rate(x)))
    cooled = noisy(1.9 + 0.8 * (ends / END) ** -0.5, seed=1)  # they fall faster than the trunk
    found = scheduled(np.r_[x, ends], np.r_[trunk, cooled], schedule, cooled=np.r_[x < 0, ends > 0])
    median, low, high = found(4 * END)
    law, runs = replace(found, alone=None)(4 * END), found.alone(4 * END)
    assert min(law[0], runs[0]) < median < max(law[0], runs[0])
    assert high / low > min(law[2] / law[1], runs[2] / runs[1])
    assert low < min(law[0], runs[0]) or high > max(law[0], runs[0])


def test_the_unit_of_x_and_y_changes_nothing():
    schedule = Schedule(kind="cosine", until=END)
    x = np.linspace(0.02, 0.5, 30) * END
    y = noisy(annealed(schedule.area(x), schedule.rate(x)))
    plain = scheduled(x, y, schedule)(END)
    other = scheduled(x * 1e6, 7 * y, Schedule(kind="cosine", until=1e6 * END))(1e6 * END)
    np.testing.assert_allclose(np.array(other) / 7, plain, rtol=1e-8)


def test_of_many_points_the_largest_x_is_the_last():
    schedule = Schedule(kind="cosine", until=END)
    x = np.linspace(1, 0.5 * END, 3000)
    found = scheduled(x, annealed(schedule.area(x), schedule.rate(x)), schedule)
    assert found.span == (1, 0.5 * END)


def test_several_curves_under_one_schedule_are_not_taken_for_one_without_a_word():
    schedule = Schedule(kind="cosine", until=END)
    x = np.linspace(0.02, 0.5, 30) * END
    y = noisy(annealed(schedule.area(x), schedule.rate(x)))
    assert not scheduled(x, y, schedule).warnings
    both = scheduled(np.append(x, x), np.append(y, 1.1 * y), schedule)
    assert any("look like several curves" in said for said in both.warnings)


@pytest.mark.parametrize(("times", "said"), [(1.5, "below the last"), (0.7, "above the last")])
def test_a_last_point_off_the_law_of_a_schedule_is_said(times, said):
    schedule = Schedule(kind="cosine", until=END)
    x = np.linspace(0.02, 0.5, 30) * END
    y = noisy(annealed(schedule.area(x), schedule.rate(x)))
    y[-1] *= times
    assert any(said in each for each in scheduled(x, y, schedule).warnings)


def test_a_spike_under_a_schedule_is_named_with_the_interval_without_it():
    schedule = Schedule(kind="cosine", until=END)
    x = np.linspace(0.02, 0.5, 30) * END
    y = noisy(annealed(schedule.area(x), schedule.rate(x)))
    plain = scheduled(x, y, schedule)
    y[12] *= 1.2
    (said,) = scheduled(x, y, schedule).diagnostics
    assert said.code == "forecast_outliers"
    assert said.numbers["x"] == pytest.approx((x[12],))
    np.testing.assert_allclose(said.numbers["without"], plain(END), rtol=0.01)


def test_after_the_end_of_a_schedule_a_forecast_is_doubted():
    schedule = Schedule(kind="cosine", until=END)
    x = np.linspace(0.02, 0.9, 30) * END
    found = scheduled(x, annealed(schedule.area(x), schedule.rate(x)), schedule)
    assert found.extrapolates(0.5 * END) == []
    assert any("the schedule ends" in each.words for each in found.extrapolates(1.2 * END))


@pytest.mark.parametrize(
    ("kind", "cooled", "said"),
    [
        ("constant", [False] * 8, "at the end of a cooldown, and a trunk alone"),
        ("constant", [True] * 8, "every point was measured at the end"),
        ("cosine", [True] + [False] * 7, "belong to a trunk"),
    ],
)
def test_points_that_cannot_answer_are_refused_in_words(kind, cooled, said):
    x = np.arange(1.0, 9.0)
    with pytest.raises(ValueError, match=said):
        scheduled(x, 1 + 1 / x, Schedule(kind=kind, until=20.0), cooled=cooled)


def test_points_beyond_the_end_of_a_schedule_and_too_few_are_refused():
    x = np.arange(1.0, 9.0)
    with pytest.raises(ValueError, match="points up to 8"):
        scheduled(x, 1 + 1 / x, Schedule(kind="cosine", until=5.0))
    with pytest.raises(ValueError, match="needs 5 different x, and there are 3"):
        scheduled(x[:3], 1 / x[:3], Schedule(kind="cosine", until=50.0))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "wsd", "until": 1.0}, "no schedule 'wsd'"),
        ({"kind": "cosine", "until": 0.0}, "until is 0"),
        ({"kind": "cosine", "until": 1.0, "final": 1.0}, "final is 1"),
        ({"kind": "constant", "until": 1.0, "cooldown": 0.0}, "cooldown is 0"),
        ({"kind": "rsqrt", "until": 1.0}, "needs its timescale"),
    ],
)
def test_impossible_schedules_are_refused_in_words(fields, said):
    with pytest.raises(ValueError, match=said):
        Schedule(**fields)


PLAIN = Typed("", "", 0.0, 0.2, "", "", None)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"until": "5"}, ["--until: of a schedule"]),
        ({"final_rate": 0.1}, ["--final-rate: of a schedule"]),
        ({"schedule": "cosin"}, ["Did you mean 'cosine'", "--until X"]),
        ({"schedule": "wsd", "until": "5"}, ["WSD) is constant", "--cooldown"]),
        ({"schedule": "cosine", "until": "x"}, ["--until: x"]),
        ({"schedule": "rsqrt", "until": "5"}, ["needs its timescale"]),
        ({"schedule": "cosine", "until": "5", "final_rate": 2.0}, ["final is 2"]),
        (
            {"schedule": "linear", "until": "", "cooldown": 0.5, "trunk": Path("a.csv")},
            ["--until X", "--cooldown, --trunk: of a trunk, and linear is none"],
        ),
        ({"schedule": "constant", "until": "5", "final_rate": 0.1}, ["cool down to 0"]),
        ({"schedule": "constant", "until": "5", "timescale": "9"}, ["--timescale: of rsqrt"]),
        (
            {"schedule": "constant", "until": "5", "cooled": "a", "trunk": Path("a.csv")},
            ["--cooled, --trunk: rows of the trunk"],
        ),
    ],
)
def test_mistakes_in_the_options_of_a_schedule_are_named_together(typed, said):
    with pytest.raises(UserError) as told:
        rate_of(PLAIN._replace(**typed), "forecast")
    for each in said:
        assert each in str(told.value)


def test_a_run_that_ends_too_far_ahead_is_refused_by_the_name_of_its_option(tmp_path, capsys):
    path = tmp_path / "curve.csv"
    path.write_text("step,loss\n" + "".join(f"{k},{1 + 1 / k}\n" for k in range(1, 30)))
    asked = ["--x", "step", "--y", "loss", "--y-is", "loss", "--law", "forecast"]
    assert main([str(path), *asked, "--schedule", "cosine", "--until", "1e6"]) == 2
    assert "--until: 1e+06 is" in capsys.readouterr().err
