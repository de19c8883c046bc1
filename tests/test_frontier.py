"""Frontier: which runs were worth their compute."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fits.data.frontier import frontier, on_frontier, on_hull
from fits.laws.powers import SATURATING, saturating
from fits.regression.fit import fit

COMPUTE = [4, 1, 2, 8, 3]
ERROR = [0.3, 0.5, 0.6, 0.3, 0.4]


def test_the_frontier_is_the_runs_that_set_a_new_minimum_error_as_compute_grows():
    best = frontier(COMPUTE, ERROR)
    np.testing.assert_array_equal(best.compute, [1, 3, 4])
    np.testing.assert_array_equal(best.error, [0.5, 0.4, 0.3])
    assert best.runs == (1, 4, 0)


def test_the_frontier_calls_runs_by_the_names_they_came_with():
    assert frontier(COMPUTE, ERROR, runs="abcde").runs == ("b", "e", "a")


def test_of_runs_of_equal_compute_only_the_best_is_on_the_frontier():
    assert frontier([1, 1, 1], [0.5, 0.3, 0.4]).runs == (1,)


def test_of_twins_the_first_is_on_the_frontier():
    assert frontier([2, 1, 1], [0.1, 0.5, 0.5]).runs == (1, 0)


def test_a_lone_run_is_a_frontier():
    assert frontier([1], [0.5]).runs == (0,)


grid = st.integers(1, 4)  # few values, so that ties abound


@given(st.lists(st.tuples(grid, grid, st.booleans()), min_size=1, max_size=9))
def test_a_run_is_on_the_frontier_unless_one_present_is_no_dearer_and_no_worse(runs):
    compute, error, present = map(np.array, zip(*runs, strict=True))
    chosen = on_frontier(compute, error, present[None])[0]
    for i, here in enumerate(present):
        rivals = (compute <= compute[i]) & (error <= error[i]) & present
        twins = (compute == compute[i]) & (error == error[i])
        beaten = (rivals & ~twins).any() or (rivals & twins)[:i].any()
        assert chosen[i] == (here and not beaten)


def test_runs_far_above_the_frontier_do_not_move_the_law_through_it():
    compute = np.geomspace(1e-2, 1e3, 24)
    truth = 0.6, 0.35, 0.1, 0.5
    best = saturating(compute, *truth)
    everyone = np.r_[compute, compute * 1.01], np.r_[best, np.minimum(2 * best, 1)]
    found = fit(SATURATING, *everyone, choose=on_frontier)
    assert found.n == 24
    np.testing.assert_allclose(found.values, truth, rtol=1e-4)


def test_runs_drawn_anew_scatter_more_where_no_second_best_run_stands_in():
    rng = np.random.default_rng(0)
    compute = np.geomspace(1e-2, 1e3, 24)
    error = saturating(compute, 0.6, 0.35, 0.1, 0.5) * np.exp(0.02 * rng.normal(size=24))
    order = np.argsort(-error)  # a falling error: every run is on the frontier
    alone = fit(SATURATING, compute, error[order], choose=on_frontier)
    twice = fit(SATURATING, np.repeat(compute, 2), np.repeat(error[order], 2), choose=on_frontier)
    scatter = [np.std(found.inference.replicates[:, 2]) for found in (alone, twice)]
    assert scatter[0] > 1.2 * scatter[1] > 0


def test_the_hull_keeps_what_no_straight_line_on_log_axes_passes_below():
    compute = np.array([1.0, 10.0, 100.0, 1000.0, 50.0])
    error = np.array([1.0, 0.5, 0.3, 0.05, 0.9])
    present = np.ones((1, 5), bool)
    np.testing.assert_array_equal(on_frontier(compute, error, present)[0], [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(on_hull(compute, error, present)[0], [1, 0, 0, 1, 0])


def test_the_hull_of_those_present_is_that_of_a_table_without_the_others():
    rng = np.random.default_rng(0)
    compute, error = np.exp(rng.normal(0, 2, 30)), np.exp(rng.normal(-1, 1, 30))
    present = rng.random((5, 30)) < 0.7
    for row, chosen in zip(present, on_hull(compute, error, present), strict=True):
        alone = on_hull(compute[row], error[row], np.ones((1, row.sum()), bool))[0]
        np.testing.assert_array_equal(chosen[row], alone)
        assert not chosen[~row].any()
