"""A study file while it is being read: its values, their places, and the mistakes found so far.

Knows how to go on after a mistake: which parts of the file can still be relied on.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fits.base.errors import UserError
from scaling.base.config import Clashes, Config
from scaling.study.mistakes import LARGEST_EXACT, Schema, explain, near_names
from scaling.study.study_file import Grid, StudyFile
from scaling.study.toml_lines import KeyPath, lines

AXES = tuple(
    name for name, field in Grid.model_json_schema()["properties"].items() if "axis" in field
)
LARGEST_TOML = 2**63  # whole numbers beyond, either way, are none in TOML
LARGEST_FLOAT = int(sys.float_info.max)
DEEPEST = 50  # tables and lists in each other; a study has six


EMPTY = (
    "is empty: a study needs name, question, [data], [[evaluate]] and [[grid]]; "
    "docs/study-file.md shows one."
)


class Reading:
    """The text of a study file, and what is wrong with it."""

    def __init__(self, label: str, text: str, config: type[Config] = StudyFile, empty: str = EMPTY):
        """
        Args:
          config: the schema that the file is held against; may be exchanged before that.
          empty: what is said of a file without a key.
        """
        try:
            self.raw = _tidy(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise UserError([_syntax(label, text, str(error))]) from None
        except RecursionError:
            raise UserError([f"{label}: tables or lists lie more than {DEEPEST} deep."]) from None
        except ValueError:  # of Python's own int()
            raise UserError(
                [f"{label}: a number has thousands of digits; write it shorter."]
            ) from None
        if not self.raw:
            raise UserError([f"{label} {empty}"])
        self.label, self.config = label, config
        self.lines = lines(text)
        self.mistakes: set[tuple[int, str]] = set()  # line and message
        self.wrong: set[KeyPath] = set()

    def check_keys(self) -> None:
        """Hold every key, on its own, against the schema."""
        try:
            self.parse()
        except ValidationError as error:
            schema = Schema(self.config)
            for each in error.errors():
                if clashes := _clashes(each):
                    place, _ = schema.follow(each["loc"])
                    self._note(place, clashes)
                elif each["type"] != "too_short" or not each["input"]:  # counts right elements only
                    self.mistake(*explain(each, schema))

    def parse(self) -> Any:
        """The file as its schema has it: a `StudyFile`, if it is a study."""
        return self.config.model_validate_json(_json(self.raw), strict=True)

    def mistake(self, place: KeyPath, message: str) -> None:
        """Note a mistake; what stands there and below is not looked at again."""
        self.wrong.add(place)
        if place not in self.lines and isinstance(place[-1], int):
            place = place[:-1]  # a value that stands alone for a list of one
        known = (place[:n] for n in range(len(place), 0, -1) if place[:n] in self.lines)
        line = self.lines.get(next(known, ()), 0)
        where = f"{self.label}, line {line}" if line else self.label
        self.mistakes.add((line, f"{where}: {_shown(place)}: {message}"))

    def raise_mistakes(self) -> None:
        if self.mistakes:
            raise UserError(*([message] for _, message in sorted(self.mistakes)))

    def lost(self, place: KeyPath) -> bool:
        """Whether there is a mistake at `place` or above it, so that nothing is known of it."""
        return any(w == place[: len(w)] for w in self.wrong)

    def spoilt(self, place: KeyPath) -> bool:
        """Whether there is a mistake at `place`, above it or below it."""
        return self.lost(place) or any(place == w[: len(place)] for w in self.wrong)

    def tables(self, key: str) -> Iterator[KeyPath]:
        """Places of the tables in a list of tables."""
        given = self.raw.get(key)
        for i, table in enumerate(given if isinstance(given, list) else ()):
            if isinstance(table, dict):
                yield (key, i)

    def names(self, key: str) -> list[str]:
        """Keys of a table of tables."""
        given = self.raw.get(key)
        return list(given) if isinstance(given, dict) else []

    def values(self, grid: KeyPath, axis: str) -> Iterator[tuple[KeyPath, Any]]:
        """Those values of an axis that are right on their own, and their places."""
        given = self.at(grid).get(axis)
        for i, value in enumerate(given if isinstance(given, list) else ()):
            if not self.spoilt((*grid, axis, i)):
                yield (*grid, axis, i), value

    def part(self, config: Any, place: KeyPath) -> Any:
        """The table at `place` as a `config`, wrong keys left out; None if it cannot be one."""
        table = self.at(place)
        if not isinstance(table, dict) or self.lost(place):
            return None
        right = {key: table[key] for key in table if not self.spoilt((*place, key))}
        try:
            return TypeAdapter(config).validate_json(_json(right), strict=True)
        except ValidationError as error:
            for each in error.errors():
                clashes = _clashes(each)
                if clashes and not any(step in right for step in each["loc"]):  # not further down
                    self._note(place, clashes)
            return None

    def _note(self, place: KeyPath, clashes: Clashes) -> None:
        """Note what the keys of the table at `place` say against each other, if beyond doubt."""
        doubtful = self.doubtful(place, clashes.config)
        for clash in clashes.found:
            if doubtful.isdisjoint(clash.keys):
                self.mistake(place, clash.words)

    def doubtful(self, place: KeyPath, config: type[Config]) -> set[str]:
        """Fields of `config` that the table at `place` may have meant to set, and did not."""
        fields = config.model_fields
        keys = {str(w[len(place)]) for w in self.wrong if w[: len(place)] == place != w}
        meant = ([key] if key in fields else near_names(key, fields) for key in keys)
        return set().union(*meant)

    def at(self, place: KeyPath) -> Any:
        """The value at `place`; an absent table is an empty one."""
        value: Any = self.raw
        for step in place:
            value = value[step] if isinstance(step, int) else value.get(step, {})
        return value


def _tidy(raw: dict[str, Any]) -> dict[str, Any]:
    """Numbers, dates and axes of one value as a study takes them."""
    tidy = _plain(raw)
    grids = tidy.get("grid")
    for grid in grids if isinstance(grids, list) else ():
        for axis in AXES:
            if isinstance(grid, dict) and axis in grid and not isinstance(grid[axis], list):
                grid[axis] = [grid[axis]]
    return tidy


def _plain(value: Any, depth: int = 0) -> Any:
    """1e6 as the whole number it is, whole numbers too large for TOML as floats, dates as text."""
    if depth > DEEPEST:
        raise RecursionError
    match value:
        case float() if value.is_integer() and abs(value) <= LARGEST_EXACT:
            return int(value)
        case int() if not -LARGEST_TOML <= value < LARGEST_TOML:
            return float(min(max(value, -LARGEST_FLOAT), LARGEST_FLOAT))
        case datetime.date() | datetime.time():
            return str(value)
        case dict():
            return {key: _plain(item, depth + 1) for key, item in value.items()}
        case list():
            return [_plain(item, depth + 1) for item in value]
    return value


def _json(value: Any) -> str:
    """As JSON: what pydantic reads strictly (a text is never a number) and still takes lists."""
    return json.dumps(value)


def _shown(place: KeyPath) -> str:
    """("grid", 0, "model", 2) as grid[0].model[2]."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return "".join(steps).removeprefix(".")


def _clashes(error: ErrorDetails) -> Clashes | None:
    """What pydantic's error holds of ours, if it is one of keys that do not fit together."""
    cause = error.get("ctx", {}).get("error")
    return cause if isinstance(cause, Clashes) else None


def _syntax(label: str, text: str, error: str) -> str:
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", error)
    if found is None:
        return f"{label}: this is not TOML: {error}."
    what, line, column = found.groups()
    if what == "Cannot overwrite a value" and (key := _key(text.splitlines()[int(line) - 1])):
        return f"{label}, line {line}: {key} has a value already; write it once."
    return f"{label}, line {line}, column {column}: this is not TOML: {what}."


def _key(line: str) -> str | None:
    """The key of a line that is a whole `key = value`."""
    try:
        (pair,) = tomllib.loads(line)
    except ValueError:
        return None
    return str(pair)
