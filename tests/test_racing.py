"""Which running trainings cannot matter any more."""

import numpy as np
import pytest

from fits.decisions.racing import race, stopped_by
from fits.forecast.schedule import Schedule


def curve(exponent, until=0.25, noise=0.002, seed=0, scale=3.0):
    x = np.linspace(0.02, 1, 50)
    y = scale * x**-exponent + 0.5
    y *= np.exp(noise * np.random.default_rng(seed).normal(size=50))
    return x[x <= until], y[x <= until]


@pytest.mark.slow
def test_a_run_far_behind_is_stopped_and_rivals_are_kept():
    alike = [curve(0.2, seed=k) for k in range(3)]
    found = race([*alike, curve(0.2, seed=3, scale=9.0)], 1.0)
    assert found.stopped.tolist() == [False, False, False, True]
    assert (found.low < found.error).all()
    assert (found.error < found.high).all()


@pytest.mark.slow
def test_a_slower_start_that_will_end_lower_is_kept_and_the_other_stopped():
    """At a quarter of the way it is still above: halving would stop it."""
    x = np.linspace(0.02, 1, 50)
    early = x <= 0.25
    steep, flat = 0.3 * x**-0.9 + 1.0, 1.4 + 0.55 * x**-0.1
    assert steep[early][-1] > flat[early][-1]
    assert steep[-1] < flat[-1]
    found = race([(x[early], steep[early]), (x[early], flat[early])], 1.0)
    assert found.stopped.tolist() == [False, True]


@pytest.mark.slow
def test_as_many_are_kept_as_matter_and_a_smaller_delta_keeps_more():
    found = race([curve(0.2, seed=k, scale=3 + k) for k in range(3)], 1.0, keep=2)
    kept = [(~stopped_by(found.lower, keep)).sum() for keep in (1, 2, 3)]
    assert kept == [1, 2, 3]
    assert (~found.stopped).sum() == 2
    near = [curve(0.2, seed=k, scale=3 + 0.02 * k, noise=0.01) for k in range(4)]
    bold = race(near, 1.0, delta=0.4)
    assert stopped_by(bold.lower, delta=1e-4).sum() < bold.stopped.sum()


def test_a_finished_run_counts_as_it_was_measured():
    done = curve(0.2, until=1.0)
    found = race([done, curve(0.2, scale=9.0)], 1.0)
    assert found.error[0] == found.low[0] == found.high[0] == done[1][-1]
    assert found.stopped.tolist() == [False, True]


@pytest.mark.slow
def test_the_lowest_forecast_is_never_stopped():
    rng = np.random.default_rng(0)
    for seed in range(3):
        curves = [curve(*rng.uniform([0.1, 0.25], [0.4, 0.5]), seed=seed + k) for k in range(3)]
        found = race(curves, 1.0, delta=0.3)
        assert not found.stopped[found.error.argmin()]


@pytest.mark.parametrize("wrong", [{"keep": 0}, {"delta": 0.6}, {"curves": []}])
def test_what_cannot_be_is_refused(wrong):
    asked = {"curves": [curve(0.2)], "until": 1.0} | wrong
    with pytest.raises(ValueError, match="give at least one curve"):
        race(asked.pop("curves"), asked.pop("until"), **asked)


def test_a_run_that_went_past_is_compared_where_the_others_are():
    x, y = curve(0.2, until=1.0, noise=0.0)
    found = race([(x, y), (x[x < 0.5], y[x < 0.5])], 0.5)
    assert found.error[0] == pytest.approx(3 * 0.5**-0.2 + 0.5, rel=1e-3)
    assert race([(x[::-1], y[::-1])], float(x[20])).error[0] == y[20]
    twice = race([(np.append(x, x), np.append(y, 1.2 * y))], float(x[20]))
    assert twice.error[0] == pytest.approx(1.1 * y[20])


@pytest.mark.parametrize("schedule", [None, Schedule(kind="cosine", until=1.0)])
def test_a_run_of_few_points_is_neither_stopped_nor_stops_another(schedule):
    x, y = curve(0.2)
    short = x[:3], y[:3] * 1e-3
    found = race([(x, y), short], 1.0, schedule=schedule)
    assert found.error[1] < 1e-2 * found.error[0]
    assert found.lower[0, 1] == 0
    assert not found.lower[1].any()
    assert not found.stopped.any()
    assert found.diagnostics[1]


def test_what_speaks_against_a_forecast_comes_with_it():
    x, y = curve(0.2)
    spiked = np.append(y[:-1], 5 * y[-1])
    fine, doubted = race([(x, y), (x, spiked)], 1.0).diagnostics
    assert not fine
    assert "forecast_below" in [each.code for each in doubted]
