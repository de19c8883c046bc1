"""What cannot be believed in a run's folder."""

from __future__ import annotations

from pathlib import Path

from fits.base.printable import printable
from scaling.base.storage import is_object


class DamagedRun(ValueError):
    """Files of a run folder that are not what was written, and why."""

    def __init__(self, reason: str, *paths: Path):
        super().__init__(printable(reason))
        self.paths = paths


def text_of(path: Path) -> str:
    """The file's text; `DamagedRun` when it is there and is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise DamagedRun(f"{path} is not text.", path) from None
    except OSError as error:
        if is_object(path):  # whole by nature: the network is at fault, or the rights
            raise
        raise DamagedRun(f"{path} cannot be read: {error.strerror}.", path) from None
