"""Which rows are fitted: comparisons, ranges, the last row of each run, the best of each sweep."""

from pathlib import Path

import numpy as np
import pytest

from fits.base.errors import UserError
from fits.data.conditions import keep_where, parsed
from fits.data.points import points_of
from fits.data.tables import read_table
from fits.fit_laws import main
from fits.report import fit_table
from fits.spec import FitSpec

FIELD = Path(__file__).parents[1] / "shared/data/field"
FIELD = FIELD if FIELD.exists() else Path(__file__).parents[2] / "shared/data/field"


@pytest.fixture
def csv(tmp_path):
    def write(*lines):
        path = tmp_path / "runs.csv"
        path.write_text("\n".join(lines) + "\n")
        return read_table(path)

    return write


@pytest.fixture
def table(csv):
    return csv(
        *("model,flops,loss,a=b", "S,1e18,3.4,1", "M,1e19,3.1,2", "L,1e20,NaN,3"),
        *("XL,1e21,,4", "ten,,2.5,5", "B,-,inf,6"),
    )


@pytest.mark.parametrize(
    ("condition", "lines"),
    [
        ("flops>=1e19", [3, 4, 5]),
        ("flops > 1e19", [4, 5]),
        ("flops<1e19", [2]),
        ("flops<=10000000000000000000", [2, 3]),
        ("flops=1e18..1e19", [2, 3]),
        ("flops=1E+18 .. 1e20", [2, 3, 4]),
        ("1e18<flops<=1e20", [3, 4]),
        ("1e18 <= flops < 1e20", [2, 3]),
        ("flops=1000000000000000000", [2]),
        ("flops==1e18", [2]),
        ("flops!=1e18", [3, 4, 5, 6, 7]),
        ("loss=nan", [4, 5, 7]),
        ("loss!=nan", [2, 3, 6]),
        ("loss!=NaN", [2, 3, 6]),
        ("loss=inf", [7]),
        ("loss<inf", [2, 3, 6]),
        ("loss=", [5]),
        ("loss!=", [2, 3, 4, 6, 7]),
        ("flops>=10B", [2, 3, 4, 5]),
        ("model=S", [2]),
        ("model!=S", [3, 4, 5, 6, 7]),
        ("model = S", [2]),
        ("model != S", [3, 4, 5, 6, 7]),
        ("a=b=3", [4]),
        ("a=b>=5", [6, 7]),
    ],
)
def test_a_condition_keeps_the_rows_that_meet_it(table, condition, lines):
    assert keep_where(table, condition).numbers == lines


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("flops>1e22", "no row has flops>1e22. flops is from 1e+18 to 1e+21."),
        ("model=T", "no row has model=T. Values of model: S, M, L, XL, ten, B."),
        ("flops>=many", "--where flops>=many: many is no number."),
        ("model>=3", "line 2: model is S, not a number."),
        ("floops>=3", "no column 'floops'. Did you mean 'flops'"),
    ],
)
def test_a_condition_that_no_row_can_meet_is_refused(table, condition, words):
    with pytest.raises(UserError) as error:
        keep_where(table, condition)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("model!=Q", ["--where model!=Q leaves out no row: no model is 'Q'"]),
        ("model!=S", []),
        ("y!=nan", []),
    ],
)
def test_a_cell_to_leave_out_that_no_row_has_is_said(csv, condition, words):
    table = csv("model,x,y", "S,1,0.5", "M,2,0.4")
    points = points_of(table, ["x"], "y", where=[condition])
    assert [each.words for each in points.notes] == words


def test_a_condition_that_compares_nothing_is_a_mistake_of_the_spec():
    assert parsed("flops") == []
    with pytest.raises(UserError, match="'flops' compares nothing"):
        FitSpec(x=("flops",), y="loss", where=("flops",))


def test_numbers_of_a_condition_are_compared_with_cells_as_they_are_read(csv):
    table = csv("params,err", "14M,12 %", "1.3B,11 %", "350M,9 %")
    assert keep_where(table, "params>=350M").numbers == [3, 4]
    assert keep_where(table, "params=350000000").numbers == [4]
    assert keep_where(table, "err<=11").numbers == [3, 4]
    assert keep_where(table, "err<=11 %").numbers == [3, 4]


def test_a_factor_in_a_condition_is_that_of_the_unit_in_a_column_s_name(csv):
    table = csv("D [B],C (EFLOPs)", "2,1", "8,2000", "32,5000")
    assert keep_where(table, "D<=8B").numbers == keep_where(table, "D<=8").numbers == [2, 3]
    assert keep_where(table, "D=8B").numbers == [3]
    assert keep_where(table, "D=4000M..8000M").numbers == [3]
    assert keep_where(table, "C>=2 ZFLOPs").numbers == [3, 4]
    assert keep_where(csv("D [B]", "2B", "8B", "32B"), "D<=8B").numbers == [2, 3]


