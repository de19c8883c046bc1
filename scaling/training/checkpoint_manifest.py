"""checkpoint.json: what a checkpoint is and which files it has, with a sum of its own contents."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

MANIFEST = "checkpoint.json"
SUM = "crc"


def sealed(about: Mapping[str, Any]) -> str:
    """The file's text: its contents, and their CRC-32."""
    contents = {key: value for key, value in about.items() if key != SUM}
    return json.dumps({**contents, SUM: _crc(contents)}, indent=1)


def unsealed(text: str) -> dict[str, Any]:
    """The contents, without the sum.

    Raises:
      ValueError: they are not what was written.
    """
    try:
        about = json.loads(text)
        same = about.pop(SUM) == _crc(about)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # cut, or no object
        same = False
    if not same:
        raise ValueError(f"{MANIFEST} changed after it was written.")
    return about


def _crc(contents: dict[str, Any]) -> int:
    """Whatever the layout."""
    return zlib.crc32(json.dumps(contents, sort_keys=True).encode())
