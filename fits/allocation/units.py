"""Units of compute, size and data, as told, or as a column's name or cells say.

Whether the numbers can be in them, `odd_units.py` judges.
"""

from __future__ import annotations

import re
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
PREFIXES = dict(
    zip(("", "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta"), SI, strict=True)
)
NUMBERS = {  # as people write them in place of a letter
    word: factor
    for factor, words in {
        1.0: "one",
        1e3: "k thousand",
        1e6: "m mn mio million",
        1e9: "b bn g mrd billion",
        1e12: "t tn trillion",
    }.items()
    for word in words.split()
}
COUNTED = r"(?:param|parameter|weight|token|image|sample|example|pair|sequence|flop)s?"
POWER = re.compile(r"[x*×]?\s*(?:10\s*(?:\^|\*\*)\s*|1?e\+?)(\d+)")  # 10^18, x1e18
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
            if unit and (found := _meant(unit, ROLES[role]))
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
        if meant_unit := _meant(unit, known_units):
            found[roles[name]] = meant_unit
        else:
            meant = did_you_mean(unit, known_units)
            wrong.append(
                f"--unit: no unit '{short(unit)}' of {name}. {meant}Use {', '.join(known_units)}."
            )
    if wrong:
        raise UserError(wrong)
    return Units(names=found)


def _meant(text: str, known: Mapping[str, float]) -> str | None:
    """The unit that is written: "PFLOP/s-days", "10^18 FLOPs", "billion tokens"; None: none is."""
    plain = _plain(text)
    if plain in (ways := _spelled(known)):
        return ways[plain]
    number = re.sub(rf"\s*\b{COUNTED}$", "", plain)
    power = POWER.fullmatch(number)
    factor = 10.0 ** int(power[1]) if power else NUMBERS.get(_plain(number))
    return next((name for name, each in known.items() if each == factor), None)


def _spelled(known: Mapping[str, float]) -> dict[str, str]:
    """Ways to write a unit -> its name."""
    ways = {_plain(each): each for each in known}
    if known is not COMPUTE:
        return ways
    for word, letter in PREFIXES.items():
        ways |= {f"{word}flop": f"{letter}FLOP", f"{word}mac": f"{letter}MAC"}
        if (day := f"{letter}F-day") in known:
            written = f"{word}flop", f"{letter.lower()}flop", f"{letter.lower()}f"
            ways |= {f"{each}{s}-day": day for each in written for s in ("", "s", "/s", "/sec")}
            ways |= {f"{letter.lower()}fday": day}
    return ways


def _plain(unit: str) -> str:
    """Without case (units of counts that differ by it alone there are none) and plural."""
    hyphened = re.sub(r"\s*-\s*| (?=days?$)", "-", unit.strip().lower())
    return hyphened.removesuffix("s")
