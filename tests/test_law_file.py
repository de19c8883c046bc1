"""A law kept as a file: what is in it, what is refused, and when it no longer holds."""

import json
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import validate

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.messages import MESSAGES
from fits.cli.output import schema_of
from fits.fit_laws import main
from fits.laws.powers import SATURATING, saturating
from fits.laws.registry import LAWS
from fits.report import fit_table
from fits.saved.check import SAME
from fits.saved.law_file import read_law
from fits.saved.published import FOLDER, zhai_2022
from fits.spec import FitSpec

TRUTH = 0.6, 0.35, 0.1, 0.5
ASKED = "--x", "eflop", "--y", "error", "--where", "model=S"


def rows(n=16, noise=0.01, seed=0, first=1e-2, last=1e3):
    compute = np.geomspace(first, last, n)
    error = saturating(compute, *TRUTH) * np.exp(noise * np.random.default_rng(seed).normal(size=n))
    return [f"S,{x:.6g},{y:.6f}" for x, y in zip(compute, error, strict=True)]


def write(path, lines):
    path.write_text("\n".join(["model,eflop,error", *lines]) + "\n")
    return path


RUNS = [*rows(), "B,1,0.9", "B,2,0.8", "S,5,", "S,50,0.9"]


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "runs.csv", RUNS)


@pytest.fixture(scope="module")
def law_bytes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("law")
    path = folder / "law.json"
    assert main([str(write(folder / "runs.csv", RUNS)), *ASKED, "--save", str(path)]) == 0
    return path.read_bytes()


@pytest.fixture
def law(table, tmp_path, law_bytes, capsys):
    path = tmp_path / "law.json"
    path.write_bytes(law_bytes)
    capsys.readouterr()
    return path


@pytest.fixture
def check(capsys):
    def run(*arguments):
        status = main(["check", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_evidence(path, change):
    edit(path, lambda value: change(value["evidence"]))


# What is in the file


def test_the_file_says_what_the_law_rests_on(law, table):
    said = json.loads(law.read_text())
    assert said["fit_laws"] == 2
    assert (said["law"], said["formula"]) == ("saturating", SATURATING.formula)
    said = said["evidence"]
    assert said["table"]["file"] == "runs.csv"
    assert len(said["table"]["sha256"]) == 64
    assert said["dropped"] == {"where": {"model=S": [[18, 19]]}, "no_y": {"error": [[20, 20]]}}
    assert len(said["fitted"]) + len(said["behind"]) == 17
    assert [21, 50.0, 0.9] in said["behind"]
    assert said["made"]["command"].startswith("fit-laws ")
    assert said["made"]["python"] == sys.version.split()[0]
    assert said["made"]["numpy"] == np.__version__
    assert said["spec"]["where"] == ["model=S"]
    numbers = {"count": 1, "n": 18}
    assert said["notes"] == [{"code": "empty_cells", "parameters": ["error"], "numbers": numbers}]


def test_reading_gives_back_every_digit(law, table):
    kept = read_law(law)
    spec = FitSpec(x=("eflop",), y="error", where=("model=S",), average=True)
    (group,) = fit_table(table, spec).groups
    points, again = group.points, group.fit
    assert kept.numbers == again.values
    assert kept.ends == again.intervals
    assert kept.evidence.spec == spec
    assert [each.diagnostic() for each in kept.evidence.diagnostics] == list(again.diagnostics)
    assert kept.evidence.rms == again.rms
    np.testing.assert_array_equal(kept.curve_at(points.x), again.predict(points.x))
    over_laws = group.observations.average(spec)
    np.testing.assert_array_equal(kept.predict(points.x), over_laws.predict(points.x))


def test_the_same_command_writes_the_same_bytes(table, tmp_path, capsys):
    path, written = tmp_path / "law.json", []
    for _ in range(2):
        main([str(table), *ASKED, "--save", str(path)])
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_a_file_holds_one_law(table, tmp_path, capsys):
    path = tmp_path / "law.json"
    status = main([str(table), "--x", "eflop", "--y", "error", "--by", "model", "--law", "power",
                   "--save", str(path)])  # fmt: skip
    assert status == 2
    assert "a file holds one law, and there are 2 groups" in capsys.readouterr().err
    assert not path.exists()


# Does it still hold?


def test_a_law_whose_table_has_not_changed_holds_to_every_digit(law, check):
    status, said, _ = check(law)
    assert status == 0
    assert "the rows in the file give its values and intervals to every digit" in said
    assert "the table is the same to the byte" in said
    assert said.endswith("\nholds\n")


@pytest.mark.parametrize("ends", [[5, 1], [0.3, 0.5], [0.36, None]])
def test_an_interval_changed_by_hand_is_found_out(law, check, ends):
    kept = json.loads(law.read_text())
    assert kept["intervals"]["b"] != ends
    kept["intervals"]["b"] = ends
    law.write_text(json.dumps(kept))
    status, said, _ = check(law)
    assert status == 1
    assert "the rows in the file do not give its interval of b" in said


def test_a_span_changed_by_hand_is_found_out(law, check):
    """It decides what is said to lie beyond the points."""
    edit(law, lambda kept: kept.update(span={"eflop": [0.01, 1e6]}))
    status, said, _ = check(law)
    assert status == 1
    assert (
        "the file gives the span eflop from 0.01 to 1e+06; its rows give eflop from 0.01 to 1000"
        in said
    )


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        (
            {"where": {"model=S": [[18, 18]]}, "no_y": {"error": [[20, 20]]}},
            "not model=S: the file says 18, the table has 18-19",
        ),
        (
            {"where": {"model=S": [[18, 19]]}},
            "no error: the file says none, the table has 20",
        ),
        (
            {
                "where": {"model=S": [[18, 19]]},
                "no_x": {"eflop": [[3, 5], [7, 7]]},
                "no_y": {"error": [[20, 20]]},
            },
            "no eflop: the file says 3-5, 7, the table has none",
        ),
    ],
)
def test_rows_left_out_otherwise_than_the_file_says_are_found_out(law, check, dropped, words):
    edit_evidence(law, lambda kept: kept.update(dropped=dropped))
    status, said, _ = check(law)
    assert status == 1
    assert f"rows left out, {words}" in said


