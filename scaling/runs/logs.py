"""What the workers of a run have printed: the log of its trunk, beside the folders of runs; where
those lie in a bucket, below this machine's cache folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.names import did_you_mean
from fits.base.printable import printable
from scaling.base.machine import cache_folder
from scaling.base.storage import is_object
from scaling.runs.attempts import read_attempts
from scaling.runs.damage import DamagedRun
from scaling.runs.run_file import NAME, read_run_file
from scaling.runs.run_folder import RunFolder

LOGS = "logs"
JOBS = "slurm-*/*_log.out", "ray-*.log"
"""Logs of jobs of Slurm and of tasks of Ray; those of a run on several hosts hold its workers'."""
SHOWN = 3


def logs_folder(runs: Path) -> Path:
    """Where the logs of the workers of this machine lie."""
    if is_object(runs):  # nothing can be appended to an object
        return cache_folder() / LOGS / runs.scheme / runs.key
    return runs / LOGS


def log_of(runs: Path, name: str) -> list[str]:
    """Lines of the log of the run's trunk, the oldest first.

    Args:
      name: the run's id, or how it alone begins.

    Returns:
      The lines; where there is none, that nothing was printed, and why the run ended, if it did.

    Raises:
      UserError: no such run, or several, or it was never at work here.
    """
    known = sorted(path.parent.name for path in runs.glob(f"*/{NAME}"))
    found = [each for each in known if each.startswith(name)] if name else []
    if not found:
        near = did_you_mean(name, known)
        raise UserError([f"{name}: no run in {runs} begins so. {near}`scaling status` lists them."])
    if len(found) > 1:
        raise UserError([f"{name}: {len(found)} runs begin so, as {found[0]} and {found[1]}."])
    try:
        trunk = read_run_file(runs / found[0]).run.trunk
    except DamagedRun as damage:
        raise UserError([str(damage)]) from None
    logs = logs_folder(runs)
    paths = sorted(logs.glob(f"{trunk}*.log"), key=lambda path: path.stat().st_mtime)
    if not paths:
        words = f"{found[0]}: no log of its own in {logs}{_here(runs)}. {_where(logs)}"
        raise UserError([words, *_ended(found[0], runs)])
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    lines = [printable(line) for text in texts for line in text.splitlines()]
    if any(line.strip() for line in lines):
        return lines
    return [f"{found[0]}: its workers have printed nothing.", *_ended(found[0], runs)]


def _ended(name: str, runs: Path) -> Iterator[str]:
    """Why the run ended, where it did before it was done."""
    folder = RunFolder(runs / name)
    if (why := folder.failure()) is not None:
        yield f"{name} failed: {why}"
    elif reasons := read_attempts(folder.path).reasons:
        yield f"{name} was tried {counted(len(reasons), 'time')} in vain: {printable(reasons[-1])}"
    elif (why := folder.stopped()) is not None:
        yield f"{name} was left unfinished: {why}"


def _here(runs: Path) -> str:
    return " on this machine, which keeps the logs of its own workers" if is_object(runs) else ""


def _where(logs: Path) -> str:
    """Where the words of workers are that wrote no log of a run, if there were any."""
    words = (
        "Workers of a launch and of `scaling pool` write one; `scaling work` and runs on several "
        "hosts print where they run: in a terminal, in `kubectl logs`, or in the log of their job."
    )
    paths = [path for pattern in JOBS for path in logs.glob(pattern)]
    if not paths:
        return words
    paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{words} The latest of jobs: {', '.join(map(str, paths[:SHOWN]))}{more}."
