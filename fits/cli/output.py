"""How the commands of fit-laws write files, and how they end. Nothing is half-written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fits.base.errors import UserError
from fits.base.files import write_text
from fits.base.names import did_you_mean
from fits.base.printable import printable
from fits.base.streams import lead_nowhere, told

if TYPE_CHECKING:
    from fits.report_json import JsonModel


NO_MEMORY = (
    "there is not enough memory for this table. Raise the limit (ulimit -v), leave out columns and "
    "rows that are not needed, or choose rows beforehand."
)


LEAST_MEMORY = 300 << 20  # of addresses, without which NumPy's BLAS ends the program by itself


def _heed_memory_limit() -> None:
    """Raises MemoryError where the limit on addresses is too low for NumPy to be loaded.

    Where there is a limit, NumPy's and SciPy's BLAS take what they need before a table can: where
    they find nothing left, one ends the program and loading the other does not end.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    if limit < LEAST_MEMORY:
        raise MemoryError
    import numpy as np
    import scipy.special  # noqa: F401

    some = np.ones((256, 256))
    np.linalg.solve(some @ some + np.eye(256), some)


def _use_one_thread() -> None:
    """Before NumPy is loaded: matrices of fits are small, and on busy cores several threads of
    BLAS wait for each other; their number would also be in the last digits."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def ending(work: Callable[[], int | None]) -> int:
    """Does the work and returns its exit status, or says what is wrong and returns 2."""
    try:
        _use_one_thread()
        _heed_memory_limit()
        status = work() or 0
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        lead_nowhere(sys.stdout)
        return 0
    except MemoryError:
        print(f"fit-laws: {NO_MEMORY}", file=sys.stderr)
        return 2
    except ImportError as error:  # a library could not be mapped
        if "allocate memory" not in str(error) and "failed to map" not in str(error):
            raise
        print(f"fit-laws: {NO_MEMORY}", file=sys.stderr)
        return 2
    except (UserError, OSError) as error:
        mistakes = str(error)
        if isinstance(error, OSError):
            mistakes = told(error, sys.stdout)
        gap = "\n  " if "\n" in mistakes else " "
        print(f"fit-laws:{gap}" + printable(mistakes).replace("\n", gap), file=sys.stderr)
        return 2
    return status


def check_files(files: dict[str, Path | None], tables: Sequence[Path]) -> None:
    """Of files to write, by option: what cannot be written, and what is named twice.

    Raises:
      UserError: all of it.
    """
    named = {option: path for option, path in files.items() if path and str(path) != "-"}
    wrong = [said for each in named.items() for said in _unwritable(*each, tables)]
    first: dict[Path, str] = {}
    for option, path in named.items():
        before = first.setdefault(path.resolve(), option)
        if before != option:
            wrong.append(f"{before} and {option}: both name {path}. Name two files.")
    plot = named.get("--plot")
    if plot is not None:
        from fits.plotting import FORMATS

        if plot.suffix.lower() not in FORMATS:
            wrong.append(f"--plot: {plot} ends in none of {', '.join(FORMATS)}.")
    if wrong:
        raise UserError(wrong)


def _unwritable(option: str, path: Path, tables: Sequence[Path]) -> list[str]:
    if any(path.exists() and table.exists() and path.samefile(table) for table in tables):
        return [f"{option}: {path} is the table itself. Name another file."]
    if path.is_dir():
        return [f"{option}: {path} is a folder. Name a file in it."]
    if path.exists() and not path.is_file():  # a pipe or a device
        writable = os.access(path, os.W_OK)
        return [] if writable else [f"{option}: {path} may not be written to. Name a file."]
    folder = (path.resolve() if path.is_symlink() else path).parent
    if not folder.is_dir():
        return [f"{option}: there is no folder {folder}. Make it first."]
    if not os.access(folder, os.W_OK):
        return [f"{option}: the folder {folder} may not be written to. Name another."]
    return []


def schema_of(command: str) -> dict[str, Any]:
    """JSON Schema of what a command writes."""
    from fits.allocation.best_size import BestSizes
    from fits.allocation.report import AllocationReport
    from fits.decisions.compare import Comparison
    from fits.decisions.downstream import Downstream
    from fits.decisions.next_runs import NextRuns
    from fits.decisions.pool_table import PoolChoice
    from fits.decisions.races import Races
    from fits.decisions.transfer import TransferReport
    from fits.report_json import CheckJson, ReportJson

    models: dict[str, type[JsonModel]] = {
        "fit": ReportJson,
        "best-size": BestSizes,
        "check": CheckJson,
        "compare": Comparison,
        "downstream": Downstream,
        "next": NextRuns,
        "optimal": AllocationReport,
        "pool": PoolChoice,
        "race": Races,
        "transfer": TransferReport,
    }
    if command not in models:
        meant = did_you_mean(command, models)
        raise UserError([f"{command}: no such command. {meant}There are {', '.join(models)}."])
    return models[command].model_json_schema(mode="serialization")


def put(
    answer: JsonModel,
    lines: Iterable[str],
    warnings: Iterable[str],
    json_file: Path | None,
    *others: Path | None,
    notes: Iterable[str] = (),
) -> None:
    """Writes the answer as JSON, whole or not at all, and prints lines, notes and warnings.

    Where the JSON goes to the standard output (-), notes and warnings go to the standard error.

    Args:
      others: files that were written before.
      notes: how a table was read, and what looks odd in it.
    """
    text = json.dumps(answer.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
    said = [f"note: {each}" for each in notes] + [f"warning: {each}" for each in warnings]
    if str(json_file) == "-":
        print(text, end="")
        print(*map(printable, said), sep="\n", end="\n" if said else "", file=sys.stderr)
        return
    if json_file:
        write_text(json_file, text)
    written = [f"\nwritten: {path}" for path in (*others, json_file) if path]
    print(*map(printable, [*lines, *([""] if said else []), *said, *written]), sep="\n")