def test_other_rows_left_out_of_a_table_that_changed_are_said_and_not_held_against_it(
    law, table, check
):
    write(table, [*rows(), "B,1,0.9", "B,2,0.8", "S,5,", "S,50,0.9", "S,6,"])
    status, said, _ = check(law)
    assert status == 0
    assert "rows left out, no error: then 20, now 20, 22" in said


def test_a_law_is_kept_and_checked_at_its_own_level(table, tmp_path, capsys, check):
    path = tmp_path / "half.json"
    assert main([str(table), *ASKED, "--level", "0.5", "--save", str(path)]) == 0
    assert "50% intervals" in capsys.readouterr().out
    assert json.loads(path.read_text())["evidence"]["spec"]["level"] == 0.5
    status, said, _ = check(path)
    assert status == 0
    assert "to every digit" in said


def test_an_interval_that_another_machine_rounds_otherwise_still_holds(law, check):
    kept = json.loads(law.read_text())
    kept["intervals"]["b"] = [end * (1 + 1e-9) for end in kept["intervals"]["b"]]
    law.write_text(json.dumps(kept))
    assert check(law)[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        *(["--law", "power"], ["--loss", "huber"], ["--huber", "0.1"], ["--scale", "linear"]),
        *(["--weights", "w"], ["--cluster", "run"], ["--level", "0.5"], ["--y-is", "loss"]),
        *(["--where", "a=b"], ["--x", "c"], ["--y", "e"], ["--all-points"]),
    ],
    ids=lambda words: words[0],
)
def test_an_option_that_check_would_not_use_is_refused(words, law, check):
    option = words[0]
    status, _, complaints = check(law, *words)
    assert status == 2
    assert f"{option}: the law's file says what was read. Leave {option} out." in complaints
    status, _, complaints = check("zhai2022-imagenet-10-shot", *words)
    assert status == 2
    assert f"{option}: there is no table to read. Say --table TABLE." in complaints


@pytest.fixture(scope="module")
def doubtful_bytes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doubtful")
    table, path = write(folder / "few.csv", rows(8, last=1.0)), folder / "few.json"
    assert main([str(table), *ASKED, "--law", "power-floor", "--save", str(path)]) == 0
    return path.read_bytes()


@pytest.fixture
def doubtful(tmp_path, doubtful_bytes, capsys):
    """A law with something said against it: a floor that its points do not show."""
    write(tmp_path / "few.csv", rows(8, last=1.0))
    path = tmp_path / "few.json"
    path.write_bytes(doubtful_bytes)
    capsys.readouterr()
    assert json.loads(path.read_text())["evidence"]["diagnostics"]
    return path


