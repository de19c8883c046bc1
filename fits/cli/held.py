"""What --fix, --tie, --from and --hold say is held of a law's parameters, as fields of FitSpec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fits.base.errors import UserError
from fits.base.names import did_you_mean, short
from fits.laws.names import ALIASES
from fits.spec import BEST, FORECAST, KINDS, FitSpec

if TYPE_CHECKING:
    from fits.base.diagnostic import Diagnostic
    from fits.data.points import Points
    from fits.report import GroupReport
    from fits.saved.saved_law import Evidence, SavedLaw


def held_by(fields: dict[str, Any], law: str) -> tuple[dict[str, Any], list[str]]:
    """Fields `fix`, `tie` and `fix_steps` of a FitSpec, for those typed, which are taken out.

    Returns also everything typed that is no NAME=VALUE, or no parameter of the saved law.

    Raises:
      UserError: the saved law is none, or what it rests on cannot be fitted any more.
      OSError: it cannot be read.
    """
    wrong: list[str] = []
    fix = _numbers(fields.pop("fix", ()), wrong)
    tie = _pairs("tie", fields.pop("tie", ()), "NAME=NAME, say alpha=beta", wrong)
    fix |= _chance(fields.pop("chance", None), str(fields.get("y_is")), law, wrong)
    saved, names = fields.pop("from_law", None), fields.pop("hold", ())
    if names and saved is None:
        wrong.append("--hold: which law? Name its file with --from.")
    found: dict[str, Any] = {"fix": fix, "tie": tie}
    if saved is not None:
        law = ALIASES.get(law.lower(), law)
        values, steps = _of_saved(saved, law, names, [*fix, *tie], str(fields.get("y_is")), wrong)
        exact = (0.0,) * len(fix)
        found = {
            "fix": values | fix,
            "tie": tie,
            "fix_steps": tuple((*step, *exact) for step in steps),
        }
    return {name: value for name, value in found.items() if value}, wrong


def _chance(score: float | None, kind: str, law: str, wrong: list[str]) -> dict[str, float]:
    """The parameter that is the error of a guess, at the error of this score."""
    if score is None:
        return {}
    from fits.data.points import as_error, judge_y
    from fits.laws.registry import EVERY_LAW

    held = EVERY_LAW.get(ALIASES.get(law.lower(), law))
    names = [name for name, role in held.roles.items() if role == "chance"] if held else []
    if held and not names:
        those = [each.name for each in EVERY_LAW.values() if "chance" in each.roles.values()]
        wrong.append(f"--chance: law {law} has none; of the laws {', '.join(those)} have.")
    if said := judge_y(score, kind) if kind in KINDS else None:
        wrong.append(f"--chance: {score:g} is {said}")
        return {}
    return {name: float(as_error([score], kind)[0]) for name in names}


def _pairs(name: str, texts: Sequence[str], form: str, wrong: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        left, sign, right = (part.strip() for part in text.partition("="))
        if not (left and sign and right):
            wrong.append(f"--{name}: '{short(text)}' is not {form}.")
        elif left in found:
            wrong.append(f"--{name}: {short(left)} is named twice. Say it once.")
        else:
            found[left] = right
    return found


def _numbers(texts: Sequence[str], wrong: list[str]) -> dict[str, float]:
    from fits.data.tables import is_number, number

    found = {}
    for name, text in _pairs("fix", texts, "NAME=VALUE, say b=0.5", wrong).items():
        if is_number(text) and math.isfinite(number(text)):
            found[name] = number(text)
        else:
            wrong.append(f"--fix: {short(name)}={short(text)}: the value is not a number.")
    return found


def _of_saved(
    path: Path,
    law: str,
    names: Sequence[str],
    taken: Sequence[str],
    kind: str,
    wrong: list[str],
) -> tuple[dict[str, float], list[list[float]]]:
    """Values of the saved law's parameters that are to be held, and how uncertain they are."""
    from fits.laws.registry import EVERY_LAW
    from fits.saved.law_file import read_law

    found = read_law(path)
    if law in (BEST, FORECAST):
        wrong.append(f"--from: {law} has no parameters to hold. Name a law with --law.")
    if found.law == BEST:
        wrong.append(
            f"--from: {path} is an average over laws, without parameters to hold. Save a law that "
            "--law names."
        )
    if law not in EVERY_LAW or found.law == BEST:
        return {}, []  # of a law that there is not, FitSpec says so
    mine, its = EVERY_LAW[law], found.curve
    shared = [
        name
        for name in its.parameters
        if name in mine.parameters
        and name not in mine.unheld
        and its.roles.get(name) == mine.roles.get(name)
    ]
    wrong += [
        f"--hold: {short(name)} is no parameter that laws {law} and {its.name} (of {path}) share. "
        f"{did_you_mean(name, shared)}They share {', '.join(shared) or 'none'}."
        for name in names
        if name not in shared
    ]
    held = [name for name in dict.fromkeys(names or shared) if name in shared]
    wrong += [
        f"--hold: {short(name)} is held by --fix or --tie too. Say one of the two."
        for name in dict.fromkeys(names)
        if name in taken
    ]
    wrong += (unsuited := _of_another_kind(found, path, kind, [n for n in held if n not in taken]))
    held = [name for name in held if name not in taken]
    if not held and not names:
        wrong.append(f"--from: laws {law} and {its.name} (of {path}) share no parameter to hold.")
    if not names and not unsuited and len(held) + len(taken) >= len(mine.parameters):
        wrong.append(
            f"--from: {path} has all parameters of law {law}, and all would be held. Say which: "
            f"--hold {held[0]}."
        )
    if wrong or not held:
        return {}, []
    values = {name: found.values[name] for name in held}
    if found.evidence is None:
        return values, []
    try:
        return values, _steps(found, found.evidence, path, held)
    except ValueError as why:
        raise UserError([f"--from: {path}: {why}"]) from None


