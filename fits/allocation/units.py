"""Units of compute, size and data, and what compute over size times data says of them.

Training takes about 6 FLOPs a parameter and token, and as many times more a parameter and image as
an image has tokens. A column in another unit is off by a thousand at least, so most such mistakes
show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from fits.allocation.allocation import Trainings
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
LIKELY = {  # tried where a ratio is odd, the likeliest first
    "flops": ("FLOP", "GFLOP", "PF-day", "TFLOP", "PFLOP", "EFLOP", "ZFLOP", "MFLOP"),
    "size": ("1", "B", "M"),
    "data": ("1", "B", "T", "M"),
}
PLAUSIBLE = 0.1, 3e4  # FLOPs a parameter and example: sparse models, images of thousands of tokens
NEAR_6 = 2.0, 12.0
TOLD = 30.0  # factor within which a ratio must agree with one that was told
LEAST_SIZE = 1000.0  # parameters of a model: fewer are a count in another unit
DATA_A_SIZE = 1e-5, 1e7  # examples a parameter
LEAST_LARGEST = 1e4  # parameters of the largest model, and its data


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


def refuse_odd_units(
    runs: Trainings, units: Units, columns: Mapping[str, str | None], per: float | None
) -> None:
    """Where compute, size and data cannot be in the units told.

    Args:
      runs: in the units of the table.
      columns: role -> column; None: it was made of the other two.
      per: FLOPs a parameter and example, as told; None: nothing was.

    Raises:
      UserError: which units they look like, and what to say.
    """
    ratio = units.per_in_ones(runs.per)
    low, high = PLAUSIBLE if per is None else (per / TOLD, per * TOLD)
    whole = all(columns.values())
    if whole and not low <= ratio <= high:
        largest = {"size": float(runs.size.max()), "data": float(runs.data.max())}
        raise UserError([_odd_ratio(ratio, units, columns, per, largest)])
    size = runs.size * units.factor("size")
    shares = runs.data * units.factor("data") / size
    odd = not all(DATA_A_SIZE[0] <= each <= DATA_A_SIZE[1] for each in shares)
    few = size.max() < LEAST_SIZE
    if "size" not in units.names and few:
        size_is = (
            f"is {runs.size.min():.3g} to {runs.size.max():.3g}: no model has so few parameters."
        )
        if columns["size"]:
            words = (
                f"{columns['size']} {size_is} It looks like billions or millions: say --unit "
                "size=B or --unit size=M, or --unit size=1 if these are parameters."
            )
        else:
            words = (
                f"the size that follows from {columns['flops']} and {columns['data']} {size_is} "
                f"Say the unit of {columns['flops']}, such as --unit flops=GFLOP, or of "
                f"{columns['data']}, such as --unit data=B."
            )
        raise UserError([words])
    if odd and not whole and not units.names and per is None:
        made = "data" if not columns["data"] else "flops"
        raise UserError(
            [
                f"data over size is {shares.min():.3g} to {shares.max():.3g}: no training is like "
                f"that. {made} follows from the others by {6 if per is None else per:g} FLOPs a "
                "parameter and example: say their units, such as --unit flops=GFLOP or --unit "
                "size=B, or --unit flops=FLOP if they are so."
            ]
        )


def _odd_ratio(
    ratio: float,
    units: Units,
    columns: Mapping[str, str | None],
    per: float | None,
    largest: Mapping[str, float],
) -> str:
    c, n, d = columns["flops"], columns["size"], columns["data"]
    expected = "about 6, and 6 times the tokens of an image" if per is None else f"{per:g} as told"
    head = (
        f"{c} / ({n} x {d}) is {ratio:.3g} FLOPs a parameter and example; it should be {expected}"
    )
    looks = _looks_like(ratio, units, largest)
    told = " ".join(f"--unit {role}={looks[role]}" for role in ROLES if role in looks)
    like = (
        " and ".join(f"{columns[role]} in {unit}" for role, unit in looks.items())
        if looks
        else "no unit that is known"
    )
    say = f"Say {told}, or" if looks else "Count them in known units, or say"
    return f"{head}. It looks like {like}. {say} --flops-per-nd {ratio:.3g} if it is so."


def _looks_like(ratio: float, units: Units, largest: Mapping[str, float]) -> dict[str, str]:
    """The fewest units, the likeliest first, with which the ratio is near 6.

    Args:
      largest: size and data: with the units some model has 10,000 parameters, and much data.
    """
    best: dict[str, str] = {}
    fewest = len(ROLES) + 1
    open_roles = [role for role in ("flops", "data", "size") if role not in units.names]
    for names in product(*(LIKELY[role] for role in open_roles)):
        told = dict(zip(open_roles, names, strict=True))
        changed = {role: name for role, name in told.items() if ROLES[role][name] != 1}
        per = Units(names=changed).per_in_ones(ratio)
        whole = Units(names={**units.names, **told})
        if any(most * whole.factor(role) < LEAST_LARGEST for role, most in largest.items()):
            continue
        if NEAR_6[0] <= per <= NEAR_6[1] and 0 < len(changed) < fewest:
            best, fewest = changed, len(changed)
    return best
