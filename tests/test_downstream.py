"""Laws of downstream error against the loss, and the chain from a budget through the loss."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from binomial import fewest

from fits.decisions.downstream import chained
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.constrained import Constraint
from fits.laws.downstream import EXPONENTIAL, exponential, sigmoid
from fits.regression.fit import fit

OVERTRAINED = Path(__file__).resolve().parents[2] / "shared/data/field/overtrained.csv"
LAW, TASK = (1.7, 400.0, 0.34, 900.0, 0.3), (0.75, 2.0, 0.8)
RNG = np.random.default_rng(0)
N, D = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
FAR = np.array([1e10, 1e12])


def runs(rng, noise=0.005):
    loss = CHINCHILLA.predict((N, D), *LAW) * np.exp(rng.normal(0, noise, len(N)))
    return loss, exponential(loss, *TASK) * np.exp(rng.normal(0, noise, len(N)))


def test_both_laws_come_down_from_chance():
    assert exponential(1e3, 0.75, 2.0, 0.8) == pytest.approx(0.75)
    assert sigmoid(1e3, 0.1, 0.75, 2.0, 3.0) == pytest.approx(0.75)
    assert sigmoid(3.0, 0.1, 0.75, 2.0, 3.0) == pytest.approx((0.1 + 0.75) / 2)
    assert sigmoid(-1e3, 0.1, 0.75, 2.0, 3.0) == pytest.approx(0.1)


def test_far_from_its_floor_a_sigmoid_is_an_exponential():
    loss = np.linspace(5, 8, 20)
    found = fit(EXPONENTIAL, loss, sigmoid(loss, 0.1, 0.75, 2.0, 2.0))
    np.testing.assert_allclose(found.values[::2], [0.75, 2.0], rtol=2e-3)


def test_the_chain_finds_the_error_at_a_budget_far_beyond_its_runs():
    loss, error = runs(np.random.default_rng(1))
    found = chained(fit(CHINCHILLA, (N, D), loss), fit(EXPONENTIAL, loss, error), tuple(FAR))
    truth = exponential(CHINCHILLA.predict(FAR, *LAW), *TASK)
    assert found.error.low < truth < found.error.high
    assert found.error.low < found.error_of_loss.low < found.error_of_loss.value
    assert found.error_of_loss.value < found.error_of_loss.high < found.error.high


def test_errors_of_both_laws_add_in_squares():
    loss, error = runs(np.random.default_rng(2))
    one, other = fit(CHINCHILLA, (N, D), loss), fit(EXPONENTIAL, loss, error)
    found = chained(one, other, tuple(FAR))
    low, high = other.band(np.array([found.loss.value]))
    own = np.log([high[0] / found.error.value, found.error.value / low[0]])
    carried = np.log(
        [found.error_of_loss.high / found.error.value, found.error.value / found.error_of_loss.low]
    )
    both = np.log([found.error.high / found.error.value, found.error.value / found.error.low])
    np.testing.assert_allclose(both, np.hypot(own, carried), rtol=1e-3)


@pytest.mark.slow
def test_intervals_through_the_chain_hold_the_truth_as_often_as_they_say():
    truth, inside = exponential(CHINCHILLA.predict(FAR, *LAW), *TASK), 0
    for seed in range(30):
        loss, error = runs(np.random.default_rng(100 + seed))
        one, other = fit(CHINCHILLA, (N, D), loss), fit(EXPONENTIAL, loss, error)
        found = chained(one, other, tuple(FAR)).error
        inside += int(found.low <= truth <= found.high)
    assert fewest(30) <= inside <= fewest(30, chance=0.96)


@pytest.fixture
def table(tmp_path):
    loss, error = runs(np.random.default_rng(3))
    rows = zip(N, D, loss, 1 - error, strict=True)
    path = tmp_path / "runs.csv"
    path.write_text("n,d,loss,acc\n" + "\n".join(",".join(f"{v:.8g}" for v in r) for r in rows))
    return path


CHAIN = "--x", "n", "--x", "d", "--law", "chinchilla", "--through", "loss", "--y", "acc"


def test_the_command_predicts_accuracy_with_a_known_chance_level(table, answer):
    asked = (*CHAIN, "--y-is", "accuracy", "--chance", ".25", "--predict", "1e10,1e12")
    found, _ = answer("downstream", table, *asked)
    (group,) = found["task"]["groups"]
    assert found["task"]["spec"]["fix"] == {"e": 0.75}
    assert group["parameters"]["e"]["low"] == group["parameters"]["e"]["high"] == 0.75
    assert group["parameters"]["g"]["low"] < 0.8 < group["parameters"]["g"]["high"]
    (each,) = found["predictions"]
    truth = float(exponential(CHINCHILLA.predict(FAR, *LAW), *TASK))
    assert each["error"]["low"] < truth < each["error"]["high"]


def test_a_loss_below_all_those_fitted_is_said_and_an_error_below_0_too(table, answer, command):
    asked = (*CHAIN, "--y-is", "accuracy", "--chance", ".25", "--predict", "1e11,1e13")
    _, said, _ = command("downstream", table, *asked)
    (own,) = re.findall(r"warning: x = ([\d.]+): the smallest x fitted is", said)
    assert f"E({own}) = " in said  # the loss that the first law gives

    easy = table.with_name("easy.csv")  # .35 more accuracy everywhere: it would end above 1
    header, *rows = table.read_text().splitlines()
    cells = [row.rsplit(",", 1) for row in rows]
    easy.write_text("\n".join([header, *(f"{rest},{float(acc) + 0.35}" for rest, acc in cells)]))
    asked = (*CHAIN, "--y-is", "accuracy", "--chance", ".6", "--predict", "1e11,1e13")
    _, said, _ = command("downstream", easy, *asked)
    assert "warning: the law predicts an error below 0 there: it cannot hold that far out" in said
    assert "acc 1 [" in said
    found, _ = answer("downstream", easy, *asked)
    assert found["predictions"][0]["error"]["value"] == 0


def test_the_command_prints_both_fits_and_the_accuracy(table, command):
    asked = (*CHAIN, "--y-is", "accuracy", "--link", "sigmoid", "--predict", "1e10,1e12")
    status, said, _ = command("downstream", table, *asked)
    assert status == 0
    for words in ("law chinchilla", "law sigmoid", "with the errors of both laws", "of which the"):
        assert words in said
    assert "acc " in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--link", "sigmoidal"], "--link: no 'sigmoidal'. Did you mean 'sigmoid'?"),
        (["--chance", "2"], "--chance: 2 is above 1."),
        (["--through", "lass"], "'lass'"),
        (["--predict", "1e9"], "--predict: 1e9 is not 2 numbers."),
        (["--fix", "g=1"], "--fix: law chinchilla has no parameter 'g'."),
    ],
)
def test_mistakes_of_the_chain_are_named(table, command, options, said):
    status, _, wrong = command("downstream", table, *CHAIN, "--y-is", "accuracy", *options)
    assert status == 2
    assert said in wrong


def test_a_law_without_a_chance_level_is_told_from_those_that_have_one(table, command):
    status, _, wrong = command(
        table, "--x", "loss", "--y", "acc", "--law", "power", "--chance", ".2"
    )
    assert status == 2
    assert "--chance: law power has none; of the laws m4, exponential, sigmoid have." in wrong


def test_a_law_that_rises_takes_all_points_and_holds_out_the_best_models(table, answer, command):
    asked = (table, "--x", "loss", "--y", "acc", "--y-is", "accuracy", "--law", "exponential")
    found, _ = answer(*asked)
    (group,) = found["groups"]
    assert (found["spec"]["rows"], group["points"]) == ("all", 36)
    assert group["holdout"]["times_larger"] < 1
    assert set(group["holdout"]["trials"]) == {"exponential", "sigmoid"}
    assert "--frontier: the error rises in law exponential" in command(*asked, "--frontier")[2]


def test_the_chain_of_small_models_holds_the_accuracy_that_a_7b_run_measured():
    """With the paper's tied exponents, and downstream error as an exponential of the loss."""
    if not OVERTRAINED.exists():
        pytest.skip("overtrained.csv of ../shared is absent")
    with OVERTRAINED.open() as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "c4_original"]
    names = "params", "tokens", "c4_val_loss", "avg_acc"
    every = np.array([[float(row[name]) for name in names] for row in rows])
    n, d, loss, accuracy = every[every[:, 0] < 1e9].T
    (large,) = every[every[:, 0] > 6e9]
    tied = Constraint(tie={"alpha": "beta"})
    one = fit(CHINCHILLA, (n, d), loss, constraint=tied)
    found = chained(one, fit(EXPONENTIAL, loss, 1 - accuracy), tuple(large[:2]))
    assert found.error.low < 1 - large[3] < found.error.high
    assert found.error.high - found.error.low < 0.05
