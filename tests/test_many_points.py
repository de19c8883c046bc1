"""A million rows: values of every point, intervals of few means, memory in proportion."""

import numpy as np
import pytest
from binomial import fewest

from fits.base.order import canonical
from fits.cli.output import ending
from fits.data.frontier import on_frontier
from fits.laws.registry import EVERY_LAW
from fits.regression import fit as fitting
from fits.regression import holdout
from fits.regression.fit import fit
from fits.regression.holdout import choose_law
from fits.regression.solver import sampled
from fits.regression.squash import CELLS, LAYERS, near_frontier

TRUTH = {"power-floor": (5000, 0.2, 1.9), "chinchilla": (1.7, 400, 0.34, 900, 0.32)}


def points(law, count, seed=0, noise=0.02):
    """Points of a law with known parameters: law, x, y."""
    rng, law = np.random.default_rng(seed), EVERY_LAW[law]
    ends = [(7, 10), (9, 12)] if len(law.variables) > 1 else [(17, 22)]
    x = np.array([10 ** rng.uniform(*each, count) for each in ends])
    x = x if len(x) > 1 else x[0]
    y = law.predict(x, *TRUTH[law.name]) * np.exp(rng.normal(0, noise, count))
    return law, x, y


def both(monkeypatch, law, x, y, many=1, **options):
    """The fit of cells, and the one of all points."""
    monkeypatch.setattr(fitting, "MANY", many)
    few = fit(law, x, y, **options)
    monkeypatch.setattr(fitting, "MANY", 10**9)
    return few, fit(law, x, y, **options)


def is_the_same(few, whole, width=0.1):
    """Values to what the solver leaves open; ends of intervals to a share of their width."""
    np.testing.assert_allclose(few.values, whole.values, rtol=1e-4)
    for (low, high), (bottom, top) in zip(few.intervals, whole.intervals, strict=True):
        assert abs(low - bottom) < width * (top - bottom)
        assert abs(high - top) < width * (top - bottom)
    assert few.n == whole.n
    assert few.rms == pytest.approx(whole.rms, rel=1e-6)


def test_squashed_points_give_the_values_of_all_and_nearly_their_intervals(monkeypatch):
    few, whole = both(monkeypatch, *points("power-floor", 3000))
    assert whole.cells is None
    assert 300 < few.cells <= CELLS
    is_the_same(few, whole)
    low, high = few.band([1e24])
    bottom, top = whole.band([1e24])
    np.testing.assert_allclose([low, high], [bottom, top], rtol=0.1 * float((top / bottom)[0] - 1))


def test_squashed_clusters_give_the_intervals_of_clusters(monkeypatch):
    law, x, y = points("power-floor", 3000)
    run = np.argsort(np.argsort(x)) // 50  # at one place each
    y = y * np.exp(np.random.default_rng(1).normal(0, 0.03, 60))[run]
    few, whole = both(monkeypatch, law, x, y, clusters=run.tolist())
    is_the_same(few, whole)


def test_squashed_outliers_are_held_off_by_hubers_loss(monkeypatch):
    law, x, y = points("power-floor", 3000)
    y[::10] *= 1.5
    few, whole = both(monkeypatch, law, x, y, huber=0.02)
    is_the_same(few, whole)
    found, _ = both(monkeypatch, law, x, y, huber="auto")
    assert [each.code for each in found.diagnostics] == ["outliers_above"]


@pytest.mark.slow
def test_squashed_sizes_and_data_give_the_law_of_both(monkeypatch):
    few, whole = both(monkeypatch, *points("chinchilla", 6000))
    is_the_same(few, whole, width=0.15)


@pytest.mark.slow
def test_intervals_of_many_points_hold_the_truth_as_often_as_they_say():
    held = []
    for seed in range(20):
        found = fit(*points("power-floor", 6000, seed))
        assert found.cells
        ends = zip(found.intervals, TRUTH["power-floor"], strict=True)
        held.append([low < truth < high for (low, high), truth in ends])
    assert fewest(60) <= np.sum(held) <= fewest(60, chance=0.995)


def test_laws_are_ranked_by_cells_as_by_points(monkeypatch):
    _, x, y = points("power-floor", 3000)
    laws = [EVERY_LAW[name] for name in ("power", "power-floor", "saturating", "parabola")]
    whole = choose_law(x, y, laws)
    monkeypatch.setattr(holdout, "MANY", 1)
    for huber in (None, "auto"):
        cells = choose_law(x, y, laws, huber=huber)
        assert cells.tried[0][0] == whole.tried[0][0]
        if huber is None:
            for (name, error), (other, expected) in zip(cells.tried, whole.tried, strict=True):
                assert name == other
                assert error == pytest.approx(expected, rel=0.02)


def test_a_run_that_many_others_beat_is_on_no_frontier():
    rng = np.random.default_rng(0)
    compute, error = rng.uniform(1, 2, 3000), rng.uniform(1, 2, 3000)
    cheaper = (compute[:, None] >= compute) & (error[:, None] >= error)
    beaten = cheaper.sum(axis=1) - 1
    near = near_frontier(compute, error)
    assert near[beaten < 1].all()
    assert not near[beaten > 2700].any()
    assert (beaten[~near] >= LAYERS).all()
    assert near[on_frontier(compute, error, np.ones((1, 3000), bool))[0]].all()


def test_the_frontier_of_many_runs_has_the_interval_of_all(monkeypatch):
    law, x, y = points("power-floor", 1500)
    few, whole = both(monkeypatch, law, x, y, choose=on_frontier, replicates=200, many=200)
    assert few.values == whole.values
    for (low, high), (bottom, top) in zip(few.intervals, whole.intervals, strict=True):
        assert abs(low - bottom) < 0.3 * (top - bottom)
        assert abs(high - top) < 0.3 * (top - bottom)


@pytest.mark.parametrize("alone", [True, False])
def test_the_canonical_order_is_that_of_numbers_and_of_clusters_by_their_runs(alone):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 3, (2, 60)).astype(float)
    cluster = (
        rng.permutation(60) if alone else np.unique(rng.integers(0, 20, 60), return_inverse=True)[1]
    )
    order, named = canonical(numbers, cluster)
    rows = list(zip(*numbers[:, order].tolist(), named.tolist(), strict=True))
    assert rows == sorted(rows)
    again = rng.permutation(60)
    moved, renamed = canonical(numbers[:, again], cluster[again])
    np.testing.assert_array_equal(numbers[:, order], numbers[:, again][:, moved])
    np.testing.assert_array_equal(named, renamed)


def test_a_sample_is_even_and_whole_where_points_are_few():
    np.testing.assert_array_equal(sampled(5), range(5))
    some = sampled(10**6)
    assert len(some) == 2000
    assert (some[0], some[-1]) == (0, 10**6 - 1)


def test_want_of_memory_is_said_in_words(capsys):
    def greedy():
        raise MemoryError

    def unmapped():
        raise ImportError("libx.so: failed to map segment from shared object")

    for work in (greedy, unmapped):
        assert ending(work) == 2
        assert "not enough memory for this table" in capsys.readouterr().err
    with pytest.raises(ImportError, match="no module"):
        ending(lambda: (_ for _ in ()).throw(ImportError("no module")))
