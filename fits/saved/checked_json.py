"""JSON from anywhere, believed only after it was looked at: every mistake named, with its key."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fits.base.errors import UserError
from fits.base.names import did_you_mean, short

LARGEST = 16 * 2**20  # bytes of a file that is read
LONGEST_TEXT = 2000  # characters
LIMIT = 1e300  # of a number, either way


def read_json(path: Path) -> Node:
    """The file's outermost value.

    Raises:
      UserError: it is too large to be looked at, or no JSON.
      OSError: it cannot be read.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise UserError([f"{path}: not a file."])
    if size > LARGEST:
        raise UserError([f"{path}: {size:,} bytes; such a file has at most {LARGEST:,}."])
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=_object, parse_constant=_refused)
    except (ValueError, RecursionError) as wrong:
        why = "nested too deep" if isinstance(wrong, RecursionError) else short(str(wrong))
        raise UserError([f"{path}: no JSON that can be read ({why})."]) from None
    return Node(value, str(path), [])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


@dataclass(frozen=True, eq=False)
class Node:
    """A value and its place. Reading it wrongly typed notes a mistake and returns a stand-in.

    Fields:
      value: as `json` reads it.
      place: file and key, for messages.
      mistakes: all found so far, shared by the nodes of a file.
    """

    value: Any
    place: str
    mistakes: list[str]

    def wrong(self, what: str) -> None:
        self.mistakes.append(f"{self.place}: {what}")

    def keys(self, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Node]:
        """A node for each key; keys that are missing or unknown are mistakes."""
        known = [*needed, *optional]
        if not isinstance(self.value, dict):
            self.wrong(f"{_kind(self.value)}, not an object with {short(', '.join(known))}.")
            return {name: Node(None, "", []) for name in known}
        for name in needed:
            if name not in self.value:
                self.wrong(f"no '{name}'.")
        for name in self.value:
            if name not in known:
                self.wrong(f"'{short(name)}' is unknown. {did_you_mean(name, known)}".rstrip())
        return {name: self._key(name) for name in known}

    def _key(self, name: str) -> Node:
        """What is missing was named already: whatever else is said of it goes nowhere."""
        if name not in self.value:
            return Node(None, "", [])
        return Node(self.value[name], f"{self.place}, {short(name)}", self.mistakes)

    def items(self, most: int) -> list[Node]:
        if not isinstance(self.value, list):
            self.wrong(f"{_kind(self.value)}, not a list.")
            return []
        if len(self.value) > most:
            self.wrong(f"{len(self.value):,} entries; at most {most:,} are read.")
            return []
        return [
            Node(each, f"{self.place} {k}", self.mistakes) for k, each in enumerate(self.value, 1)
        ]

    def named(self, most: int) -> dict[str, Node]:
        """An object whose keys are free."""
        if not isinstance(self.value, dict) or len(self.value) > most:
            self.wrong(f"{_kind(self.value)}, not an object of at most {most} keys.")
            return {}
        for name in self.value:
            Node(name, f"{self.place}, key", self.mistakes).text()
        return {name: self._key(name) for name in self.value}

    def number(self, low: float = -LIMIT, high: float = LIMIT) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.wrong(f"{_kind(self.value)}, not a number.")
        elif not low <= self.value <= high:
            self.wrong(f"{short(repr(self.value))} is not from {low:g} to {high:g}.")
        else:
            return float(self.value)
        return math.nan

    def end(self) -> float:
        """The end of an interval: null is infinite."""
        return math.inf if self.value is None else self.number()

    def whole(self, low: int, high: int) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.wrong(f"{_kind(self.value)}, not a whole number.")
        elif not low <= self.value <= high:
            self.wrong(f"{short(repr(self.value))} is not from {low} to {high}.")
        else:
            return self.value
        return low

    def text(self, longest: int = LONGEST_TEXT) -> str:
        """Text that can be printed: one line, and nothing that a terminal would obey."""
        if not isinstance(self.value, str):
            self.wrong(f"{_kind(self.value)}, not text.")
        elif len(self.value) > longest:
            self.wrong(f"{len(self.value):,} characters; at most {longest:,} are read.")
        elif not self.value.isprintable():
            self.wrong("holds characters that cannot be printed.")
        else:
            return self.value
        return ""

    def choice(self, known: Sequence[str]) -> str:
        """One of these words, or the first of them after a mistake."""
        if self.value in known:
            return str(self.value)
        given = self.value if isinstance(self.value, str) else _kind(self.value)
        said = did_you_mean(given, known) if isinstance(self.value, str) else ""
        self.wrong(f"no '{short(given)}'. {said}Use {', '.join(known)}.")
        return known[0]

    def numbers(self, columns: int, most: int) -> NDArray[np.float64]:
        """A list of rows with so many finite numbers each, [rows, columns]."""
        found = []
        for row in self.items(most):
            cells = [cell.number() for cell in row.items(LARGEST)]
            if len(cells) != columns and isinstance(row.value, list):
                row.wrong(f"{len(cells)} numbers, not {columns}.")
            found.append((cells + [math.nan] * columns)[:columns])
        return np.array(found, float).reshape(-1, columns)


def _kind(value: Any) -> str:
    names = {bool: "true or false", dict: "an object", list: "a list", str: "text"}
    return "null" if value is None else names.get(type(value), "a number")