CURVES = (
    *("run,seed,step,loss", "a,0,1,3.0", "a,0,2,2.5", "b,0,1,3.1", "a,0,3,"),
    *("b,0,2,NaN", "c,0,1,2.9", "c,1,5,2.0"),
)


def test_the_last_row_of_a_run_is_the_last_that_was_measured(csv):
    points = points_of(csv(*CURVES), ["step"], "loss", "loss", last_of=["run"])
    np.testing.assert_array_equal(points.x, [2, 5])  # of a and c; b has diverged
    assert [note.words for note in points.notes] == [
        "1 of 7 rows have no loss and are left out",
        "the last row of each run: 3 of 6 rows",
        "1 of 3 rows have no number as loss (NaN) and are left out",
    ]
    both = points_of(csv(*CURVES), ["step"], "loss", "loss", last_of=["run", "seed"])
    np.testing.assert_array_equal(both.x, [2, 1, 5])


def test_rows_of_a_run_that_are_not_in_order_are_said(csv):
    points = points_of(
        csv("run,step,loss", "a,2,2.5", "a,1,3.0", "b,1,3.1"),
        *(["step"], "loss", "loss"),
        last_of=["run"],
    )
    assert "the last row of 1 of 2 runs is not that of the largest step" in points.notes[1].words


def test_rows_that_do_not_name_their_run_are_no_run(csv):
    table = csv("run,seed,x,y", "a,0,1,0.5", ",0,2,0.4", ",1,3,0.3", "b,,4,0.2")
    with pytest.raises(UserError) as error:
        points_of(table, ["x"], "y", last_of=["run"])
    first, second = str(error.value).splitlines()
    assert "line 3: no run, so that" in first
    assert "line 4: no run, so that" in second
    assert "--where 'run!='" in second
    named = points_of(table, ["x"], "y", last_of=["run"], where=["run!="])
    np.testing.assert_array_equal(named.x, [1, 4])
    both = points_of(table, ["x"], "y", last_of=["run", "seed"])
    np.testing.assert_array_equal(both.x, [1, 2, 3, 4])


@pytest.mark.parametrize(("cell", "words"), [("0.l", "0.l, not a number"), ("12", "12, above 1")])
def test_a_mistake_in_a_sweep_is_named_though_another_row_is_better(csv, cell, words):
    table = csv("N,lr,y", "1,1,0.5", f"1,2,{cell}", "2,1,0.4", "2,2,0.6")
    with pytest.raises(UserError, match=f"line 3: y is {words}"):
        points_of(table, ["N"], "y", best_of=["N"])


def test_last_and_best_are_taken_within_each_group(csv):
    rows = ["run,metric,x,value", "a,e,1,0.5", "a,f,1,0.7", "a,e,2,0.4", "a,f,2,0.6"]
    points = points_of(csv(*rows), ["x"], "value", last_of=["run"], by=["metric"])
    np.testing.assert_array_equal(points.error, [0.4, 0.6])
    points = points_of(csv(*rows), ["x"], "value", best_of=["run"], by=["metric"])
    np.testing.assert_array_equal(points.error, [0.4, 0.6])


def test_the_best_of_a_sweep_is_the_lowest_error_or_the_highest_accuracy(csv):
    rows = ["N,D,lr,y", "1e6,1e9,1,0.5", "1000000,1e9,2,0.4", "1e6,2e9,1,0.3", "1e6,1e9,3,0.4"]
    points = points_of(csv(*rows), ["N", "D"], "y", best_of=["N", "D"])
    assert points.table.numbers == [3, 4]  # of equals the first
    assert points.notes[-1].words == "the best row of each N, D: 2 of 4 rows"
    points = points_of(csv(*rows), ["N", "D"], "y", "accuracy", best_of=["N", "D"])
    assert points.table.numbers == [2, 4]


