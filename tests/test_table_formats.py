"""Tables as people's programs write them: read as what was meant, or refused with both readings."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fits.base.errors import UserError
from fits.data import numerals
from fits.data.csv_rows import Rows
from fits.data.points import points_of
from fits.data.raw import Layout, Source
from fits.data.tables import read_numbers, read_table, table_of

FIELD = Path(__file__).parents[1] / "shared/data/field"
FIELD = FIELD if FIELD.exists() else Path(__file__).parents[2] / "shared/data/field"
FLOPS = [1e18, 1e19, 1e20]
LOSS = [3.41, 2.9, 2.345]
PLAIN = "flops,loss\n1e18,3.41\n1e19,2.9\n1e20,2.345\n"


@pytest.fixture
def read(tmp_path):
    """Writes text or bytes to a file and reads it as a table."""

    def from_text(text, name="runs.csv", **written):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(**written))
        return read_table(path)

    return from_text


def column(table, name):
    values, wrong = read_numbers(table, name, lambda value: None)
    assert not wrong
    return values


def said(table, *names):
    """The line on how a table was read."""
    notes = table.read_as(names or table.columns)
    assert len(notes) < 2
    return notes[0].words if notes else ""


def test_a_plain_table_is_read_without_a_word(read):
    table = read(PLAIN)
    np.testing.assert_array_equal(column(table, "flops"), FLOPS)
    np.testing.assert_array_equal(column(table, "loss"), LOSS)
    assert said(table) == ""


@pytest.mark.parametrize(
    ("mark", "name"),
    [("\t", "tabs"), (";", "semicolons"), ("|", "bars"), (" ", "blanks"), ("   ", "blanks")],
)
def test_the_mark_between_cells_is_found_and_said(read, mark, name):
    table = read(PLAIN.replace(",", mark))
    np.testing.assert_array_equal(column(table, "flops"), FLOPS)
    np.testing.assert_array_equal(column(table, "loss"), LOSS)
    assert said(table) == f"read as: {name} between cells"


def test_cells_that_hold_the_other_marks_do_not_mislead(read):
    table = read('model,note,loss\n"a;b","x|y z",3.4\n"c;d","u\tv w",3.1\n')
    assert list(table.columns) == ["model", "note", "loss"]
    assert said(table) == ""
    table = read("Loss, val;FLOPs\n3,41;1e18\n2;1e19\n")
    assert list(table.columns) == ["Loss, val", "FLOPs"]


def by_arrow(kind):
    def pack(raw):
        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, kind) as stream:
            stream.write(raw)
        return sink.getvalue().to_pybytes()

    return pack


PACKS = [gzip.compress, bz2.compress, lzma.compress, by_arrow("zstd"), by_arrow("lz4")]


@pytest.mark.parametrize("pack", PACKS, ids=["gzip", "bzip2", "xz", "zstd", "lz4"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_compressed_text_in_any_unicode_encoding_is_read(read, pack, encoding):
    for name in ("runs.csv.gz", "runs.csv"):
        table = read(pack(PLAIN.replace(",", "\t").encode(encoding)), name)
        np.testing.assert_array_equal(column(table, "loss"), LOSS)
        assert "compressed by" in said(table)
        assert ("UTF-16" in said(table)) == encoding.startswith("utf-16")


def test_json_lines_arrays_of_objects_and_objects_of_columns_are_one_table(read):
    rows = [{"flops": x, "loss": y, "run": None} for x, y in zip(FLOPS, LOSS, strict=True)]
    lines = "\n".join(map(json.dumps, rows))
    columns = {"flops": FLOPS, "loss": LOSS, "run": [None] * 3}
    texts = [lines, json.dumps(rows), json.dumps(rows, indent=2), json.dumps(columns)]
    for text in (*texts, gzip.compress(lines.encode())):
        table = read(text, "runs.log")
        np.testing.assert_array_equal(column(table, "flops"), FLOPS)
        assert table.columns["run"] == ["", "", ""]
        assert "JSON" in said(table)


def test_json_lines_may_lack_keys_hold_nan_text_and_objects(read):
    table = read(
        '{"step": 1, "eval": {"loss": 3.5}}\n\n{"step": 2, "eval": {"loss": NaN}}\n'
        '{"step": "3"}\n{"step": 4, "note": ["a", 1], "eval": {"loss": 1e400}}\n'
    )
    assert table.columns == {
        "step": ["1", "2", "3", "4"],
        "eval.loss": ["3.5", "NaN", "", "1e400"],
        "note": ["", "", "", '["a", "1"]'],
    }
    assert table.numbers == [1, 3, 4, 5]
    np.testing.assert_array_equal(table.columns["eval.loss"].absent, [False, True, True, True])


def test_a_million_rows_of_json_would_be_held_in_blocks(read):
    lines = "\n".join(f'{{"x": {k}, "y{k // 10_000}": 0.5}}' for k in range(1, 25_001))
    table = read(lines, "runs.jsonl")
    np.testing.assert_array_equal(column(table, "x"), np.arange(1, 25_001))
    assert table.columns["y0"].absent.sum() == 25_000 - 9_999
    assert table.columns["y2"][-1] == "0.5"


def test_comments_are_left_out_and_lines_are_counted_as_they_stand(read):
    table = read('# made by a "script\n#\nflops,loss\n1e18,3.41 # final\n  # lost\n1e19,2.9\n')
    np.testing.assert_array_equal(column(table, "loss"), [3.41, 2.9])
    assert table.numbers == [4, 6]
    left_out = "loss 3.41 # final as 3.41 (comment left out)"
    assert said(table) == f"read as: lines that begin with # left out; {left_out}"


@pytest.mark.parametrize("top", ["# flops loss", "#flops loss", "# saved\n#  flops   loss"])
def test_names_in_a_comment_right_above_the_numbers_are_the_header(read, top):
    table = read(f"{top}\n1e18 3.41\n1e19 2.9\n")
    np.testing.assert_array_equal(column(table, "flops"), FLOPS[:2])
    assert "column names from the comment on top" in said(table)


def test_excel_may_name_its_mark_on_the_first_line(read):
    table = read("sep=;\nflops;loss\n1e18;3,41\n")
    np.testing.assert_array_equal(column(table, "loss"), [3.41])


@pytest.mark.parametrize(
    ("cells", "numbers", "words"),
    [
        (["3,41", "2,9", "2,345"], LOSS, "y 3,41 as 3.41 (decimal comma)"),
        (["1.234,5", "2.000", "3"], [1234.5, 2000, 3], "y 1.234,5 as 1234.5 (decimal comma)"),
        (["1,234.5", "2,000", "3"], [1234.5, 2000, 3], "y 1,234.5 as 1234.5 (thousands)"),
        (["1.234.567", "1.234", "2"], [1234567, 1234, 2], "(thousands)"),
        (["1 000", "12 345 678", "5"], [1000, 12345678, 5], "y 1 000 as 1000 (thousands)"),
        (["1\u202f000,5", "2\u00a0000", "3,5"], [1000.5, 2000, 3.5], "(thousands)"),
        (["1'000", "2’000", "1_000_000"], [1000, 2000, 1000000], "y 1'000 as 1000"),
        (["12,34,567", "1,00,000", "7"], [1234567, 100000, 7], "y 12,34,567 as 1234567"),
        (["3,30E+17", "1,00E+18", "5e3"], [3.3e17, 1e18, 5e3], "y 3,30E+17 as 3.3e+17"),
        (["124M", "1.3B", "350m"], [124e6, 1.3e9, 350e6], "y 124M as 124,000,000"),
        (["2.7 bn", "70 B", "1T"], [2.7e9, 70e9, 1e12], "y 2.7 bn as 2,700,000,000"),
        (["14 Mio", "1,5 Mrd", "2 million"], [14e6, 1.5e9, 2e6], "y 14 Mio as 14,000,000"),
        (["20k", "1,5 Mn", "3"], [20e3, 1.5e6, 3], "y 20k as 20,000"),
        (["300B tokens", "1.4T tokens", "5"], None, "without the tokens"),
        (["3.2 GFLOPs", "1 PFLOP", "2 flops"], [3.2e9, 1e15, 2], "y 3.2 GFLOPs as"),
        (["3.3×10^17", "10^18", "2·10^3"], [3.3e17, 1e18, 2e3], ""),
        (["−1.5", "+2", ".5"], [-1.5, 2, 0.5], ""),
        (["11 %", "9.5%", "7,25 %"], [0.11, 0.095, 0.0725], "y in percent (11 %)"),
    ],
)
def test_numbers_are_read_as_people_write_them_and_that_is_said(read, cells, numbers, words):
    table = read("x\ty\n" + "".join(f"{k}\t{cell}\n" for k, cell in enumerate(cells, 1)))
    if numbers is None:
        _, ((wrong,),) = read_numbers(table, "y", lambda value: None)
        assert words in wrong
    else:
        np.testing.assert_allclose(column(table, "y"), numbers, rtol=1e-15)
        assert words in said(table, "y")


@pytest.mark.parametrize(
    ("text", "name", "readings"),
    [
        ("x;y\n1;3,41\n2;1.234\n", "y", "line 3: y is 1.234, which may be 1.234 or 1234"),
        ("x;y\n1.234;3,41\n2.345;2,9\n", "x", "line 2: x is 1.234, which may be 1.234 or 1234"),
        ("x;y\n12.5;1\n1,234;2\n", "x", "line 3: x is 1,234, which may be 1.234 or 1234"),
        ("x;y\n1,234;1\n2,345;2\n", "x", "line 2: x is 1,234, which may be 1.234 or 1234"),
        ("x;y\n1,000,000;1\n3,41;2\n", "x", "line 3: x is 3,41, which may be 3.41 or 341"),
        ("x;y\n1,5;1\n2.000.000;2\n1.234;2", "y", ""),
        ("x,y\n1,11 %\n2,12\n", "y", "line 3: y is 12, without the % that others have: is it"),
        ('x,y\n"1,234",3.41\n', "x", ""),
        ("x,y\n1.234,3\n5.678,2\n", "x", ""),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_both(read, text, name, readings):
    _, wrong = read_numbers(read(text), name, lambda value: None)
    assert (
        [readings] == [w[: len(readings)] for w in (str(wrong[0][0]).split(", ", 1)[1],)]
        if (readings)
        else not wrong
    )


def test_what_is_quoted_between_commas_has_commas_between_thousands(read):
    table = read('params,loss\n"330,000",3\n"124,000",4\n')
    np.testing.assert_array_equal(column(table, "params"), [330_000, 124_000])
    assert said(table) == "read as: params 330,000 as 330000 (thousands)"


def test_percentages_are_fractions_or_percent_as_y_is(read):
    table = read("x,err\n1,50 %\n2,25 %\n")
    for kind in ("error", "error-percent", "loss"):
        np.testing.assert_allclose(points_of(table, ["x"], "err", kind).error, [0.5, 0.25])
    accuracy = points_of(read("x,top1\n1,50 %\n2,75%\n"), ["x"], "top1", "accuracy-percent")
    np.testing.assert_allclose(accuracy.error, [0.5, 0.25])
    assert [each.code for each in accuracy.notes] == ["read_as"]


def test_a_column_is_named_with_its_unit_or_without_and_keeps_it(read):
    table = read("flops (PF-days),loss [nats],time,loss (b)\n1,3.4,5 h,1\n2,3.1,6 h,2\n")
    assert [table.unit(name) for name in table.columns] == ["PF-days", "nats", "h", "b"]
    assert table.unit("flops") == "PF-days"
    np.testing.assert_array_equal(column(table, "flops"), [1, 2])
    assert table.missing(["flops (PF-days)", "flops", "time", "loss"]) != []  # two are a loss
    assert table.missing(["flops (PF-days)", "flops", "time"]) == []
    assert "Did you mean 'flops'?" in table.missing(["Flops"])[0]
    assert "'loss'" not in table.missing(["Loss"])[0]
    assert said(table, "flops") == "read as: flops (PF-days) is in PF-days"
    points = points_of(table, ["flops"], "loss [nats]", "loss", where=["flops>=2"])
    np.testing.assert_array_equal(points.x, [2])


def test_two_columns_without_a_name_are_told_apart_by_their_places(read):
    assert list(read(",x,,y\n0,1,,2\n").columns) == ["column 1", "x", "column 3", "y"]


@pytest.mark.skipif(not FIELD.exists(), reason="no ../shared/data/field")
@pytest.mark.parametrize(
    ("name", "x", "y", "words"),
    [
        ("excel_de.csv", "FLOPs", "Loss", "semicolons between cells; FLOPs 3,30E+17 as 3.3e+17"),
        ("nan.csv", "flops", "loss", "4 of 12 rows have no number as loss (NaN, inf, N/A, -)"),
        ("runs.jsonl", "flops", "loss", "read as: JSON lines"),
        ("runs.tsv", "flops", "loss", "read as: tabs between cells"),
        ("thousands.csv", "params", "loss", "params 1,000,000 as 1000000 (thousands)"),
    ],
)
def test_the_same_rows_as_five_programs_write_them_are_the_same_points(name, x, y, words):
    points = points_of(read_table(FIELD / "formats" / name), [x], y, "loss")
    flops = np.array([3.3e17, 1e18, 3.1e18, 1e19, 3.2e19, 1e20, 3.1e20, 1e21])
    unit = 1e12 if x == "params" else 1
    np.testing.assert_allclose(points.x * unit, flops, rtol=1e-15)
    np.testing.assert_array_equal(points.error, [3.41, 3.1, 2.86, 2.66, 2.51, 2.39, 2.29, 2.21])
    assert any(words in note.words for note in points.notes)


def test_bytes_that_are_no_table_are_refused_in_words(read):
    for raw in (b"\xff\xfe\x00", b"\x00" * 50, b'{"a":' * 10**5, b"[" * 10**5, b"\xff\xfea\x00"):
        with pytest.raises(UserError):
            read(raw)


ROWS = [{"flops": a, "loss": b} for a, b in zip(FLOPS, LOSS, strict=True)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({k: {str(i): r[k] for i, r in enumerate(ROWS)} for k in ROWS[0]}, "JSON of columns, as p"),
        ({str(i): row for i, row in enumerate(ROWS)}, "JSON of rows by their index"),
        (
            {
                "columns": ["flops", "loss"],
                "index": [0, 1, 2],
                "data": [list(r.values()) for r in ROWS],
            },
            "JSON of names and rows",
        ),
        ({"schema": {"fields": []}, "data": ROWS}, "JSON rows under one key"),
        ({"runs": ROWS}, "JSON rows under one key"),
        ({"best": 2.3, "args": {"lr": 1}, "log_history": ROWS, "t": []}, "JSON rows under one key"),
        ([["flops", "loss"], *(list(r.values()) for r in ROWS)], "JSON"),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_data_frame_as_json_is_read_in_every_orientation_and_named(read, value, words, indent):
    table = read(json.dumps(value, indent=indent), "runs.json")
    np.testing.assert_array_equal(column(table, "flops"), FLOPS)
    np.testing.assert_array_equal(column(table, "loss"), LOSS)
    assert f"read as: {words}" in said(table)


MARKDOWN = "| flops | loss |\n|:--|--:|\n| 1e18 | 3.41 |\n| 1e19 | 2.9 |\n| 1e20 | 2.345 |\n"
GRID = MARKDOWN.replace("|:--|--:|", "+=======+======+").replace("| 1e20", "+--+--+\n| 1e20")


@pytest.mark.parametrize(
    "text",
    [
        MARKDOWN,
        "## Runs\n\n" + MARKDOWN.replace("| 1e18 | 3.41", '| 1e18 |"3.41"'),
        " flops | loss \n-------+-------\n 1e18  | 3.41\n 1e19  | 2.9\n 1e20  | 2.345\n",
        f"+--+--+\n{GRID}+--+--+\n",
    ],
    ids=["markdown", "quoted", "psql", "grid"],
)
def test_lines_of_dashes_and_bars_around_a_row_are_no_cells(read, text):
    table = read(text, "runs.md")
    assert list(table.columns) == ["flops", "loss"]
    np.testing.assert_array_equal(column(table, "flops"), FLOPS)
    np.testing.assert_array_equal(column(table, "loss"), LOSS)
    assert "bars between cells" in said(table)
    assert "lines of dashes left out" in said(table)


def test_an_empty_cell_at_either_end_is_no_bar_around_the_row(read):
    table = read("a|b|c\n|1|\n2|3|4\n")
    assert table.columns == {"a": ["", "2"], "b": ["1", "3"], "c": ["", "4"]}


def test_what_follows_few_of_the_numbers_is_no_unit_but_a_slip(read):
    table = read("flops,loss\n1e18,3.4\n1e19,2.9l\n1e20,2.3\n")
    assert table.unit("loss") is None
    assert {row: why[:13] for row, why in table.column("loss").wrong().items()} == {
        1: "not a number."
    }


def test_a_title_above_the_header_is_said_to_be_one(read):
    with pytest.raises(UserError) as error:
        read("Runs of 2024\n\n" + PLAIN)
    first, *others = str(error.value).splitlines()
    assert "line 1: no row has as many cells as this header. If it is a title, take it out" in first
    assert len(others) == 4


def test_a_parquet_file_that_does_not_fit_in_memory_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "runs.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"flops": FLOPS, "loss": LOSS}), path)

    def full(*_, **options):
        assert options == {"use_threads": False, "pre_buffer": False}
        raise pyarrow.ArrowMemoryError("malloc of size 4194304 failed")

    monkeypatch.setattr(pyarrow.parquet, "read_table", full)
    with pytest.raises(MemoryError):
        read_table(path)


def test_one_object_with_an_inner_one_stays_a_row(read):
    table = read('{"flops": 1e18, "loss": 3.4, "config": {"lr": 1}}\n', "runs.json")
    assert list(table.columns) == ["flops", "loss", "config.lr"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PLAIN.replace("loss", "loss,modèle").replace("\n1", ",é\n1").encode("latin-1"), "Latin-1"),
        (b"\xef\xbb\xbf" + PLAIN.encode(), "UTF-8 with a byte order mark"),
        (PLAIN.replace("\n", "\r").encode(), "carriage returns alone as line ends"),
        (b"flops,loss\n1e18,3.41,\n1e19,2.9,\n1e20,2.345,\n", "an empty cell beyond the header"),
    ],
)
def test_bytes_that_are_not_plain_are_read_and_named(read, text, words):
    if b"mod" in text:
        text = text.replace(b"mod\xe8le,\xe9", b"mod\xe8le").rstrip() + b",\xe9\n"
    table = read(text)
    np.testing.assert_array_equal(column(table, "loss"), LOSS)
    assert words in said(table)


@pytest.mark.parametrize(
    ("cells", "numbers", "words"),
    [
        (["$3,300", "$950", "$12M"], [3300, 950, 12e6], "y $3,300 as 3300 (thousands)"),
        (["€ 3.50", "€ 2", "€ 1.25"], [3.5, 2, 1.25], "y € 3.50 as 3.5"),
        (["0.23 ± 0.01", "0.2 +/- 0.01", "0.17±.02"], [0.23, 0.2, 0.17], "what follows ± is not"),
        (["0.230(12)", "0.2(1)", "1.7(2)e-1"], [0.23, 0.2, 0.17], "what is in brackets is not"),
        (["0.2 [0.1, 0.3]", "0.4 (0.3 - .5)", "1 [1,2]"], [0.2, 0.4, 1], "what is in brackets"),
        (["23% [22%, 25%]", "20(1) %", "17 %"], [0.23, 0.2, 0.17], "y in percent"),
        (["~1e18", "≈ 2e18", "3e18"], [1e18, 2e18, 3e18], "y ~1e18 as 1e+18 (as if it were exact"),
        (["23 ± 1 %", "20% ± 1%", "17 ± 1 %"], [0.23, 0.2, 0.17], "y in percent"),
        (["1.5D+20", "2d19", "1D18"], [1.5e20, 2e19, 1e18], "y 1.5D+20 as 1.5e+20 (D for the"),
        (["3.3x10^17", "10^18", "1e19"], [3.3e17, 1e18, 1e19], "as 3.3e+17 (power of ten)"),
        (["0.5 # ok", "0.4", "0.3"], [0.5, 0.4, 0.3], "y 0.5 # ok as 0.5 (comment left out)"),
    ],
)
def test_numbers_with_currencies_errors_and_other_exponents_are_read_and_named(
    read, cells, numbers, words
):
    table = read("x\ty\n" + "".join(f"{k + 1}\t{cell}\n" for k, cell in enumerate(cells)))
    np.testing.assert_allclose(column(table, "y"), numbers)
    (note,) = table.read_as(["x", "y"])
    assert words in note.words


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "0.2 ± ",
            "± 0.2",
            "$",
            "€3 $",
            "<0.2",
            "0.2 [3]",
            "0.2 [0.3, 0.4]",
            "0.2 [0.1,",
            "(0.2)",
        ),
        *("~", "~~0.2", "0.2~", "0.2(a)", "0.2 (1, 2, 3)"),
    ],
)
def test_what_only_looks_like_such_a_number_is_refused(read, cell):
    table = read(f"x\ty\n1\t0.5\n2\t{cell}\n")
    assert read_numbers(table, "y", lambda _: None)[1]


def test_columns_of_one_name_are_told_apart_and_refused_where_they_are_used(read):
    table = read("flops,loss,note,note\n1e18,3.41,a,b\n1e19,2.9,c,d\n1e20,2.345,e,f\n")
    np.testing.assert_array_equal(column(table, "loss"), LOSS)
    assert list(table.columns)[2:] == ["note#3", "note#4"]
    (wrong,) = table.missing(["note"])
    assert "2 columns are named 'note', and their cells differ. Say note#3 or note#4." in wrong
    same = read("flops,loss,loss\n1e18,3.41,3.41\n1e19,2.9,2.9\n1e20,2.345,2.345\n")
    np.testing.assert_array_equal(column(same, "loss"), LOSS)


@pytest.mark.parametrize("name", ["loss [val]", "loss (test)", "loss (top-1)", "loss [mean]"])
def test_a_word_in_brackets_that_is_no_unit_is_none(read, name):
    table = read(PLAIN.replace("loss", name))
    assert table.unit("loss") is None
    assert not table.read_as(["flops", "loss"])


@pytest.mark.parametrize(
    "unit",
    ["nats", "bits/byte", "TPUv3-core-days", "A100 hours", "%", "10^18", "petaFLOP/s-days"],
)
def test_a_word_in_brackets_that_is_a_unit_is_kept(read, unit):
    table = read(PLAIN.replace("flops", f"flops ({unit})"))
    assert table.unit("flops") == (unit if unit != "10^18" else None)


@settings(max_examples=200)
@given(
    text=st.text(alphabet="a1.;,|\t \r\n", max_size=60),
    mark=st.sampled_from(",;|\t"),
    skip=st.integers(0, 1),
)
def test_a_text_without_quotes_is_split_as_csv_would_parse_it(text, mark, skip):
    source = Source(Path("t.csv"), text.encode(), ())
    rows = Rows(source, Layout(mark, skip))
    assert list(rows._split()) == list(Rows(source, Layout(mark, skip))._parsed())


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        ([".612", ".5", "-", ".446"], [0.612, 0.5, np.nan, 0.446]),
        ([".94 %", "1.2 %", "-.5 %"], [0.0094, 0.012, -0.005]),
        ([".35M", "1.3B"], [3.5e5, 1.3e9]),
        ([".612 ± .003", "0.5 ± .002"], [0.612, 0.5]),
    ],
)
def test_a_number_may_begin_with_its_decimal_mark(read, cells, numbers):
    table = read("flops,err\n" + "".join(f"1e18,{cell}\n" for cell in cells))
    np.testing.assert_allclose(table.values("err"), numbers)
    assert not table.column("err").wrong()


def test_a_number_that_begins_with_its_mark_needs_the_percent_sign_of_the_others(read):
    table = read("flops,err\n1e18,61 %\n1e19,.52\n")
    assert "is it 0.52 % or 52 %?" in table.column("err").wrong()[1]


def test_a_factor_in_the_cells_and_in_the_name_counts_once(read):
    table = read("params (M),flops (GFLOPs),loss\n12.5M,1e9 GFLOPs,3\n1.3B,2e9 GFLOPs,2\n")
    assert table.values("params").tolist() == [12.5e6, 1.3e9]
    assert table.values("flops").tolist() == [1e18, 2e18]
    assert (table.column("params").unit, table.column("flops").unit) == (None, "FLOPs")


def test_a_factor_in_some_cells_under_a_name_with_one_is_refused(read):
    table = read("params (M),loss\n12.5M,3\n13,2\n")
    (said,) = table.column("params").wrong().values()
    assert said == (
        "without the factor that others have, which may be M as in the column's name. "
        "Write it in every cell, or in none."
    )


@pytest.mark.parametrize(
    ("other", "numbers"),
    [("1.000.000", [300_000, 450_000]), ("1.5", [300, 450]), ("7", [300, 450])],
)
def test_dots_between_thousands_elsewhere_decide_an_open_column(read, other, numbers):
    table = read(f"N;tokens\n{other};300.000\n{other};450.000\n")
    assert table.values("tokens").tolist() == numbers


def test_dots_that_are_both_elsewhere_are_refused_with_both_readings(read):
    table = read("N;loss;tokens\n1.000.000;2.5;300.000\n2.000.000;2.4;450.000\n")
    assert "may be 300 or 300000 (1.000.000 stands elsewhere)" in table.column("tokens").wrong()[0]


@settings(max_examples=300)
@given(st.from_regex(r"\A[+-]?[0-9]{0,4}[.,]?[0-9]{1,5}(e[0-9])?( ?[kKMBbGTmt])?\Z"))
def test_what_is_read_quickly_is_what_a_closer_look_finds(cell):
    quick, found = numerals._Seen().certain(cell), numerals.written(cell)
    if quick is not None:
        assert found is not None
        assert found.role in ("decimal", "")
        assert quick == numerals._value(found, found.role)


@pytest.mark.parametrize(
    ("text", "name", "readings"),
    [
        ("tokens;loss\n100.000;3,412\n200.000;3,105\n", "tokens", "100 or 100000 (3,412 stands"),
        ("tokens;loss\n100.000;3,412\n200.000;3,105\n", "loss", "3.412 or 3412 (100.000 stands"),
        ('steps,loss\n"1,000",3.412\n"2,000",3.105\n', "steps", "1 or 1000 (3.412 stands"),
        ('tokens,loss\n100.000,"3,412"\n', "tokens", "100 or 100000 (3,412 stands"),
        ("x,y\n1,3.412\n2,3.105\n", "y", ""),
        ('x,y,z\n1,3.412,"1,000,000"\n', "y", ""),
        ('steps,loss\n"1,000",3.412\n"2,000",3.1\n', "steps", ""),
    ],
)
def test_marks_that_no_number_of_the_file_explains_are_refused_with_both_readings(
    read, text, name, readings
):
    _, wrong = read_numbers(read(text), name, lambda value: None)
    if readings:
        assert f"may be {readings}" in wrong[0][0]
    else:
        assert not wrong


def test_a_mark_in_one_column_that_is_both_is_refused(read):
    table = read("x\ty\n1\t1.234\n2\t1,234\n")
    assert len(read_numbers(table, "y", lambda value: None)[1]) == 2


def test_dots_taken_for_decimal_points_without_evidence_are_said_between_semicolons(read):
    table = read("tokens;loss\n100.000;3.412\n200.000;3.105\n")
    np.testing.assert_array_equal(column(table, "tokens"), [100, 200])
    assert "tokens 100.000 as 100 (decimal point)" in said(table, "tokens")
    assert said(read("tokens,loss\n100.000,3.412\n")) == ""
    assert said(read("tokens;loss\n100.000;3.41\n")) == "read as: semicolons between cells"


def test_dots_between_thousands_elsewhere_show_that_commas_are_decimal(read):
    table = read("params;loss\n1.000.000;3,412\n2.000.000;3,105\n")
    np.testing.assert_array_equal(column(table, "loss"), [3.412, 3.105])


@pytest.mark.parametrize("texts", [["1.000.000", "2.000.000"], ["1,200", "2,400"], ["3,41", "2,4"]])
def test_numbers_that_a_file_does_not_hold_as_texts_are_what_they_are(tmp_path, texts):
    loss = [3.835, 3.412]
    rows = [{"x": text, "loss": y} for text, y in zip(texts, loss, strict=True)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "a.json").write_text(json.dumps({"x": texts, "loss": loss}))
    frame = pyarrow.table({"x": texts, "loss": loss})
    pyarrow.parquet.write_table(frame, tmp_path / "a.parquet")
    pyarrow.feather.write_feather(frame, tmp_path / "a.feather")
    tables = [read_table(each) for each in sorted(tmp_path.iterdir())]
    for table in [*tables, table_of({"x": texts, "loss": loss})]:
        assert read_numbers(table, "loss", lambda value: None)[1] == []
        np.testing.assert_array_equal(column(table, "loss"), loss)
        assert not read_numbers(table, "x", lambda value: None)[1]


def test_a_first_row_without_numbers_is_no_row_of_units(read):
    table = read("model,flops,loss\nB,,\nS,1e18,3.2\n")
    assert table.column("model") == ["B", "S"]
    assert said(table, "flops") == ""


@pytest.mark.parametrize("kind", ["error", "accuracy"])
def test_percentages_by_a_column_s_name_are_no_fractions(read, kind):
    table = read("flops,err (%)\n1e18,0.9\n1e19,0.8\n")
    with pytest.raises(UserError, match=rf"err \(%\) counts in percent.*--y-is {kind}-percent"):
        points_of(table, ["flops"], "err", kind)
    np.testing.assert_allclose(points_of(table, ["flops"], "err", "loss").error, [0.9, 0.8])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"flops" "loss"\n"1" 1e18 3.41\n"2" 1e19 2.9\n"3" 1e20 2.345\n', "numbers of the rows"),
        ("flops\tloss\n1\t1e18\t3.41\n2\t1e19\t2.9\n3\t1e20\t2.345\n", "numbers of the rows"),
        ("   flops   loss\n0  1e18  3.41\n1  1e19  2.9\n2  1e20  2.345\n", "numbers of the rows"),
        (PLAIN.replace("1e19", "flops,loss\n1e19"), "repeats of the header left out"),
        ('"flops", "loss"\n"1e18", "3.41"\n"1e19", "2.9"\n"1e20", "2.345"\n', ""),
        (" flops | loss\n-----+----\n 1e18 | 3.41\n 1e19 | 2.9\n 1e20 | 2.345\n(3 rows)\n", "bars"),
        ("flops,loss\n1e18,**3.41**\n1e19,`2.9`\n1e20,\\textbf{2.345}\n", ""),
        ("flops,loss\n$10^{18}$,3.41\n$1 \\times 10^{19}$,2.9\n10²⁰,2.345\n", "power of ten"),
        ("flops,loss\n1e18,3.41 (0.02)\n1e19,2.9 (±.02)\n1e20,$2.345 \\pm 0.1$\n", "brackets"),
    ],
)
def test_tables_as_other_programs_and_papers_write_them_are_read_and_named(read, text, words):
    table = read(text, "runs.txt")
    np.testing.assert_allclose(column(table, "flops"), FLOPS)
    np.testing.assert_allclose(column(table, "loss"), LOSS)
    assert words in said(table)


@pytest.mark.parametrize(
    "text",
    [
        "flops\tloss\n3\t1e18\t3.41\n7\t1e19\t2.9\n",
        "flops\tloss\n1\t1e18\t3.41\n3\t1e19\t2.9\n",
        "flops,loss\n1,1e18,3.41\n2,1e19,2.9\n",
        "run flops loss\na 1 234 3.41\nb 5 678 2.9\n",
    ],
)
def test_a_cell_too_many_that_does_not_number_the_rows_is_refused(read, text):
    with pytest.raises(UserError):
        points_of(read(text), ["flops"], "loss", "loss")


def test_units_in_a_line_below_the_names_are_theirs(read):
    table = read("model,flops,loss\n-,(EFLOP),nats\nS,1,3.41\nM,10,2.9\n")
    assert [table.unit(name) for name in ("flops", "loss")] == ["EFLOP", "nats"]
    np.testing.assert_array_equal(column(table, "flops"), [1, 10])
    assert "units from the line below the names" in said(table)
    assert list(read("model,N [B],loss\nS,2B,3.41\n").columns) == ["model", "N [B]", "loss"]


def zipped(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def test_a_zip_archive_of_one_file_is_that_file(read):
    for more in ({}, {"__MACOSX/._runs": "x"}):
        table = read(zipped(runs=PLAIN, **more), "runs.zip")
        np.testing.assert_array_equal(column(table, "loss"), LOSS)
        assert said(table) == "read as: the only file of a zip archive"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (zipped(a=PLAIN, b=PLAIN), "a zip archive of 2 files. Take the table out of it"),
        (zipped(**{"[Content_Types].xml": "", "xl": ""}), "a workbook (.xlsx). Save the sheet as"),
        (zipped(runs=PLAIN)[:-30], "not a whole zip archive"),
        (b"SQLite format 3\0" + b"\0" * 50, "an SQLite database, and no table. Export it as CSV"),
        (b"\x93NUMPY\x01\0", "an array of NumPy, and no table"),
        (b"%PDF-1.7\n", "a PDF file, and no table"),
        (b"runs.csv".ljust(257, b"\0") + b"ustar", "a tar archive, and no table"),
        (b"run,loss\n#1,3.4\n#2,3.1\n", "no rows. 2 lines begin with #, and are none"),
        (b"flops&loss\n1&2\n", "Write commas, tabs or semicolons between the cells."),
    ],
)
def test_what_is_no_table_is_named_with_what_to_do(read, raw, words):
    with pytest.raises(UserError) as error:
        points_of(read(raw), ["flops"], "loss", "loss")
    assert words in str(error.value)


def test_feather_is_read_as_parquet_is(tmp_path):
    path = tmp_path / "runs.feather"
    pyarrow.feather.write_feather(pyarrow.table({"flops": FLOPS, "loss": LOSS}), path)
    np.testing.assert_array_equal(column(read_table(path), "loss"), LOSS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="not a readable Feather file"):
        read_table(path)


def test_json_objects_by_names_are_rows_where_a_column_could_not_be_mixed(read):
    rows = {name: row | {"model": "S"} for name, row in zip("abc", ROWS, strict=True)}
    table = read(json.dumps(rows), "runs.json")
    assert table.columns["index"] == ["a", "b", "c"]
    np.testing.assert_array_equal(column(table, "loss"), LOSS)
    assert "JSON of rows by their names, in the column index" in said(table)
    columns = {key: {name: row[key] for name, row in rows.items()} for key in rows["a"]}
    np.testing.assert_array_equal(column(read(json.dumps(columns), "runs.json"), "loss"), LOSS)


def test_json_lines_whose_objects_hold_alike_objects_are_rows(read):
    lines = [{"train": {"loss": each}, "val": {"loss": each + 1}} for each in LOSS]
    table = read("\n".join(map(json.dumps, lines)), "runs.jsonl")
    np.testing.assert_array_equal(column(table, "train.loss"), LOSS)
