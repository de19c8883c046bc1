"""JSON files, of which none is trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """What a file holds.

    Raises:
      OSError: it cannot be read.
      ValueError: it is no JSON in UTF-8, or nested deeper than Python reads.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