def test_a_file_says_that_its_points_its_scatter_and_its_warnings_were_looked_at(
    law, doubtful, check
):
    status, said, _ = check(doubtful)
    assert status == 0
    count = len(json.loads(doubtful.read_text())["evidence"]["diagnostics"])
    assert "as in the file: 8 points, root mean square of log error 0.0" in said
    assert f", {count} warning" in said
    assert ", no warnings" in check(law)[1]


def test_a_root_mean_square_that_the_rows_do_not_give_is_said(law, check):
    now = json.loads(law.read_text())["evidence"]["rms"]
    edit_evidence(law, lambda kept: kept.update(rms=0.5 * now))
    status, said, _ = check(law)
    assert status == 1
    assert (
        f"the file gives a root mean square of log error of {now / 2:.4g}; its rows give {now:.4g}"
    ) in said
    edit_evidence(law, lambda kept: kept.update(rms=now * (1 + 1e-9)))
    assert check(law)[0] == 0


def test_a_diagnostic_that_was_taken_out_or_added_is_said(doubtful, check):
    flat = {"code": "flat", "parameters": [], "numbers": {}}
    kept = json.loads(doubtful.read_text())
    diagnostics = kept["evidence"]["diagnostics"]
    lost = diagnostics.pop(0)
    diagnostics.append(flat)
    doubtful.write_text(json.dumps(kept))
    status, said, _ = check(doubtful)
    assert status == 1
    words = Diagnostic(lost["code"], tuple(lost["parameters"]), lost["numbers"]).words
    assert f"the file lacks a warning of the refit: {words}" in said
    added = Diagnostic("flat").words
    assert f"the file has a warning that the refit lacks: {added}" in said


def scaled(numbers, factor):
    """The last of them, which is not 0, times the factor."""
    name = list(numbers)[-1]
    return numbers | {name: numbers[name] * factor}


DIAGNOSTIC_CHANGES = {
    "number": lambda d: d.update(numbers=scaled(d["numbers"], 1.1)),
    "number taken out": lambda d: d["numbers"].popitem(),
    "parameter": lambda d: d.update(parameters=["a"]),
    "code": lambda d: d.update(code="flat", parameters=[], numbers={}),
}


@pytest.mark.parametrize("change", DIAGNOSTIC_CHANGES.values(), ids=DIAGNOSTIC_CHANGES)
def test_a_diagnostic_with_another_number_parameter_or_code_is_found(doubtful, check, change):
    edit_evidence(doubtful, lambda kept: change(kept["diagnostics"][-1]))
    status, said, complaints = check(doubtful)
    found = said + complaints
    assert status in (1, 2)
    assert "a warning of the refit" in found or "diagnostics, 1" in found


def test_another_machine_may_round_the_numbers_of_a_diagnostic(doubtful, check):
    edit_evidence(
        doubtful,
        lambda kept: kept["diagnostics"][-1].update(
            numbers=scaled(kept["diagnostics"][-1]["numbers"], 1 + 1e-6)
        ),
    )
    assert check(doubtful)[0] == 0


def test_the_words_of_a_diagnostic_are_no_part_of_what_is_kept_or_compared(
    doubtful, check, monkeypatch
):
    for each in json.loads(doubtful.read_text())["evidence"]["diagnostics"]:
        assert set(each) == {"code", "parameters", "numbers"}
        monkeypatch.setitem(MESSAGES, each["code"], lambda names, numbers: "said otherwise")
    assert check(doubtful)[0] == 0
    edit_evidence(doubtful, lambda kept: kept["diagnostics"][-1].update(words="all is well"))
    status, _, complaints = check(doubtful)
    assert status == 2
    assert "evidence, diagnostics, 1, words: is unknown" in complaints


def test_a_note_on_the_table_is_held_against_the_table_while_it_is_the_same(law, table, check):
    edit_evidence(law, lambda kept: kept.update(notes=[]))
    status, said, _ = check(law)
    assert status == 1
    assert "the file lacks a note on the table: 1 of 18 rows have no error" in said
    table.write_text(table.read_text() + "B,3,0.7\n")
    assert check(law)[0] == 0  # what the table was like then is not known any more


