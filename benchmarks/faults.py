"""Lets every file operation of a study's life go wrong, and every file of it be damaged.

    python benchmarks/faults.py [--every 1] [--stages 40] [--write]

What goes wrong, and what has to hold afterwards, is described in tests/faulty_life.py. Exit status
1 where it does not hold. `--every 3` tries a third of the ways to go wrong; 0 leaves that part out,
as `--stages 0` does the other. `--write` puts the counts into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from reliability_page import versions, write_section

LIFE = Path(__file__).resolve().parents[1] / "tests" / "faulty_life.py"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--stages", type=int, default=40)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    wrong = []
    if asked.stages:
        damaged = lives("--damage", asked.stages)
        wrong += damaged["wrong"]
        tell("damage", table_of_files(damaged, asked.stages), asked.write and not wrong)
    if asked.every:
        failed = lives("--every", asked.every)
        wrong += failed["wrong"]
        text = table(failed)
        if asked.every > 1:
            share = f"One of every {asked.every} ways to go wrong, at each operation in turn."
            text = f"{share}\n\n{text}"
        tell("faults", text, asked.write and not wrong)
    if wrong:
        sys.exit("\n".join(wrong))


def tell(section: str, text: str, write: bool) -> None:
    print(text, flush=True)
    if write:
        write_section(section, text)


def lives(*words: object) -> dict[str, Any]:
    """What faulty_life.py prints."""
    command = [sys.executable, str(LIFE), *map(str, words)]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))
    return found


def table_of_files(found: dict[str, Any], stages: int) -> str:
    """Counts by file and by what was done to it."""
    harms = "cut", "emptied", "one bit flipped"
    kinds = sorted({what.partition(" | ")[0] for what in found["tried"]})
    rows = [
        (kind, *(found["tried"].get(f"{kind} | {harm}", 0) for harm in harms)) for kind in kinds
    ]
    rows.append(("all", *(sum(row[k] for row in rows) for k in (1, 2, 3))))
    return "\n".join(
        [
            "| file | cut in its middle | emptied | one bit flipped |",
            "|---|---|---|---|",
            *("| {} | {:,} | {:,} | {:,} |".format(*row) for row in rows),
            "",
            f"At {stages} moments of the life. Tables that came out otherwise, or not at all: "
            f"{len(found['wrong'])}.",
        ]
    )


def table(found: dict[str, Any]) -> str:
    """Counts by kind of operation and by what went wrong."""
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    slow = 0
    for what, count in found["tried"].items():
        kind, way = what.split(" | ")
        if way == "slow":
            slow += count
            continue
        column = "kill" if way == "kill" else "lasting" if way.endswith("lasting") else "once"
        counts[kind][column] = counts[kind].get(column, 0) + count
    rows = [
        (
            kind,
            found["operations"][kind],
            *(counts[kind].get(x, 0) for x in ("kill", "once", "lasting")),
        )
        for kind in sorted(counts)
    ]
    rows.append(("all", *(sum(row[k] for row in rows) for k in (1, 2, 3, 4))))
    return "\n".join(
        [
            "| operation | in the life | killed around it | failed once | failed from then on |",
            "|---|---|---|---|---|",
            *("| {} | {:,} | {:,} | {:,} | {:,} |".format(*row) for row in rows),
            "",
            f"Lives in which every operation took 5 ms longer: {slow}.",
            "",
            f"What was lost, believed by half, or different in the tables afterwards: "
            f"{len(found['wrong'])}. {versions('pyarrow', 'pydantic')}",
        ]
    )


if __name__ == "__main__":
    main()
