"""Fit: known truth in, known truth out; intervals that hold it; in words what is wrong."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from binomial import fewest
from scipy.optimize import least_squares, minimize

from fits.data.frontier import on_frontier
from fits.laws.lines import LOG_LINEAR
from fits.laws.powers import POWER, POWER_FLOOR, SATURATING, saturating
from fits.regression.fit import fit
from fits.regression.loss import Loss
from fits.regression.profile_search import Point, Side
from fits.regression.solver import levenberg_marquardt

COMPUTE = np.geomspace(1e-2, 1e3, 24)  # EFLOP
TRUTH = 0.6, 0.35, 0.10, 0.5
ZHAI = [
    (0.63, 0.32, 0.12, 0.52),
    (0.68, 0.32, 0.14, 0.67),
    (0.26, 0.35, 0.09, 0.01),
    (0.60, 0.77, 0.03, 0.75),
    (0.96, 0.61, 0.24, 1.57),
]


def noisy(truth=TRUTH, noise=0.02, x=COMPUTE, seed=0):
    rng = np.random.default_rng(seed)
    return saturating(x, *truth) * np.exp(noise * rng.normal(size=len(x)))


@pytest.mark.parametrize("truth", [TRUTH, (0.3, 0.50, 0.02, 0.05), *ZHAI])
def test_a_fit_returns_the_curve_that_made_the_points(truth):
    found = fit(SATURATING, COMPUTE, saturating(COMPUTE, *truth))
    assert not found.warnings
    np.testing.assert_allclose(found.values, truth, rtol=1e-8)
    assert found.rms < 1e-10


@pytest.mark.parametrize("unit", [1e-9, pytest.param(24 * 3600, marks=pytest.mark.slow), 1e18])
def test_no_result_depends_on_the_unit_of_x(unit):
    error = noisy()
    ones, others = fit(SATURATING, COMPUTE, error), fit(SATURATING, COMPUTE * unit, error)
    x = np.geomspace(1e-3, 1e5, 30)
    np.testing.assert_allclose(others.predict(x * unit), ones.predict(x), rtol=1e-8)
    np.testing.assert_allclose(others.band(x * unit), ones.band(x), rtol=1e-6)
    np.testing.assert_allclose(others.intervals[1:3], ones.intervals[1:3], rtol=1e-6)
    assert others.warnings == ones.warnings


def test_the_order_of_the_runs_moves_no_digit_of_the_law():
    order = np.random.default_rng(1).permutation(len(COMPUTE))
    error = noisy()
    one, other = (
        fit(SATURATING, COMPUTE[rows], error[rows], choose=on_frontier, replicates=50)
        for rows in (np.arange(len(order)), order)
    )
    assert one.values == other.values
    assert one.intervals == other.intervals


@pytest.mark.parametrize(
    "error",
    [
        noisy(noise=0.05, seed=3),
        noisy((0.5, 0.2, 0.0, 0.0), noise=0.03, seed=4),
        0.15 + 0.75 / (1 + (COMPUTE / 3) ** 1.5),
        0.1 + 0.8 * np.exp(-COMPUTE / 30),  # a valley in which b, d and a grow together
    ],
    ids=["noisy", "floorless", "logistic", "exponential"],
)
def test_no_start_of_another_optimizer_finds_smaller_squares(error):
    def residuals(q):
        b, d = np.exp(q[1]), np.exp(q[3])
        return np.log((np.exp(q[0]) * ((COMPUTE + d) / (1 + d)) ** -b + q[2]) / error)

    bounds = [-20, np.log(1e-3), 0, -20], [20, np.log(10), 1, 10]
    guesses = [[-1, b, 0.05, d] for b in (-1.5, 0, 1.5) for d in (-4, 0, 3)]
    best = min(least_squares(residuals, guess, bounds=bounds).cost for guess in guesses)
    assert fit(SATURATING, COMPUTE, error).rms <= np.sqrt(2 * best / len(error)) * (1 + 1e-6)


def test_replicates_side_by_side_end_where_each_would_end_alone():
    weights = np.random.default_rng(0).multinomial(24, np.full(24, 1 / 24), size=40).astype(float)
    x, error = COMPUTE / np.exp(np.log(COMPUTE).mean()), noisy()
    start = np.tile(SATURATING.guess(x, error, np.ones(24))[:, :1], 40)
    together, losses = levenberg_marquardt(SATURATING, x, error, weights, start)
    for k in range(0, 40, 8):
        row = weights[k : k + 1]
        alone, loss = levenberg_marquardt(SATURATING, x, error, row, start[:, :1])
        np.testing.assert_allclose(together[:, k], alone[:, 0], rtol=1e-6, atol=1e-9)
        assert losses[k] == pytest.approx(loss[0], rel=1e-12)


@pytest.mark.slow
def test_work_cut_into_pieces_gives_the_same_digits(monkeypatch):
    whole = fit(SATURATING, COMPUTE, noisy(), choose=on_frontier)
    monkeypatch.setattr("fits.regression.solver.CELLS", 24 * 70)
    again = fit(SATURATING, COMPUTE, noisy(), choose=on_frontier)
    np.testing.assert_allclose(again.intervals, whole.intervals)


def test_the_same_seed_gives_the_same_digits_and_another_seed_nearly_so():
    first, again, other = (
        fit(SATURATING, COMPUTE, noisy(), choose=on_frontier, seed=s) for s in (0, 0, 1)
    )
    assert first.intervals == again.intervals
    assert (other.inference.replicates != first.inference.replicates).any()
    np.testing.assert_allclose(other.intervals[2], first.intervals[2], atol=0.01)


def test_intervals_shrink_with_the_noise():
    truth = 0.5, 0.2, 0, 0
    fits = [fit(POWER, COMPUTE, noisy(truth, noise)) for noise in (0.1, 0.01)]
    wide, narrow = (np.ptp(found.intervals[1]) for found in fits)
    assert wide == pytest.approx(10 * narrow, rel=0.05)


def test_an_interval_of_a_power_law_is_on_average_as_wide_as_regression_says():
    """Of one study CR2 may be a fifth off: it estimates where errors are large, too."""
    x, ratios = np.geomspace(1, 1e4, 60), []
    for seed in range(12):
        error = 0.5 * x**-0.2 * np.exp(0.05 * np.random.default_rng(seed).normal(size=60))
        line, covariance = np.polyfit(np.log(x), np.log(error), 1, cov=True)
        found = fit(POWER, x, error)
        assert found.values[1] == pytest.approx(-line[0], rel=1e-6)
        ratios.append(np.ptp(found.intervals[1]) / (2 * 1.645 * np.sqrt(covariance[0, 0])))
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "interval_coverage.py"
    spec = importlib.util.spec_from_file_location("interval_coverage", path)
    module = sys.modules["interval_coverage"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_nominal_90_percent_intervals_of_a_frontier_hold_the_truth_in_nine_of_ten_studies(
    benchmark,
):
    """80 intervals: by chance too few are held once in 20 times; of 80 % intervals, in 3 of 4."""
    held = 0.0
    kinds = {"steep": (10, 0.04), "4 % noise": (10, 0.1), "dense grid, 8 x 12": (20, 0.04)}
    for kind, (studies, widest) in kinds.items():
        found = benchmark.coverage(benchmark.SIMULATIONS[kind], studies)
        held += studies * (found["held"] + found["10x"])
        assert found["width"] < widest
    assert round(held) >= fewest(80)


@pytest.mark.slow
def test_nominal_90_percent_intervals_hold_the_truth_where_all_points_are_fitted(benchmark):
    """136 intervals: of 80 % intervals, 12 in 13 times too few are held."""
    every = []
    for kind in ("independent", "noise grows tenfold", "8 curves of 12", "N, D independent"):
        rng = np.random.default_rng(1)
        missed = np.array([benchmark.kinds()[kind].study(rng)[0] for _ in range(8)])
        assert (missed == 0).sum() >= fewest(missed.size, chance=0.01), kind
        every.append(missed.ravel())
    held = np.concatenate(every) == 0
    assert fewest(held.size) <= held.sum() <= fewest(held.size, chance=0.995)


def test_a_band_holds_its_curve_and_widens_with_its_level_and_beyond_the_data():
    found = fit(SATURATING, COMPUTE, noisy())
    x = np.array([[1.0, 1e3], [1e4, 1e6]])
    low, high = found.band(x)
    assert low.shape == high.shape == x.shape
    assert (low < found.predict(x)).all()
    assert (found.predict(x) < high).all()
    lower, higher = found.band(x, level=0.99)
    assert (lower < low).all()
    assert (higher > high).all()
    width = np.log(high / low)
    assert width[1, 1] > width[1, 0] > width[0, 0]
    assert np.shape(found.band(10.0)) == (2,)


def test_a_fit_says_how_far_a_prediction_lies_beyond_its_points():
    found = fit(SATURATING, COMPUTE, noisy())
    assert found.span == pytest.approx((1e-2, 1e3))
    assert found.extrapolates(1e-2) == []
    assert found.extrapolates(10) == []
    (above,), (below,) = found.extrapolates(5e4), found.extrapolates(1e-3)
    assert above.words == "x = 50000 is 50 times the largest x fitted"
    assert below.words == "x = 0.001: the smallest x fitted is 10 times that"


def test_a_parameter_on_its_bound_is_named():
    found = fit(SATURATING, COMPUTE, saturating(COMPUTE, 0.5, 0.2, 0, 0))
    assert found.warnings == ("c is on its bound 0", "d is on its bound 0")


def test_a_floor_far_below_the_data_is_not_identifiable():
    x = np.geomspace(1, 30, 12)
    found = fit(SATURATING, x, noisy((0.5, 0.2, 0.05, 0), x=x))
    assert found.intervals[2][0] == 0
    (said,) = (warning for warning in found.warnings if "floor" in warning)
    assert said.startswith("the floor is not identifiable: the 90 % interval of c is [0, ")


@pytest.mark.slow
def test_a_floor_on_its_bound_may_be_as_high_as_the_squares_allow():
    x = np.geomspace(1, 30, 12)
    error = noisy((0.5, 0.2, 0.05, 0), x=x, seed=5)
    found = fit(POWER_FLOOR, x, error)
    assert found.warnings[0] == "c is on its bound 0"
    drawn = fit(POWER_FLOOR, x, error, choose=lambda x, y, present: present)
    floors = drawn.inference.replicates[:, 2]
    assert np.quantile(floors, 0.8) < 0.02  # the bootstrap sees next to nothing
    assert drawn.intervals[2][1] > 0.1
    assert fit(POWER_FLOOR, x, error, choose=on_frontier).intervals[2][1] > 0.1
    shape = np.geomspace(0.01, 3, 500)[:, None]  # every exponent, with its best a
    rest = np.log(x**-shape)
    least = found.rms**2 * 12

    def squares(c):
        scale = np.linspace(-0.2, 0.2, 401)[:, None, None] + np.log(0.5 - c)
        return ((np.log(np.exp(scale + rest) + c) - np.log(error)) ** 2).sum(-1).min()

    least_t, most_t = 1.833, 6.314  # Student's: 9 degrees of freedom were the noise known to be
    allowed = (squares(found.intervals[2][1]) / least - 1) * 9  # alike everywhere; 1 at the least
    assert 0.5 * least_t**2 < allowed < most_t**2


def test_few_points_are_said():
    x = COMPUTE[::3]
    assert not fit(SATURATING, x, saturating(x, *TRUTH)).warnings
    x = COMPUTE[::4]
    assert fit(SATURATING, x, saturating(x, *TRUTH)).warnings == (
        "6 points for 4 parameters: too few to trust the intervals",
    )
    x = COMPUTE[::7]
    assert fit(SATURATING, x, saturating(x, *TRUTH)).warnings == (
        "4 points for 4 parameters: the curve goes through every point and the intervals mean "
        "nothing",
    )


def test_a_law_that_bends_otherwise_than_the_data_says_so():
    error = noisy()
    assert any(
        "does not have the shape" in warning for warning in fit(POWER, COMPUTE, error).warnings
    )
    assert not fit(SATURATING, COMPUTE, error).warnings


def test_an_error_that_does_not_fall_is_said():
    found = fit(SATURATING, COMPUTE, np.full(24, 0.3))
    assert found.warnings == ("the error does not fall with x, so the exponent means nothing",)
    np.testing.assert_allclose(found.predict(COMPUTE), 0.3, rtol=1e-6)


def test_fewer_points_than_parameters_are_refused():
    with pytest.raises(ValueError, match=r"3 of 3 points .* 4 parameters \(a, b, c, d\)"):
        fit(SATURATING, [1, 2, 3], [0.5, 0.4, 0.3])
    with pytest.raises(ValueError, match="6 of 6 points are to be fitted, with 3 different x"):
        fit(SATURATING, [1, 2, 3] * 2, [0.5, 0.4, 0.3, 0.51, 0.41, 0.31])


@pytest.mark.parametrize("bad", [0, -0.1, np.nan, np.inf])
def test_numbers_without_a_logarithm_are_refused(bad):
    error = [0.5, 0.4, bad, 0.3, 0.2]
    with pytest.raises(ValueError, match=r"y\[2\] is .* above 0 and finite \(1 are not\)"):
        fit(POWER, [1, 2, 3, 4, 5], error)
    with pytest.raises(ValueError, match=r"x\[2\] is"):
        fit(POWER, error, [1, 2, 3, 4, 5])


def test_numbers_too_small_or_too_large_to_compute_with_are_refused():
    with pytest.raises(ValueError, match=r"y\[1\] is 1e-300, not from 1e-12 to 1e\+12"):
        fit(POWER, [1, 2, 3], [0.5, 1e-300, 1e-301])
    with pytest.raises(ValueError, match=r"x\[2\] is 1e\+200, .* Count x in another unit"):
        fit(POWER, [1, 2, 1e200], [0.5, 0.4, 0.3])


def test_a_curve_too_steep_for_the_unit_of_x_is_refused_with_one_that_serves():
    x = np.geomspace(1e-2, 1e2, 9)
    error = 0.9 - 0.8 * np.linspace(0, 1, 9) ** 8
    served = fit(SATURATING, x, error)
    assert np.isfinite(served.values).all()
    assert not np.isnan(served.intervals).any()
    with pytest.raises(ValueError, match=r"so steeply .* Count x in units of 1e\+28\."):
        fit(SATURATING, 1e28 * x, error, choose=on_frontier)


def test_a_curve_far_beyond_its_points_is_never_nan():
    found = fit(POWER, COMPUTE, 0.5 * COMPUTE**-2 / 1e4)
    far = np.array([1e-300, 1e-200, 1e200, 1e300])
    assert not np.isnan([found.predict(far), *found.band(far)]).any()


def test_an_x_without_a_y_is_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        fit(POWER, [1, 2], [0.5, 0.4, 0.3])


def test_huber_s_loss_cannot_be_ruled_by_outliers():
    error = noisy(noise=0.01)
    error[::6] *= 1.5
    squares, robust, fixed = (
        fit(SATURATING, COMPUTE, error, huber=h) for h in (None, "auto", 0.02)
    )
    truth = saturating(COMPUTE, *TRUTH)
    off, near, also = (
        np.abs(found.predict(COMPUTE) / truth - 1).max() for found in (squares, robust, fixed)
    )
    assert off > 0.05
    assert near < off / 2
    assert also < off / 2
    (said,) = (warning for warning in robust.warnings if "far above" in warning)
    assert said.startswith("4 of 24 points are outliers, far above the curve (x = 0.01; x =")


def test_huber_s_minimum_is_that_of_another_optimizer():
    error = noisy(noise=0.05, seed=3)

    def loss(q):
        curve = saturating(COMPUTE, *np.exp(q[:2]), *q[2:])
        size = np.abs(np.log(curve / error))
        return np.where(size < 0.01, size**2 / 2, 0.01 * (size - 0.005)).sum()

    found = fit(SATURATING, COMPUTE, error, huber=0.01)
    a, b, c, d = found.values
    assert loss([np.log(a), np.log(b), c, d]) == pytest.approx(found.objective, rel=1e-9)
    guesses = [[np.log(a) + s, np.log(b) - s, c, d + 0.1] for s in (0, 0.1)]
    options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000, "maxfev": 4000}
    best = min(minimize(loss, s, method="Nelder-Mead", options=options).fun for s in guesses)
    assert found.objective <= best * (1 + 1e-9)


def test_errors_may_count_as_differences():
    x = np.geomspace(1, 1e3, 30)
    metric = 0.2 - 0.1 * np.log10(x) + 0.01 * np.random.default_rng(0).normal(size=30) + 0.3
    slope, offset = np.polyfit(np.log10(x), metric, 1)
    found = fit(LOG_LINEAR, x, metric, loss=Loss(log=False))
    np.testing.assert_allclose(found.values, [offset, -slope], rtol=1e-9)


def test_a_run_of_twice_the_weight_counts_as_two():
    error = noisy()
    twice = np.where(np.arange(24) % 3, 1.0, 2.0)
    repeated = np.repeat(np.arange(24), twice.astype(int))
    weighted = fit(SATURATING, COMPUTE, error, weights=twice)
    np.testing.assert_allclose(
        weighted.values, fit(SATURATING, COMPUTE[repeated], error[repeated]).values, rtol=1e-6
    )
    with pytest.raises(ValueError, match="from 0 to 2; give one number above 0"):
        fit(SATURATING, COMPUTE, error, weights=np.where(twice > 1, 2.0, 0.0))


@pytest.mark.slow
def test_points_of_one_learning_curve_tell_less_than_as_many_runs():
    rng = np.random.default_rng(0)
    curve = np.repeat(np.arange(6), 4)
    sound = POWER_FLOOR.predict(COMPUTE, 0.6, 0.35, 0.1)
    error = sound * np.exp(0.02 * rng.normal(size=6)[curve])
    alone, together = (fit(POWER_FLOOR, COMPUTE, error, clusters=g) for g in (None, curve))
    assert together.values == alone.values
    assert together.intervals != alone.intervals
    widths = []
    for seed in range(8):
        luck = 0.02 * np.random.default_rng(seed).normal(size=30)
        runs = [
            fit(POWER_FLOOR, COMPUTE, sound * np.exp(each), clusters=g)
            for each, g in ((luck[24:][curve], curve), (luck[:24], None))
        ]
        widths.append([np.ptp(np.log(found.intervals[1])) for found in runs])
    told, apart = np.median(widths, axis=0)
    assert told > 1.5 * apart
    labels = [f"run {k}" for k in curve]
    assert fit(POWER_FLOOR, COMPUTE, error, clusters=labels).intervals == together.intervals
    few = fit(POWER_FLOOR, COMPUTE, error, clusters=curve // 2)
    assert any("are in 3 independent clusters" in warning for warning in few.warnings)
    with pytest.raises(ValueError, match="5 labels of clusters for 24 runs"):
        fit(POWER_FLOOR, COMPUTE, error, clusters=range(5))


def test_points_of_learning_curves_that_pass_for_independent_are_noticed():
    rng = np.random.default_rng(0)
    x = (np.geomspace(1e-2, 1e2, 8)[:, None] * np.geomspace(1, 10, 12)).ravel()
    curve = np.arange(96) // 12
    error = saturating(x, *TRUTH) * np.exp(0.01 * rng.normal(size=8)[curve])
    error *= np.exp(0.005 * rng.normal(size=96))
    (said,) = fit(SATURATING, x, error).warnings
    assert "name them with --cluster" in said
    assert not fit(SATURATING, x, error, clusters=curve).warnings


def test_copies_of_a_run_in_its_group_tell_nothing_new():
    error, copies = noisy(), [np.repeat(np.arange(24), times) for times in (2, 3)]
    twice, thrice = (fit(SATURATING, COMPUTE[c], error[c], clusters=c) for c in copies)
    np.testing.assert_allclose(thrice.intervals, twice.intervals, rtol=1e-3)


def test_the_interval_of_a_quantity_is_that_of_the_curve_where_it_is_the_curve():
    found = fit(SATURATING, COMPUTE, noisy())
    asked = found.interval(lambda *values: np.log(saturating(1e4, *values)))
    np.testing.assert_allclose(np.exp(asked), np.ravel(found.band(1e4)), rtol=1e-9)
    b = found.interval(lambda a, b, c, d: np.log(b))
    np.testing.assert_allclose(np.exp(b), found.intervals[1], rtol=1e-9)


def test_one_run_that_decides_is_named():
    x = np.append(np.geomspace(1, 10, 12), 1e4)
    error = saturating(x, 0.5, 0.3, 0.1, 0) * np.exp(
        0.002 * np.random.default_rng(2).normal(size=13)
    )
    error[-1] *= 1.1
    (said,) = (w for w in fit(POWER, x, error).warnings if "one run" in w)
    assert said.startswith("one run decides: without the run at x = 1e+04 the prediction at 10")
    assert not any("one run" in w for w in fit(SATURATING, COMPUTE, noisy()).warnings)


def test_a_diagnostic_is_data_and_its_words_follow():
    assert fit(SATURATING, COMPUTE, noisy()).diagnostics == ()
    first, second = fit(SATURATING, COMPUTE, saturating(COMPUTE, 0.5, 0.2, 0, 0)).diagnostics
    assert (first.code, first.parameters, first.numbers) == ("on_bound", ("c",), {"bound": 0.0})
    assert second.words == "d is on its bound 0"


def test_a_frontier_that_one_run_decides_says_so():
    error = noisy((0.5, 0.3, 0.0, 0.0))
    lucky = np.where(np.arange(24) == 23, 0.75, 1.0)
    sound, decided = (
        [w for w in fit(SATURATING, COMPUTE, e, choose=on_frontier).warnings if "one run" in w]
        for e in (error, error * lucky)
    )
    assert not sound
    assert "without the run at x = 1e+03 the prediction at 10 times the largest x" in decided[0]


def test_a_search_that_stops_too_early_says_so(monkeypatch):
    error = noisy((0.5, 0.2, 0.0, 0.0), noise=0.03, seed=4)
    assert not any("stopped" in warning for warning in fit(POWER_FLOOR, COMPUTE, error).warnings)
    for limit, steps in (("STEPS", 1), ("LONG", 0)):
        monkeypatch.setattr(f"fits.regression.solver.{limit}", steps)
    stopped = fit(SATURATING, COMPUTE, noisy(noise=0.05, seed=3)).warnings
    assert any("stopped before the minimum" in warning for warning in stopped)


def test_a_band_that_ends_nowhere_is_infinite_and_raises_no_stray_warning():
    """Warnings are errors here: log-linear errors below 0 have no logarithm to be sure about."""
    found = fit(LOG_LINEAR, COMPUTE, noisy(), choose=on_frontier, replicates=100)
    low, high = found.band(np.geomspace(1e3, 1e8, 100))
    assert np.isinf(high).any()
    assert (low <= high).all()
    assert low[-1] == 0


def test_a_refit_that_missed_its_minimum_does_not_end_an_interval():
    """The profile rises with the distance, so a loss above those farther out is not a minimum."""
    none = np.empty(0)

    def side(root, quantile):
        points = [Point(float(away), each, none) for away, each in enumerate([0.0, *root])]
        return Side(1.0, 0, 0.0, 1.0, 1.0, quantile, False, tuple(points))

    rising, missed = [0.5, 1.0, 1.5, 2.0, 2.5], [0.5, 1.0, 24.0, 2.0, 2.5]
    assert side(rising, 1.8).end == pytest.approx(3.6)
    assert side(missed, 1.8).end == pytest.approx(3.6)
    assert side(missed, 1.8).doubtful
    assert np.isnan(side(rising, 3.0).end)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"level": 90}, "level is 90; it is a probability between 0 and 1"),
        ({"huber": "atuo"}, "huber is 'atuo'; give a residual above 0"),
        ({"huber": -0.1}, "huber is -0.1; give a residual above 0"),
        ({"huber": float("nan")}, "huber is nan; give a residual above 0"),
        ({"replicates": 0}, "replicates is 0; it must be"),
    ],
)
def test_terms_that_are_none_are_refused_in_words(terms, said):
    with pytest.raises(ValueError, match=said):
        fit(POWER, COMPUTE, noisy(), **terms)


def test_one_group_alone_leaves_every_interval_open():
    found = fit(SATURATING, COMPUTE, noisy(), clusters=["one study"] * 24)
    low, high = found.band(1e4)
    assert low == 0
    assert np.isinf(high)
    assert found.intervals[1] == (0.001, pytest.approx(10))


def wandering(seed, points=40, keeps=0.8):
    rng = np.random.default_rng(seed)
    error = rng.normal(size=points)
    for k in range(1, points):
        error[k] = keeps * error[k - 1] + np.sqrt(1 - keeps**2) * error[k]
    return np.geomspace(1, 1e4, points), error


@pytest.mark.slow
def test_points_of_one_curve_that_err_together_are_found_out():
    held = []
    for seed in range(30):
        x, error = wandering(seed)
        found = fit(POWER, x, 0.5 * x**-0.2 * np.exp(0.02 * error))
        low, high = found.intervals[1]
        held.append(low <= 0.2 <= high)
    assert np.mean(held) > 0.75  # a third of them, were each point taken for its own


def test_points_that_do_not_fall_are_not_called_steep():
    from fits.regression.inputs import refuse_too_steep

    x, error = (
        np.geomspace(1, 100, 12),
        0.3 * np.exp(0.02 * np.random.default_rng(0).normal(size=12)),
    )
    with pytest.raises(ValueError, match="hardly fall"):
        refuse_too_steep(np.array([np.inf]), np.array(1.0), x, error)


def test_a_law_by_name_and_an_x_below_zero_are_refused_in_words():
    with pytest.raises(TypeError, match="law is 'saturating'; give a Law"):
        fit("saturating", COMPUTE, noisy())
    found = fit(POWER, COMPUTE, noisy())
    for ask in (found.predict, found.band):
        with pytest.raises(
            ValueError, match="x is -5 somewhere; a law predicts at x of 0 or above"
        ):
            ask([1.0, -5.0])
