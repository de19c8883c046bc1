"""Laws of routed and sparse models and Farseer's law, on the pools they are for; the best size."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from known_laws import TRUTHS, known

from fits.allocation.best_size import sized
from fits.allocation.parametric import ParametricLaw
from fits.fit_laws import main
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.constrained import Constraint, constrained
from fits.laws.farseer import FARSEER, farseer
from fits.laws.moe import ROUTED, ROUTED_FLOOR, routed
from fits.laws.repeated import REPEATED
from fits.laws.sparsity import SPARSITY, sparse
from fits.regression.diagnostics import unfinished
from fits.regression.fit import fit
from fits.regression.loss import LOG
from fits.regression.profile import profile_of
from fits.regression.solver import in_units, minimise, unit_of

POOLS = Path(__file__).resolve().parents[2] / "shared/data/scalebench"


def test_farseer_s_law_is_chinchilla_where_only_its_floor_changes_with_size():
    """With B = A = 0 the fall is exp(Q) D^-exp(E), and the floor is that of no data."""
    n, d = np.array([1e8, 1e9]), np.array([1e10, 1e11])
    found = farseer(n, d, 0.0, 1.0, np.log(1.7), 0.0, 1.0, np.log(900), 0.0, 1.0, np.log(0.3))
    np.testing.assert_allclose(found, 1.7 + 900 * d**-0.3)


def test_a_dense_model_has_start_experts_and_endless_ones_have_most():
    values = TRUTHS["routed"]
    a, b, c, d, start, most = values
    for experts, worth in ((1.0, start), (1e12, most)):
        n, e = np.log(1e8), np.log(worth)
        assert routed(1e8, experts, *values) == pytest.approx(np.exp(a * n + b * e + c * n * e + d))


def test_a_dense_model_of_the_law_of_sparsity_is_chinchilla():
    n, d = np.array([1e8, 1e9]), np.array([1e10, 1e11])
    found = sparse(n, d, 1.0, 1.1, 40.0, 0.3, 900.0, 0.3, 300.0, 0.6)
    np.testing.assert_allclose(found, CHINCHILLA.predict((n, d), 1.1, 340.0, 0.3, 900.0, 0.3))


def runs_of(pool, part, columns, y):
    if not POOLS.exists():
        pytest.skip("the pools of ScaleBench in ../shared are absent")
    with (POOLS / f"{pool}_{part}.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = np.array([[float(row[name]) for row in rows] for name in (*columns, y)])
    return numbers[:-1], numbers[-1]


def r_squared(law, pool, columns, y):
    """Of the target region's losses, the law fitted to all runs of the pool by squares."""
    (x, loss), (far, target) = (runs_of(pool, part, columns, y) for part in ("train", "test"))
    unit = unit_of(law, x)
    values, _ = minimise(law, in_units(x, unit), loss, np.ones_like(loss))
    missed = law.predict(in_units(far, unit), *values) - target
    return 1 - (missed**2).sum() / ((target - target.mean()) ** 2).sum()


def test_the_solver_reaches_the_minimum_of_a_long_valley():
    """Three amounts of data hardly tell the floor from the fall: 200 steps end at E = .62."""
    x, loss = runs_of("sparsity", "train", ("N_active", "D2", "P"), "loss")
    unit = unit_of(SPARSITY, x)
    profile = profile_of(
        SPARSITY, in_units(x, unit), loss, np.ones_like(loss), np.arange(len(loss)), LOG, unit
    )
    assert not unfinished(profile)
    assert profile.values[0] == 0
    assert profile.minimum == pytest.approx(0.00477869, rel=1e-5)


@pytest.mark.slow
def test_the_law_of_sparsity_has_on_its_pool_the_intervals_of_fits_that_are_held_there():
    x, loss = runs_of("sparsity", "train", ("N_active", "D2", "P"), "loss")
    found = fit(SPARSITY, x, loss)
    profile = found.profile
    assert "not_converged" not in [each.code for each in found.diagnostics]
    gradients = np.diag([1, 1 / found.profile.scaled[1], 1, 1, 1, 1 / profile.scaled[5], 1])
    curvature, error, quantile = profile.sandwich.standard_errors(gradients, 0.9)
    for name in ("E", "alpha", "B", "beta"):
        k = SPARSITY.parameters.index(name)
        for end in found.intervals[k]:
            if end > 0:
                law = constrained(SPARSITY, Constraint(fix={name: end}), profile.unit)
                least = minimise(law, profile.x, profile.y, profile.weights)[1]
                root = np.sqrt(2 * (least - profile.minimum) / curvature[k]) / error[k]
                assert root == pytest.approx(quantile[k], rel=0.03), (name, end)


MOE = "moe", ("dense_parameter_count", "num_experts"), "loss_validation"


@pytest.mark.parametrize(
    ("law", "pool", "columns", "y", "published"),
    [
        (FARSEER, "farseer", ("N", "D"), "loss", 0.91),
        (REPEATED, "data_constrained", ("params", "tokens", "unique_tokens"), "loss", 0.79),
        (SPARSITY, "sparsity", ("N_active", "D2", "P"), "loss", 0.37),
    ],
    ids=["farseer", "data_constrained", "sparsity"],
)
def test_fitted_to_a_whole_pool_a_law_predicts_its_target_region_as_the_published_ones_do(
    law, pool, columns, y, published
):
    """Published: the mean over a task's laws, where all runs of the pool are taken."""
    assert r_squared(law, pool, columns, y) > published


