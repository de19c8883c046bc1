"""The command fit-laws: what it prints and what it writes."""

import json
import os
import subprocess
import sys
import sysconfig
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from jsonschema import validate

from fits.cli.output import schema_of
from fits.fit_laws import app
from fits.laws.powers import saturating
from fits.laws.registry import EVERY_LAW, LAWS
from fits.report_json import GroupJson
from fits.spec import KINDS, LOSSES, SCALES, FitSpec

ROOT = Path(__file__).resolve().parents[1]
TRUTH = 0.6, 0.35, 0.1, 0.5


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
        " --scale --weights --cluster --level --predict --details --save --json --plot --title"
        " --xlabel --ylabel --help"
    )
    for word in (*options.split(), *EVERY_LAW, *KINDS, *LOSSES, *SCALES):
        assert word in said
    assert "Exit status: 0 done; 2 a mistake" in said
    assert "nothing is written unless" in said


@pytest.mark.slow
def test_the_schema_of_every_command_is_printed_and_describes_its_json(command, table, tmp_path):
    fit = table, "--x", "eflop", "--y", "error", "--law", "power"
    rows = [f"{n},{d},{1 + n**-0.3 + d**-0.3}" for n in (1, 2, 4, 8) for d in (1, 2, 5, 10)]
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("\n".join(["n,d,y", *rows]) + "\n")
    asked = {
        "fit": (*fit, "--predict", "10"),
        "compare": (*fit, "--by", "model"),
        "next": (*fit, "--predict", "1e5", "--budget", "1e4", "--grid", "eflop=1,1e3"),
        "optimal": (
            *(sizes, "--size", "n", "--data", "d", "--y", "y", "--y-is", "loss"),
            *("--unit", "size=1", "--unit", "data=1", "--compute", "9"),
            *("--target-error", "1.5", "--trained", "4,4"),
        ),
        "check": ("zhai2022-pets-5-shot",),
    }
    assert command("schema") == command("schema", "fit")
    for name, words in asked.items():
        status, said, _ = command("schema", name)
        assert status == 0
        assert json.loads(said) == schema_of(name)
        status, said, complaints = command(name, *words, "--json", "-")
        assert status == 0, complaints
        validate(json.loads(said), schema_of(name))
    status, said, complaints = command("schema", "optimum")
    assert (status, said) == (2, "")
    assert "Did you mean 'optimal'?" in complaints


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


@pytest.mark.slow
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
    assert "warning: x = 100000 is 100 times the largest x fitted" in said
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
        "--law",
        "saturating",
        "--predict",
        "1",
        "--predict",
        "10",
        "--predict",
        "1e5",
    )
    (group,) = found.pop("groups")
    spec = FitSpec(x=("eflop",), y="error")
    assert found.keys() == {"table", "spec", "notes"}
    assert found["table"] == str(table)
    assert found["spec"] == json.loads(json.dumps(asdict(spec)))
    assert group.keys() == GroupJson.model_fields.keys()
    assert group["group"] is None
    assert (group["law"], group["formula"]) == ("saturating", "a (x + d)^-b + c")
    assert (group["points"], group["runs"]) == (24, 48)
    assert 0.003 < group["rms"] < 0.008
    for name, truth in zip("abcd", TRUTH, strict=True):
        found = group["parameters"][name]
        assert found["low"] < truth < found["high"]
        assert found["low"] < found["value"] < found["high"]
    assert group["parameters"]["c"]["role"] == "floor"
    assert [prediction["x"] for prediction in group["predictions"]] == [[1], [10], [1e5]]
    for prediction in group["predictions"]:
        assert prediction["low"] < prediction["value"] < prediction["high"]
        assert prediction["low"] < saturating(prediction["x"][0], *TRUTH) < prediction["high"]
    (beyond,) = group["diagnostics"]
    assert (beyond["code"], beyond["parameters"]) == ("extrapolates", ["x"])
    assert beyond["words"] == "x = 100000 is 100 times the largest x fitted"
    assert complaints == f"warning: {beyond['words']}\n"


