"""Whether a law saved as a file still holds: `fit-laws check`."""

import json

import numpy as np
import pytest
from jsonschema import validate
from saved_laws import (
    ASKED,
    RUNS,
    TRUTH,
    check_command,
    edit,
    edit_evidence,
    rows,
    saved_law,
    write,
)

from fits.base.diagnostic import Diagnostic
from fits.base.messages import MESSAGES
from fits.cli.output import schema_of
from fits.fit_laws import main
from fits.laws.powers import saturating
from fits.saved.check import SAME
from fits.saved.published import FOLDER


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "runs.csv", RUNS)


@pytest.fixture(scope="module")
def law_bytes(tmp_path_factory):
    return saved_law(tmp_path_factory.mktemp("law") / "runs.csv", RUNS)


@pytest.fixture
def law(table, tmp_path, law_bytes, capsys):
    path = tmp_path / "law.json"
    path.write_bytes(law_bytes)
    capsys.readouterr()
    return path


@pytest.fixture
def check(capsys):
    return check_command(capsys)


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    table = tmp_path_factory.mktemp("doubtful") / "few.csv"
    return saved_law(table, rows(8, last=1.0), "--law", "power-floor")


@pytest.fixture
def doubtful(tmp_path, doubtful_bytes, capsys):
    """A law with something said against it: a floor that its points do not show."""
    write(tmp_path / "few.csv", rows(8, last=1.0))
    path = tmp_path / "few.json"
    path.write_bytes(doubtful_bytes)
    capsys.readouterr()
    assert json.loads(path.read_text())["evidence"]["diagnostics"]
    return path


@pytest.mark.slow
def test_a_file_says_that_its_points_its_scatter_and_its_warnings_were_looked_at(
    law, doubtful, check
):
    status, said, _ = check(doubtful)
    assert status == 0
    count = len(json.loads(doubtful.read_text())["evidence"]["diagnostics"])
    assert "as in the file: 8 points, root mean square of log error 0.0" in said
    assert f", {count} warning" in said
    assert ", no warnings" in check(law)[1]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("change", DIAGNOSTIC_CHANGES.values(), ids=DIAGNOSTIC_CHANGES)
def test_a_diagnostic_with_another_number_parameter_or_code_is_found(doubtful, check, change):
    edit_evidence(doubtful, lambda kept: change(kept["diagnostics"][-1]))
    status, said, complaints = check(doubtful)
    found = said + complaints
    assert status in (1, 2)
    assert "a warning of the refit" in found or "diagnostics, 1" in found


@pytest.mark.slow
def test_another_machine_may_round_the_numbers_of_a_diagnostic(doubtful, check):
    edit_evidence(
        doubtful,
        lambda kept: kept["diagnostics"][-1].update(
            numbers=scaled(kept["diagnostics"][-1]["numbers"], 1 + 1e-6)
        ),
    )
    assert check(doubtful)[0] == 0


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "  1 row new:\n    line 2: eflop 0.05" in said
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


@pytest.mark.slow
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
    assert f"1 row gone:\n    then line 11: eflop {float(gone[1]):g}" in said


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


@pytest.mark.slow
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


def test_what_the_file_says_already_is_not_said_again(law, check):
    status, _, complaints = check(law, "--x", "eflop")
    assert status == 2
    assert "--x: the law's file says what was read" in complaints


def test_a_law_of_a_paper_alone_has_nothing_to_hold_against(check):
    status, said, _ = check("zhai2022-pets-10-shot")
    assert status == 0
    assert "as printed by Zhai, Kolesnikov, Houlsby, Beyer 2022" in said
    assert "no data beside it, so nothing was refitted" in said


@pytest.mark.slow
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
