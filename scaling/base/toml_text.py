"""Plain values as a study file writes them, for what a command prints to be copied."""

import json
import re
from collections.abc import Mapping
from typing import Any

BARE = re.compile(r"[A-Za-z0-9_-]+")  # keys that need no quotes


def toml_value(value: Any) -> str:
    """A value of plain JSON on one line of TOML. None is the word "none": TOML has no null."""
    if value is None:
        return '"none"'
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: key != "kind")  # what it is comes first
        return "{ " + ", ".join(toml_line(key, value[key]) for key in keys) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def toml_line(key: str, value: Any) -> str:
    """key = value."""
    return f"{key if BARE.fullmatch(key) else json.dumps(key)} = {toml_value(value)}"
