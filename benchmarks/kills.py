"""Kills a small study 100 times, in every phase, and compares its tables with an undisturbed one's.

    python benchmarks/kills.py [--kills 100] [--minutes M] [--seed 0] [--write] [FOLDER]

First the study is launched and collected undisturbed. Then, lap after lap, it is launched in a new
folder, and SIGKILL comes in each of five phases by turns:

- launching: until the first worker trains, at moments spread evenly over that time;
- training: at a random moment while a worker reports that it makes steps;
- saving: at a random file operation of a checkpoint, or a random moment of Orbax's own writing;
- appending: before, after or in the middle of a random file operation on results or manifest;
- collecting: at a random moment of `collect`.

The victim is a worker, the launcher alone, or the launcher with all its workers. At the end of each
lap the study is launched until it is done. Both tables of each lap, CSV and Parquet, have to be
those of the undisturbed study, byte for byte. Every worker tells of each step that it trains and of
each checkpoint that is there (benchmarks/victim): whoever resumes may not begin before the last
checkpoint, so that no step is trained twice but those after it. Exit status 1 where that, or a
table, is not so. After `--minutes` the lap is brought to its end and is the last, however many
kills there were. `--write` puts the counts into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reliability_page import versions, write_section
from small_study import small_study

IMAGES = 3_200, 6_400, 12_800
OFTEN = "[checkpoints]\nevery_seconds = 0.5\n"
# What a worker compiled, the next one loads: the kills come while it trains.
QUICK = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
SCALING = [sys.executable, "-P", "-m", "scaling"]
VICTIM = Path(__file__).resolve().with_name("victim")
STEPS = "train", "cooldown"  # phases of a worker in which it makes steps
PHASES = "launching", "training", "saving", "appending", "collecting"
TRAPS = {
    "saving": (r"\.partial|\.old|/checkpoints/|/trunks/\w+/(passing|\d+)", 40),
    "appending": (r"/\.?(results\.jsonl|manifest\.json)[^/]*$", 22),
}
"""Of a phase: the paths of its file operations, and among how many of them one is chosen."""
WHOLE = "launcher and workers"


@dataclass
class Study:
    """A study's folder of runs in a lap, and the processes in it."""

    place: Path
    runs: str
    chance: random.Random
    launcher: subprocess.Popen[bytes] | None = None
    lost: int = 0
    """Steps that were trained again."""
    wrong: list[str] = field(default_factory=list)

    @property
    def trap(self) -> Path:
        return self.place / f"{self.runs}.trap"

    @property
    def trace(self) -> Path:
        return self.place / f"{self.runs}.trace"

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **QUICK,
            "JAX_COMPILATION_CACHE_DIR": str(self.place / "compiled"),
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(VICTIM), os.environ.get("PYTHONPATH")])
            ),
            "VICTIM_ROOT": str(self.place),
            "VICTIM_TRACE": str(self.trace),
            "VICTIM_TRAP": str(self.trap),
        }
        with (self.place / f"{self.runs}.log").open("ab") as log:
            return subprocess.Popen(
                [*SCALING, *words],
                cwd=self.place,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def launch(self) -> subprocess.Popen[bytes]:
        """The launcher at work, started unless there is one."""
        if self.launcher is None or self.launcher.poll() is not None:
            workers = str(self.chance.choice([1, 2]))
            words = "launch", "small.toml", "--retry", "--runs", self.runs, "--workers", workers
            self.launcher = self.start(*words)
        return self.launcher

    def leave(self) -> None:
        """End the launcher, where there is one, in good order."""
        if self.launcher is not None and self.launcher.poll() is None:
            self.launcher.send_signal(signal.SIGTERM)
            self.launcher.wait()

    def is_done(self) -> bool:
        return self.launcher is not None and self.launcher.poll() == 0

    def doing(self) -> dict[int, str]:
        """Phase of each worker that is alive, as it says, by its process id."""
        found = {}
        for path in (self.place / self.runs).glob("*/progress.json"):
            try:
                said = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            if self.launcher is not None and said["pid"] in children(self.launcher.pid):
                found[said["pid"]] = said["phase"]
        return found

    def kill(self, worker: int | None) -> str | None:
        """Send SIGKILL to the worker, the launcher or all, and wait; who was killed."""
        launcher = self.launch()
        workers = children(launcher.pid)
        if launcher.poll() is not None:
            return None
        what = self.chance.choice(["launcher", WHOLE, *(["worker"] if worker else [])])
        try:
            if what == WHOLE:
                os.killpg(launcher.pid, signal.SIGKILL)
            else:
                os.kill(worker if what == "worker" and worker else launcher.pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        if what != "worker":
            launcher.wait()
            wait_until(lambda: not any(alive(pid) for pid in workers))
        return what


Killed = tuple[str, str] | None
"""Who was killed, and how the moment was chosen; None: the study was done before."""


def kill_launching(study: Study, share: float, takes: float) -> Killed:
    """At `share` of the time that passes before a worker trains."""
    late = 1.0
    while True:
        study.leave()
        study.launch()
        time.sleep(share * takes * late)
        if study.is_done():
            return None
        if not any(phase in STEPS for phase in study.doing().values()):
            break
        late *= 0.8
    workers = children(study.launch().pid)
    who = study.kill(study.chance.choice(workers) if workers else None)
    return (who, "moment") if who else None


def kill_training(study: Study) -> Killed:
    """At a random moment of a worker's steps."""
    if not study_comes_to(study, lambda: any(p in STEPS for p in study.doing().values())):
        return None
    time.sleep(study.chance.uniform(0, 1.5))
    at = [pid for pid, phase in study.doing().items() if phase in STEPS]
    who = study.kill(study.chance.choice(at)) if at else None
    return (who, "moment") if who else None


def kill_at_operation(study: Study, phase: str) -> Killed:
    """A worker, around one of its next file operations of this phase."""
    path, among = TRAPS[phase]
    about = {"path": path, "after": study.chance.randrange(among)}
    study.trap.write_text(json.dumps(about))
    try:
        if study_comes_to(study, lambda: not study.trap.exists()):
            return "worker", "file operation"
        return None
    finally:
        study.trap.unlink(missing_ok=True)


def kill_saving(study: Study) -> Killed:
    """At a random moment of Orbax's writing, which no file operation of Python shows."""

    def partial() -> set[Path]:
        return set((study.place / study.runs).glob("*/*/*.partial*"))

    before = partial()  # of saves that were killed

    def saving() -> bool:
        return bool(partial() - before and study.doing())

    if not study_comes_to(study, saving):
        return None
    time.sleep(study.chance.uniform(0, 0.1))
    if not saving():
        return None
    at = list(study.doing())
    who = study.kill(study.chance.choice(at)) if at else None
    return (who, "moment") if who else None


def study_comes_to(study: Study, true: Callable[[], bool]) -> bool:
    """Wait, launching where nobody does, until `true`; False: the study was done before."""
    while not true():
        if study.is_done():
            return False
        study.launch()
        time.sleep(0.005)
    return True


def disturbed(study: Study, plan: list[tuple[str, float]], takes: float) -> Iterator[str]:
    """One lap: launched and killed as planned until it is done; names each kill."""
    while plan and not study.is_done():
        phase, share = plan[0]
        match phase:
            case "launching":
                killed = kill_launching(study, share, takes)
            case "training":
                killed = kill_training(study)
            case "saving" if share < 0.5:
                killed = kill_saving(study)
            case _:
                killed = kill_at_operation(study, phase)
        if killed:
            plan.pop(0)
            yield f"{phase} | {killed[0]} | {killed[1]}"
    while not study.is_done():
        study.launch().wait()


def kill_collect(study: Study, share: float, takes: float) -> Iterator[str]:
    """`collect`, killed at a share of the seconds that it takes."""
    process = study.start(
        "collect", "small.toml", "--runs", study.runs, "--out", f"out-{study.runs}"
    )
    time.sleep(share * takes)
    if process.poll() is None:
        process.kill()
        yield "collecting | collect | moment"
    process.wait()


def check_trace(study: Study) -> tuple[int, int]:
    """Steps that were trained, and those that were trained again, all after a last checkpoint."""
    kept: defaultdict[str, dict[str, int]] = defaultdict(dict)
    steps = Counter[tuple[str, int]]()
    for line in study.trace.read_text().splitlines():
        said: dict[str, Any] = json.loads(line)
        place, step = said["place"], said["step"]
        match said["event"]:
            case "kept":
                kept[place][said["name"]] = step
            case "from":
                last = max((s for s in kept[place].values() if s <= said["until"]), default=0)
                if step < last:
                    study.wrong.append(f"{study.runs}: {place} resumed at {step}, kept was {last}")
            case _:
                steps[place, step] += 1
    return steps.total(), steps.total() - len(steps)


def tables(study: Study) -> tuple[bytes, bytes]:
    out = f"out-{study.runs}"
    if study.start("collect", "small.toml", "--runs", study.runs, "--out", out).wait():
        raise SystemExit(f"collect of {study.runs} failed")
    return tuple((study.place / out / f"small.{end}").read_bytes() for end in ("csv", "parquet"))


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


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.005)


def undisturbed(place: Path) -> tuple[tuple[bytes, bytes], float, float, int]:
    """Its tables, seconds until a worker trains, seconds of `collect`, and its steps."""
    study = Study(place, "quiet", random.Random(0))
    if study.launch().wait():
        raise SystemExit("the undisturbed study failed")
    again, began = Study(place, "again", random.Random(0)), time.monotonic()
    study_comes_to(again, lambda: any(p in STEPS for p in again.doing().values()))
    launching = time.monotonic() - began
    again.leave()
    began = time.monotonic()
    wanted = tables(study)
    trained, twice = check_trace(study)
    assert not twice
    return wanted, launching, time.monotonic() - began, trained


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = (asked.folder or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        (place / "small.toml").write_text(small_study(IMAGES, more=OFTEN))
        text, wrong = kill_and_count(place, asked.kills, asked.seed, asked.minutes)
    print(text)
    if wrong:
        sys.exit("\n".join(wrong))
    if asked.write:
        write_section("kills", text)


def kill_and_count(place: Path, kills: int, seed: int, minutes: float) -> tuple[str, list[str]]:
    """The page's section, and what went wrong."""
    until = time.monotonic() + 60 * minutes
    chance = random.Random(seed)
    wanted, launching, collecting, needed = undisturbed(place)
    each = -(-kills // len(PHASES))
    shares = [(k + chance.random()) / each for k in range(each)]  # spread evenly
    plan = [(phase, share) for share in shares for phase in PHASES[:-1]]
    collects = [*shares]
    counts, wrong, same, laps = Counter[str](), list[str](), 0, list[tuple[int, int]]()
    while plan or collects:
        study = Study(place, f"lap{len(laps) + 1}", chance)
        for kill in disturbed(study, plan, launching):
            counts[kill] += 1
            if time.monotonic() > until:
                plan.clear()
            print(f"{study.runs}: {kill}", file=sys.stderr, flush=True)
        for share in [collects.pop(0) for _ in collects[: 6 if plan else None]]:
            for kill in kill_collect(study, 0.2 + 0.8 * share, collecting):
                counts[kill] += 1
        laps.append(check_trace(study))
        wrong += study.wrong
        if tables(study) == wanted:
            same += 1
        else:
            wrong.append(f"{study.runs}: another table")
    again = sum(lap[1] for lap in laps)
    lines = [
        f"{counts.total()} kills of a study of 6 runs and {needed:,} steps, in {len(laps)} laps "
        f"(seed {seed}):\n",
        "| phase | killed | chosen by | kills |\n|---|---|---|---|",
        *(f"| {what} | {count} |" for what, count in sorted(counts.items())),
        f"\n- {same} of {len(laps)} pairs of tables, CSV and Parquet, are those of the undisturbed "
        "study, byte for byte.",
        f"- {sum(lap[0] for lap in laps):,} steps were trained, {again:,} of them again: all of "
        f"these after the last checkpoint at the kill; {len(wrong)} resumed before it.\n",
        versions("jax", "orbax-checkpoint"),
    ]
    return "\n".join(lines), wrong


if __name__ == "__main__":
    main()
