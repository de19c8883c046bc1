"""What was given on the command line of a plan, read and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from models.precision import Remat
from scaling.training.placement_spec import PlacementSpec, UpdateKind


def placement_spec(given: dict[str, Any]) -> PlacementSpec | None:
    """From what was given on the command line; None: nothing was.

    Raises:
      UserError: a word that is none of those there are, or words that do not go together.
    """
    if not given:
        return None
    choices = {"update": get_args(UpdateKind), "remat": get_args(Remat)}
    wrong = [
        f"--{name}: no '{given[name]}'. {did_you_mean(given[name], known)}Use {', '.join(known)}."
        for name, known in choices.items()
        if name in given and given[name] not in known
    ]
    if wrong:
        raise UserError(wrong)
    return PlacementSpec(**given)


def dollars(price: str | None, kind: str) -> float | None:
    """US dollars a device-hour.

    Args:
      price: a number, or a TOML file with one for each kind of device.
      kind: as in --on, without its count: v3, gpu:h100, cpu, device.

    Raises:
      UserError: neither a price nor a file with one for this kind.
    """
    if price is None:
        return None
    try:
        found: Any = float(price)
    except ValueError:
        found = _from_file(Path(price), kind)
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found < 1e6:
        raise UserError([f"--price: {found!r} is no number of US dollars, 0 or more."])
    return float(found)


def _from_file(path: Path, kind: str) -> Any:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            [f"--price {path}: neither a number of US dollars a device-hour nor a file."]
        ) from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UserError(
            [f"--price {path}: {why}. Give a number of US dollars a device-hour or a TOML file."]
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError([f"--price {path}: {error}."]) from None
    except RecursionError:
        raise UserError([f"--price {path}: too deeply nested."]) from None
    if kind not in table:
        quoted = kind if ":" not in kind else f'"{kind}"'
        raise UserError(
            [
                f"--price {path}: no price of {kind}. {did_you_mean(kind, table)}"
                f"Add a line {quoted} = 1.2, US dollars a device-hour."
            ]
        )
    return table[kind]
