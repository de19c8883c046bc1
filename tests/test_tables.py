"""Tables: read from anywhere, and every mistake in them named with its place."""

import pytest

from fits.tables import InputError, near, read_numbers, read_table, written_aside


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
        ("x,y\n1,2\n3\n4,5,6\n", ["line 3: 1 cells", "line 4: 3 cells", "names 2 columns"]),
        ("1,0.5\n2,0.4\n", ["line 1: 1, 0.5 are numbers, not column names"]),
        ("x,y,x\n1,2,3\n", ["line 1: column 'x' is named twice"]),
        ("x;y\n1;2\n", ["line 1: one column named 'x;y'", "commas"]),
        (b"x,y\n1,0.5\n2,\xe9\n", ["line 3: byte 0xe9 is not UTF-8"]),
        ("x,y\n1,0.5\n2," + "7" * 200_000, ["line 3: not a CSV file", "field larger than"]),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(table, text, words):
    with pytest.raises(InputError) as error:
        table(text)
    assert says(error, *words)


def test_what_is_no_parquet_file_is_refused(table):
    with pytest.raises(InputError, match="not a readable Parquet file"):
        table("x,y\n1,2\n", name="runs.parquet")


def test_a_missing_column_is_named_with_its_neighbours(table):
    read = table("flops,value,seed\n1,2,3\n")
    with pytest.raises(InputError) as error:
        read.require(["Flop", "seed", "zzz"])
    first, second = str(error.value).splitlines()
    assert "no column 'Flop'. Did you mean 'flops'? Columns: flops, value, seed." in first
    assert "no column 'zzz'. Columns:" in second


def test_rows_are_chosen_by_text_or_by_number(table):
    read = table("x,size\n1,10\n2,1e1\n3,ten\n4,11\n")
    assert read.where("size", "10.0").numbers == [2, 3]
    assert read.where("size", "ten").numbers == [4]
    assert read.where("size", "10", equal=False).numbers == [4, 5]
    with pytest.raises(InputError, match=r"no row has size=12\. Values of size: 10, 1e1, ten, 11"):
        read.where("size", "12")


def test_a_row_that_repeats_another_is_named_with_its_twin(table):
    table("x,y\n1,2\n1,3\n").refuse_twins()
    with pytest.raises(InputError) as error:
        table("x,y\n1,2\n3,4\n1,2\n1, 2\n").refuse_twins()
    first, second = str(error.value).splitlines()
    assert "line 4: the same as line 2 in every column" in first
    assert "line 5: the same as line 2" in second


def test_every_cell_that_is_no_number_is_named_with_its_line(table):
    read = table("x\n1\nabc\n1_000\nnan\ninf\n2e3\n-1\n")
    values, mistakes = read_numbers(read, "x", lambda value: "below 0." if value < 0 else None)
    assert values[0] == 1
    assert values[5] == 2000
    assert [mistake.partition("line ")[2].split(".")[0] for mistake in mistakes] == [
        "3: x is abc, not a number",
        "4: x is 1_000, not a number",
        "5: x is nan, not finite",
        "6: x is inf, not finite",
        "8: x is -1, below 0",
    ]


def test_of_many_mistakes_ten_are_spelled_out_and_the_rest_counted():
    lines = str(InputError([f"mistake {k}" for k in range(23)])).splitlines()
    assert lines[:10] == [f"mistake {k}" for k in range(10)]
    assert lines[10:] == ["... and 13 more of this kind."]


def test_a_name_far_from_all_known_ones_has_no_neighbours():
    assert near("flop", ["flops", "value"]) == "Did you mean 'flops'? "
    assert near("zebra", ["flops", "value"]) == ""


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
