"""How many there are of something, in words."""

from __future__ import annotations


def counted(count: float, one: str, many: str | None = None, form: str = ".0f") -> str:
    """ "1 cluster", "2 clusters", 0 "clusters".

    Args:
      one: the noun of one.
      many: that of several; left out, with an s.
      form: of the number, as in `format`.
    """
    return f"{count:{form}} {one if count == 1 else many or f'{one}s'}"
