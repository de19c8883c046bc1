"""The bytes of a table: how compressed, in which encoding, which mark between its cells.

What is found is said in `Source.how`, as codes that `fits/base/messages.py` words. Knows no number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.data.numerals import written

HEAD = 200  # lines by which the mark between cells is found
LONGEST_HEAD = 1 << 18  # characters of these
FOREIGN = {  # first bytes
    b"SQLite format 3\0": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "an array of NumPy",
    b"\xd0\xcf\x11\xe0": "an old workbook (.xls)",
    b"%PDF-": "a PDF file",
    b"PAR1": "a Parquet file that was compressed as a whole, which has to be unpacked",
    **dict.fromkeys([b"\x80\x03", b"\x80\x04", b"\x80\x05"], "a Python pickle"),
}
MARKS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", " ": "spaces"}
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
TEXT_MARKS = {  # the longer first: UTF-32's begins as UTF-16's does
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_SHEET_ERROR = re.compile(r"#(?:N/A|DIV/0!|NUM!|VALUE!|REF!|NAME\?|NULL!)")
_RULE = re.compile(r"(?=.*(?:--|==))(?=.*[|+])[\s|+:=-]+|\s*\(?\d+ rows?(?:\)| in set.*)\s*")
BOM = b"\xef\xbb\xbf"
_TEXT = bytes([9, 10, 12, 13, *range(32, 127), *range(128, 256)])  # no control characters
_NOT_1252 = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])  # bytes that stand for nothing there
JSON_SUFFIXES = frozenset([".jsonl", ".ndjson", ".json"])


@dataclass(frozen=True)
class Source:
    """A file's bytes, uncompressed, and what they are."""

    path: Path
    raw: bytes
    how: tuple[str, ...]  # codes: the compression, the encoding
    encoding: str = "utf-8-sig"

    def lines(self) -> Iterator[str]:
        """Every line, with its end; the last has one too."""
        file = io.TextIOWrapper(io.BytesIO(self.raw), self.encoding, newline="")
        try:
            for line in file:
                yield line if line.endswith(("\n", "\r")) else line + "\n"
        except UnicodeDecodeError:
            raise UserError([self._not_text()]) from None

    def _not_text(self) -> str:
        try:
            self.raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            before = self.raw[: error.start].decode(self.encoding, "replace")
            line = before.count("\n") + 1
            name = self.encoding.removesuffix("-sig").upper()
            wrong = f"byte {self.raw[error.start]:#04x} is not {name} text"
            return (
                f"{self.path}, line {line}: {wrong}. Save the table as CSV in UTF-8, or name a "
                "Parquet file .parquet."
            )
        return f"{self.path}: text that ends in the middle of a character. Save it as UTF-8."


def source_of(path: Path) -> Source:
    """Raises UserError where the bytes are no text, OSError where there are none."""
    raw, how = path.read_bytes(), []
    for _ in range(2):  # .gz of .gz has been seen
        kind = next((kind for mark, kind in COMPRESSED.items() if raw.startswith(mark)), None)
        if kind is None:
            break
        raw = _uncompressed(path, raw, kind)
        how.append(kind)
    if raw.startswith(b"PK\x03\x04"):
        raw = _only_member(path, raw)
        how.append("zip")
    what = next((what for mark, what in FOREIGN.items() if raw.startswith(mark)), "")
    if what or raw[257:262] == b"ustar":
        what = what or "a tar archive"
        raise UserError([f"{path}: {what}, and no table. Export it as CSV or Parquet."])
    encoding = _encoding(raw)
    if encoding != "utf-8-sig":
        how.append("cp1252" if encoding == "latin-1" else encoding[:6])
    elif raw.startswith(BOM):
        how.append("bom")
    if b"\r" in raw and b"\n" not in raw:
        how.append("carriage_returns")
    return Source(path, raw, tuple(how), encoding)


def _uncompressed(path: Path, raw: bytes, kind: str) -> bytes:
    import bz2
    import gzip
    import lzma
    import zlib

    work = {"gzip": gzip.decompress, "bzip2": bz2.decompress, "xz": lzma.decompress}
    try:
        return work[kind](raw) if kind in work else _by_arrow(raw, kind)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        said = str(error) or type(error).__name__
        raise UserError([f"{path}: not a whole {kind} file ({said}). Copy it anew."]) from None


def _only_member(path: Path, raw: bytes) -> bytes:
    """Of a zip archive of one file, such as pandas writes; a workbook is one of many."""
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = [
                name
                for name in archive.namelist()
                if not name.endswith("/") and not name.startswith("__MACOSX/")
            ]
            if len(names) == 1:
                return archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise UserError(
            [
                f"{path}: not a whole zip archive ({error}). Copy it anew; of a workbook (.xlsx) "
                "save the sheet as CSV."
            ]
        ) from None
    if "[Content_Types].xml" in names:
        raise UserError([f"{path}: a workbook (.xlsx). Save the sheet as CSV."])
    raise UserError(
        [f"{path}: a zip archive of {counted(len(names), 'file')}. Take the table out of it."]
    )