def test_each_group_gets_its_own_fit(table, answer):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--by", "model", "--all-points")
    assert [group["group"] for group in found["groups"]] == [{"model": "S"}, {"model": "B"}]
    small, big = (group["parameters"]["c"]["value"] for group in found["groups"])
    assert big == pytest.approx(1.2 * small, rel=0.05)


def test_all_points_are_fitted_when_asked_for(table, answer):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--all-points", "--law", "power")
    assert found["groups"][0]["points"] == 48
    assert found["groups"][0]["parameters"].keys() == {"a", "b"}


def test_the_same_table_gives_the_same_digits(table, command):
    arguments = table, "--x", "eflop", "--y", "error", "--json", "-"
    assert command(*arguments) == command(*arguments)


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
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
    titled = "--title", "A law", "--xlabel", "compute, EFLOP", "--ylabel", "top-1 error"
    assert command(*arguments, "--plot", figure, *titled)[0] == 0
    for words in ("A law: model=B", "compute, EFLOP", "top-1 error"):
        assert words in figure.read_text()
    command(*arguments, "--json", out, "--plot", figure)
    assert sorted(tmp_path.iterdir()) == sorted([table, out, figure])
    assert table.read_bytes() == before


def test_every_fit_comes_with_how_well_each_law_predicts(table, command, answer):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--law", "power")
    holdout = found["groups"][0]["holdout"]
    assert (holdout["fitted"], holdout["held_out"]) == (16, 8)
    assert holdout["times_larger"] == pytest.approx(55, rel=0.1)
    errors = holdout["trials"]
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
    for name, found in group["parameters"].items():
        value, low, high = (found[key] for key in ("value", "low", "high"))
        assert f"  {name} = {value:<10.4g} [{low:.4g}, {high:.4g}]" in said
    (place,) = group["predictions"]
    low, high = place["low"], place["high"]
    assert f"E(50) = {place['value']:.4g} [{low:.4g}, {high:.4g}]" in said
    assert f"root mean square of log error {group['rms']:.4f}" in said
    assert f"through {group['points']} of {group['runs']} runs" in said


@pytest.mark.slow
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
            found = group["parameters"][name]
            assert "{value:.3g} [{low:.3g}, {high:.3g}]".format(**found) in line
        assert f"{group['points']} of {group['runs']}" in line
    details = command(*words, "--details")[1]
    assert details.count("law saturating: E(x)") == 2
    assert details.count("hold-out: fitted to the") == 2


@pytest.mark.slow
def test_a_forecast_is_asked_for_like_a_law(table, tmp_path, command, answer):
    arguments = table, "--x", "eflop", "--y", "error", "--law", "forecast", "--predict", "1e4"
    arguments = *arguments, "--frontier"
    found, _ = answer(*arguments)
    (group,) = found["groups"]
    assert group["law"] == "forecast"
    assert group["formula"] is group["parameters"] is None
    (prediction,) = group["predictions"]
    assert prediction["low"] < saturating(1e4, *TRUTH) < prediction["high"]
    figure = tmp_path / "forecast.svg"
    status, said, _ = command(*arguments, "--plot", figure)
    assert status == 0
    assert "90% intervals of one more measurement" in said
    assert "forecast and its 90 % band" in figure.read_text()


def test_a_longer_run_of_a_trunk_is_forecast_from_its_curve_and_its_cooled_runs(tmp_path, command):
    table, rows = tmp_path / "trunk.csv", ["step,loss,cooled"]
    rows += [f"{x},{2 + 8 * x**-0.3 + 0.2},no" for x in range(500, 20_001, 500)]
    rows += [f"{x},{2 + 8 * (0.9 * x) ** -0.3},yes" for x in (5_000, 10_000, 20_000)]
    table.write_text("\n".join(rows))
    words = table, "--x", "step", "--y", "loss", "--y-is", "loss", "--law", "forecast"
    words = *words, "--schedule", "constant", "--until", "80000"
    status, said, _ = command(*words, "--cooled", "cooled", "--json", tmp_path / "a.json")
    assert status == 0
    assert "learning rate constant, of runs at the end of a cooldown over 0.2 of each" in said
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["spec"]["rate"]["schedule"] == "constant"
    (prediction,) = found["groups"][0]["predictions"]
    assert prediction["x"] == [80_000]
    assert prediction["value"] == pytest.approx(2 + 8 * 72_000**-0.3, rel=2e-3)
    status, _, complaints = command(*words)
    assert status == 2
    assert "no point was measured at the end of a cooldown" in complaints
    table.write_text(table.read_text().replace("yes", "perhaps"))
    complaints = command(*words, "--cooled", "cooled")[2]
    assert "line 42: cooled is perhaps. Write yes" in complaints
    assert "line 44: cooled is perhaps" in complaints


