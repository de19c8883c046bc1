"""Kills launchers, workers and collectors of a small study at random moments, and counts.

    python benchmarks/kills.py [--kills 100] [--seed 0] [FOLDER]

First the study is launched and collected undisturbed. Then, lap after lap, it is launched in a new
folder; at a random moment SIGKILL goes to the launcher or to one of its workers, and it is launched
again. At the end of each lap `collect` is killed at a random moment as well, and then left to end.
Every lap's table has to be that of the undisturbed study, byte for byte, and no checkpoint may be
lost: a run never resumes from an earlier step than it had reached in a checkpoint before. Prints a
table of kills by what the victim was doing; exit status 1 where anything differed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from small_study import small_study

IMAGES = 5_120, 20_480, 81_920
OFTEN = "[checkpoints]\nevery_seconds = 0.5\n"
DOING = {"compile": "compiling or loading", "train": "training", "cooldown": "cooling down"}
SCALING = [sys.executable, "-P", "-m", "scaling"]
LONGEST = 14.0  # seconds before a kill


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = (asked.folder or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        (place / "small.toml").write_text(small_study(IMAGES, more=OFTEN))
        chance, counts, wrong = random.Random(asked.seed), Counter[str](), []
        run(place, "launch", "small.toml", "--runs", "quiet")
        wanted = table(place, "quiet")
        lap = 0
        while counts.total() < asked.kills:
            lap += 1
            runs = f"lap{lap}"
            disturbed(place, runs, chance, counts, asked.kills, wrong)
            kill_collect(place, runs, chance, counts)
            if table(place, runs) != wanted:
                wrong.append(f"lap {lap}: another table")
    print(f"{counts.total()} kills in {lap} laps, seed {asked.seed}\n")
    print("| what was killed | while | kills |")
    print("|---|---|---|")
    for what, count in sorted(counts.items()):
        print(f"| {what.replace(', ', ' | ')} | {count} |")
    print(f"\n{lap - len(wrong)} of {lap} tables are that of the undisturbed study, byte for byte.")
    if wrong:
        sys.exit("\n".join(wrong))


def disturbed(
    place: Path,
    runs: str,
    chance: random.Random,
    counts: Counter[str],
    most: int,
    wrong: list[str],
) -> None:
    """One lap: launched and killed until it is done, or kills are used up."""
    reached: dict[Path, int] = {}
    while True:
        launcher = subprocess.Popen(
            [*SCALING, "launch", "small.toml", "--runs", runs],
            cwd=place,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while launcher.poll() is None and counts.total() < most:
            until = time.monotonic() + chance.uniform(0, LONGEST)
            while time.monotonic() < until and launcher.poll() is None:
                time.sleep(0.02)
            if launcher.poll() is not None:
                break
            workers = children(launcher.pid)
            victim = chance.choice([launcher.pid, *workers])
            what = "launcher" if victim == launcher.pid else "worker"
            doing = phase(place / runs, workers if what == "launcher" else [victim])
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
            counts[f"{what}, {doing}"] += 1
            check_checkpoints(place / runs, reached, wrong)
            if what == "launcher":
                launcher.wait()
                while any(alive(pid) for pid in workers):
                    time.sleep(0.02)
        if launcher.wait() == 0:
            return


def kill_collect(place: Path, runs: str, chance: random.Random, counts: Counter[str]) -> None:
    """`collect`, killed at a moment of the seconds that it takes."""
    began = time.monotonic()
    run(place, "collect", "small.toml", "--runs", runs, "--out", "aside")
    takes = time.monotonic() - began
    process = subprocess.Popen(
        [*SCALING, "collect", "small.toml", "--runs", runs, "--out", f"out-{runs}"],
        cwd=place,
        stdout=subprocess.DEVNULL,
    )
    time.sleep(chance.uniform(0.5, 1.0) * takes)
    if process.poll() is None:
        process.kill()
        counts["collect, collecting"] += 1
    process.wait()


def table(place: Path, runs: str) -> bytes:
    run(place, "collect", "small.toml", "--runs", runs, "--out", f"out-{runs}")
    return (place / f"out-{runs}" / "small.csv").read_bytes()


def run(place: Path, *words: str) -> None:
    subprocess.run([*SCALING, *words], cwd=place, check=True, stdout=subprocess.DEVNULL)


def check_checkpoints(runs: Path, reached: dict[Path, int], wrong: list[str]) -> None:
    """No folder of checkpoints may have come to fewer steps than before."""
    for parent in [*runs.glob("trunks/*"), *runs.glob("*/checkpoints")]:
        steps = [step_of(path) for path in parent.glob("*/checkpoint.json")]
        newest = max(steps, default=0)
        if newest < reached.get(parent, 0):
            wrong.append(f"{parent} went back from step {reached[parent]} to {newest}")
        reached[parent] = max(newest, reached.get(parent, 0))


def step_of(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["step"])
    except (OSError, ValueError, KeyError):
        return 0


def phase(runs: Path, pids: list[int]) -> str:
    """What the first of these processes says that it is doing."""
    for path in runs.glob("*/progress.json"):
        try:
            said = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if said["pid"] in pids:
            return DOING.get(said["phase"], said["phase"])
    return "between runs"


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


if __name__ == "__main__":
    main()
