"""How many mistaken files every reader of the project was given, and what it made of them.

    python benchmarks/fuzz.py [--inputs 3000] [--seed 0] [--write]

Mistakes are made by tests/untrusted.py and untrusted_files.py: wrong types, keys that are missing
or too many, infinite numbers and numbers of 400 digits, deep nesting, text that is no UTF-8, torn
and flipped bytes, sums that are right for contents that are wrong. A reader may refuse a file in
words, and `status`, `collect` and `clean` of the study around it have to do their work. Prints a
table; exit status 1 where a reader ended otherwise. `--write` puts the table into
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from reliability_page import versions, write_section

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from untrusted import READERS, Place
from untrusted_files import MORE_READERS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    rows, wrong = ["| file | inputs | ended otherwise than in words |", "|---|---|---|"], 0
    for name, read in (READERS | MORE_READERS).items():
        escaped = escapes(name, read, asked.seed, asked.inputs)
        wrong += escaped
        rows.append(f"| {name} | {asked.inputs:,} | {escaped} |")
        print(rows[-1], flush=True)
    if wrong:
        sys.exit(1)
    if asked.write:
        seeds = f"Seeds {asked.seed} to {asked.seed + asked.inputs - 1}."
        write_section("fuzz", "\n".join([*rows, "", f"{seeds} {versions('pydantic', 'pyarrow')}"]))


def escapes(name: str, read: Callable[[Place, random.Random], None], seed: int, inputs: int) -> int:
    """How many of so many mistaken files a reader did not refuse in words."""
    escaped = 0
    with tempfile.TemporaryDirectory() as temporary:
        place = Place(Path(temporary) / "runs")
        for k in range(inputs):
            place.fresh()
            try:
                read(place, random.Random(seed + k))
            except Exception:
                escaped += 1
                print(f"{name}, seed {seed + k}:", file=sys.stderr)
                traceback.print_exc(limit=-3)
    return escaped


if __name__ == "__main__":
    main()
