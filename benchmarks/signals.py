"""Tells a small study to leave, again and again: how long that takes, and what is trained twice.

    python benchmarks/signals.py [--signals 40] [--seed 0] [--write] [FOLDER]

SIGTERM and SIGINT come by turns to the launcher, which hands them on to its workers, and to a
worker alone; while a worker trains, at a random moment of its steps, or before the first one does,
at moments spread evenly over that time. Counted are the seconds from a signal to the end of all
processes that it went to. A lap ends with the study done: its tables have to be those of an
undisturbed one, byte for byte, and nobody may have resumed before the last checkpoint. A worker
that leaves keeps one of its last step, so no step should be trained twice; those that were are
counted. Exit status 1 where a table differs, a resumption went back behind a checkpoint, or
somebody took more than 10 s. `--write` puts the counts into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from kills import (
    IMAGES,
    OFTEN,
    STEPS,
    Study,
    alive,
    check_trace,
    children,
    study_comes_to,
    tables,
    undisturbed,
    wait_until,
)
from reliability_page import versions, write_section
from small_study import small_study

SIGNALS = signal.SIGTERM, signal.SIGINT
MOST = 10.0  # seconds


class Told(NamedTuple):
    """Who left, why, and how long it took."""

    phase: str
    who: str
    signal: str
    seconds: float


def tell(study: Study, number: int, share: float, takes: float) -> Told | None:
    """One signal; None: the study was done before."""
    which = SIGNALS[number % 2]
    if number % 4 < 2:
        phase = "training"
        if not study_comes_to(study, lambda: any(p in STEPS for p in study.doing().values())):
            return None
        time.sleep(study.chance.uniform(0, 1))
    else:
        phase = "launching"
        study.leave()
        study.launch()
        time.sleep(share * takes)
    launcher = study.launch()
    workers = children(launcher.pid)
    at = [pid for pid, doing in study.doing().items() if phase == "launching" or doing in STEPS]
    alone = study.chance.choice(at) if at and study.chance.random() < 0.5 else None
    began = time.monotonic()
    try:
        os.kill(alone or launcher.pid, which)
    except ProcessLookupError:
        return None
    if alone is None:
        launcher.wait()
    wait_until(lambda: not any(alive(pid) for pid in ([alone] if alone else workers)))
    who = "worker" if alone else "launcher and workers"
    return Told(phase, who, which.name, time.monotonic() - began)


def tell_and_count(place: Path, signals: int, seed: int) -> tuple[str, list[str]]:
    """The page's section, and what went wrong."""
    chance = random.Random(seed)
    wanted, launching, _, needed = undisturbed(place)
    plan = [(k, (k + chance.random()) / signals) for k in range(signals)]
    seconds, wrong, trained, laps = defaultdict[tuple[str, str, str], list[float]](list), [], [], 0
    while plan:
        laps += 1
        study = Study(place, f"lap{laps}", chance)
        while plan and not study.is_done():
            if found := tell(study, *plan[0], launching):
                plan.pop(0)
                seconds[found[:3]].append(found.seconds)
                print(study.runs, *found, file=sys.stderr, flush=True)
        while not study.is_done():
            study.launch().wait()
        trained.append(check_trace(study))
        wrong += study.wrong
        if tables(study) != wanted:
            wrong.append(f"{study.runs}: another table")
    longest = max(map(max, seconds.values()))
    if longest > MOST:
        wrong.append(f"{longest:.1f} s from a signal to the end")
    lines = [
        f"{signals} signals to a study of 6 runs and {needed:,} steps, in {laps} laps (seed "
        f"{seed}):\n",
        "| phase | told | signal | times | longest, s |\n|---|---|---|---|---|",
        *(
            f"| {' | '.join(what)} | {len(each)} | {max(each):.1f} |"
            for what, each in sorted(seconds.items())
        ),
        f"\n- Tables of all {laps} laps are those of the undisturbed study, byte for byte.",
        f"- {sum(lap[0] for lap in trained):,} steps were trained, {sum(lap[1] for lap in trained)}"
        " of them twice; nobody resumed before the last checkpoint.\n",
        versions("jax", "orbax-checkpoint"),
    ]
    return "\n".join(lines), wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--signals", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = (asked.folder or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        (place / "small.toml").write_text(small_study(IMAGES, more=OFTEN))
        text, wrong = tell_and_count(place, asked.signals, asked.seed)
    print(text)
    if wrong:
        sys.exit("\n".join(wrong))
    if asked.write:
        write_section("signals", text)


if __name__ == "__main__":
    main()
