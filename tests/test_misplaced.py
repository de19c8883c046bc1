"""Slips in one run on, or beyond, the frontier of a large table."""

import numpy as np
import pytest

from fits.data.misplaced import MOST, misplaced
from fits.data.remarks import of_costliest


def large(seed, noise=0.01):
    """Curves of ten sizes, each best for a part of the compute: most runs are dominated."""
    rng = np.random.default_rng(seed)
    size, times = (
        a.ravel() for a in np.meshgrid(np.geomspace(1, 1e3, 10), np.geomspace(1, 300, 8))
    )
    compute = size**2 * times * np.exp(rng.normal(0, 0.2, len(size)))
    error = 0.08 + 0.4 * (size + 1) ** -0.35 + 0.2 * (compute / size + 1) ** -0.3
    return compute, np.minimum(error * np.exp(rng.normal(0, noise, len(size))), 0.95)


def on_frontier(x, error):
    order = np.argsort(x)
    return order[error[order] <= np.minimum.accumulate(error[order])]


@pytest.mark.parametrize("factor", [1e-3, 1e-2, 1e9])  # it hides others, or becomes the costliest
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_slip_of_x_of_a_run_of_the_frontier_is_found_and_undone(factor, share):
    x, error = large(0)
    assert len(x) > MOST
    best = on_frontier(x, error)
    run = best[int(share * len(best))]
    x[run] *= factor
    assert not misplaced(x, error, 1.0)
    (found,) = misplaced(x, error, 1.0, frontier=True)
    assert (found.run, found.x_factors[0]) == (run, pytest.approx(1 / factor))


def sound(seed, runs, noise=0.01):
    """Models of random size and length of training, most of them dominated."""
    rng = np.random.default_rng(seed)
    size, images = 10 ** rng.uniform(6, 9.3, runs), 10 ** rng.uniform(7, 10, runs)
    error = 0.08 + 0.35 * (size / 1e6) ** -0.25 + 0.5 * (images / 1e7) ** -0.3
    return size * images, error * np.exp(rng.normal(0, noise, runs))


@pytest.mark.parametrize(("runs", "named"), [(30, 4), (60, 4), (500, 7)])
def test_a_slip_of_x_is_found_in_tables_of_any_size(runs, named):
    """Of 10; a frontier of more than 40 runs was not looked at, nor one of at most 40 runs."""
    found = []
    for seed in range(10):
        x, error = sound(seed, runs)
        best = on_frontier(x, error)
        run = best[int(0.7 * len(best))]
        x[run] /= 1000
        found += [each.run == run for each in misplaced(x, error, 1.0, frontier=True)]
    assert all(found)
    assert len(found) >= named


def test_sound_tables_of_any_size_have_no_run_misplaced():
    tables = [sound(seed, runs) for runs in (30, 60, 500) for seed in range(40)]
    assert sum(bool(misplaced(*each, 1.0, frontier=True)) for each in tables) <= 2


@pytest.mark.parametrize("kind", ["accuracy-percent", "error"])
def test_the_costliest_run_may_be_an_error_among_accuracies(kind):
    x, error = large(0)
    run = x.argmax()
    error[run] = 1 - error[run]
    measured = 100 * (1 - error) if kind.startswith("accuracy") else error
    (found,) = of_costliest(("x", "y"), x, error, measured, kind)
    other = "error" if kind.startswith("accuracy") else "accuracy"
    assert found.words.endswith(f"; or is it an {other} among the others?")


@pytest.mark.parametrize("worse", [1.1, 1.5, 2.0])
def test_a_costliest_run_above_the_frontier_is_not_suspected_of_a_slip_of_x(worse):
    """As most runs are: a smaller x would set any of them right."""
    for seed in range(8):
        x, error = large(seed)
        error[x.argmax()] = worse * error.min()
        assert misplaced(x, error, 1.0, frontier=True) == []


def test_sound_large_tables_have_no_run_misplaced():
    for noise in (0.003, 0.01, 0.03):
        tables = [large(seed, noise) for seed in range(40)]
        assert sum(bool(misplaced(*each, 1.0, frontier=True)) for each in tables) <= 1


def test_a_costliest_run_far_ahead_of_all_others_may_be_a_slip_though_it_is_the_best():
    x, error = large(0)
    run, others = x.argmax(), np.delete(x, x.argmax())
    error[run] = error.min() * 0.95
    assert of_costliest(("x", "y"), x, error, error, "error") == []
    x[run] = 1000 * others.max()
    (found,) = of_costliest(("x", "y"), x, error, error, "error")
    assert "is 1e+03 times the next largest" in found.words