def _steps(
    found: SavedLaw, evidence: Evidence, path: Path, held: Sequence[str]
) -> list[list[float]]:
    """How uncertain they are, by the rows in the file.

    Raises ValueError: these cannot be fitted, or do not give the values in the file.
    """
    from fits.regression.two_stage import steps_of
    from fits.saved.check import reproduced
    from fits.saved.rows import observations_of

    fit = observations_of(evidence.rows, evidence.spec).fit(evidence.spec)
    if not (verdict := reproduced(found, evidence, fit)).holds:
        said = "; ".join(each.words for each in verdict.found)
        raise ValueError(f"{said}. Was the file changed? Fit the law anew, with --save.")
    return steps_of(fit.inference, held)


def _of_another_kind(found: SavedLaw, path: Path, kind: str, held: Sequence[str]) -> list[str]:
    """Parameters in the unit of y, of a law of another kind of y."""
    if found.evidence is None or kind not in KINDS:
        return []
    its = found.evidence.spec.y_is
    in_y = [n for n in held if found.curve.roles.get(n) in ("floor", "scale", "chance")]
    if not in_y or _counted_in(its) == _counted_in(kind):
        return []
    others = [name for name in held if name not in in_y]
    advice = f"Say {' '.join(f'--hold {n}' for n in others)} alone, or s" if others else "S"
    return [
        f"--from: {path} is of {_a(its)}, and {', '.join(in_y)} of it cannot be held for "
        f"{_a(kind)}. {advice}ay what y is with --y-is."
    ]


def _counted_in(kind: str) -> str:
    return kind if kind in ("loss", "quantity") else "rate"


def _a(kind: str) -> str:
    return f"a {kind}" if kind in ("loss", "quantity") else "an error rate"


def with_first_stage(group: GroupReport, path: Path | None) -> GroupReport:
    """With what is wrong of holding parameters of a law of the same rows, where it does.

    Args:
      path: of the law that it holds; None: it holds none.
    """
    if group.fit is None:
        return group
    said = rows_of_first_stage(path, group.points, group.spec)
    return replace(group, remarks=(*group.remarks, *said))


def rows_of_first_stage(path: Path | None, points: Points, spec: FitSpec) -> tuple[Diagnostic, ...]:
    """Whether the rows of a fit are those that the law which it holds was fitted to."""
    if path is None:
        return ()
    from fits.base.diagnostic import Diagnostic
    from fits.saved.law_file import read_law
    from fits.saved.rows import rows_of

    evidence = read_law(path).evidence
    if evidence is None:
        return ()
    same = len(evidence.spec.x) == len(spec.x)
    before, now = evidence.rows, rows_of(points, spec)
    ends = [slice(1 if same else 1 + len(s.x), 2 + len(s.x)) for s in (evidence.spec, spec)]
    known = set(map(tuple, before[:, ends[0]].tolist()))
    count = sum(tuple(row) in known for row in now[:, ends[1]].tolist())
    if not count:
        return ()
    numbers = {"count": count, "n": len(now)}
    return (Diagnostic("rows_of_first_stage", (str(path),), numbers),)
