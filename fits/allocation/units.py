"""Units of compute, size and data, as told, or as a column's name or cells say.

Whether the numbers can be in them, `odd_units.py` judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fits.base.errors import UserError
from fits.base.names import did_you_mean, short

SI = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21, "Y": 1e24}
COMPUTE = {
    **{f"{letter}FLOP": factor for letter, factor in SI.items()},
    **{f"{letter}MAC": 2 * factor for letter, factor in SI.items()},
    "PF-day": 8.64e19,
    "TF-day": 8.64e16,
    "EF-day": 8.64e22,
}
COUNTS = {"1": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
ROLES = {"flops": COMPUTE, "size": COUNTS, "data": COUNTS}


@dataclass(frozen=True, kw_only=True)
class Units:
    """The unit of each column.

    Fields:
      names: role (flops, size or data) -> unit, of those that were told, or that a column's name
        or cells have: "compute (PF-days)".
    """

    names: Mapping[str, str] = field(default_factory=dict)

    def factor(self, role: str) -> float:
        return ROLES[role][self.names[role]] if role in self.names else 1.0

    def of(self, role: str) -> str:
        """For a person: "FLOPs", "GFLOP"; "" where things are counted one by one."""
        name = self.names.get(role, "FLOP" if role == "flops" else "1")
        return {"FLOP": "FLOPs", "1": ""}.get(name, name)

    def per(self, per: float) -> float:
        """FLOPs a parameter and example, in these units."""
        return per * self.factor("size") * self.factor("data") / self.factor("flops")

    def per_in_ones(self, per: float) -> float:
        return per / self.per(1.0)

    def or_of(self, columns: Mapping[str, str | None]) -> Units:
        """With the units of the table, role -> unit, where none was told and it is known."""
        spelled = {
            role: found
            for role, unit in columns.items()
            if unit and (found := _spelled(ROLES[role]).get(_plain(unit)))
        }
        return Units(names=spelled | dict(self.names))


def read_units(texts: Sequence[str], columns: Mapping[str, str | None]) -> Units:
    """Units as typed, "flops=GFLOP".

    Args:
      columns: role -> column, which may stand in the role's place.

    Raises:
      UserError: every one that is none.
    """
    roles = {column: role for role, column in columns.items() if column} | {r: r for r in ROLES}
    found, wrong = {}, []
    for text in texts:
        name, _, unit = text.partition("=")
        if name not in roles or not unit:
            known = ", ".join(ROLES)
            wrong.append(f"--unit: {short(text)} is not NAME=UNIT with a name of {known}.")
            continue
        known_units = ROLES[roles[name]]
        spelled = _spelled(known_units)
        if _plain(unit) in spelled:
            found[roles[name]] = spelled[_plain(unit)]
        else:
            meant = did_you_mean(unit, known_units)
            wrong.append(
                f"--unit: no unit '{short(unit)}' of {name}. {meant}Use {', '.join(known_units)}."
            )
    if wrong:
        raise UserError(wrong)
    return Units(names=found)


def _spelled(known: Mapping[str, float]) -> dict[str, str]:
    """Ways to write a unit -> its name."""
    ways = {_plain(each): each for each in known}
    return ways | ({"g": "B", "bn": "B"} if known is COUNTS else {"pflop/s-day": "PF-day"})


def _plain(unit: str) -> str:
    """Without case (units of counts that differ by it alone there are none) and plural."""
    return unit.strip().lower().removesuffix("s")
