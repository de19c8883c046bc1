"""What was given on the command line of a plan, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from models.precision import Remat
from scaling.training.placement_spec import DEFAULT, PlacementSpec, UpdateKind


def named(written: PlacementSpec, given: Mapping[str, Any]) -> PlacementSpec:
    """The study's own placement with what the command line names in place of what it says.

    Raises:
      UserError: a word that is none of those there are, or words that do not go together.
    """
    choices = {"update": get_args(UpdateKind), "remat": get_args(Remat)}
    wrong = [
        f"--{name}: no '{given[name]}'. {did_you_mean(given[name], known)}Use {', '.join(known)}."
        for name, known in choices.items()
        if name in given and given[name] not in known
    ]
    if wrong:
        raise UserError(wrong)
    spec = written.model_copy(update=dict(given))
    if clashes := [clash.words for clash in spec.clashes()]:
        raise UserError(clashes)
    return spec


def candidates(
    fastest_first: Sequence[PlacementSpec], written: PlacementSpec, given: Mapping[str, Any]
) -> list[PlacementSpec]:
    """The steps among which a plan chooses.

    Args:
      fastest_first: all there are for a network.
      written: what the study's own [placement] says; where that is not the default, it is the
        step that trains, and nothing is chosen.
      given: fields that the command line names; the others are chosen.
    """
    if written != DEFAULT:
        return [written.model_copy(update=dict(given))]
    if not given:
        return list(fastest_first)
    split = {key: value for key, value in given.items() if key in ("fsdp", "tensor")}
    found = [
        spec.model_copy(update=split)
        for spec in fastest_first
        if given.get("update", spec.update) == spec.update
        and given.get("remat", spec.recomputed) == spec.recomputed
        and ("remat" not in given or "update" in given or spec.update == "plain")
    ]
    return list(dict.fromkeys(found)) or [PlacementSpec(**given)]


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
