"""Tables: read from anywhere, and every mistake in them named with its place."""

import errno
import os
import re
import threading

import numpy as np
import pytest

from fits.base.errors import UserError
from fits.base.files import written_aside
from fits.base.names import did_you_mean, short
from fits.data.columns import numbered_rows
from fits.data.conditions import keep_where
from fits.data.tables import read_numbers, read_table, table_of


@pytest.fixture
def table(tmp_path):
    """Writes text or bytes to a file and reads it as a table."""

    def read(text, name="runs.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(path)

    return read


def says(error, *words):
    """Whether a mistake holds all these words."""
    return all(word in str(error.value) for word in words)


def test_what_is_in_memory_is_a_table_too(table):
    made = table_of({"x": np.array([1.0, 0.1, 1e-30]), "y": [1, None, 3], "model": ["a", "b", "c"]})
    np.testing.assert_array_equal(made.column("x").values, [1.0, 0.1, 1e-30])
    assert made.columns["model"] == ["a", "b", "c"]
    assert made.column("y").absent.tolist() == [False, True, False]
    assert made.place(2) == "table, row 3"
    with pytest.raises(ValueError, match="columns of one length make a table"):
        table_of({"x": [1.0], "y": []})


def test_a_table_keeps_text_and_the_line_of_every_row(table):
    read = table('x, y ,note\n1,0.5,"a, b"\n\n2,0.4,"two\nlines"\n3,,c\n')
    assert read.columns == {
        "x": ["1", "2", "3"],
        "y": ["0.5", "0.4", ""],
        "note": ["a, b", "two\nlines", "c"],
    }
    assert [read.place(row).rpartition(" ")[2] for row in range(3)] == ["2", "5", "6"]


def test_a_byte_order_mark_and_foreign_line_ends_are_no_part_of_a_table(table):
    read = table(b"\xef\xbb\xbfx,y\r\n1,0.5\r\n")
    assert read.columns == {"x": ["1"], "y": ["0.5"]}


def test_a_parquet_table_reads_as_its_csv_would_and_counts_rows(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "runs.parquet"
    columns = {"x": [1, 2, None], "y": [0.1, 1e-7, 0.30000000000000004], "m": ["a", None, "b"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    read = read_table(path)
    assert read.columns == {
        "x": ["1", "2", ""],
        "y": ["0.1", "1e-07", "0.30000000000000004"],
        "m": ["a", "", "b"],
    }
    assert read.place(2) == f"{path}, row 3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["runs.csv is empty", "column names"]),
        ("\n \n", ["runs.csv is empty"]),
        ("x,y\n", ["column names and no rows"]),
        ("x,y\n3\n4,5,6\n", ["line 2: 1 cell", "line 3: 3 cells", "names 2 columns"]),
        ("1,0.5\n2,0.4\n", ["line 1: 1, 0.5 are numbers, not column names"]),
        ("x;y\n1;2;3\n", ["line 2: 3 cells", "as many semicolons as the header"]),
        (b"PK\x03\x04rest", ["not a whole zip archive", "as CSV"]),
        (b"\x1f\x8bno gzip", ["not a whole gzip file"]),
        ('{"x": 1}\nx\n', ["line 2: no JSON object"]),
        ("[1, 2]", ["column names and no rows"]),
        (b"x,y\n1,0.5\n2,\xe9\x01\n", ["line 3: byte 0xe9 is not UTF-8"]),
        ("x,y\n1,0.5\n2," + "7" * 200_000, ["line 3: not a CSV file", "field larger than"]),
        ('x,y\n1,0.5\n2,"0.4\n3,0.3\n4,0.2\n', ["line 3: a quote opens here and never closes"]),
        ('x,y\n"1\n",0.5\n"2\n","0.4\n3,0.3', ["line 5: a quote opens here and never closes"]),
        ('x,y\r\n1,"', ["line 2: a quote opens here and never closes"]),
        ('x,y\n1,"0.5\n2,0.4\n3,",0.3\n', ["line 4: 3 cells", "line 2: close the quote"]),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(table, text, words):
    with pytest.raises(UserError) as error:
        table(text)
    assert says(error, *words)


def test_rows_that_do_not_fit_the_header_are_kept_apart_in_words(table):
    read = table("x,y\n1,2\n3\n4,5,6\n7,8\n")
    assert read.columns == {"x": ["1", "7"], "y": ["2", "8"]}
    first, second = read.ragged
    assert "line 3: 1 cell" in first
    assert "line 4: 3 cells" in second
    assert read.keep([1]).ragged == read.ragged


def test_a_message_holds_only_the_beginning_of_a_long_value(table):
    assert short("7" * 40) == "7" * 40
    assert short("7" * 41) == "7" * 37 + "..."
    read = table('x,y\n"' + "text\n" * 100 + '",1\n')
    _, ((mistake,),) = read_numbers(read, "x", lambda value: None)
    assert ": x is text text text text text text text te..., not a number." in mistake
    assert "\n" not in mistake
    with pytest.raises(UserError) as error:
        keep_where(table("x,y\n" + "a" * 300 + ",2\n"), "x=" + "b" * 300)
    assert len(str(error.value).partition("no row")[2]) < 130


def test_what_is_no_parquet_file_is_refused(table):
    with pytest.raises(UserError, match="not a readable Parquet file"):
        table("x,y\n1,2\n", name="runs.parquet")


def test_a_missing_column_is_named_with_its_neighbours(table):
    read = table("flops,value,seed\n1,2,3\n")
    first, second = read.missing(["Flop", "seed", "zzz"])
    assert "no column 'Flop'. Did you mean 'flops'? Columns: flops, value, seed." in first
    assert "no column 'zzz'. Columns:" in second


def test_a_row_that_repeats_another_is_named_with_its_twin(table):
    assert table("x,y\n1,2\n1,3\n").duplicates() == []
    read = table("x,y\n1,2\n3,4\n1,2\n1, 2\n")
    places = [(read.place(row), read.place(first)) for row, first in read.duplicates()]
    assert [tuple(each.rpartition(" ")[2] for each in pair) for pair in places] == [
        ("4", "2"),
        ("5", "2"),
    ]


def test_every_cell_that_is_no_number_is_named_with_its_line(table):
    read = table("x\n1\nabc\n1_00\nnan\ninf\n2e3\n-1\n")
    values, mistakes = read_numbers(read, "x", lambda value: "below 0." if value < 0 else None)
    assert values[0] == 1
    assert values[5] == 2000
    assert [[said.partition("line ")[2].split(".")[0] for said in kind] for kind in mistakes] == [
        ["3: x is abc, not a number", "4: x is 1_00, not a number"],
        ["5: x is nan, not finite", "6: x is inf, not finite"],
        ["8: x is -1, below 0"],
    ]


def test_of_many_mistakes_of_a_kind_ten_are_spelled_out_and_the_rest_counted():
    wrong = UserError([f"mistake {k}" for k in range(23)], [], ["another"])
    lines = str(wrong).splitlines()
    assert lines[:10] == [f"mistake {k}" for k in range(10)]
    assert lines[10:] == ["... and 13 more of this kind.", "another"]
    assert [len(kind) for kind in wrong.kinds] == [23, 1]


def test_a_name_far_from_all_known_ones_has_no_neighbours():
    assert did_you_mean("flop", ["flops", "value"]) == "Did you mean 'flops'? "
    assert did_you_mean("zebra", ["flops", "value"]) == ""


def test_a_file_takes_its_place_whole_or_not_at_all(tmp_path):
    path = tmp_path / "answer.json"
    path.write_text("old")

    def half_written():
        with written_aside(path) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_written()
    assert path.read_text() == "old"
    with written_aside(path) as aside:
        aside.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_with_the_file_that_was_meant(tmp_path):
    """What the disk refuses once a file is open names no file, or the temporary one."""
    path = tmp_path / "runs.parquet"
    for error in (OSError(errno.ENOSPC, "Error writing bytes"), OSError(errno.EIO, "Input")):
        with pytest.raises(OSError, match=re.escape(f": '{path}'")), written_aside(path):
            raise error
    with pytest.raises(PermissionError) as refused, written_aside(path) as aside:
        raise PermissionError(errno.EACCES, "Permission denied", str(aside))
    assert refused.value.filename == str(path)
    with pytest.raises(FileNotFoundError, match="other"), written_aside(path):
        (tmp_path / "other").read_text()
    assert not list(tmp_path.iterdir())


def test_a_link_stays_and_the_file_it_points_to_is_replaced(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target, link, dangling = folder / "real.json", tmp_path / "link.json", tmp_path / "new.json"
    target.write_text("old")
    link.symlink_to(target)
    dangling.symlink_to(folder / "new.json")
    for path in (link, dangling):
        with written_aside(path) as aside:
            assert aside.parent == folder
            aside.write_text("new")
        assert path.is_symlink()
        assert path.resolve().read_text() == "new"
    assert sorted(path.name for path in folder.iterdir()) == ["new.json", "real.json"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    with written_aside(pipe) as aside:
        assert aside == pipe
        aside.write_text("answer")
    reader.join(timeout=10)
    assert heard == ["answer"]
    assert pipe.is_fifo()


def test_rows_are_numbered_by_as_many_columns_as_tell_them_apart():
    cells = {"a": ["1", "2", "1", "1"], "b": ["x", "x", "y", "x"], "c": ["p", "q", "r", "p"]}
    made = table_of(cells)
    assert numbered_rows([made.columns[name] for name in "abc"], 4).tolist() == [0, 1, 2, 0]
    apart = table_of(cells | {"b": ["x", "x", "y", "z"]})
    assert numbered_rows([apart.columns[name] for name in "abc"], 4).tolist() == [0, 1, 2, 3]
    kept = made.columns["a"].keep(np.array([1, 3]))
    assert kept.codes().tolist() == [0, 1]


def test_equal_rows_are_found_by_their_cells_whatever_was_read_as_numbers(tmp_path):
    rng = np.random.default_rng(0)
    cells = np.array(["1e3", "1000", "", "nan", "2"])
    rows = [",".join(each) for each in rng.choice(cells, (60, 3)) if any(each)]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["x,y,z", *rows]))
    first = {row: rows.index(row) for row in rows}
    again = [(k, first[row]) for k, row in enumerate(rows) if first[row] < k]
    for read in ([], ["x"], ["y", "x"]):
        table = read_table(path)
        for name in read:
            table.values(name)
        assert table.duplicates() == again
    assert table.keep([0]).duplicates() == table.keep([]).duplicates() == []