def test_a_note_that_the_table_does_not_give_is_found(law, check):
    added = {
        "code": "candidates_run",
        "parameters": [],
        "numbers": {"count": 1, "n": 2, "times": 1},
    }
    edit_evidence(law, lambda kept: kept["notes"].append(added))
    status, said, _ = check(law)
    assert status == 1
    assert "the file has a note not made now: 1 of 2 candidates have been run once" in said


def test_a_note_with_another_count_is_found(law, check):
    edit_evidence(law, lambda kept: kept["notes"][0]["numbers"].update(n=19))
    status, said, _ = check(law)
    assert status == 1
    assert "the file lacks a note on the table: 1 of 18 rows have no error" in said
    assert "the file has a note not made now: 1 of 19 rows have no error" in said


def test_a_row_taken_for_fitted_that_is_not_is_said(law, check):
    edit_evidence(law, lambda kept: kept["fitted"].append(kept["behind"].pop()))
    count = len(json.loads(law.read_text())["evidence"]["fitted"])
    status, said, _ = check(law)
    assert status == 1
    assert (
        f"the curve goes through {count} rows, and of its rows {count - 1} are on the frontier: "
        "line 21 is not on the frontier"
    ) in said


@pytest.mark.slow
def test_clusters_are_known_again_though_a_row_at_the_top_moves_their_numbers(tmp_path, check):
    table, path = tmp_path / "seeds.csv", tmp_path / "law.json"
    rng = np.random.default_rng(0)
    runs = [
        f"S,{x:.6g},{seed},{saturating(x, *TRUTH) * np.exp(0.01 * rng.normal()):.6f}"
        for x in np.geomspace(1e-2, 1e3, 8)
        for seed in range(2)
    ]
    head = "model,eflop,seed,error"
    table.write_text("\n".join([head, *runs]) + "\n")
    assert main([str(table), *ASKED, "--all-points", "--save", str(path)]) == 0
    assert json.loads(path.read_text())["evidence"]["spec"]["clusters"] == ["model", "eflop"]
    status, said, _ = check(path)
    assert status == 0
    between = f"S,0.05,0,{saturating(0.05, *TRUTH):.6f}"
    table.write_text("\n".join([head, between, *runs]) + "\n")
    status, said, _ = check(path)
    assert status == 0
    assert "  1 rows new:\n    line 2: eflop 0.05" in said
    assert "changed:\n    line" not in said


def test_a_law_and_its_table_may_move_together(law, table, tmp_path, check):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    law.rename(folder / "law.json")
    status, _, complaints = check(folder / "law.json")
    assert status == 2
    assert "no such file. Say with --table where the table is now" in complaints
    table.rename(folder / "runs.csv")
    assert check(folder / "law.json")[0] == 0
    (folder / "runs.csv").rename(tmp_path / "renamed.csv")
    assert check(folder / "law.json", "--table", tmp_path / "renamed.csv")[0] == 0


def test_columns_and_rows_that_were_not_read_may_change(law, table, check):
    table.write_text(table.read_text().replace("B,1,0.9", "B,1,0.7"))
    status, said, _ = check(law)
    assert status == 0
    assert "not in the rows and columns that were read" in said


def test_rows_that_agree_leave_a_law_standing_and_are_named(law, table, check):
    with table.open("a") as file:
        for x in (3e3, 1e4):
            file.write(f"S,{x:g},{saturating(x, *TRUTH):.6f}\n")
    status, said, _ = check(law)
    assert status == 0
    assert "2 rows new:\n    line 22: eflop 3000, error" in said
    assert "stays inside the band it had" in said
    assert "of 2 new or changed rows that are fitted, 2 lie inside" in said


def test_rows_that_contradict_a_law_end_it(law, table, check):
    with table.open("a") as file:
        for x in (3e3, 1e4):
            file.write(f"S,{x:g},{0.8 * saturating(x, *TRUTH):.6f}\n")
    status, said, _ = check(law)
    assert status == 1
    assert "of 2 new or changed rows that are fitted, 0 lie inside" in said
    assert said.endswith("\nDOES NOT HOLD\n")


