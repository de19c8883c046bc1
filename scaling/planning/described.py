"""The numbers of a device that a user describes: memory=24GiB,peak=165e12. Knows no JAX."""

from __future__ import annotations

import re

from fits.base.errors import UserError
from fits.base.names import did_you_mean, short

OWN = "device:memory=24GiB,peak=165e12"
UNITS = {"": 1, "GiB": 2**30, "GB": 10**9, "MiB": 2**20, "MB": 10**6}
LIMITS = {  # the least and the most of each, and both in words
    "memory": (2**20, 2**50, "from 1MiB to 1048576GiB, as in memory=24GiB"),
    "peak": (1e6, 1e18, "from 1e6 to 1e18, in FLOP/s, as in peak=165e12"),
    "bandwidth": (1e6, 1e18, "from 1e6 to 1e18, in bytes/s, as in bandwidth=1e12"),
    "link": (1e3, 1e18, "from 1e3 to 1e18, in bytes/s, as in link=64e9"),
    "efficiency": (1e-4, 1, "from 0.0001 to 1, a share of the peak, as in efficiency=0.35"),
    "count": (1, 1e6, "from 1 to 1000000, a whole number of devices, as in count=4"),
}
NEEDED = "memory", "peak"


def described(text: str) -> dict[str, float]:
    """The numbers that were given, by their keys: bytes, FLOP/s, bytes/s, a share and a count.

    Raises:
      UserError: what is wrong with the description, all of it.
    """
    found: dict[str, float | None] = {}
    wrong = []
    for item in text.split(",") if text else []:
        key, _, number = item.partition("=")
        if not item:
            wrong.append(f"nothing stands before or after a comma of '{short(text)}'.")
        elif key not in LIMITS:
            known = ", ".join(LIMITS)
            wrong.append(f"no '{short(key)}'. {did_you_mean(key, LIMITS)}Use {known}.")
        elif key in found:
            wrong.append(f"'{short(item)}': {key} is given twice.")
        else:
            found[key] = _number(key, number)
            if found[key] is None:
                wrong.append(f"'{short(item)}': write a number {LIMITS[key][2]}.")
    missing = [key for key in NEEDED if key not in found]
    if missing and not wrong:
        wrong.append(f"{' and '.join(missing)} must be given, as in {OWN}.")
    if wrong:
        raise UserError([f"--on device: {each}" for each in wrong])
    return {key: value for key, value in found.items() if value is not None}


def _number(key: str, text: str) -> float | None:
    """Within the limits of this key; None: it is not, or no number."""
    parts = re.fullmatch(r"([\d._]+(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)", text)
    if not parts or parts[2] not in UNITS:
        return None
    try:
        value = float(parts[1]) * UNITS[parts[2]]
    except ValueError:
        return None
    least, most, _ = LIMITS[key]
    within = least <= value <= most and (key != "count" or value == int(value))
    return value if within else None
