"""One image of what somebody wants prepared."""

from typing import Any, NamedTuple


class Item(NamedTuple):
    """One image."""

    label: int
    name: str
    """Of its file, within split and class."""
    size: int
    """Bytes, as far as known before it is read."""
    place: Any
    """Where it lies, and what tells it from its changed self; for JSON."""
