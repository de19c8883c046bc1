"""What a study of very many runs costs the commands that keep its books: CPU seconds and memory.

    python benchmarks/many_runs.py [--runs 10000] [--write] [FOLDER]
    python benchmarks/many_runs.py --rows 1000000 [--write] [FOLDER]

Writes a study of so many runs into FOLDER (a temporary one unless given), and measures in a process
each: `launch --dry-run`; `plan`; the bookkeeping of a launch, first (run.json of every run) and
again, and with its looks at the folders for a minute while others are at 500 runs; `status` while
nothing is done and when all is; `collect`. Results are made up: nothing is trained. Prints a table
of CPU seconds (user and system), elapsed seconds and the most memory in use at once; `--write` puts
it into docs/reliability.md.

With `--rows` it measures instead what tables of so many rows cost the commands of `fit-laws`. The
tables are simulated: sizes over three decades, data over three, the loss of a law of both with 1 %
of noise, and a downstream error that is a sigmoid of the loss. `compare` reads two of half the
rows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from reliability_page import versions, write_section
from small_study import small_study

HEAD = "| what | CPU, s | elapsed, s | most memory, MB |", "|---|---|---|---|"
IMAGES = 1_280, 2_560, 5_120, 10_240, 20_480

BOOKKEEPING = """
from pathlib import Path
from scaling.launch import launch
from scaling.launch.progress.display import PlainLines
from scaling.launch.launch_spec import DEFAULT
from scaling.launch.local.launcher import Local
from scaling.study.parse import read_study
class Nobody(Local):
    def workers_of(self, launch, screen):
        class AtWork:
            def work(self):
                for _ in range(LOOKS):
                    launch.tally.look_at_some()
                    launch.tally.progress()
            def stop(self):
                pass
        return AtWork()
launch.launch(read_study("small.toml"), Path("runs"), DEFAULT, Nobody())
"""

LOOKS = 60  # at the folders, a second apart in a launch
AT_WORK = 500  # runs that others are at
HOLD = f"""
from contextlib import ExitStack
from pathlib import Path
from scaling.launch.jobs import jobs
from scaling.runs.begun import as_begun
from scaling.runs.held_run import hold_run
from scaling.study.parse import read_study
study = as_begun(read_study("small.toml"), Path("runs"))
with ExitStack() as leases:
    for job in jobs(study.runs, {{run.id for run in study.runs}})[:{AT_WORK}]:
        run = job.segments[0].run
        held = leases.enter_context(hold_run(Path("runs") / run.id))
        held.report(step=1, steps=run.steps, phase="train", images_per_second=64.0, pace=64.0)
    print("held", flush=True)
    input()
"""

FINISH = """
from pathlib import Path
from fits.base import files
from scaling.evaluate.measured import Measured
from scaling.runs.begun import as_begun
from scaling.runs.held_run import hold_run
from scaling.study.parse import read_study
files._sync = lambda path: None
study = as_begun(read_study("small.toml"), Path("runs"))
for number, run in enumerate(study.runs):
    found = [(each, [Measured(m, 0.1 + 1 / (1 + run.flops**0.1) + 1e-4 * (number % 7), 1000)
                     for m in each.metrics]) for each in study.evaluate]
    about = {"flops": run.flops, "data": [{"train_size": 1000}], "seconds_here": 1.0}
    with hold_run(Path("runs") / run.id) as held:
        held.finish(found, about)
