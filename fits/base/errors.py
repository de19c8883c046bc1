"""The one family of exceptions for what a user did wrong; `scaling` raises it too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from fits.base.printable import printable

SHOWN = 10  # mistakes of a kind spelled out before the rest is only counted


class UserError(ValueError):
    """What is wrong with what a user handed in, one mistake a line, each with what to do.

    Its text is fit for a terminal, whatever the files hold that it quotes.

    Fields:
      kinds: the mistakes, those of a kind together, so that many of one kind hide no other.
    """

    def __init__(self, *kinds: Sequence[str]):
        self.kinds = [list(kind) for kind in kinds if kind]
        super().__init__(printable("\n".join(chain.from_iterable(map(_shown, self.kinds)))))

    @property
    def mistakes(self) -> list[str]:
        """All of them, none left out."""
        return list(chain.from_iterable(self.kinds))


def _shown(kind: list[str]) -> list[str]:
    more = len(kind) - SHOWN
    return [*kind[:SHOWN], f"... and {more} more of this kind."] if more > 0 else kind


def all_of(*works: Callable[[], Any]) -> list[Any]:
    """What each returns, or one UserError with all that they found wrong."""
    found, kinds = [], []
    for work in works:
        try:
            found.append(work())
        except (UserError, OSError) as error:
            wrong = error.kinds if isinstance(error, UserError) else [unreadable(error)]
            kinds += [kind for kind in wrong if kind not in kinds]
    if kinds:
        raise UserError(*kinds)
    return found


def unreadable(error: OSError) -> list[str]:
    return [f"{error.filename or 'a file'}: {error.strerror or error}."]
