"""Lets every file operation of a study's life go wrong, in every way, and counts.

    python benchmarks/faults.py [--every 1] [--write]

What goes wrong, and what has to hold afterwards, is described in tests/faulty_life.py. Exit status
1 where it does not hold. `--write` puts the counts into docs/reliability.md.
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
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    command = [sys.executable, str(LIFE), "--every", str(asked.every)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    text = table(found)
    print(text)
    if found["wrong"]:
        sys.exit("\n".join(found["wrong"]))
    if asked.every > 1:
        text = f"One of every {asked.every} ways to go wrong, at each operation in turn.\n\n{text}"
    if asked.write:
        write_section("faults", text)


def table(found: dict[str, Any]) -> str:
    """Counts by kind of operation and by what went wrong."""
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for what, count in found["tried"].items():
        kind, way = what.split(" | ")
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
            f"What was lost, believed by half, or different in the tables afterwards: "
            f"{len(found['wrong'])}. {versions('pyarrow', 'pydantic')}",
        ]
    )


if __name__ == "__main__":
    main()