def test_changed_and_lost_rows_are_named(law, table, check):
    lines = table.read_text().splitlines()
    x, y = lines[3].split(",")[1:]
    lines[3] = f"S,{x},{float(y) * 0.7:.6f}"
    gone = lines.pop(10).split(",")
    table.write_text("\n".join(lines) + "\n")
    _, said, _ = check(law)
    assert f"line 4: eflop {float(x):g}, error {float(y) * 0.7:g}; was {float(y):g}" in said
    assert f"1 rows gone:\n    then line 11: eflop {float(gone[1]):g}" in said


def test_numbers_changed_by_hand_are_found_out(law, check):
    edit(law, lambda said: said["values"].update(c=said["values"]["c"] * 1.01))
    status, said, _ = check(law)
    assert status == 1
    assert "the rows in the file do not give its numbers" in said


def test_rows_changed_by_hand_are_found_out(law, check):
    edit_evidence(law, lambda said: said["fitted"].pop())
    status, said, _ = check(law)
    assert status == 1
    assert "the table is the same to the byte, but the file keeps other rows" in said


def test_the_last_digits_of_another_machine_are_forgiven(law, check):
    edit(law, lambda said: said["values"].update(a=said["values"]["a"] * (1 + SAME / 100)))
    status, said, _ = check(law)
    assert status == 0
    assert "another machine's rounding" in said


def found_in_json(said):
    """By code, of JSON that its schema describes."""
    answer = json.loads(said)
    validate(answer, schema_of("check"))
    return answer["holds"], {each["code"]: each for each in answer["found"]}


def test_json_holds_codes_and_numbers_of_what_was_found(law, table, check):
    holds, found = found_in_json(check(law, "--json", "-")[1])
    assert holds is True
    assert list(found) == ["values_same", "as_in_file", "table_same"]
    numbers = found["as_in_file"]["numbers"]
    assert numbers["n"] == len(json.loads(law.read_text())["evidence"]["fitted"])
    assert numbers["diagnostics"] == 0
    lines = table.read_text().splitlines()
    x, y = map(float, lines[3].split(",")[1:])
    lines[3] = f"S,{x:g},{0.9 * y:.6f}"
    table.write_text("\n".join([*lines, "S,3000,0.1091"]) + "\n")
    holds, found = found_in_json(check(law, "--json", "-")[1])
    assert holds is False
    new, changed = found["rows_new"], found["rows_changed"]
    assert new["parameters"] == ["eflop", "error"]
    assert new["numbers"] == {"line": [22.0], "x": [3000.0], "y": [0.1091]}
    assert changed["numbers"] == {"line": [4.0], "x": [x], "y": [round(0.9 * y, 6)], "was": [y]}
    outside = found["new_rows_disagree"]["numbers"]
    assert (outside["n"], outside["outside"]) == (2, 2)
    assert outside["chance"] == pytest.approx(0.1**2)
    edit(law, lambda kept: kept["values"].update(c=kept["values"]["c"] * 1.01))
    _, found = found_in_json(check(law, "--json", "-")[1])
    assert found["values_differ"]["numbers"]["curve"] > SAME


# What is refused