def test_a_sweep_is_fitted_by_its_best_runs(csv):
    """Whose rate is the best of four is known: the fit is that of these alone."""
    rng = np.random.default_rng(0)
    N, D = np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6))
    loss = (1.7 + 400 / N**0.34 + 900 / D**0.32) * np.exp(rng.normal(0, 1e-3, N.shape))
    rows = [
        f"{n:.6g},{d:.6g},{rate},{y * (1 + 0.2 * off**2):.8g}"
        for n, d, y in zip(N.ravel(), D.ravel(), loss.ravel(), strict=True)
        for rate, off in enumerate([-0.7, 0.0, 0.9, 1.5])
    ]
    table = csv("N,D,rate,loss", *rows)

    def exponents(**rows):
        spec = FitSpec(x=("N", "D"), y="loss", y_is="loss", law="chinchilla", **rows)
        (group,) = fit_table(table, spec, holdout=False).groups
        return np.array(group.law.values)[[2, 4]]

    best = exponents(best_of=("N", "D"))
    np.testing.assert_array_equal(best, exponents(where=("rate=1",)))
    np.testing.assert_allclose(best, [0.34, 0.32], atol=0.01)


@pytest.mark.skipif(not FIELD.exists(), reason="no ../shared/data/field")
def test_the_exponent_of_the_last_losses_of_published_curves_is_the_published_one():
    spec = FitSpec(x=("params",), y="loss", y_is="loss", law="power", rows="all", last_of=("run",))
    (group,) = fit_table(FIELD / "routing_dense_curves.csv", spec, holdout=False).groups
    assert len(group.points.error) == 5
    assert group.law.values[1] == pytest.approx(0.081, abs=5e-4)


def test_of_a_quantity_that_rises_no_row_is_the_best(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    path.write_text("C,N\n1e18,1e7\n1e19,3e7\n1e20,1e8\n1e21,3e8\n")
    asked = [str(path), "--x", "C", "--y", "N", "--y-is", "quantity", "--best-of", "C"]
    assert main(asked) == 2
    assert "of a quantity that rises no row is the best" in capsys.readouterr().err


def of_compute(tmp_path):
    path = tmp_path / "compute.csv"
    rows = [f"{10**k:g},{0.5 * 0.9**k:.6f}" for k in range(18, 27)]
    path.write_text("\n".join(["C,y", *rows]) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("C=1e20..", 7),
        ("C=..1e20", 3),
        ("C = 1e19 .. 1e21", 3),
        ("C=1e19...1e21", 3),
        ("C!=1e19..1e21", 6),
        ("C≥1e20", 7),
        ("C≤1e20", 3),
        ("C<>1e20", 8),
        ("1e20<C", 6),
        ("1e20>=C", 3),
        ("1e21>=C>1e19", 2),
    ],
)
def test_ranges_and_signs_are_read_as_people_type_them(tmp_path, condition, kept):
    assert len(keep_where(read_table(of_compute(tmp_path)), condition)) == kept


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("C=>1e20", "=> is no sign. Did you mean 'C>=1e20'?"),
        ("C=<1e20", "=< is no sign. Did you mean 'C<=1e20'?"),
        ("C in 1e19..1e20", "Did you mean 'C=1e19..1e20'?"),
        ("C:1e19..1e20", "Did you mean 'C=1e19..1e20'?"),
        ("C=1e19-1e20", "Did you mean 'C=1e19..1e20'?"),
        ("C=[1e19,1e20]", "Did you mean 'C=1e19..1e20'?"),
        ("C=1e20..1e19", "Did you mean 'C=1e19..1e20'?"),
        ("C!=1e20..1e19", "no number is that. Did you mean 'C!=1e19..1e20'?"),
        ("C in 1e19,1e20", "'C in 1e19,1e20' compares nothing. Write COL=VALUE"),
        ("C>1e19 and C<1e21", "holds two conditions. Say --where once for each"),
        ("C>=1e19,C<1e21", "holds two conditions"),
    ],
)
def test_a_condition_that_is_mistyped_is_answered_with_what_is_meant(
    tmp_path, condition, said, capsys
):
    words = [of_compute(tmp_path), "--x", "C", "--y", "y", "--where", condition]
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_text_that_looks_like_a_range_or_a_sign_is_text_where_cells_are(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("name,a=>b,y\n1..2,3,1\n>x,4,2\nS-2,5,3\n")
    table = read_table(path)
    assert len(keep_where(table, "name=S-2")) == 1
    assert len(keep_where(table, "a=>b=4")) == 1


def test_a_percentage_is_compared_with_a_column_whose_name_says_percent(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("flops,err (%),lr\n1e17,61.2,.001\n1e18,50,0.001\n1e19,44.6,.003\n")
    table = read_table(path)
    assert keep_where(table, "err>50%").numbers == [2]
    assert keep_where(table, "err<=50 %").numbers == keep_where(table, "err<=50").numbers == [3, 4]
    assert keep_where(table, "lr!=.003").numbers == [2, 3]
    assert keep_where(table, "lr=.001..0.002").numbers == [2, 3]
