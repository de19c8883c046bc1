"""A law saved as a file: what is in it, and what is refused; the laws of papers among them."""

import json
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_laws import ASKED, RUNS, check_command, edit, saved_law, write

from fits.base.errors import UserError
from fits.fit_laws import main
from fits.laws.powers import SATURATING
from fits.laws.registry import LAWS
from fits.report import fit_table
from fits.saved.law_file import read_law
from fits.saved.published import FOLDER, zhai_2022
from fits.spec import FitSpec


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
        "dropped, outliers, [key]: Input should be 'where', 'no_x', 'no_y', 'last_of' or 'best_of'",
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
    "format": (
        lambda v: v.update(fit_laws=99, later=1),
        "its format is 99, and this version of fit-laws reads format 2. Fit the law anew",
    ),
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


# The laws of papers


def test_every_law_of_a_paper_is_read_and_has_a_source():
    laws = [read_law(path) for path in sorted(FOLDER.glob("*.json"))]
    assert len(laws) == 10
    for law in laws:
        assert law.law in LAWS
        assert "Zhai" in law.source
        assert law.last_digit == 0.01
        assert law.evidence is None


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