MISTAKES = {
    "law": (lambda v: v.update(law="saturatin"), "law: no 'saturatin'. Did you mean 'saturating'?"),
    "missing": (lambda v: v["evidence"].pop("band"), "evidence, band: Field required"),
    "unknown": (
        lambda v: v["evidence"].update(bnd=1),
        "evidence, bnd: is unknown. Did you mean 'band'",
    ),
    "values": (lambda v: v["values"].pop("d"), "values: give one for each of a, b, c, d"),
    "intervals": (lambda v: v["intervals"].pop("d"), "intervals: give one for each of a, b, c, d"),
    "interval": (lambda v: v["intervals"].update(a=[1]), "intervals, a, 1: Field required"),
    "text": (lambda v: v["values"].update(a="1"), "values, a: Input should be a valid number"),
    "true": (lambda v: v["values"].update(a=True), "values, a: Input should be a valid number"),
    "huge": (lambda v: v["values"].update(a=10**400), "values, a: "),
    "below": (lambda v: v["values"].update(a=-9.0), "values: no error above 0 comes of them"),
    "list": (lambda v: v.update(values=[1]), "values: Input should be an object"),
    "rows": (lambda v: v["evidence"]["fitted"].append([1, 2]), "fitted: not every row has 3"),
    "cells": (
        lambda v: v["evidence"]["fitted"].append([1, None, 2]),
        "fitted, 16, 1: Input should",
    ),
    "line": (
        lambda v: v["evidence"]["fitted"][0].__setitem__(0, 1.5),
        "fitted: line is 1.5, not a whole",
    ),
    "y": (lambda v: v["evidence"]["fitted"][0].__setitem__(2, 7.0), "fitted: error is 7, above 1"),
    "sha": (lambda v: v["evidence"]["table"].update(sha256="abc"), "table, sha256: "),
    "seed": (
        lambda v: v["evidence"]["spec"].update(seed=1.5),
        "spec, seed: Input should be a valid int",
    ),
    "replicates": (
        lambda v: v["evidence"]["spec"].update(replicates=10**9),
        "evidence, spec: replicates: 1000000000 is not from 10 to 100000",
    ),
    "huber": (
        lambda v: v["evidence"]["spec"].update(huber=0.1),
        "huber: squares have no threshold",
    ),
    "level": (
        lambda v: v["evidence"]["spec"].update(level=90),
        "level: 90 is not from 0.01 to 0.999",
    ),
    "forecast": (
        lambda v: v["evidence"]["spec"].update(law="forecast"),
        "a forecast cannot be saved",
    ),
    "other law": (lambda v: v["evidence"]["spec"].update(law="power"), "evidence, spec: law power"),
    "note": (lambda v: v["evidence"].update(notes=[1]), "notes, 0: Input should be an object"),
    "dropped": (
        lambda v: v["evidence"].update(dropped={"outliers": {"error": [[3, 3]]}}),
        "dropped, outliers, [key]: Input should be 'where', 'no_x' or 'no_y'",
    ),
    "points": (lambda v: v["evidence"]["spec"].update(rows="best"), "rows: no 'best'"),
    "terminal": (lambda v: v["evidence"]["made"].update(command="\x1b[2J"), "cannot be printed"),
    "key": (lambda v: v.update({"\x1b[2J": 1}), "is unknown"),
    "span": (lambda v: v.update(span={"x": [2, 1]}), "span: from a larger to a smaller number"),
    "no rows": (lambda v: v["evidence"].update(fitted=[]), "fitted: List should have at least 1"),
    "no band": (lambda v: v["evidence"].update(band=[]), "band: List should have at least 1"),
    "band of 0": (
        lambda v: v["evidence"]["band"][0].__setitem__(2, 0),
        "band: numbers that are not",
    ),
    "no span": (lambda v: v.update(span={}), "span: 0 entries; the law has 1"),
    "memory": (
        lambda v: (
            v["evidence"]["spec"].update(replicates=100_000),
            v["evidence"]["fitted"].extend([[9, 1, 0.5]] * 1000),
        ),
        "more than 100,000,000 draws",
    ),
    "diagnostic": (
        lambda v: v["evidence"]["diagnostics"].append(
            {"code": "flt", "parameters": [], "numbers": {}}
        ),
        "diagnostics, 0: no diagnostic 'flt' is known",
    ),
    "diagnostic's numbers": (
        lambda v: v["evidence"]["diagnostics"].append(
            {"code": "few_points", "parameters": [], "numbers": {"n": 3}}
        ),
        "diagnostics, 0: few_points",
    ),
    "format": (lambda v: v.update(fit_laws=99), "fit_laws: Input should be 2"),
    "formula": (lambda v: v.update(formula="a x"), "another version?"),
    "no evidence": (lambda v: v.pop("evidence"), "give a source (a paper's law) or evidence"),
}