def test_a_trunk_may_have_a_table_of_its_own_as_scaling_evaluate_writes_it(tmp_path, command):
    trunk, runs, both = (tmp_path / f"{name}.csv" for name in ("trunk", "runs", "both"))
    line = "{},{},{}".format
    steps, durations = range(500, 20_001, 500), (5_000, 10_000, 20_000)
    of_trunk = [line(m, x, m + 8 * x**-0.3 + 0.2) for m in (2, 3) for x in steps]
    cooled = [line(m, x, m + 8 * (0.9 * x) ** -0.3) for m in (2, 3) for x in durations]
    trunk.write_text("\n".join(["model,step,loss", *of_trunk]))
    runs.write_text("\n".join(["model,step,loss", *cooled, "4,5000,4.7"]))
    both.write_text(
        "\n".join(
            ["model,step,loss,down", *(f"{x},no" for x in of_trunk), *(f"{x},yes" for x in cooled)]
        )
    )
    words = "--x", "step", "--y", "loss", "--y-is", "loss", "--law", "forecast"
    words = *words, "--schedule", "constant", "--until", "80000", "--by", "model", "--json", "-"
    split = json.loads(command(runs, *words, "--trunk", trunk)[1])["groups"]
    whole = json.loads(command(both, *words, "--cooled", "down")[1])["groups"]
    assert [each["predictions"] for each in split[:2]] == [each["predictions"] for each in whole]
    assert "trunk.csv has no row of its trunk" in split[2]["refusal"]
    said = command(runs, *words[:-4], "--where", "model=2", "--trunk", trunk)[1]
    assert "from 3 of 3 points and 40 of the trunk" in said
    assert (
        "trunk.csv: no column 'stpe'"
        in command(runs, *("stpe" if each == "step" else each for each in words), "--trunk", trunk)[
            2
        ]
    )


def test_a_prediction_below_0_is_said(table, answer):
    words = (
        table,
        "--x",
        "eflop",
        "--y",
        "error",
        "--law",
        "log-linear",
        "--predict",
        "1e30",
        "--far",
    )
    found, _ = answer(*words)
    (group,) = found["groups"]
    (prediction,) = group["predictions"]
    assert prediction["value"] < prediction["low"] == 0
    assert "negative_prediction" in {each["code"] for each in group["diagnostics"]}


@pytest.mark.parametrize(("which", "points"), [((), 48), (("--frontier",), 24)])
def test_a_forecast_takes_all_points_of_a_curve_unless_the_frontier_is_asked_for(
    table, answer, which, points
):
    found, _ = answer(table, "--x", "eflop", "--y", "error", "--law", "forecast", *which)
    assert found["groups"][0]["points"] == points


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


def test_a_table_named_like_a_command_is_a_table(table, command, monkeypatch):
    monkeypatch.chdir(table.parent)
    table.rename("chek")
    assert command("chek", "--x", "eflop", "--y", "error", "--law", "power")[0] == 0
    assert "compares.csv: No such file" in command("compares.csv", "--x", "a", "--y", "b")[2]


@pytest.mark.slow
def test_the_table_may_stand_anywhere(table, command):
    options = "--x", "eflop", "--y", "error", "--law", "power"
    first = command(table, *options)
    assert first[0] == 0
    assert command("fit", *options, table) == first
    assert command(*options[:2], table, *options[2:]) == first
    assert command(*options, "--predict", "3", table)[0] == 0