@pytest.mark.parametrize("law", [ROUTED, ROUTED_FLOOR], ids=lambda each: each.name)
def test_laws_of_routed_models_predict_larger_ones_less_well_than_the_published_ones(law):
    """Published, the mean over ten laws: .81."""
    assert 0.65 < r_squared(law, *MOE) < 0.81


def test_the_best_size_found_numerically_is_that_of_the_closed_form():
    x, loss = known(CHINCHILLA)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.005, len(loss)))
    found = fit(CHINCHILLA, x, loss * noise)
    law = ParametricLaw(fit=found, per=6.0, diagnostics=())
    numeric, compute = sized(found, (1e22,)), 1e22
    for mine, exact in (
        (numeric.size, law.size(compute, found.level)),
        (numeric.data, law.data(compute, found.level)),
        (numeric.error, law.loss(compute, found.level)),
    ):
        np.testing.assert_allclose(mine, exact, rtol=1e-4)
    assert numeric.within


@pytest.mark.slow
def test_with_less_data_they_are_seen_again_rather_than_by_a_larger_model():
    """As Muennighoff et al. find: old data keep their worth longer than excess parameters do."""
    x, loss = known(REPEATED)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.002, len(loss)))
    found = fit(REPEATED, x, loss * noise)
    few, many = sized(found, (1e20, 1e8)), sized(found, (1e20, 1e13))
    assert few.known == {"U": 1e8}
    assert few.size.value < many.size.value
    assert few.data.value / 1e8 > 100
    assert few.error.value > many.error.value
    ever_fresh = ParametricLaw(
        fit=fit(CHINCHILLA, x[:2], CHINCHILLA.predict(x[:2], *TRUTHS["repeated"][:5])),
        per=6.0,
        diagnostics=(),
    )
    assert many.size.low < ever_fresh.size(1e20).value < many.size.high


@pytest.fixture
def table(tmp_path):
    x, loss = known(REPEATED)
    path = tmp_path / "runs.csv"
    rows = [
        "n,d,u,loss",
        *(",".join(f"{v:.9g}" for v in row) for row in zip(*x, loss, strict=True)),
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_the_command_divides_a_budget_between_size_and_epochs(table, answer, command):
    asked = ("best-size", table, "--x", "n", "--x", "d", "--x", "u", "--y", "loss")
    asked = (*asked, "--y-is", "loss", "--law", "repeated", "--budget", "1e20,1e9")
    found, _ = answer(*asked)
    (each,) = found["budgets"]
    assert each["size"]["value"] * each["data"]["value"] * 6 == pytest.approx(1e20)
    said = command(*asked)[1]
    assert "of 1e+20 FLOPs, U = 1e+09; compute = 6 n d" in said
    assert "epochs" in said


def test_mistakes_of_a_best_size_are_named(table, command):
    asked = ("best-size", table, "--x", "n", "--x", "d", "--y", "loss", "--y-is", "loss")
    status, _, wrong = command(*asked, "--law", "routed", "--budget", "1e20,1e9")
    assert status == 2
    assert "routed is not of size and data but of N and E, which compute does not divide." in wrong
    assert "--budget: 1e20,1e9 is not one number." in wrong


def test_a_table_of_budgets_and_data_has_the_sizes_that_follow_from_them(tmp_path, capsys):
    x, loss = known(CHINCHILLA)
    loss = loss * np.exp(np.random.default_rng(0).normal(0, 0.005, len(loss)))
    path = tmp_path / "runs.csv"
    numbers = zip(*x, 6 * x[0] * x[1], loss, strict=True)
    rows = ["n,d,flops,loss", *(",".join(f"{v:.12g}" for v in row) for row in numbers)]
    path.write_text("\n".join(rows) + "\n")
    said = []
    for more in (["--size", "n"], []):
        asked = ["optimal", str(path), *more, "--data", "d", "--flops", "flops", "--json", "-"]
        assert main([*asked, "--y", "loss", "--y-is", "loss", "--compute", "1e21"]) == 0
        (budget,) = json.loads(capsys.readouterr().out)["divisions"]
        said.append([list(size.values()) for size in budget["sizes"].values()])
    np.testing.assert_allclose(*said, rtol=1e-5)
    assert main(["optimal", str(path), "--data", "d", "--y", "loss"]) == 2
    assert "without --size, it is made of compute and data" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_a_law_that_is_another_in_another_unit_of_data_says_so(tmp_path, capsys):
    x, loss = known(FARSEER)
    path = tmp_path / "runs.csv"
    rows = [f"{n:.9g},{d:.9g},{y:.9g}" for n, d, y in zip(*x, loss, strict=True)]
    path.write_text("\n".join(["params,tokens,loss", *rows]) + "\n")
    words = [str(path), "--x", "params", "--x", "tokens", "--y", "loss", "--y-is", "loss", "--law"]
    said = {}
    for law in ("farseer", "chinchilla"):
        assert main([*words, law]) == 0
        said[law] = capsys.readouterr().out
    assert "with tokens counted in another unit this law gives another curve" in said["farseer"]
    assert "another unit" not in said["chinchilla"]


def test_a_law_without_data_has_no_best_size_and_is_told_why(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    path.write_text("N,E,loss\n1e8,1,3\n1e9,8,2.5\n")
    asked = ["best-size", str(path), "--x", "N", "--x", "E", "--y", "loss", "--y-is", "loss"]
    assert main([*asked, "--law", "routed", "--budget", "1e20"]) == 2
    assert "routed is not of size and data but of N and E" in capsys.readouterr().err