@pytest.mark.parametrize(("change", "words"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_wrong_in_a_file_is_said_with_its_key(law, check, change, words):
    edit(law, change)
    status, said, complaints = check(law)
    assert (status, said) == (2, "")
    assert words in complaints


def test_all_that_is_wrong_in_a_file_is_said_at_once(law, check):
    names = "missing", "text", "sha", "seed", "cells", "terminal", "key"

    def spoil(value):
        for name in names:
            MISTAKES[name][0](value)

    edit(law, spoil)
    _, _, complaints = check(law)
    for name in names:
        assert MISTAKES[name][1] in complaints


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("[1, 2", "no JSON"),
        ("\xff\xfe", "no JSON"),
        ('{"values": {"a": NaN}}', "values, a: Input should be a finite number"),
        ('{"law": 1, "law": 2}', "a key stands twice"),
        ("[" * 100_000, "nested too deep"),
        ("3", "Input should be an object"),
        ("null", "Input should be an object"),
        (" " * (16 * 2**20 + 1), "bytes; such a file has at most"),
    ],
    ids=["empty", "cut", "binary", "nan", "twice", "deep", "number", "null", "large"],
)
def test_what_is_no_law_is_refused_in_words(tmp_path, check, text, words):
    path = tmp_path / "law.json"
    path.write_bytes(text.encode("latin-1"))
    status, _, complaints = check(path)
    assert status == 2
    assert words in complaints


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3)
    ),
    max_leaves=8,
)
KEYS = ["fit_laws", "law", "values", "span", "intervals", "title", "source", "evidence"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=4))
def test_any_json_is_read_or_refused_in_words(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "any.json"
    value = json.loads((FOLDER / "zhai2022-pets-5-shot.json").read_text())
    path.write_text(json.dumps(value | changes))
    with suppress(UserError):
        assert read_law(path).values == value["values"]


EVIDENCE_KEYS = [
    "spec", "table", "rms", "diagnostics", "notes", "dropped", "made", "band", "fitted", "behind"
]  # fmt: skip


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.sampled_from(EVIDENCE_KEYS), JSON, min_size=1, max_size=3))
def test_any_evidence_is_read_or_refused_in_words(law, changes):
    path = law.with_name("any.json")
    value = json.loads(law.read_text())
    path.write_text(json.dumps(value | {"evidence": value["evidence"] | changes}))
    with suppress(UserError):
        assert len(read_law(path).evidence.rows) == 17


@pytest.mark.parametrize("path", ["nix.json", "."])
def test_a_file_that_is_not_there_is_said(tmp_path, check, path):
    assert check(tmp_path / path)[0] == 2


def test_a_name_that_no_paper_has_lists_those_there_are(check):
    status, _, complaints = check("zhai2022-imagenet-10-shots")
    assert status == 2
    assert "no law of a paper has that name. Did you mean 'zhai2022-imagenet-" in complaints
    assert "There are zhai2022-birds-10-shot, " in complaints


def test_what_the_file_says_already_is_not_said_again(law, check):
    status, _, complaints = check(law, "--x", "eflop")
    assert status == 2
    assert "--x: the law's file says what was read" in complaints


# The laws of papers


def test_every_law_of_a_paper_is_read_and_has_a_source():
    laws = [read_law(path) for path in sorted(FOLDER.glob("*.json"))]
    assert len(laws) == 10
    for law in laws:
        assert law.law in LAWS
        assert "Zhai" in law.source
        assert law.last_digit == 0.01
        assert law.evidence is None


def test_a_law_of_a_paper_alone_has_nothing_to_hold_against(check):
    status, said, _ = check("zhai2022-pets-10-shot")
    assert status == 0
    assert "as printed by Zhai, Kolesnikov, Houlsby, Beyer 2022" in said
    assert "no data beside it, so nothing was refitted" in said


def test_a_law_of_a_paper_holds_on_the_runs_of_the_paper(check):
    table = FOLDER.parents[2] / "notebooks" / "zhai2022_inet10.csv"
    arguments = "--table", table, "--x", "core_days", "--y", "error"
    status, said, _ = check("zhai2022-imagenet-10-shot", *arguments)
    assert status == 0
    assert "lies inside the fit's 90% band" in said
    assert check("zhai2022-birds-10-shot", *arguments)[0] == 1
    status, _, complaints = check("zhai2022-birds-10-shot", *arguments[:2])
    assert status == 2
    assert "--x COL is needed beside --table" in complaints
    status, _, complaints = check("zhai2022-birds-10-shot", *arguments, "--law", "powr")
    assert status == 2
    assert "--law: no 'powr'" in complaints


def test_rounding_moves_a_paper_s_curve_by_as_much_as_its_digits_allow():
    law = zhai_2022("imagenet-10-shot")
    x = np.array([1.0, 100.0])
    ends = np.array([[v - 0.005, v + 0.005] for v in law.numbers])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 4)
    moved = np.abs([law.curve.predict(x, *corner) - law.predict(x) for corner in corners]).max(
        axis=0
    )
    assert (moved <= law.rounding(x) * 1.05).all()
    assert (law.rounding(x) <= 1.2 * moved).all()


def test_a_task_that_the_paper_has_not_lists_those_it_has():
    with pytest.raises(UserError, match="Did you mean 'imagenet-5-shot'"):
        zhai_2022("imagenet-5")
