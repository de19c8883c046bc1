"""From finished run folders to a table, laws in words, and a figure."""

import csv
import json
import re
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from finished_runs import a_run, a_study, error, finish, grid
from jsonschema import validate
from results_table import read_results

from fits.base.errors import UserError
from fits.cli.output import schema_of
from fits.data.results import COLUMNS
from fits.data.tables import read_table
from fits.fit_laws import main as fit_laws
from fits.laws.repeated import data_repeated
from fits.report import fit_table
from fits.spec import FitSpec
from models.shapes import MuP
from scaling.cli.main import main as scaling
from scaling.data.around.subset import Selection, Subset
from scaling.data.arrays import Arrays, Digits
from scaling.data.augment import Flip
from scaling.evaluate.classification import Classification
from scaling.evaluate.measured import Measured
from scaling.evaluate.upstream import Upstream
from scaling.report.report import collect, report
from scaling.runs.held_run import hold_run
from scaling.runs.run_file import write_run_file


@pytest.fixture
def finished(tmp_path):
    study = grid()
    for run in study.runs:
        finish(tmp_path / "runs", study, run)
    return study


def test_the_table_holds_every_number_of_every_finished_run(finished, tmp_path):
    parquet, table = collect(finished, tmp_path / "runs", tmp_path / "out")
    assert (parquet.name, table.name) == ("small.parquet", "small.csv")
    results = read_results(table)
    assert results == read_results(parquet)
    assert len(results) == 20 * 4
    run = finished.runs[-1]
    (row,) = [each for each in results if each.run == run.id and each.metric == "upstream_error"]
    assert (row.study, row.model, row.params) == ("small", "w128", run.params)
    assert (row.flops, row.images_seen, row.data_size) == (run.flops, run.images_seen, None)
    assert (row.seed, row.value, row.n) == (0, error(run), 1000)
    with table.open(newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS


def test_where_images_come_to_an_end_all_of_them_is_a_number(tmp_path):
    images, labels = np.zeros((7, 16, 16), np.uint8), np.zeros(7, int)
    arrays = {
        f"{name}_{part}": what
        for name in ("train", "heldout")
        for part, what in (("images", images), ("labels", labels))
    }
    np.savez(tmp_path / "seven.npz", **arrays)
    seven = Arrays(path=tmp_path / "seven.npz", resolution=16)
    every, some = (a_run(data_size=n).model_copy(update={"data": seven}) for n in (None, 5))
    study = a_study([every, some])
    for run in study.runs:
        finish(tmp_path / "runs", study, run)
    table = collect(study, tmp_path / "runs", tmp_path)[1]
    assert {row.data_size for row in read_results(table)} == {5, 7}


def test_runs_that_differ_in_mup_alone_are_not_mixed_in_the_table(tmp_path):
    plain = a_run()
    parametrised = replace(plain.model, mup=MuP(base_width=8))
    study = a_study([plain, plain.model_copy(update={"model": parametrised})])
    for run in study.runs:
        finish(tmp_path, study, run)
    rows = read_results(collect(study, tmp_path, tmp_path / "out")[1])
    assert {(row.model, row.run) for row in rows} == {
        ("w16", study.runs[0].id),
        ("w16 muP8", study.runs[1].id),
    }


def test_a_failed_run_is_an_absent_row_and_said_in_one_line(tmp_path, capsys):
    study = grid()
    lost, _, *rest = study.runs
    write_run_file(tmp_path / lost.id, lost, study.evaluate, print)
    with hold_run(tmp_path / lost.id) as folder:
        folder.fail("the loss is nan")
    for run in rest:
        finish(tmp_path, study, run)
    table = collect(study, tmp_path, tmp_path / "out")[1]
    assert {row.run for row in read_results(table)} == {run.id for run in rest}
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("2 of 20 runs are absent from the table: 1 failed, 1 waiting;")


def test_a_run_that_another_study_measured_otherwise_is_not_finished(tmp_path):
    study = grid()
    for run in study.runs[:2]:
        finish(tmp_path, study, run)
    other = study.model_copy(update={"evaluate": (Upstream(images=500),)})
    with pytest.raises(UserError, match="20 waiting"):
        collect(other, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("ask", [collect, report])
def test_without_a_finished_run_nothing_is_written(tmp_path, ask):
    with pytest.raises(UserError, match=r"none of the 20 runs of small .*\(20 waiting\).*launch"):
        ask(grid(), tmp_path / "runs", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A folder with the same study reported as a and, with details, as b; and what was said."""
    folder, study = tmp_path_factory.mktemp("reported"), grid()
    for run in study.runs:
        finish(folder / "runs", study, run)
    said = []
    for out in "ab":
        with redirect_stdout(StringIO()) as printed:
            report(study, folder / "runs", folder / out, details=out == "b")
        said.append(printed.getvalue())
    return folder, *said


@pytest.mark.slow
def test_the_report_finds_the_law_and_the_true_floor_inside_its_interval(reported):
    folder, said, details = reported
    head, upstream, few, *_ = said.split("\n\n")[1].splitlines()
    assert head.split() == ["metric", "law", "floor", "exponent", "points", "worst", "diagnostic"]
    assert re.match(r"upstream_error +saturating +0\.1 \[0\.1, 0\.1\] +0\.5 \[", upstream)
    assert "20 of 20" in upstream
    assert few.startswith("digits_1shot_error")
    assert "true floor of upstream_error: 0.1, inside the interval" in said
    assert f"figure:  {folder / 'a' / 'small.png'}" in said
    assert f"page:    {folder / 'a' / 'small.html'}" in said
    assert "provisional" not in said
    assert len(said.splitlines()) < 15  # one screen
    assert "hold-out: fitted to the" in details
    assert sorted(path.name for path in (folder / "a").iterdir()) == [
        "small.csv",
        "small.html",
        "small.laws.json",
        "small.parquet",
        "small.pdf",
        "small.png",
    ]


def test_words_of_the_command_stand_on_the_figure(tmp_path, monkeypatch):
    study, drawn = grid(), []
    for run in study.runs[:3]:
        finish(tmp_path, study, run)
    monkeypatch.setattr("scaling.study.parse.read_study", lambda *name, **how: study)
    monkeypatch.setattr("scaling.report.report.save", lambda figure, path: drawn.append(figure))
    where = ("--runs", str(tmp_path), "--out", str(tmp_path / "out"))
    words = ("--title", "A law", "--xlabel", "core-days", "--ylabel", "wrong")
    for given in ((), words):
        monkeypatch.setattr(sys, "argv", ["scaling", "report", "small.toml", *where, *given])
        with pytest.raises(SystemExit) as ended:
            scaling()
        assert not ended.value.code
    plain, named = drawn[0].axes[0], drawn[-1].axes[0]
    assert plain.get_xlabel() == "training compute, FLOP"
    assert plain.get_ylabel() == "upstream error"
    assert plain.get_title().startswith("small (provisional")
    assert named.get_xlabel() == "core-days"
    assert named.get_ylabel() == "wrong"
    assert named.get_title().startswith("A law (provisional")
    assert named.get_title().endswith(": upstream error")


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_a_true_floor_outside_the_interval_is_said_to_be_outside(tmp_path, capsys):
    study = grid()
    for run in study.runs:
        finish(tmp_path, study, run, {"upstream_error": error(run) + 0.05})
    report(study, tmp_path, tmp_path / "out")
    assert re.search(
        r"true floor of upstream_error: 0\.1, outside the interval", capsys.readouterr().out
    )


@pytest.mark.slow
def test_the_laws_file_is_what_the_command_makes_of_the_table(reported, capsys):
    folder, *_ = reported
    laws = json.loads((folder / "a" / "small.laws.json").read_text())
    table = str(folder / "a" / "small.csv")
    metric = laws["groups"][0]["group"]["metric"]
    where = ["--where", f"metric={metric}", "--law", "saturating"]
    assert fit_laws([table, "--x", "flops", "--y", "value", *where, "--json", "-"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    (group,) = theirs.pop("groups")
    ours, those = ({**each["spec"], "where": None} for each in (laws, theirs))
    assert ours == those
    assert laws["groups"][0] == {**group, "group": {"metric": metric}}
    metrics = [each["group"]["metric"] for each in laws["groups"]]
    assert metrics == ["upstream_error", "digits_1shot_error", "digits_5shot_error"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_seeds_of_one_setting_are_a_group_in_the_report_and_in_the_command(tmp_path, capsys):
    once = grid().runs
    study = a_study([run.model_copy(update={"seed": seed}) for run in once for seed in range(2)])
    for k, run in enumerate(study.runs):
        finish(tmp_path, study, run, {"upstream_error": error(run) * (1 + 0.01 * (k % 7))})
    report(study, tmp_path, tmp_path / "out")
    said = capsys.readouterr().out
    assert "20 of 40" in said
    laws = json.loads((tmp_path / "out" / "small.laws.json").read_text())
    where = ["--where", "metric=upstream_error", "--json", "-"]
    table = str(tmp_path / "out" / "small.csv")
    assert fit_laws([table, "--x", "flops", "--y", "value", *where]) == 0
    (theirs,) = json.loads(capsys.readouterr().out)["groups"]
    ours = laws["groups"][0]
    assert ours["clusters"] == 20
    for key in ("clusters", "diagnostics", "points"):
        assert ours[key] == theirs[key], key
    assert ours["parameters"] == theirs["parameters"]


@pytest.mark.slow
def test_the_same_results_make_the_same_files(reported):
    folder, *_ = reported
    for path in (folder / "a").iterdir():
        same = path.read_bytes().replace(b"/a/", b"/b/")
        assert same == (folder / "b" / path.name).read_bytes(), path.name


def test_too_few_runs_make_a_table_and_a_picture_but_no_law(tmp_path, capsys):
    study = grid()
    for run in study.runs[:3]:
        finish(tmp_path, study, run)
    report(study, tmp_path, tmp_path / "out")
    said = capsys.readouterr().out
    assert re.search(r"upstream_error +no fit", said)
    assert "provisional: 3 of 20 runs; laws and figures will change" in said
    laws = json.loads((tmp_path / "out" / "small.laws.json").read_text())["groups"]
    assert all(each["parameters"] is None and "4 parameters" in each["refusal"] for each in laws)
    assert (tmp_path / "out" / "small.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_a_run_without_any_error_is_left_out_of_the_fit_and_said(tmp_path, capsys):
    study = grid()
    for run in study.runs[:-1]:
        finish(tmp_path, study, run)
    finish(tmp_path, study, study.runs[-1], {"digits_5shot_error": 0.0})
    report(study, tmp_path, tmp_path / "out")
    said = capsys.readouterr().out
    assert re.search(r"digits_5shot_error +saturating .* 19 of 19", said)
    assert "note: digits_5shot_error: 1 run without any error left out" in said
    laws = json.loads((tmp_path / "out" / "small.laws.json").read_text())
    validate(laws, schema_of("fit"))
    (note,) = laws["notes"]
    assert (note["code"], note["numbers"]) == ("zero_error", {"count": 1, "n": 20})
    assert [group["notes"] for group in laws["groups"]] == [[], [], [note]]


@pytest.mark.parametrize("details", [False, True])
def test_without_any_error_there_is_no_law_and_the_json_says_why(tmp_path, capsys, details):
    study = grid()
    perfect = dict.fromkeys(("upstream_error", "digits_1shot_error", "digits_5shot_error"), 0.0)
    for run in study.runs[:2]:
        finish(tmp_path, study, run, perfect)
    report(study, tmp_path, tmp_path / "out", details=details)
    said = capsys.readouterr().out
    assert "no run has an error above 0: there is no law" in said
    assert "note: upstream_error: 2 runs without any error left out" in said
    laws = json.loads((tmp_path / "out" / "small.laws.json").read_text())
    validate(laws, schema_of("fit"))
    assert (laws["groups"], laws["spec"]["x"]) == ([], ["flops"])
    assert [note["parameters"][1] for note in laws["notes"]] == list(perfect)
    assert not (tmp_path / "out" / "small.png").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_an_error_that_is_0_in_every_run_is_noted_beside_the_others_in_full(tmp_path, capsys):
    study = grid()
    for run in study.runs[:2]:
        finish(tmp_path, study, run, {"digits_5shot_error": 0.0})
    report(study, tmp_path, tmp_path / "out", details=True)
    said = capsys.readouterr().out
    assert "digits_1shot_error:\n" in said
    assert said.count("digits_5shot_error: 2 runs without any error left out") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_warnings_of_the_fit_are_printed(tmp_path, capsys):
    study = grid()
    for run in study.runs[:5]:
        finish(tmp_path, study, run)
    report(study, tmp_path, tmp_path / "out")
    assert "5 points for 4 parameters" in capsys.readouterr().out


def of_subset(run, source=None, **select):
    part = Subset(of=source or run.data, select=Selection(**select))
    return run.model_copy(update={"data": part})


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_each_subset_of_a_study_has_a_law_and_a_floor_of_its_own(tmp_path, capsys):
    plain = grid().runs
    study = a_study([*plain, *(of_subset(run, label_noise=0.3) for run in plain)])
    for run in study.runs:
        worse = 1 if run.data.subset == "all" else 1.5
        finish(tmp_path / "runs", study, run, {"upstream_error": worse * error(run)})
    rows = read_results(collect(study, tmp_path / "runs", tmp_path / "out")[1])
    assert {row.subset for row in rows} == {"all", "label_noise=0.3"}
    report(study, tmp_path / "runs", tmp_path / "out")
    said = capsys.readouterr().out
    for subset, floor in (("all", 0.1), ("label_noise=0.3", 0.15)):
        (line,) = re.findall(rf"true floor of upstream_error, {subset}: .*", said)
        assert "0.1," in line
        assert ("inside" if floor == 0.1 else "outside") in line
    laws = json.loads((tmp_path / "out" / "small.laws.json").read_text())["groups"]
    floors = {g["group"]["subset"]: g["parameters"]["c"]["value"] for g in laws
              if g["group"]["metric"] == "upstream_error"}  # fmt: skip
    assert floors == pytest.approx({"all": 0.1, "label_noise=0.3": 0.15}, rel=1e-3)
    page = (tmp_path / "out" / "small.html").read_text()
    assert "upstream error, label noise=0.3" in page


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_each_variant_of_a_study_has_a_law_of_its_own(tmp_path, capsys):
    plain = grid().runs
    study = a_study([*plain, *(run.model_copy(update={"augment": (Flip(),)}) for run in plain)])
    for run in study.runs:
        worse = 1.5 if run.augment else 1
        finish(tmp_path / "runs", study, run, {"upstream_error": worse * error(run)})
    rows = read_results(collect(study, tmp_path / "runs", tmp_path / "out")[1])
    assert {row.variant for row in rows} == {"augment=none", "augment=flip"}
    report(study, tmp_path / "runs", tmp_path / "out")
    assert "upstream_error, augment=flip" in capsys.readouterr().out
    laws = json.loads((tmp_path / "out" / "small.laws.json").read_text())["groups"]
    floors = {g["group"]["variant"]: g["parameters"]["c"]["value"] for g in laws
              if g["group"]["metric"] == "upstream_error"}  # fmt: skip
    assert floors == pytest.approx({"augment=none": 0.1, "augment=flip": 0.15}, rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_the_law_of_repeated_data_takes_the_number_of_different_images_of_each_subset(tmp_path):
    """300 of the 1,000 digits are of three classes: with a hundred epochs they are 300 still."""
    truth = {"E": 0.5, "A": 400.0, "alpha": 0.5, "B": 30.0, "beta": 0.4, "reuse": 12.0, "excess": 5}
    plain = [a_run(8 * 2**m, 640 * 4**t) for m in range(4) for t in range(4)]
    runs = [
        run.model_copy(update={"data": part, "data_size": size})
        for run in plain
        for part in (Digits(), *(Subset(of=Digits(), select=Selection(classes=c)) for c in (3, 6)))
        for size in (None, 50)
    ]
    study = a_study(runs)
    for run in study.runs:
        images = run.data.train()
        different = len({x.tobytes() for x in images.batch(np.arange(images.size))[0]})
        unique = run.data_size or different
        loss = float(data_repeated(run.params, run.images_seen, unique, *truth.values()))
        finish(tmp_path / "runs", study, run, {"upstream_loss": loss})
    table = collect(study, tmp_path / "runs", tmp_path / "out")[1]
    assert {row.data_size for row in read_results(table)} == {50, 300, 600, 1000}
    spec = FitSpec(
        x=("params", "images_seen", "data_size"), y="value", y_is="loss", law="repeated",
        rows="all", where=("metric=upstream_loss",),
    )  # fmt: skip
    (group,) = fit_table(read_table(table), spec).groups
    assert group.fit.rms < 1e-6
    np.testing.assert_allclose(group.fit.values, list(truth.values()), rtol=1e-3)


def test_a_study_that_measures_no_error_rate_has_a_table_and_a_page_and_no_law(tmp_path, capsys):
    """As one of images with several labels, measured by their mean average precision."""
    each = Classification(name="found", measures=("map100",))
    study = grid().model_copy(update={"evaluate": (each,)})
    for run in study.runs:
        write_run_file(tmp_path / run.id, run, study.evaluate, pytest.fail)
        with hold_run(tmp_path / run.id) as held:
            manifest = {"flops": run.flops, "data": [{"train_size": None}]}
            held.finish([(each, [Measured("found_map100", 0.5, 1000)])], manifest)
    report(study, tmp_path, tmp_path / "out")
    said = capsys.readouterr().out
    assert "small measures no error rate: there is no law" in said
    assert "small.png" not in said
    assert "map100" in (tmp_path / "out" / "small.html").read_text()
