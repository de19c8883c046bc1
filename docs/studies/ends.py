"""Errors after the shortest and the longest training, as the Markdown tables of two studies.

    python docs/studies/ends.py results/cifar10.csv
    python docs/studies/ends.py results/cifar10-transfer.csv

One row a model. Columns are data sizes where the table has several, metrics otherwise.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str]
UPSTREAM = "upstream_error"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of the table."""
    sizes = {row["data_size"] for row in rows}
    key = "data_size" if len(sizes) > 1 else "metric"
    shown = [row for row in rows if key == "metric" or row["metric"] == UPSTREAM]
    columns = list(dict.fromkeys(row[key] for row in shown if row["metric"].endswith("_error")))
    if key == "data_size":
        columns.sort(key=float)
    models = dict.fromkeys((row["model"], row["params"]) for row in shown)
    yield f"| model | parameters | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 2) + "|"
    for model, params in models:
        own = [row for row in shown if row["model"] == model]
        cells = (ends([row for row in own if row[key] == column]) for column in columns)
        yield f"| {model} | {int(params):,} | {' | '.join(cells)} |"


def ends(rows: Sequence[Row]) -> str:
    """The first and the last value by the images seen."""
    first, *_, last = sorted(rows, key=lambda row: int(row["images_seen"]))
    return f"{float(first['value']):.3f} → {float(last['value']):.3f}"


def main() -> None:
    (results,) = map(Path, sys.argv[1:])
    with results.open(encoding="utf-8", newline="") as file:
        print("\n".join(table(list(csv.DictReader(file)))))


if __name__ == "__main__":
    main()
