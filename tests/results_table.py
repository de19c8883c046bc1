"""Reads a results table back, each cell as what a Result holds."""

from fits.data.results import COLUMNS, Result
from fits.data.tables import read_table

WHOLE = "params", "images_seen", "data_size", "seed", "n"
REAL = "flops", "value"


def read_results(path):
    table = read_table(path)
    assert list(table.columns) == list(COLUMNS)
    rows = zip(*table.columns.values(), strict=True)
    return [
        Result(**{name: cell(name, text) for name, text in zip(COLUMNS, row, strict=True)})
        for row in rows
    ]


def cell(name, text):
    if name in WHOLE:
        return int(text) if text or name != "data_size" else None
    return float(text) if name in REAL else text
