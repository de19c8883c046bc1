"""Results: rows that come back from a file as they went in."""

import dataclasses

import pytest
from results_table import read_results

from fits.data.results import COLUMNS, Result, write_csv, write_parquet

RESULT = Result(
    study="demo",
    run="3f9c",
    model="Ti/16, wide",
    params=5_500_000,
    flops=1.2345678901234567e18,
    images_seen=81_920_000,
    data_size=None,
    seed=0,
    metric="digits_10shot_error",
    value=0.1 + 0.2,
    n=8192,
)
RESULTS = [RESULT, dataclasses.replace(RESULT, data_size=30_000, metric="loss", value=2.5e-17)]


def test_the_columns_of_a_table_are_those_its_readers_know():
    assert ",".join(COLUMNS) == (
        "study,run,model,params,flops,images_seen,data_size,seed,metric,value,n,subset,variant"
    )


@pytest.mark.parametrize(
    ("write", "name"), [(write_csv, "results.csv"), (write_parquet, "results.parquet")]
)
def test_results_come_back_from_a_file_to_the_last_digit(tmp_path, write, name):
    write(tmp_path / name, RESULTS)
    assert read_results(tmp_path / name) == RESULTS
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_endless_data_set_is_an_empty_cell_and_a_null(tmp_path):
    import pyarrow.parquet

    write_csv(tmp_path / "r.csv", [RESULT])
    assert ",81920000,,0,digits_10shot_error," in (tmp_path / "r.csv").read_text()
    write_parquet(tmp_path / "r.parquet", RESULTS)
    column = pyarrow.parquet.read_table(tmp_path / "r.parquet")["data_size"]
    assert column.to_pylist() == [None, 30_000]
    assert str(column.type) == "int64"


def test_a_study_without_results_is_a_table_without_rows(tmp_path):
    import pyarrow.parquet

    write_csv(tmp_path / "r.csv", [])
    assert (tmp_path / "r.csv").read_text() == ",".join(COLUMNS) + "\n"
    write_parquet(tmp_path / "r.parquet", [])
    assert pyarrow.parquet.read_table(tmp_path / "r.parquet").column_names == list(COLUMNS)


def test_a_table_that_breaks_off_leaves_the_old_one_in_place(tmp_path):
    path = tmp_path / "results.csv"
    write_csv(path, RESULTS)

    def broken():
        yield RESULT
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_csv(path, broken())
    assert read_results(path) == RESULTS
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": float("nan")}, "is nan. A failed run is an absent row"),
        ({"value": float("inf")}, "is inf. A failed run"),
        ({"flops": 0.0}, "flops of run 3f9c is 0; it must be above 0"),
    ],
)
def test_what_was_not_measured_is_no_result(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(RESULT, **change)


def test_a_loss_may_exceed_one():
    assert dataclasses.replace(RESULT, metric="upstream_loss", value=6.9).value == 6.9
