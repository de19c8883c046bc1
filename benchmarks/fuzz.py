"""How many mistaken files every reader of the project was given, and what it made of them.

    python benchmarks/fuzz.py [--inputs 3000] [--seed 0]

Mistakes are made by tests/untrusted.py: wrong types, keys that are missing or too many, infinite
numbers and numbers of 400 digits, deep nesting, text that is no UTF-8, torn and flipped bytes, sums
that are right for contents that are wrong. A reader may refuse a file in words, and `status`,
`collect` and `clean` of the study around it have to do their work. Prints a table; exit status 1
where a reader ended otherwise.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from untrusted import READERS, Place


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| file | inputs | ended otherwise than in words |")
    print("|---|---|---|")
    wrong = 0
    for name, read in READERS.items():
        escaped = 0
        with tempfile.TemporaryDirectory() as temporary:
            place = Place(Path(temporary) / "runs")
            for k in range(asked.inputs):
                place.fresh()
                try:
                    read(place, random.Random(asked.seed + k))
                except Exception:
                    escaped += 1
                    print(f"{name}, seed {asked.seed + k}:", file=sys.stderr)
                    traceback.print_exc(limit=-3)
        wrong += escaped
        print(f"| {name} | {asked.inputs} | {escaped} |", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
