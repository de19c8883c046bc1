"""Whether compute, size and data can be in the units told, and in which they could be.

Training takes about 6 FLOPs a parameter and token (2 forward, 4 backward; Kaplan et al. 2020,
section 2.1), and as many times more a parameter and image as an image has tokens. No model has few
parameters, and none is trained on few examples. A column in another unit is off by a thousand at
least, so most such mistakes show; where several units would explain the numbers all are named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from fits.allocation.allocation import Trainings
from fits.allocation.units import ROLES, Units
from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import short
from fits.base.numbers import Array
from fits.data.tables import Table
from fits.spec import FLOPS_PER_EXAMPLE

LIKELY = {  # tried where numbers are odd, the likeliest first
    "flops": ("FLOP", "GFLOP", "PF-day", "TFLOP", "PFLOP", "EFLOP", "ZFLOP", "MFLOP", "kFLOP"),
    "size": ("1", "B", "M", "K"),
    "data": ("1", "B", "T", "M", "K"),
}
OF_IMAGES = LIKELY | {"size": ("1", "M", "B", "K"), "data": ("1", "M", "B", "K", "T")}
A_TOKEN = 1.0, 60.0  # FLOPs a parameter and token: experts take less, small models' heads more
LOOKS_LIKE_6 = 1.5, 30.0
AN_IMAGE = 60.0, 6e4  # FLOPs a parameter and image, or a sequence, of 10 to 10,000 tokens
TOLD = 30.0  # factor within which a ratio must agree with one that was told
MACS = 2.9, 3.1  # half of 6: multiplications and additions counted as one
LEAST_SIZE = 1e3  # parameters of a model
LEAST_LARGEST = 1e4  # parameters of the largest model, and its data
DATA_A_SIZE = 1e-4, 1e5  # examples a parameter, in the middle of the runs
USUAL = 0.1, 1e4  # the same, of most studies
LARGEST_SIZE = 3e12
WHOLE = re.compile(r"image|img|sample|example|pair|sequence|video|picture", re.IGNORECASE)
_LONG = r"(?:secs?|seconds?|mins?|minutes?|h|hrs?|hours?|days?|weeks?)"
_DEVICE = r"(?:[gtc]pu|device|accelerator|chip|core|node|[ahb]\d00|v100|wall(?:[-_ ]?clock)?)"
_OF_DEVICE = rf"{_DEVICE}(?:s?[-_ ]?{_LONG}|[-_ ][sd])"  # "GPUs" are several, no seconds
TIME = re.compile(rf"{_LONG}|[sd]|{_OF_DEVICE}", re.IGNORECASE)
_TRAIN_TIME = r"train(?:ing)?[-_ ]?time(?![-_ ]?compute)"  # train-time compute is no time
_CLOCK = rf"(?:(?:run|wall)[-_ ]?time|{_TRAIN_TIME}|wall[-_ ]?clock|elapsed|duration)"
DEVICE_TIME = re.compile(
    rf"(?<![a-z])(?:{_OF_DEVICE}|{_CLOCK}|hours|minutes|seconds)(?![a-z])", re.IGNORECASE
)
MORE_DATA = 2.0  # times as many, by which compute must have grown
SAME = 0.01  # of log compute that is the same
SHOWN = 4  # readings that are named


def counts_wholes(data: str | None) -> bool:
    """Whether the name of a column of data says that an example is more than a token."""
    return WHOLE.search(data or "") is not None


def of_a_token(columns: Mapping[str, str | None], per: float | None) -> list[Diagnostic]:
    """Where FLOPs a parameter and image are taken to be those of a token.

    Args:
      columns: role -> column; None: it is made of the other two.
      per: FLOPs a parameter and example, as told; None: nothing was.
    """
    data = columns["data"]
    if per is not None or all(columns.values()) or not counts_wholes(data):
        return []
    return [Diagnostic("flops_of_a_token", (str(data),), {"per": FLOPS_PER_EXAMPLE})]


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    """Runs in the units of the table, and what is known of these.

    Fields:
      runs: in the units of the table.
      units: that were told.
      columns: role -> column; None: it was made of the other two.
      per: FLOPs a parameter and example, as told; None: nothing was.
    """

    runs: Trainings
    units: Units
    columns: Mapping[str, str | None]
    per: float | None

    @property
    def whole(self) -> bool:
        """Whether all three are columns: only then their ratio says anything."""
        return all(self.columns.values())

    @property
    def of_images(self) -> bool:
        """Whether the name of the data says that an example is more than a token."""
        return counts_wholes(self.columns["data"])

    def ratio(self, units: Units) -> float:
        return units.per_in_ones(self.runs.per)

    def size_and_data(self, units: Units) -> tuple[Array, Array]:
        """In ones, where those columns have these units."""
        runs, made = self.runs, 6.0 if self.per is None else self.per
        size, data = runs.size * units.factor("size"), runs.data * units.factor("data")
        if self.columns["size"] is None:
            size = runs.compute * units.factor("flops") / made / data
        if self.columns["data"] is None:
            data = runs.compute * units.factor("flops") / made / size
        return size, data

    def odd(self, units: Units, band: tuple[float, float]) -> set[str]:
        """What cannot be in these units: "ratio", "size", "data", or the "share" of the two."""
        size, data = self.size_and_data(units)
        share = float(np.exp(np.log(data / size).mean()))
        found = {
            "ratio": self.whole and not band[0] <= self.ratio(units) <= band[1],
            "size": size.min() < LEAST_SIZE or size.max() < LEAST_LARGEST,
            "data": data.max() < LEAST_LARGEST,
            "share": not DATA_A_SIZE[0] <= share <= DATA_A_SIZE[1],
        }
        return {name for name, is_odd in found.items() if is_odd}

    @property
    def bands(self) -> list[tuple[float, float]]:
        """Of the ratio in other units: examples that are tokens, then those that are more."""
        if self.per is not None:
            return [(self.per / 2, self.per * 2)]
        return [AN_IMAGE] if self.of_images else [LOOKS_LIKE_6, AN_IMAGE]

    @property
    def band(self) -> tuple[float, float]:
        """Of compute over size times data that is believed."""
        if self.per is not None:
            return self.per / TOLD, self.per * TOLD
        return (A_TOKEN[0], AN_IMAGE[1]) if self.of_images else A_TOKEN


def refuse_odd_units(
    runs: Trainings, units: Units, columns: Mapping[str, str | None], per: float | None
) -> None:
    """Where compute, size and data cannot be in the units told.

    Args:
      runs: in the units of the table.
      columns: role -> column; None: it was made of the other two.
      per: FLOPs a parameter and example, as told; None: nothing was.

    Raises:
      UserError: what is odd, all units that they could be in, and what to say.
    """
    numbers = _Numbers(runs=runs, units=units, columns=columns, per=per)
    odd = numbers.odd(units, numbers.band) - _said(numbers)
    if not odd:
        return
    words = [*_what(numbers, odd)]
    readings = [*_other_compute(numbers, odd), *_readings(numbers, odd)][:SHOWN]
    if readings:
        ways = [f"{_looks_like(numbers, each)} ({_to_say(numbers, each)})" for each in readings]
        words.append(f"It looks like {', or '.join(ways)}. Say which")
    else:
        words.append("It looks like no unit that is known. Count them in known units")
    if (as_is := _if_so(numbers, odd)) not in [_to_say(numbers, each) for each in readings]:
        words[-1] += f", or {as_is} if the numbers are right as they stand"
    raise UserError([f"{' '.join(words)}."])


def refuse_time(table: Table, flops: str | None) -> None:
    """A column of hours, say, in place of compute.

    Raises:
      UserError: its unit, or else its name, is one of time.
    """
    if flops is None:
        return
    unit = table.unit(flops)
    of_time = TIME.fullmatch(unit) if unit else DEVICE_TIME.search(flops)
    if not of_time or (not unit and "flop" in flops.lower()):
        return
    what = f"is in {short(unit)}, a time" if unit else f"is a time ({of_time[0]})"
    raise UserError(
        [
            f"--flops: {short(flops)} {what}, and a time is no compute. Give FLOPs: seconds x "
            "number of devices x peak FLOP/s of one x utilisation (the share of the peak that was "
            "reached). Or leave out --flops and give --size and --data: compute is then 6 times "
            "their product."
        ]
    )


def refuse_flops_of_an_example(runs: Trainings, columns: Mapping[str, str | None]) -> None:
    """A column of what one image or token costs, in place of what the training did.

    Raises:
      UserError: compute does not grow with data where size is the same.
    """
    if not all(columns.values()):
        return
    order = np.argsort(runs.size, kind="stable")
    size, data, compute = (np.log(v[order]) for v in (runs.size, runs.data, runs.compute))
    first = np.flatnonzero(np.diff(size, prepend=-np.inf) > 0)  # of each size
    more, cost = (
        np.maximum.reduceat(v, first) - np.minimum.reduceat(v, first) for v in (data, compute)
    )
    several = more > math.log(MORE_DATA)
    if not several.any() or (cost[several] > SAME).any():
        return
    c, n, d = (columns[role] for role in ("flops", "size", "data"))
    raise UserError(
        [
            f"--flops: {c} is the same for runs of one {n} whatever their {d}: it is of one "
            "example, and not of a training. Make a column of training compute: FLOPs of a forward "
            f"pass of one example, times 3 (backward costs twice as much), times {d}. Or leave out "
            "--flops, and say with --flops-per-nd how many FLOPs a parameter and example takes."
        ]
    )


def is_of_macs(runs: Trainings, units: Units, columns: Mapping[str, str | None]) -> bool:
    """Whether compute looks like multiplications and additions counted as one."""
    if "flops" in units.names or not all(columns.values()):
        return False
    return MACS[0] <= units.per_in_ones(runs.per) <= MACS[1]


def _said(numbers: _Numbers) -> set[str]:
    """What is believed, as it was told."""
    told = {role for role in ("size", "data") if role in numbers.units.names}
    made = {role for role, column in numbers.columns.items() if column is None}
    if "flops" in numbers.units.names:
        told |= made
    share = {"share"} if told and (numbers.columns["flops"] or len(told) == 2) else set()
    return told | share


def _what(numbers: _Numbers, odd: set[str]) -> Iterator[str]:
    """What is odd, in words."""
    columns, units = numbers.columns, numbers.units
    c, n, d = columns["flops"], columns["size"], columns["data"]
    size, data = numbers.size_and_data(units)
    if "ratio" in odd:
        is_image = "6 times the tokens of an image, so 100 to 60,000"
        expected = f"{numbers.per:g} as told" if numbers.per is not None else "about 6"
        if numbers.per is None and numbers.of_images:
            expected = is_image
        yield (
            f"{c} / ({n} x {d}) is {numbers.ratio(units):.3g} FLOPs a parameter and example; it "
            f"should be {expected}."
        )
    names = {
        "size": n or f"the size that follows from {c} and {d}",
        "data": d or f"the data that follow from {c} and {n}",
    }
    if "size" in odd:
        yield f"{names['size']} is {size.min():.3g} to {size.max():.3g}: too few for parameters."
    if "data" in odd:
        yield f"{names['data']} is {data.min():.3g} to {data.max():.3g}: too few for examples."
    if odd == {"share"}:
        share = data / size
        yield (
            f"{names['data']} over {names['size']} is {share.min():.3g} to {share.max():.3g}: no "
            "training is like that."
        )


def _readings(numbers: _Numbers, odd: set[str]) -> list[dict[str, str]]:
    """Units with which nothing is odd, the fewest changed and the likeliest first."""
    roles = [r for r, column in numbers.columns.items() if column and r not in numbers.units.names]
    alone = [role for role in roles if role in odd]  # where nothing speaks of the others
    found: list[tuple[int, bool, int, dict[str, str]]] = []
    for free in (roles if numbers.columns["flops"] else alone, roles):
        for band in numbers.bands:
            as_is_too = [()] if band is not numbers.bands[0] and found else None
            names = as_is_too or product(*(LIKELY[role] for role in free))
            found += filter(None, (_reading(numbers, free, each, band) for each in names))
        if found:
            break
    found.sort(key=lambda each: each[:3])
    if not all(unusual for _, unusual, *_ in found):
        found = [each for each in found if not (each[1] and each[0])]
    least = found[0][0] if found else 0
    return [
        changed
        for count, *_, changed in found
        if count <= max(least, 1) or (count == least + 1 and not _in_thousands(changed))
    ][:SHOWN]


def _other_compute(numbers: _Numbers, odd: set[str]) -> list[dict[str, str]]:
    """The unit of compute with which all is as expected, where another was told."""
    told = numbers.units.names.get("flops")
    if told is None or "ratio" not in odd:
        return []
    believed = _said(numbers)
    return [
        {"flops": unit}
        for unit in LIKELY["flops"]
        if not numbers.odd(Units(names={**numbers.units.names, "flops": unit}), numbers.bands[0])
        - believed
    ]


def _in_thousands(changed: Mapping[str, str]) -> bool:
    """Whether a unit is one that hardly anybody counts in."""
    return any(unit in ("K", "kFLOP") for unit in changed.values())


def _reading(
    numbers: _Numbers, free: Sequence[str], names: Sequence[str], band: tuple[float, float]
) -> tuple[int, bool, int, dict[str, str]] | None:
    """How many units are changed, whether few studies are so, a rank, and the units changed.

    None: with these something is odd.
    """
    told = dict(zip(free, names, strict=False))
    units = Units(names={**numbers.units.names, **told})
    if numbers.odd(units, band):
        return None
    size, data = numbers.size_and_data(units)
    share = float(np.exp(np.log(data / size).mean()))
    usual = USUAL[0] <= share <= USUAL[1] and size.max() <= LARGEST_SIZE
    likely = OF_IMAGES if numbers.of_images else LIKELY
    rank = sum(likely[role].index(name) for role, name in told.items())
    changed = {role: name for role, name in told.items() if ROLES[role][name] != 1}
    return len(changed), not usual, rank, changed


def _of_examples(numbers: _Numbers, reading: Mapping[str, str]) -> float | None:
    """FLOPs a parameter and example, where these are not tokens and their name does not say so."""
    units = Units(names={**numbers.units.names, **reading})
    ratio = numbers.ratio(units)
    odd = numbers.whole and not numbers.band[0] <= ratio <= numbers.band[1]
    return ratio if odd else None


def _looks_like(numbers: _Numbers, reading: Mapping[str, str]) -> str:
    told = numbers.units.names
    said = [
        f"{numbers.columns[role]} in {unit}" + (f", not {told[role]}" if role in told else "")
        for role, unit in reading.items()
    ]
    if (ratio := _of_examples(numbers, reading)) is not None:
        said.append(f"each {numbers.columns['data']} of {_tokens(ratio)} tokens")
    return " and ".join(said)


def _tokens(ratio: float) -> str:
    return f"{float(f'{ratio / 6:.2g}'):,.0f}"


def _to_say(numbers: _Numbers, reading: Mapping[str, str]) -> str:
    told = [f"--unit {role}={reading[role]}" for role in ROLES if role in reading]
    if (ratio := _of_examples(numbers, reading)) is not None:
        told.append(f"--flops-per-nd {ratio:.3g}")
    return " ".join(told)


def _if_so(numbers: _Numbers, odd: set[str]) -> str:
    """What to say where the numbers are as they stand."""
    said = [f"--flops-per-nd {numbers.ratio(numbers.units):.3g}"] if "ratio" in odd else []
    untold = [role for role in numbers.columns if role not in numbers.units.names]
    for role in ("size", "data"):
        if role in odd or odd == {"share"}:
            told = role if numbers.columns[role] else "flops"
            said += [f"--unit {told}={'FLOP' if told == 'flops' else 1}"] if told in untold else []
    return " ".join(dict.fromkeys(said))
