"""The command fit-laws: laws of several variables, losses, clusters, weights, names of laws."""

import numpy as np
import pytest

from fits.base.errors import UserError
from fits.base.numbers import X_RANGE
from fits.cli.options import singles
from fits.data.results import COLUMNS
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.powers import saturating
from fits.saved.law_file import read_law

TRUTH = 0.6, 0.35, 0.1, 0.5


SURFACE = "--x", "params", "--x", "images", "--y", "loss", "--y-is", "loss", "--law", "chinchilla"


def test_a_law_of_two_variables_takes_two_columns_and_all_points(surface, answer):
    found, _ = answer(surface, *SURFACE, "--loss", "huber", "--predict", "64,64")
    (group,) = found["groups"]
    assert found["spec"]["x"] == ["params", "images"]
    assert (group["points"], group["runs"]) == (36, 36)
    alpha = group["parameters"]["alpha"]
    assert alpha["low"] < 0.35 < alpha["high"]
    (prediction,) = group["predictions"]
    assert prediction["x"] == [64, 64]
    truth = CHINCHILLA.predict([64, 64], 1.7, 0.6, 0.35, 0.8, 0.3)
    assert prediction["low"] < truth < prediction["high"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_huber_s_loss_is_not_ruled_by_the_run_that_went_wrong(surface, answer):
    truth = CHINCHILLA.predict([64, 64], 1.7, 0.6, 0.35, 0.8, 0.3)
    off = {}
    for loss in ("squares", "huber"):
        found, _ = answer(surface, *SURFACE, "--loss", loss, "--predict", "64,64")
        off[loss] = abs(found["groups"][0]["predictions"][0]["value"] - truth)
    assert off["huber"] < off["squares"] / 2


def test_every_option_of_the_fit_reaches_the_fit_and_its_file(surface, tmp_path, command):
    law = tmp_path / "law.json"
    terms = "--scale", "linear", "--weights", "params", "--cluster", "half", "--huber", "0.02"
    assert command(surface, *SURFACE, *terms, "--save", law)[0] == 0
    spec = read_law(law).evidence.spec
    assert (spec.scale, spec.weights, spec.clusters) == ("linear", "params", ("half",))
    assert (spec.loss, spec.huber) == ("huber", 0.02)
    status, said, _ = command("check", law)
    assert status == 0
    assert "to every digit" in said


SETTING = (
    "study",
    "model",
    "params",
    "flops",
    "images_seen",
    "data_size",
    "metric",
    "n",
    "subset",
    "variant",
)


@pytest.fixture
def seeds(tmp_path):
    """A results table: eight settings, each with luck of its own, trained with three seeds."""
    rng = np.random.default_rng(0)
    lines = [",".join(COLUMNS)]
    for k, flops in enumerate(np.geomspace(1e12, 1e17, 8).tolist()):
        expected = float(saturating(flops / 1e14, *TRUTH)) * np.exp(0.03 * rng.normal())
        for seed in range(3):
            error = expected * np.exp(0.003 * rng.normal())
            run = f"small,r{k}{seed},w{k},{k + 1},{flops:.9g},640,,{seed}"
            lines.append(f"{run},upstream_error,{error:.6f},1000,all,")
    path = tmp_path / "results.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


RESULTS = "--x", "flops", "--y", "value", "--all-points", "--law", "power-floor"


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_seeds_of_one_setting_are_a_cluster_without_being_told(seeds, command, answer):
    _, said, _ = command(seeds, *RESULTS)
    line = f"  8 clusters of rows with correlated errors, by {', '.join(SETTING)}"
    assert line in said.splitlines()
    found, told, alone = (
        answer(seeds, *RESULTS, *more)[0]
        for more in ((), [w for name in SETTING for w in ("--cluster", name)], ("--cluster", "run"))
    )
    assert found == told
    assert found["spec"]["clusters"] == [*SETTING]
    (found,), (alone,) = found["groups"], alone["groups"]
    assert (found["clusters"], alone["clusters"]) == (8, 24)
    for mine, its in zip(*(each["parameters"].values() for each in (found, alone)), strict=True):
        assert mine["value"] == its["value"]
        assert (mine["low"], mine["high"]) != (its["low"], its["high"])
    assert found["notes"] == []


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_one_seed_of_each_setting_makes_no_clusters(seeds, command, answer):
    found, _ = answer(seeds, *RESULTS, "--where", "seed=0")
    assert found["groups"][0]["clusters"] is None
    assert found["spec"]["clusters"] == []
    assert "correlated errors" not in command(seeds, *RESULTS, "--where", "seed=0")[1]


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_seeds_that_another_column_tells_apart_are_noted_and_no_clusters(seeds, tmp_path, answer):
    head, *lines = seeds.read_text().split()
    wide = tmp_path / "wide.csv"
    longer = [f"{line},{k}" for k, line in enumerate(lines)]
    wide.write_text("\n".join([head + ",loss", *longer]) + "\n")
    (group,) = answer(wide, *RESULTS)[0]["groups"]
    assert group["clusters"] is None
    (note,) = group["notes"]
    assert (note["code"], note["parameters"]) == ("seeds_apart", ["flops"])
    assert "say --cluster" in note["words"]
    (group,) = answer(wide, *RESULTS, "--cluster", "model")[0]["groups"]
    assert group["clusters"] == 8
    assert group["notes"] == []


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_seeds_are_clusters_for_the_other_commands_too(seeds, tmp_path, answer):
    wide = tmp_path / "two.csv"
    head, *lines = seeds.read_text().split()
    other = [line.replace("small,r", "other,s") for line in lines]
    wide.write_text("\n".join([head, *lines, *other]) + "\n")
    found = [
        answer("compare", wide, "--by", "study", *RESULTS, "--predict", "1e18", *more)[0][
            "predictions"
        ][0]
        for more in ((), ("--cluster", "run"))
    ]
    spread = [at["error_ratio"]["high"] / at["error_ratio"]["low"] for at in found]
    assert spread[0] != spread[1]


@pytest.mark.slow
def test_a_fit_says_how_its_rows_were_counted(seeds, command, answer):
    terms = "--weights", "n", "--huber", "0.05", "--scale", "linear", "--cluster", "model"
    _, said, _ = command(seeds, *RESULTS, *terms)
    for line in (
        "weights: column n",
        "8 clusters of rows with correlated errors, by model",
        "Huber's loss with threshold 0.05",
        "errors count as differences, not as ratios",
    ):
        assert f"  {line}" in said.splitlines()
    assert "  root mean square of error 0." in said
    found, _ = answer(seeds, *RESULTS, *terms)
    assert (found["spec"]["weights"], found["spec"]["huber"]) == ("n", 0.05)
    holdout = found["groups"][0]["holdout"]
    assert holdout["score"] == "mean absolute error"  # all weights are alike
    assert holdout["fitted"] % 3 == holdout["held_out"] % 3 == 0


@pytest.mark.slow
def test_huber_auto_is_huber_s_loss(surface, answer):
    one, other = (
        answer(surface, *SURFACE, *words)[0] for words in (("--huber", "auto"), ("--loss", "huber"))
    )
    assert one == other
    assert (one["spec"]["loss"], one["spec"]["huber"]) == ("huber", "auto")
    assert one["groups"][0]["holdout"]["score"] == "mean absolute log error"


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
@pytest.mark.parametrize(
    ("typed", "law"), [("m1", "power"), ("M2", "power-floor"), ("broken-1", "broken")]
)
def test_other_names_of_a_law_are_known(typed, law, table, answer):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--law", typed)
    assert found["groups"][0]["law"] == law


@pytest.mark.slow
def test_a_law_of_three_breaks_is_fitted_kept_and_tried_where_it_is_asked_for(
    table, tmp_path, answer
):
    path = tmp_path / "law.json"
    asked = table, "--x", "eflop", "--y", "error", "--where", "model=S", "--all-points"
    asked = *asked, "--law", "broken-3"
    found, _ = answer(*asked, "--save", path)
    assert len(found["groups"][0]["parameters"]) == 12
    assert "broken-3" in found["groups"][0]["holdout"]["trials"]
    assert read_law(path).law == "broken-3"


@pytest.mark.slow
def test_a_surface_is_tried_against_laws_of_its_own_variables(surface, command, answer):
    found, _ = answer(surface, *SURFACE)
    tried = set(found["groups"][0]["holdout"]["trials"])
    simple = {f"{law} in {name}" for law in ("power", "power-floor") for name in "ND"}
    assert tried == {"chinchilla", *simple}
    _, said, _ = command(surface, *SURFACE, "--details")
    assert "up to 1 times" not in said
    assert "    chinchilla" in said


def test_a_number_of_an_option_may_have_a_factor_as_in_a_table():
    assert singles("--predict", ["7B", "40k", ".5M", "1e22"], X_RANGE) == [7e9, 4e4, 5e5, 1e22]
    for text in ("11%", "nan", "1e999", "7 hours", "~3"):
        with pytest.raises(UserError, match="is not a number from"):
            singles("--predict", [text], X_RANGE)
