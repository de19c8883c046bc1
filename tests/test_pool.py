"""Choosing runs from a pool: the design, and what it predicts where the law is known or is not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fits.decisions.calibration import calibrated, residual_variance
from fits.decisions.pool import Chooser, pool_of
from fits.decisions.posterior import Ensemble, _systematic, _together, ensemble
from fits.decisions.priors import prior_of
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.farseer import FARSEER
from fits.laws.registry import SEVERAL, within

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import pools

TRUTH = 1.7, 400.0, 0.34, 400.0, 0.28
SIZE, DATA = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 8), np.geomspace(1e9, 1e11, 8)))
X, TARGET = np.stack([SIZE, DATA]), np.array([[4e9, 8e9, 4e9], [4e11, 4e11, 1e12]])
COST = 6 * SIZE * DATA


def chooser(seed=0, laws=(CHINCHILLA,), noise=0.003):
    off = noise * np.random.default_rng(7).normal(size=len(COST))
    loss = CHINCHILLA.predict(X, *TRUTH) * np.exp(off)
    return Chooser(pool_of(X, COST, TARGET, laws), lambda run: float(loss[run]), seed)


def test_with_a_twentieth_of_the_cost_a_true_law_predicts_ten_times_beyond_the_pool():
    missed, held = [], []
    for seed in range(4):
        some = chooser(seed)
        some.spend(0.05 * COST.sum())
        found = some.predict()
        truth = CHINCHILLA.predict(TARGET, *TRUTH)
        missed.append(np.log(found.error / truth))
        held.append((found.low <= truth) & (truth <= found.high))
    assert np.sqrt(np.mean(np.square(missed))) < 0.02
    assert np.mean(held) > 0.7


def test_runs_are_bought_once_each_within_the_budget_and_by_the_seed():
    some, same, other = chooser(0), chooser(0), chooser(1)
    for each in (some, same, other):
        for share in (0.02, 0.1):
            each.spend(share * COST.sum())
            assert each.spent <= share * COST.sum() * (1 + 1e-12)
    assert len(set(some.bought)) == len(some.bought) > 12
    assert some.bought == same.bought != other.bought
    left = 0.1 * COST.sum() - some.spent
    rest = np.delete(COST, some.bought)
    assert not len(rest) or left < rest.min()


def test_far_targets_buy_costlier_runs_than_near_ones():
    far = chooser()
    near = Chooser(
        pool_of(X, COST, np.array([[1.2e7], [1.2e9]]), (CHINCHILLA,)), far._measure, seed=0
    )
    for each in (far, near):
        each.spend(0.05 * COST.sum())
    assert np.log(COST[far.bought]).max() >= np.log(COST[near.bought]).max()
    assert len(near.bought) > len(far.bought)


def test_conditioning_an_ensemble_is_bayes_rule_for_normal_errors():
    rng = np.random.default_rng(0)
    curves, noise = rng.normal(size=(500, 7)), np.full(4, 0.3)
    curves[:, 4:] += curves[:, :3]
    chance = np.full(500, 1 / 500)
    some = Ensemble(curves[:, :4], curves[:, 4:], chance, noise, [])
    away = curves - curves.mean(axis=0)
    before = away.T @ away / 500
    along = before[:, 1]
    after = before - np.outer(along, along) / (before[1, 1] + 0.3)
    expected = np.trace(before[4:, 4:] - after[4:, 4:]) / 3
    assert some.gains()[1] == pytest.approx(expected)
    some.condition(1)
    np.testing.assert_allclose(some.prediction()[1], np.diag(after)[4:])


def test_evidence_speaks_for_at_most_ten_runs():
    one, other = np.zeros(50), np.full(50, 20.0)
    few, many = (_together((one, other), runs)[:50].sum() for runs in (10, 200))
    assert few == pytest.approx(1 / (1 + np.exp(20)))
    assert many == pytest.approx(1 / (1 + np.exp(1)))


def test_intervals_are_as_wide_as_costlier_runs_were_missed_from_cheaper_ones():
    """Dear runs lie above the law: a fit to all of them is no judge of that."""
    bent = CHINCHILLA.predict(X, *TRUTH) * (1 + 0.05 * (np.median(COST) < COST))
    found = []
    for loss in (CHINCHILLA.predict(X, *TRUTH), bent):
        done = dict(enumerate(loss.tolist()))
        some = Chooser(pool_of(X, COST, TARGET, (CHINCHILLA,)), lambda run: 0.0, done=done)
        found.append(np.log(some.predict().high / some.predict().low))
    assert (found[1] > 4 * found[0]).all()


def test_without_hold_outs_the_variance_is_that_of_the_curves_and_of_the_residuals():
    """Five runs and five parameters: the prior alone has degrees of freedom, two."""
    laws, five = pool_of(X, COST, TARGET, (CHINCHILLA,)).laws, np.array([0, 9, 18, 27, 36])
    aim = np.log([[3.0], [3.1]])
    known = Ensemble(np.zeros((2, 64)), aim, np.full(2, 0.5), np.ones(64), [])
    residuals = np.array([0.02, -0.01, 0.0, 0.01, 0.0])
    runs = X[:, five], COST[five], np.ones(5)
    variance, freedom = calibrated(known, residuals, laws, *runs, X[:, [36]], 3.0)
    assert freedom == 2
    assert variance == pytest.approx(aim.var() + (6e-4 + 2e-4) / 2)


def test_residuals_count_alike_and_spend_a_degree_of_freedom_for_each_parameter():
    laws = pool_of(X, COST, TARGET, (CHINCHILLA, FARSEER)).laws
    off = 0.03 * np.random.default_rng(0).normal(size=40_000)
    variance, _ = residual_variance(off, laws)
    assert variance == pytest.approx(0.03**2, rel=0.02)
    few, freedom = residual_variance(off[:20], laws)
    assert freedom == 20 - len(FARSEER.parameters) + 2
    assert few == pytest.approx((np.square(off[:20]).sum() + 2e-4) / freedom)


def test_where_no_hold_out_contradicts_the_laws_their_own_variance_stands():
    """Far beyond it still grows, as the curves part there."""
    found, curves = [], []
    loss = CHINCHILLA.predict(X, *TRUTH)
    far = TARGET * np.array([[1.0], [10.0]])
    for target in (TARGET, far):
        pool = pool_of(X, COST, target, (CHINCHILLA,))
        some = ensemble(
            *(pool.laws, X, target, pool.weights, np.arange(64), loss),
            *(np.random.default_rng(0), None),
        )
        off = np.log(loss) - some.fitted
        variance, _ = calibrated(some, off, pool.laws, X, COST, loss, target, 3.0)
        found.append(variance - residual_variance(off, pool.laws)[0])
        curves.append(some.prediction()[1])
    np.testing.assert_allclose(found, curves)
    assert (found[1] > found[0]).all()


@pytest.mark.slow
def test_intervals_hold_the_errors_of_runs_whose_noise_is_not_that_of_a_smooth_law():
    """Known truth, 2 % of noise everywhere: at the targets it is as large as at any run."""
    held = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        loss = CHINCHILLA.predict(X, *TRUTH) * np.exp(0.02 * rng.normal(size=len(COST)))
        truth = CHINCHILLA.predict(TARGET, *TRUTH) * np.exp(0.02 * rng.normal(size=3))
        pool = pool_of(X, COST, TARGET, (CHINCHILLA,))
        some = Chooser(pool, lambda run, loss=loss: float(loss[run]), seed)
        some.spend(0.1 * COST.sum())
        found = some.predict(0.9)
        held.append((found.low <= truth) & (truth <= found.high))
    assert 0.82 <= np.mean(held) <= 0.97


def test_a_plan_is_what_would_be_bought_until_the_laws_are_fitted_anew():
    some = chooser()
    first = some.plan(0.05 * COST.sum())
    assert [each.width for each in first] == [None] * len(first)
    assert not some.bought
    done = {each.run: some._measure(each.run) for each in first}
    later = Chooser(some.pool, some._measure, seed=0, done=done)
    planned = later.plan(0.05 * COST.sum())
    widths = [each.width for each in planned]
    assert widths == sorted(widths, reverse=True)
    assert 1 <= len(planned) <= 0.15 * len(done) + 1
    buyer = Chooser(some.pool, some._measure, seed=0, done=done)
    buyer.spend(0.05 * COST.sum())
    assert buyer.bought[len(done) : len(done) + len(planned)] == [each.run for each in planned]


def test_systematic_resampling_draws_each_as_often_as_its_chance_says():
    found = _systematic(np.array([0.5, 0.25, 0.25]), 8, np.random.default_rng(0))
    assert np.bincount(found).tolist() == [4, 2, 2]


@pytest.mark.parametrize("law", SEVERAL.values(), ids=lambda law: law.name)
def test_priors_lie_within_the_bounds_of_each_law_of_several_variables(law):
    centre, spread = prior_of(law, 2.5)
    with np.errstate(divide="ignore"):
        low, high = law.to_unconstrained(*np.array(law.bounds)).T
    assert (spread > 0).all()
    known = spread < 100
    assert ((low <= centre) & (centre <= high))[known].all()


def test_a_law_of_some_of_the_variables_has_the_prior_of_the_law_itself():
    part = within(CHINCHILLA, SEVERAL["repeated"], ("N", "D"))
    np.testing.assert_array_equal(prior_of(part, 2.0), prior_of(CHINCHILLA, 2.0))


def test_a_law_of_more_parameters_beside_the_true_one_does_no_harm():
    pair = chooser(laws=(FARSEER, CHINCHILLA))
    pair.spend(0.05 * COST.sum())
    truth = CHINCHILLA.predict(TARGET, *TRUTH)
    assert np.abs(np.log(pair.predict().error / truth)).max() < 0.03


@pytest.mark.slow
def test_on_real_runs_a_tenth_of_the_cost_does_what_the_best_published_choice_does():
    """One repetition; `benchmarks/next_runs.py --scalebench` has them all."""
    if not pools.DATA.exists():
        pytest.skip("the pools of ScaleBench in ../shared are absent")
    for name in ("farseer", "sparsity"):
        task = pools.TASKS[name]
        found = pools.score(task, seed=0)
        assert (found[:, 0] >= task.published).all()
