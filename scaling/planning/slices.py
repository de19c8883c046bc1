"""Slices of TPUs: which there are, and those beside one that there is not. Knows no JAX.

A slice is a box of chips within a pod. Kinds of two dimensions have pods of fixed shape; a pod of
three is made of cubes of 4x4x4 chips that optical switches join to a box of any shape (Jouppi et
al. 2023, "TPU v4"). A host has 2x2 chips, and a slice has whole hosts or a part of one, along the
first two dimensions: what the compiler of libtpu 0.0.52 accepts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from fits.base.errors import UserError

CUBE_FACE = 16  # chips of a cube that a pod's longest box has in its cross section


def slice_sides(name: str, pod: Sequence[int]) -> list[int]:
    """Chips of a slice along each dimension.

    Args:
      name: as v3:2x2.
      pod: chips of the largest pod along each dimension.

    Raises:
      UserError: there is no such slice; with those that there are.
    """
    kind, _, shape = name.partition(":")
    if not re.fullmatch(r"[1-9]\d{0,9}(x[1-9]\d{0,9})" + f"{{{len(pod) - 1}}}", shape):
        example = "x".join("2" * len(pod))
        raise UserError(
            [
                f"--on: '{name}' is no slice of {kind}, which has {len(pod)} dimensions. "
                f"Write {kind}:{example}."
            ]
        )
    sides = [int(side) for side in shape.split("x")]
    wrong = _mistake(kind, sides, pod)
    if wrong is not None:
        near = " or ".join(near_slices(name, pod))
        raise UserError([f"--on: {name} is no slice of {kind}: {wrong}. Try {near}."])
    return sides


def near_slices(name: str, pod: Sequence[int]) -> list[str]:
    """Slices whose sides are the next powers of two, below and above, as most of them are.

    Args:
      name, pod: as of `slice_sides`.
    """
    kind, _, shape = name.partition(":")
    sides = [int(side) for side in shape.split("x")]
    below = [2 ** (side.bit_length() - 1) for side in sides]
    above = [2 ** (side - 1).bit_length() for side in sides]
    found = [f"{kind}:{'x'.join(map(str, _within(pod, each)))}" for each in (below, above)]
    return [each for each in dict.fromkeys(found) if each != name] or [f"{kind}:{_small(sides)}"]


def _mistake(kind: str, sides: Sequence[int], pod: Sequence[int]) -> str | None:
    if not _is_within(pod, sides):
        shape = "x".join(map(str, pod))
        return f"the largest pod of {kind} has {math.prod(pod):,} chips, {shape}"
    if any(side % 2 and side > 1 for side in sides[:2]):
        which = "" if len(pod) == 2 else "the first two "
        return f"{which}sides must be 1 or even, as hosts have 2x2 chips"
    return None


def _is_within(pod: Sequence[int], sides: Sequence[int]) -> bool:
    chips = math.prod(pod)
    longest = [chips // CUBE_FACE] * 3 if len(pod) == 3 else pod
    fit = all(side <= most for side, most in zip(sides, longest, strict=True))
    return fit and math.prod(sides) <= chips


def _within(pod: Sequence[int], sides: Sequence[int]) -> list[int]:
    """The longest side halved until there is room for all: of sides that are powers of two."""
    found = list(sides)
    while not _is_within(pod, found):
        longest = found.index(max(found))
        found[longest] //= 2
    return found


def _small(sides: Sequence[int]) -> str:
    return "x".join("2" if len(sides) == 2 or k < 2 else "1" for k in range(len(sides)))