"""


LOSS = ("--y", "loss", "--y-is", "loss")
SIZES = ("--x", "n", "--x", "d", "--law", "chinchilla")
GRID = ("--budget", "1e23", "--grid", "n=1e9,1e10", "--grid", "d=1e11,1e12", "--per", "6")
FITS: dict[str, tuple[str, ...]] = {
    "fit of the frontier": ("a.csv", "--x", "flops", *LOSS),
    "fit of L(N, D)": ("a.csv", *SIZES, *LOSS),
    "compare, half of them each": ("compare", "half.csv", "other.csv", "--x", "flops", *LOSS),
    "next": ("next", "a.csv", *SIZES, *LOSS, "--predict", "1e11,1e12", *GRID),
    "best-size": ("best-size", "a.csv", *SIZES, *LOSS, "--budget", "1e23"),
    "optimal": ("optimal", "a.csv", "--size", "n", "--data", "d", "--flops", "flops", *LOSS),
    "downstream": (
        *("downstream", "a.csv", *SIZES, "--through", "loss", "--y", "error"),
        *("--link", "sigmoid", "--predict", "1e10,1e12"),
    ),
}


def write_table(path: Path, rows: int, seed: int) -> None:
    """Simulated runs: n, d, flops, loss, error."""
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, rows), 10 ** rng.uniform(9, 12, rows)
    loss = (1.7 + 400 * n**-0.34 + 900 * d**-0.32) * np.exp(rng.normal(0, 0.01, rows))
    error = 0.1 + 0.65 / (1 + np.exp(-4 * (loss - 2.6)))
    error = np.clip(error * np.exp(rng.normal(0, 0.01, rows)), 0.001, 0.999)
    columns = n, d, 6 * n * d, loss, error
    with path.open("w", encoding="utf-8") as file:
        file.write("n,d,flops,loss,error\n")
        for first in range(0, rows, 50_000):
            some = (each[first : first + 50_000].tolist() for each in columns)
            file.writelines(
                "{:.6g},{:.6g},{:.6g},{:.6g},{:.6g}\n".format(*row)
                for row in zip(*some, strict=True)
            )


def tables(folder: Path, count: int, only: list[str]) -> list[str]:
    """Lines of the table of commands of `fit-laws`."""
    shares = {"a.csv": count, "half.csv": count // 2, "other.csv": count // 2}
    for seed, (name, share) in enumerate(shares.items()):
        write_table(folder / name, share, seed)
    rows = list(HEAD)
    print(*rows, sep="\n", flush=True)
    for what, command in FITS.items():
        if not only or what in only:
            fit_laws = [sys.executable, "-m", "fits.fit_laws", *command]
            rows.append(measured(what, fit_laws, folder))
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--only", nargs="+", default=[], choices=[*FITS], help="with --rows")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        text = small_study(IMAGES, range(asked.runs // (2 * len(IMAGES))))
        (folder / "small.toml").write_text(text)
        scaling = [sys.executable, "-m", "scaling"]
        if asked.rows:
            rows = tables(folder, asked.rows, asked.only)
            if asked.write:
                text = f"Tables of {asked.rows:,} rows:\n\n" + "\n".join(rows)
                write_section("many rows", f"{text}\n\n{versions('numpy', 'scipy')}")
            return
        rows = list(HEAD)
        print(*rows, sep="\n")

        def measure(what: str, command: list[str]) -> None:
            rows.append(measured(what, command, folder))
            print(rows[-1], flush=True)

        measure("launch --dry-run", [*scaling, "launch", "small.toml", "--dry-run"])
        measure("plan", [*scaling, "plan", "small.toml"])
        measure("launch, first bookkeeping", bookkeeping(looks=1))
        measure("launch, bookkeeping again", bookkeeping(looks=1))
        with at_work(folder):
            what = f"launch, bookkeeping and {LOOKS} looks, {AT_WORK} at work"
            measure(what, bookkeeping(LOOKS))
        measure("status, nothing done", [*scaling, "status", "small.toml"])
        subprocess.run([sys.executable, "-c", FINISH], cwd=folder, check=True)
        measure("status, all done", [*scaling, "status", "small.toml"])
        measure("launch, bookkeeping of what is done", bookkeeping(looks=1))
        measure("collect", [*scaling, "collect", "small.toml"])

    if asked.write:
        text = f"A study of {asked.runs:,} runs:\n\n" + "\n".join(rows)
        write_section("many runs", f"{text}\n\n{versions('pydantic', 'pyarrow')}")


def bookkeeping(looks: int) -> list[str]:
    """Command of a launch that starts nobody."""
    return [sys.executable, "-c", f"LOOKS = {looks}\n{BOOKKEEPING}"]


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """While it lasts, another process is at `AT_WORK` runs."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        if holder.stdout.readline() != "held\n":
            sys.exit("the runs could not be held")
        yield
        holder.stdin.write("\n")


def measured(what: str, command: list[str], folder: Path) -> str:
    """One line of the table."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{what} ended with {os.waitstatus_to_exitcode(status)}")
    cpu, elapsed = used.ru_utime + used.ru_stime, time.monotonic() - began
    return f"| {what} | {cpu:.1f} | {elapsed:.1f} | {used.ru_maxrss / 1000:.0f} |"


if __name__ == "__main__":
    main()