def _by_arrow(raw: bytes, kind: str) -> bytes:
    """What Python's own library cannot."""
    import pyarrow

    with pyarrow.CompressedInputStream(pyarrow.BufferReader(raw), kind) as stream:
        return bytes(stream.read())


def _encoding(raw: bytes) -> str:
    """By the byte order mark; without one, UTF-16 is known by the zeros of its Latin letters."""
    for mark, name in TEXT_MARKS.items():
        if raw.startswith(mark):
            return name
    head = raw[:2000]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) > 3 and odd > 0.7 * len(head[1::2]) and even == 0:
        return "utf-16-le"
    if len(head) > 3 and even > 0.7 * len(head[::2]) and odd == 0:
        return "utf-16-be"
    return "utf-8-sig" if raw.isascii() else _of_bytes(raw)


def _of_bytes(raw: bytes) -> str:
    """UTF-8, or what Windows and older programs write where every byte of it is a character."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        if raw.translate(None, _TEXT) == b"":
            return "latin-1" if raw.translate(None, _NOT_1252) != raw else "cp1252"
    return "utf-8-sig"


def is_json(source: Source) -> bool:
    """Whether the text is JSON: by the file's name or its first character."""
    suffixes = {each.lower() for each in source.path.suffixes[-2:]}
    head = source.raw[:400].decode(source.encoding, "ignore").lstrip("\ufeff \t\r\n")
    return bool(suffixes & JSON_SUFFIXES) or re.match(r"\{\s*[\"}]|\[\s*[\[{\]]", head) is not None


@dataclass(frozen=True)
class Layout:
    """How the cells of a text table lie."""

    mark: str = ","  # between cells
    skip: int = 0  # lines on top that are no rows
    header: list[str] | None = None  # that stands in a comment on top


def layout_of(source: Source) -> Layout:
    """Found from the first lines: the mark by which most rows have as many cells as the header."""
    lines = list(islice(source.lines(), HEAD))
    while lines and sum(map(len, lines)) > LONGEST_HEAD:
        lines.pop()
    said = re.fullmatch(r"\"?sep=(.)\"?", lines[0].strip(" \r\n")) if lines else None
    skip = 1 if said else 0
    rows = [
        line for line in lines[skip:] if line.strip() and not is_comment(line) and not is_rule(line)
    ]
    mark = said[1] if said else _mark(rows)
    return Layout(mark, skip, _commented_header(lines[skip:], mark))


def is_comment(line: str) -> bool:
    """Whether it begins with #, and not with an error of a spreadsheet."""
    text = line.lstrip()
    return text.startswith("#") and _SHEET_ERROR.match(text) is None


def is_rule(line: str) -> bool:
    """Whether it is a line of dashes, as below the header of a table in Markdown, or a database's
    count of the rows above."""
    return _RULE.fullmatch(line) is not None


def _mark(rows: list[str]) -> str:
    best, most = ",", 0.0
    for mark in MARKS:
        if mark == " " and most > 0:
            break
        try:
            found = list(csv.reader(rows, delimiter=mark, skipinitialspace=True))
        except csv.Error:
            continue
        wide = [len([c for c in row if c] if mark == " " else row) for row in found]
        if not wide or wide[0] < 2:
            continue
        share = sum(each == wide[0] for each in wide) / len(wide)
        if mark == " " and len(wide) > 1 and is_first_number(found[1][0]):
            share = sum(each == wide[0] + 1 for each in wide[1:]) / (len(wide) - 1)
        if share > most and (mark != " " or share == 1 < len(wide)):
            best, most = mark, share
    return best


def is_first_number(cell: str) -> bool:
    """Whether it may number the first row, as R and pandas print a table, under no name."""
    return cell in ("0", "1")


def _commented_header(lines: list[str], mark: str) -> list[str] | None:
    """The names in a comment right above the first row, where that row holds numbers."""
    above = ""
    for line in lines:
        if not line.strip():
            continue
        if not is_comment(line):
            names, first = _cells(above.lstrip(" \t#"), mark), _cells(line, mark)
            fits = len(names) == len(first) > 1 and any(map(written, first))
            return names if fits and not any(map(written, names)) else None
        above = line
    return None


def _cells(line: str, mark: str) -> list[str]:
    try:
        rows = list(csv.reader([line.strip(" \r\n")], delimiter=mark, skipinitialspace=True))
    except csv.Error:
        return []
    return [cell.strip() for cell in rows[0]] if rows else []
