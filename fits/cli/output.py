"""How the commands of fit-laws write files, and how they end. Nothing is half-written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fits.base.errors import UserError
from fits.base.files import write_text


def ending(work: Callable[[], int]) -> int:
    """Does the work and returns its exit status, or says what is wrong and returns 2."""
    try:
        status = work()
        sys.stdout.flush()
    except UserError as error:
        return _refuse(str(error))
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _refuse(f"{error.filename or 'a file'}: {error.strerror or error}.")
    return status


def _refuse(mistakes: str) -> int:
    gap = "\n  " if "\n" in mistakes else " "
    print(f"fit-laws:{gap}" + mistakes.replace("\n", gap), file=sys.stderr)
    return 2


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


def write_json(path: str | Path, answer: dict[str, Any]) -> None:
    """Whole or not at all; - is the standard output."""
    text = json.dumps(answer, indent=2, allow_nan=False) + "\n"
    if str(path) == "-":
        print(text, end="")
    else:
        write_text(path, text)


def say_written(paths: Iterable[Path | None]) -> None:
    for path in filter(None, paths):
        print(f"\nwritten: {path}")
