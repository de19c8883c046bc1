"""The command fit-laws: what it prints, what it writes, and what it says of mistakes."""

import json
import os
import subprocess
import sys
import sysconfig
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from fits.data.points import KINDS
from fits.data.results import COLUMNS
from fits.fit_laws import app, main
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.powers import saturating
from fits.laws.registry import EVERY_LAW, LAWS
from fits.report_json import GroupJson, ReportJson, schema
from fits.saved.law_file import read_law
from fits.spec import LOSSES, SCALES, FitSpec

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
TRUTH = 0.6, 0.35, 0.1, 0.5


@pytest.fixture
def table(tmp_path):
    """Runs of two models on the same law, a little noisy, and a copy far above the frontier."""
    rng = np.random.default_rng(0)
    compute = np.geomspace(1e-2, 1e3, 24)
    error = saturating(compute, *TRUTH) * np.exp(0.005 * rng.normal(size=24))
    runs = list(zip(compute, error, strict=True))
    lines = ["model,eflop,error"]
    for model, factor in (("S", 1.0), ("B", 1.2)):
        lines += [f"{model},{c:.6g},{min(e * factor, 1):.6f}" for c, e in runs]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def command(capsys):
    """Runs the command; returns its exit status, what it printed, and what it complained of."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def answer(command):
    """Runs the command for JSON and returns it with the complaints."""

    def run(*arguments):
        status, printed, complaints = command(*arguments, "--json", "-")
        assert status == 0, complaints
        return json.loads(printed), complaints

    return run


def test_help_opens_with_what_to_type_and_tells_all(command):
    status, said, _ = command("--help")
    assert status == 0
    assert "fit-laws TABLE --x COL --y COL" in "\n".join(said.splitlines()[:6])
    for each in app.registered_commands:
        assert f"  {each.name} " in said
        assert command(each.name, "--help")[0] == 0
    _, said, _ = command("fit", "--help")
    said = " ".join(said.split())
    options = "--x --y --y-is --where --by --all-points --frontier --hull --law --loss --huber"
    options += (
        " --scale --weights --cluster --level --predict --details --save --json --plot --help"
    )
    for word in (*options.split(), *EVERY_LAW, *KINDS, *LOSSES, *SCALES):
        assert word in said or word in {f"broken-{k}" for k in range(2, 6)}
    assert "Exit status: 0 done; 2 a mistake" in said
    assert "nothing is written unless" in said


def test_the_schema_is_printed_and_describes_the_json(command, table, answer):
    status, said, _ = command("schema")
    assert status == 0
    assert json.loads(said) == schema()
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--law", "power")
    ReportJson.model_validate(found)


def test_help_needs_nothing_but_the_standard_library():
    look = (
        "import sys, fits.fit_laws as f\n"
        "for words in (['--help'], ['fit', '--help'], ['check', '--help']): f.main(words)\n"
        "print(sorted({'numpy', 'scipy', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_importing_the_fits_loads_neither_jax_nor_pandas_nor_scipy_nor_matplotlib():
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "fits").rglob("*.py")]
    names = [".".join(path.parts).removesuffix(".__init__") for path in files]
    heavy = {"jax", "flax", "pandas", "scipy", "matplotlib", "pyarrow", "models", "scaling"}
    look = f"import sys, {', '.join(names)}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_file_runs_as_a_script_from_any_folder(table, tmp_path):
    script = ROOT / "fits" / "fit_laws.py"
    arguments = [table.name, "--x", "eflop", "--y", "error", "--law", "power", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-S", str(script), *arguments],  # -S: as if fits were not installed
        env={"PYTHONPATH": sysconfig.get_path("purelib")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["groups"][0]["law"] == "power"


def test_the_law_is_printed_with_intervals_and_all_that_speaks_against_it(table, command):
    status, said, complaints = command(
        table, "--x", "eflop", "--y", "error", "--predict", "1", "--predict", "1e5"
    )
    assert status == 0
    assert not complaints
    assert "runs.csv: error against eflop" in said
    assert "law saturating: E(x) = a (x + d)^-b + c" in said
    assert "through 24 of 48 runs, the frontier; 90% intervals" in said
    assert "E(100000) = " in said
    assert "warning: x = 100000 is 100 times above the largest x fitted" in said
    assert "hold-out of the 8 largest, " in said
    (floor,) = (line for line in said.splitlines() if line.endswith("   floor"))
    name, _, value, low, high, *_ = floor.replace("[", "").replace("]", "").replace(",", "").split()
    assert name == "c"
    assert float(low) < 0.1 < float(high)
    assert float(low) < float(value) < float(high)


def test_json_holds_the_law_its_intervals_and_predictions(table, answer):
    found, complaints = answer(
        table,
        "--x",
        "eflop",
        "--y",
        "error",
        "--predict",
        "1",
        "--predict",
        "10",
        "--predict",
        "1e5",
    )
    (group,) = found.pop("groups")
    spec = FitSpec(x=("eflop",), y="error")
    assert found.keys() == {"table", "spec"}
    assert found["table"] == str(table)
    assert found["spec"] == json.loads(json.dumps(asdict(spec)))
    assert group.keys() == GroupJson.model_fields.keys()
    assert group["group"] is None
    assert (group["law"], group["formula"]) == ("saturating", "a (x + d)^-b + c")
    assert (group["points"], group["runs"]) == (24, 48)
    assert 0.003 < group["rms"] < 0.008
    for name, truth in zip("abcd", TRUTH, strict=True):
        low, high = group["intervals"][name]
        assert low < truth < high
        assert low < group["values"][name] < high
    assert [prediction["x"] for prediction in group["predictions"]] == [1, 10, 1e5]
    for prediction in group["predictions"]:
        assert prediction["low"] < prediction["median"] < prediction["high"]
        assert prediction["low"] < saturating(prediction["x"], *TRUTH) < prediction["high"]
    (beyond,) = group["diagnostics"]
    assert (beyond["code"], beyond["parameters"]) == ("extrapolates", ["x"])
    assert beyond["words"] == "x = 100000 is 100 times above the largest x fitted"
    assert complaints == f"warning: {beyond['words']}\n"


def test_each_group_gets_its_own_fit(table, answer):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--by", "model", "--all-points")
    assert [group["group"] for group in found["groups"]] == [{"model": "S"}, {"model": "B"}]
    small, big = (group["values"]["c"] for group in found["groups"])
    assert big == pytest.approx(1.2 * small, rel=0.05)


def test_all_points_are_fitted_when_asked_for(table, answer):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--all-points", "--law", "power")
    assert found["groups"][0]["points"] == 48
    assert found["groups"][0]["values"].keys() == {"a", "b"}


def test_the_same_table_gives_the_same_digits(table, command):
    arguments = table, "--x", "eflop", "--y", "error", "--json", "-"
    assert command(*arguments) == command(*arguments)


def test_files_are_written_where_asked_for_and_nowhere_else(table, tmp_path, command):
    before = table.read_bytes()
    out, figure = tmp_path / "fit.json", tmp_path / "fit.svg"
    arguments = table, "--x", "eflop", "--y", "error", "--by", "model"
    assert command(*arguments)[0] == 0
    assert list(tmp_path.iterdir()) == [table]
    status, said, _ = command(*arguments, "--json", out, "--plot", figure)
    assert status == 0
    assert f"written: {out}" in said
    assert f"written: {figure}" in said
    assert len(json.loads(out.read_text())["groups"]) == 2
    assert "model=B" in figure.read_text()
    assert sorted(tmp_path.iterdir()) == sorted([table, out, figure])
    assert table.read_bytes() == before


def test_every_fit_comes_with_how_well_each_law_predicts(table, command, answer):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--law", "power")
    holdout = found["groups"][0]["holdout"]
    assert (holdout["fitted"], holdout["held_out"]) == (16, 8)
    assert holdout["times_larger"] == pytest.approx(55, rel=0.1)
    errors = holdout["errors"]
    assert set(errors) == set(LAWS)
    assert errors["saturating"] < 0.03 < errors["power"]
    _, short, _ = command(table, "--x", "eflop", "--y", "error", "--law", "power")
    (line,) = (line for line in short.splitlines() if "hold-out" in line)
    assert line.startswith("  hold-out of the 8 largest, log error: " + holdout["best"])
    assert f"power {errors['power']:.3g}" in line
    _, said, _ = command(table, "--x", "eflop", "--y", "error", "--law", "power", "--details")
    assert "hold-out: fitted to the 16 smallest points, scored on the 8 largest, up to " in said
    table_ = said[said.index("hold-out: ") :].splitlines()[2:]
    lines = {line.split()[0]: line.split()[1:] for line in table_ if len(line.split()) > 1}
    for name, error in errors.items():
        assert error is None or lines[name][0] == f"{error:.3g}"
    assert lines["power"][1:] == ["fitted"]
    assert lines[holdout["best"]][1:] == ["best"]


def test_the_json_holds_the_numbers_that_are_printed(table, command, answer):
    words = table, "--x", "eflop", "--y", "error", "--predict", "50"
    (group,) = answer(*words)[0]["groups"]
    said = command(*words)[1]
    for name, value in group["values"].items():
        low, high = group["intervals"][name]
        assert f"  {name} = {value:<10.4g} [{low:.4g}, {high:.4g}]" in said
    (place,) = group["predictions"]
    low, high = place["low"], place["high"]
    assert f"E(50) = {place['median']:.4g} [{low:.4g}, {high:.4g}]" in said
    assert f"root mean square of log error {group['rms']:.4f}" in said
    assert f"through {group['points']} of {group['runs']} runs" in said


def test_several_groups_are_a_table_with_one_row_each_and_details_are_all(table, command, answer):
    words = table, "--x", "eflop", "--y", "error", "--by", "model"
    groups = answer(*words)[0]["groups"]
    _, said, _ = command(*words)
    lines = said.splitlines()
    assert lines[2].split() == [
        "model",
        "law",
        "floor",
        "exponent",
        "points",
        "worst",
        "diagnostic",
    ]
    for line, group in zip(lines[3:5], groups, strict=True):
        assert line.startswith(f"{group['group']['model']}  ")
        for name in "cb":
            low, high = group["intervals"][name]
            assert f"{group['values'][name]:.3g} [{low:.3g}, {high:.3g}]" in line
        assert f"{group['points']} of {group['runs']}" in line
    details = command(*words, "--details")[1]
    assert details.count("law saturating: E(x)") == 2
    assert details.count("hold-out: fitted to the") == 2


def test_a_forecast_is_asked_for_like_a_law(table, tmp_path, command, answer):
    arguments = table, "--x", "eflop", "--y", "error", "--law", "forecast", "--predict", "1e4"
    arguments = *arguments, "--frontier"
    found, _ = answer(*arguments)
    (group,) = found["groups"]
    assert group["law"] == "forecast"
    assert group["formula"] is group["values"] is group["intervals"] is None
    (prediction,) = group["predictions"]
    assert prediction["low"] < saturating(1e4, *TRUTH) < prediction["high"]
    figure = tmp_path / "forecast.svg"
    status, said, _ = command(*arguments, "--plot", figure)
    assert status == 0
    assert "90% intervals of one more measurement" in said
    assert "forecast and its 90 % band" in figure.read_text()


def test_a_prediction_below_0_is_said(table, answer):
    words = table, "--x", "eflop", "--y", "error", "--law", "log-linear", "--predict", "1e30"
    found, _ = answer(*words)
    (group,) = found["groups"]
    (prediction,) = group["predictions"]
    assert prediction["median"] < prediction["low"] == 0
    assert "negative_prediction" in {each["code"] for each in group["diagnostics"]}


@pytest.mark.parametrize(("which", "points"), [((), 48), (("--frontier",), 24)])
def test_a_forecast_takes_all_points_of_a_curve_unless_the_frontier_is_asked_for(
    table, answer, which, points
):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--law", "forecast", *which)
    assert found["groups"][0]["points"] == points


@pytest.fixture
def surface(tmp_path):
    """Losses of 36 models on a law of two variables, and one run that went wrong."""
    sizes = np.geomspace(1, 32, 6)
    size, data = (axis.ravel() for axis in np.meshgrid(sizes, sizes))
    loss = CHINCHILLA.predict(np.stack([size, data]), 1.7, 0.6, 0.35, 0.8, 0.3)
    loss *= np.exp(0.002 * np.random.default_rng(0).normal(size=36))
    loss[20] *= 1.3
    numbers = enumerate(zip(size, data, loss, strict=True))
    rows = [f"{n:.6g},{d:.6g},{y:.6f},{k % 2}" for k, (n, d, y) in numbers]
    path = tmp_path / "surface.csv"
    path.write_text("\n".join(["params,images,loss,half", *rows]) + "\n")
    return path


SURFACE = "--x", "params", "--x", "images", "--y", "loss", "--y-is", "loss", "--law", "chinchilla"


def test_a_law_of_two_variables_takes_two_columns_and_all_points(surface, answer):
    found, _ = answer(surface, *SURFACE, "--loss", "huber", "--predict", "64,64")
    (group,) = found["groups"]
    assert found["spec"]["x"] == ["params", "images"]
    assert (group["points"], group["runs"]) == (36, 36)
    low, high = group["intervals"]["alpha"]
    assert low < 0.35 < high
    (prediction,) = group["predictions"]
    assert prediction["x"] == [64, 64]
    truth = CHINCHILLA.predict([64, 64], 1.7, 0.6, 0.35, 0.8, 0.3)
    assert prediction["low"] < truth < prediction["high"]


def test_huber_s_loss_is_not_ruled_by_the_run_that_went_wrong(surface, answer):
    truth = CHINCHILLA.predict([64, 64], 1.7, 0.6, 0.35, 0.8, 0.3)
    off = {}
    for loss in ("squares", "huber"):
        found, _ = answer(surface, *SURFACE, "--loss", loss, "--predict", "64,64")
        off[loss] = abs(found["groups"][0]["predictions"][0]["median"] - truth)
    assert off["huber"] < off["squares"] / 2


def test_every_way_to_fit_reaches_the_fit_and_its_file(surface, tmp_path, command):
    law = tmp_path / "law.json"
    ways = "--scale", "linear", "--weights", "params", "--cluster", "half", "--huber", "0.02"
    assert command(surface, *SURFACE, *ways, "--save", law)[0] == 0
    spec = read_law(law).evidence.spec
    assert (spec.scale, spec.weights, spec.clusters) == ("linear", "params", ["half"])
    assert (spec.loss, spec.huber) == ("huber", 0.02)
    status, said, _ = command("check", law)
    assert status == 0
    assert "to every digit" in said


# Seeds, clusters and weights


SETTING = "study", "model", "params", "flops", "images_seen", "data_size", "metric", "n"


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
            lines.append(f"{run},upstream_error,{error:.6f},1000")
    path = tmp_path / "results.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


RESULTS = "--x", "flops", "--y", "value", "--all-points", "--law", "power-floor"


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
    assert found["values"] == alone["values"]
    assert found["intervals"] != alone["intervals"]
    assert not any("seed" in note for note in found["notes"])


def test_one_seed_of_each_setting_makes_no_clusters(seeds, command, answer):
    found, _ = answer(seeds, *RESULTS, "--where", "seed=0")
    assert found["groups"][0]["clusters"] is None
    assert found["spec"]["clusters"] == []
    assert "correlated errors" not in command(seeds, *RESULTS, "--where", "seed=0")[1]


def test_seeds_that_another_column_tells_apart_are_noted_and_no_clusters(seeds, tmp_path, answer):
    head, *lines = seeds.read_text().split()
    wide = tmp_path / "wide.csv"
    longer = [f"{line},{k}" for k, line in enumerate(lines)]
    wide.write_text("\n".join([head + ",loss", *longer]) + "\n")
    (group,) = answer(wide, *RESULTS)[0]["groups"]
    assert group["clusters"] is None
    (note,) = (said for said in group["notes"] if "never in seed alone" in said)
    assert "say --cluster" in note
    (group,) = answer(wide, *RESULTS, "--cluster", "model")[0]["groups"]
    assert group["clusters"] == 8
    assert not any("seed" in said for said in group["notes"])


@pytest.mark.slow
def test_seeds_are_clusters_for_the_other_commands_too(seeds, tmp_path, answer):
    wide = tmp_path / "two.csv"
    head, *lines = seeds.read_text().split()
    other = [line.replace("small,r", "other,s") for line in lines]
    wide.write_text("\n".join([head, *lines, *other]) + "\n")
    found = [
        answer("compare", wide, "--by", "study", *RESULTS, *more)[0]["at"][0]
        for more in ((), ("--cluster", "run"))
    ]
    spread = [at["high"] / at["low"] for at in found]
    assert spread[0] != spread[1]


def test_a_fit_says_how_its_rows_were_counted(seeds, command, answer):
    ways = "--weights", "n", "--huber", "0.05", "--scale", "linear", "--cluster", "model"
    _, said, _ = command(seeds, *RESULTS, *ways)
    for line in (
        "weights: column n",
        "8 clusters of rows with correlated errors, by model",
        "Huber's loss with threshold 0.05",
        "errors count as differences, not as ratios",
    ):
        assert f"  {line}" in said.splitlines()
    assert "  root mean square of error 0." in said
    found, _ = answer(seeds, *RESULTS, *ways)
    assert (found["spec"]["weights"], found["spec"]["huber"]) == ("n", 0.05)
    holdout = found["groups"][0]["holdout"]
    assert holdout["score"] == "mean absolute error"  # all weights are alike
    assert holdout["fitted"] % 3 == holdout["held_out"] % 3 == 0


def test_huber_auto_is_huber_s_loss(surface, answer):
    one, other = (
        answer(surface, *SURFACE, *words)[0] for words in (("--huber", "auto"), ("--loss", "huber"))
    )
    assert one == other
    assert (one["spec"]["loss"], one["spec"]["huber"]) == ("huber", None)
    assert one["groups"][0]["holdout"]["score"] == "mean absolute log error"


MISTAKES = {
    "too few columns": (["--law", "chinchilla"], ["--x: law chinchilla takes 2 (N, D), and 1 are"]),
    "too many columns": (["--x", "error"], ["--x: law saturating takes 1 (x), and 2 are given"]),
    "place": (["--predict", "1,2"], ["--predict: 1,2 is not one number"]),
    "ways": (
        ["--loss", "hubr", "--scale", "lg"],
        ["--loss: no 'hubr'. Did you", "--scale: no 'lg'"],
    ),
    "huber": (["--huber", "outo"], ["--huber: outo is neither auto nor a number"]),
    "huber's size": (["--huber", "11"], ["--huber: 11 is not from 1e-09 to 10"]),
    "two losses": (
        ["--loss", "squares", "--huber", "1"],
        ["--huber: squares have no threshold"],
    ),
    "forecast's ways": (
        ["--law", "forecast", "--weights", "eflop", "--cluster", "model", "--scale", "linear"],
        ["--weights: a forecast takes", "--cluster: a forecast", "--scale: a forecast"],
    ),
    "weights": (["--weights", "model"], ["line 2: model is S, not a number"]),
    "cluster": (["--cluster", "modle"], ["no column 'modle'. Did you mean 'model'?"]),
    "points twice": (["--hull", "--all-points"], ["--all-points and --hull: say which points"]),
    "hull of two": (
        ["--x", "error", "--law", "chinchilla", "--hull"],
        ["--hull: a law of several"],
    ),
    "forecast kept": (["--law", "forecast", "--save", "a.json"], ["--save: a forecast is no law"]),
    "unknown law": (["--law", "saturatin"], ["--law: no 'saturatin'. Did you mean 'saturating'?"]),
    "unknown kind": (["--y-is", "eror"], ["--y-is: no 'eror'. Did you mean 'error'"]),
    "prediction at 0": (["--predict", "0", "--predict", "x"], ["--predict: 0 ", "--predict: x "]),
    "condition": (["--where", "model"], ["--where: 'model' has no '='"]),
    "no such value": (["--where", "model=L"], ["no row has model=L. Values of model: S, B."]),
    "no such column": (["--by", "modle"], ["no column 'modle'. Did you mean 'model'?"]),
    "figure": (["--plot", "fit.gif"], ["--plot: fit.gif ends in none of .pdf, .png, .svg"]),
    "no folder": (["--json", "nowhere/a.json"], ["--json: there is no folder nowhere"]),
    "folder": (["--json", "."], ["--json: . is a folder"]),
    "itself": (["--json", "runs.csv"], ["--json: runs.csv is the table itself"]),
    "one file twice": (
        ["--json", "a.png", "--plot", "./a.png"],
        ["--json and --plot: both name a.png. Name two files."],
    ),
    "several": (
        ["--law", "x", "--predict", "-1", "--plot", "a", "--y-is", "b", "--by", "c"],
        ["--law: no 'x'", "--predict: -1", "--plot: a ends", "--y-is: no 'b'", "no column 'c'"],
    ),
}


@pytest.mark.parametrize(("extra", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_all_named_and_nothing_is_written(
    table, tmp_path, command, monkeypatch, extra, words
):
    monkeypatch.chdir(tmp_path)
    written = ["--json", "out.json"] if "--json" not in extra else []
    status, said, complaints = command(table, "--x", "eflop", "--y", "error", *written, *extra)
    assert (status, said) == (2, "")
    assert complaints.startswith("fit-laws:")
    for word in words:
        assert word in complaints
    assert list(tmp_path.iterdir()) == [table]


@pytest.mark.parametrize("missing", ["nix.csv", "nix.parquet"])
def test_a_table_that_is_not_there_is_said(tmp_path, command, missing):
    status, _, complaints = command(tmp_path / missing, "--x", "a", "--y", "b")
    assert status == 2
    assert complaints == f"fit-laws: {tmp_path / missing}: No such file or directory.\n"


def test_a_table_that_is_not_there_hides_no_other_mistake(tmp_path, command):
    _, _, complaints = command(tmp_path / "nix.csv", "--x", "a", "--y", "b", "--law", "x")
    assert "--law: no 'x'" in complaints
    assert "nix.csv: No such file or directory." in complaints


def test_json_goes_through_a_link_and_into_a_pipe(table, tmp_path, command):
    link, target, pipe = tmp_path / "link", tmp_path / "target", tmp_path / "pipe"
    link.symlink_to(target)
    os.mkfifo(pipe)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    for path in (link, pipe):
        status, *_ = command(
            table, "--x", "eflop", "--y", "error", "--law", "power", "--json", path
        )
        assert status == 0
    reader.join(timeout=10)
    assert link.is_symlink()
    assert pipe.is_fifo()
    assert heard == [target.read_text()]


def test_a_folder_is_no_table(tmp_path, command):
    status, _, complaints = command(tmp_path, "--x", "a", "--y", "b")
    assert (status, complaints) == (2, f"fit-laws: {tmp_path}: Is a directory.\n")


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["runs.csv", "--x", "a"], "--y"),
        (["runs.csv", "--y", "a"], "--x"),
        (["fit", "--x", "a", "--y", "b"], "TABLE"),
        (["check"], "LAW.json"),
    ],
)
def test_options_left_out_are_said(command, words, missing):
    status, said, complaints = command(*words)
    assert (status, said) == (2, "")
    assert f"'{missing}'" in complaints
    assert "Traceback" not in complaints


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs.csv", "--lwa", "power"], "No such option: --lwa (Possible options: --law)"),
        (["runs.csv", "--lvel=.5"], "No such option: --lvel (Possible options: "),
        (["runs.csv", "--zzz", "1"], "No such option: --zzz"),
        (
            ["runs.csv", "more.csv", "--x", "a", "--y", "b"],
            "unexpected extra argument(s) (more.csv)",
        ),
        (["check", "law.json", "--tabel", "t"], "--tabel (Possible options: --help, --table)"),
        (["chek", "law.json"], "chek: no such command, and no table. Did you mean 'check'"),
    ],
)
def test_options_and_commands_that_there_are_not_are_told_with_the_near_ones(words, said, command):
    status, printed, complaints = command(*words)
    assert (status, printed) == (2, "")
    assert said in complaints
    assert "Traceback" not in complaints


def test_a_table_named_like_a_command_is_a_table(table, command, monkeypatch):
    monkeypatch.chdir(table.parent)
    table.rename("chek")
    assert command("chek", "--x", "eflop", "--y", "error", "--law", "power")[0] == 0
    assert "compares.csv: No such file" in command("compares.csv", "--x", "a", "--y", "b")[2]


@pytest.mark.parametrize(
    ("typed", "law"), [("m1", "power"), ("M2", "power-floor"), ("broken-1", "broken")]
)
def test_other_names_of_a_law_are_known(typed, law, table, answer):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--law", typed)
    assert found["groups"][0]["law"] == law


def test_a_law_of_no_such_name_is_refused_with_all_names(table, command):
    status, _, complaints = command(table, "--x", "eflop", "--y", "error", "--law", "m5")
    assert status == 2
    for name in (*EVERY_LAW, "m1", "m2"):
        assert name in complaints


@pytest.mark.slow
def test_a_law_of_three_breaks_is_fitted_kept_and_tried_where_it_is_asked_for(
    table, tmp_path, answer
):
    path = tmp_path / "law.json"
    asked = table, "--x", "eflop", "--y", "error", "--where", "model=S", "--all-points"
    asked = *asked, "--law", "broken-3"
    found, _ = answer(*asked, "--save", path)
    assert len(found["groups"][0]["values"]) == 12
    assert "broken-3" in found["groups"][0]["holdout"]["errors"]
    assert read_law(path).law == "broken-3"


@pytest.mark.parametrize("level", ["90", "1", "half", "0"])
def test_a_level_that_is_no_probability_is_refused(level, table, command):
    status, _, complaints = command(table, "--x", "eflop", "--y", "error", "--level", level)
    assert status == 2
    assert "--level" in complaints
    assert "0.01 to 0.999" in complaints or "valid number" in complaints
    assert "Traceback" not in complaints


def test_a_surface_is_tried_against_laws_of_its_own_variables(surface, command, answer):
    found, _ = answer(surface, *SURFACE)
    tried = set(found["groups"][0]["holdout"]["errors"])
    simple = {f"{law} in {name}" for law in ("power", "power-floor") for name in "ND"}
    assert tried == {"chinchilla", *simple}
    _, said, _ = command(surface, *SURFACE, "--details")
    assert "up to 1 times" not in said
    assert "    chinchilla" in said


def test_the_table_may_stand_anywhere(table, command):
    options = "--x", "eflop", "--y", "error", "--law", "power"
    first = command(table, *options)
    assert first[0] == 0
    assert command("fit", *options, table) == first
    assert command(*options[:2], table, *options[2:]) == first
    assert command(*options, "--predict", "3", table)[0] == 0


def test_a_group_that_cannot_be_fitted_is_left_out_and_said(table, tmp_path, command, answer):
    with table.open("a") as file:
        file.write("L,1,0.5\nL,2,0.4\n")
    arguments = table, "--x", "eflop", "--y", "error", "--by", "model"
    found, complaints = answer(*arguments, "--predict", "10")
    *fitted, failed = found["groups"]
    assert [group["group"]["model"] for group in fitted] == ["S", "B"]
    assert all(group["values"] for group in fitted)
    assert failed["group"] == {"model": "L"}
    assert failed["runs"] == 2
    assert failed["predictions"] == []
    for name in ("values", "intervals", "points", "rms", "holdout"):
        assert failed[name] is None
    refusal = failed["refusal"]
    assert refusal.startswith("2 of 2 points are to be fitted")
    assert f"warning, model=L: no fit: {refusal}" in complaints
    status, said, _ = command(*arguments, "--plot", tmp_path / "fit.svg")
    assert status == 0
    assert "L      no fit" in said
    assert f"warning: no fit: {refusal}" in command(*arguments, "--details")[1]
    assert "model=L" in (tmp_path / "fit.svg").read_text()


def test_fewer_points_than_parameters_are_said_with_a_way_out(tmp_path, command):
    path = tmp_path / "runs.csv"
    path.write_text("x,y,m\n1,0.5,a\n2,0.4,a\n3,0.3,a\n4,0.2,b\n")
    status, _, complaints = command(path, "--x", "x", "--y", "y", "--by", "m")
    assert status == 2
    first, second = complaints.splitlines()[1:]
    assert f"{path}, m=a: 3 of 3 points are to be fitted" in first
    assert f"{path}, m=b: 1 of 1 points" in second
    assert "try --law power, which has 2; or" in first
    assert "leave the group out with --where 'm!=b'" in second


def test_an_accuracy_taken_for_an_error_is_suspected(tmp_path, command):
    path = tmp_path / "runs.csv"
    rows = [f"{x},{1 - 0.5 * x**-0.3:.3f}" for x in range(1, 9)]
    path.write_text("\n".join(["x,y", *rows]))
    status, _, complaints = command(path, "--x", "x", "--y", "y")
    assert status == 2
    assert "1 of 8 points are to be fitted" in complaints
    assert "--y-is accuracy if y grows as runs get better" in complaints


# Published tables


def published(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path.name} of ../shared is absent")
    return path


def curve(group, x):
    return saturating(x, *(group["values"][name] for name in "abcd"))


CORE_DAYS = np.geomspace(0.3, 3e4, 200)


@pytest.mark.parametrize(
    ("shots", "law"), [("inet10", (0.63, 0.32, 0.12, 0.52)), ("inet5", (0.68, 0.32, 0.14, 0.67))]
)
def test_the_published_few_shot_laws_come_back(answer, shots, law):
    path = published("zhai2022/fewshot.csv")
    found, complaints = answer(
        path, "--x", "core_days_fig2", "--y", shots, "--y-is", "accuracy-percent"
    )
    (group,) = found["groups"]
    assert np.abs(curve(group, CORE_DAYS) - saturating(CORE_DAYS, *law)).max() <= 0.008
    low, high = group["intervals"]["c"]
    assert low < law[2] < high
    assert not complaints


@pytest.mark.parametrize(
    ("name", "law", "within"),
    [
        ("inet10", (0.63, 0.32, 0.12, 0.52), 0.008),
        ("finetune", (0.26, 0.35, 0.09, 0.01), 0.01),
    ],
)
def test_the_published_laws_come_back_from_the_tables_of_the_notebooks(answer, name, law, within):
    path = ROOT / "notebooks" / f"zhai2022_{name}.csv"
    found, _ = answer(path, "--x", "core_days", "--y", "error")
    (group,) = found["groups"]
    assert np.abs(curve(group, CORE_DAYS) - saturating(CORE_DAYS, *law)).max() <= within
    low, high = group["intervals"]["c"]
    assert low < law[2] < high


def test_fine_tuning_without_the_largest_models_sees_a_higher_floor(answer):
    path = published("zhai2022/finetune.csv")
    arguments = "--x", "core_days_fig2", "--y", "imagenet", "--y-is", "accuracy-percent"
    found, _ = answer(path, *arguments)
    (group,) = found["groups"]
    within = np.geomspace(0.3, 2500, 100)  # core-days that the table reaches
    paper = saturating(within, 0.26, 0.35, 0.09, 0.01)
    assert np.abs(curve(group, within) - paper).max() <= 0.01
    assert group["values"]["c"] > 0.1


def test_the_floor_of_openclip_is_not_identified(answer):
    path = published("openclip/zeroshot_imagenet_retrieval.csv")
    found, complaints = answer(
        path,
        *("--x", "gmacs_total", "--y", "acc1", "--y-is", "accuracy"),
        *("--where", "downstream_dataset=imagenet1k", "--where", "upstream_dataset!=CLIP-WIT"),
    )
    (group,) = found["groups"]
    assert group["runs"] == 29
    low, high = group["intervals"]["c"]
    assert low == 0
    assert high == pytest.approx(0.2, abs=0.02)
    assert "the floor is not identified: the 90 % interval of c is [0, 0.2]" in complaints
    assert group["values"]["b"] == pytest.approx(0.111, abs=0.002)
