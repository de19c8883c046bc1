"""How the commands of `scaling` write text and JSON: to a file, whole or not at all, or to standard
output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(value: Any, file: str) -> None:
    """As `write`, with a newline at its end."""
    write(json.dumps(value, indent=2) + "\n", file)


def write(text: str, file: str) -> None:
    """Write it into `file`, or print it where that is -."""
    from fits.base.files import write_text

    if file == "-":
        print(text, end="")
    else:
        write_text(Path(file), text)
