"""A law of which some parameters are held: at a number, or equal to another.

What a person holds is a parameter for x in ones; a fit counts x in units of its geometric mean.
`constrained` makes a law for one such unit, of the free parameters alone, whose `rescale` gives all
parameters of the whole law back: everything behind the fit then sees the whole law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fits.base.names import did_you_mean
from fits.base.numbers import Array, stack
from fits.laws.law import STEP, Coordinates, Law, log_coordinates
from fits.laws.varpro import best_of_grid, grid, nnls

FACTORS = np.array([1 / 3, 0.6, 1.0, 1.7, 3.0])  # of a guess, about which is looked
GUESSES = 4096  # of a grid, at most
NEWTON = 40  # steps at most to a coordinate that is left out
FAR = 3.0  # of a step of it, at most


@dataclass(frozen=True)
class Constraint:
    """What is held.

    Fields:
      fix: parameter -> its number, for x in ones.
      tie: parameter -> the free parameter that it equals.
    """

    fix: Mapping[str, float] = field(default_factory=dict)
    tie: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fix or self.tie)

    def free(self, law: Law) -> list[int]:
        """Places of the parameters that are fitted."""
        return [
            k
            for k, name in enumerate(law.parameters)
            if name not in self.fix and name not in self.tie
        ]

    def mistakes(self, law: Law) -> list[str]:
        """Everything that cannot be held, in words, each "fix: ..." or "tie: ..."."""
        found = [f"fix: {each}" for each in self._wrong_names(law, self.fix)]
        found += [f"tie: {each}" for each in self._wrong_names(law, (*self.tie, *self._others))]
        for name, value in self.fix.items():
            found += _outside(law, name, value) if name in law.parameters else []
        for name, other in self.tie.items():
            if not {name, other} <= {*law.parameters}:
                continue
            if name in self.fix or other in self.fix or other in self.tie or name == other:
                found.append(
                    f"tie: {name}={other}: hold each parameter once, and tie it to one that is "
                    "free."
                )
            elif law.roles.get(name) != law.roles.get(other):
                found.append(
                    f"tie: {name} is {_role(law, name)} and {other} {_role(law, other)}; tie "
                    "parameters of one kind."
                )
        if not found and not self.free(law):
            found.append(f"fix: all of {', '.join(law.parameters)} are held. Leave one free.")
        return found

    @property
    def _others(self) -> Sequence[str]:
        return tuple(self.tie.values())

    def _wrong_names(self, law: Law, names: Sequence[str] | Mapping[str, float]) -> list[str]:
        allowed = [name for name in law.parameters if name not in law.unheld]
        found = []
        for name in dict.fromkeys(names):
            if name in law.unheld:
                why = law.unheld[name]
                found.append(f"{name} of law {law.name} {why}. Hold {', '.join(allowed)}.")
            elif name not in allowed:
                meant = did_you_mean(name, allowed)
                found.append(
                    f"law {law.name} has no parameter '{name}'. {meant}Use {', '.join(allowed)}."
                )
        return found


def _role(law: Law, name: str) -> str:
    role = law.roles.get(name)
    return f"{'an' if role in ('exponent', 'optimum') else 'a'} {role}" if role else "of no role"


def _outside(law: Law, name: str, value: float) -> list[str]:
    """What is wrong with a number; bounds of what is in units of x hold in other units."""
    low, high = law.bounds[law.parameters.index(name)]
    if _is_in_units(law, name):
        low, high = (0.0 if low >= 0 else -np.inf), np.inf
    if np.isfinite(value) and low <= value <= high and (value > 0 or not _above_zero(law, name)):
        return []
    least = "above 0" if _above_zero(law, name) and low == 0 else f"at least {low:g}"
    most = f" and at most {high:g}" if np.isfinite(high) else ""
    return [f"fix: {name} = {value:g} of law {law.name} cannot be; it is {least}{most}."]


def _is_in_units(law: Law, name: str) -> bool:
    """Whether its number depends on how x is counted."""
    some = np.linspace(0.3, 0.7, len(law.parameters))
    units = 2.0 if len(law.variables) == 1 else np.full(len(law.variables), 2.0)
    place = law.parameters.index(name)
    return not np.isclose(law.in_ones(units, *some)[place], some[place])


def _above_zero(law: Law, name: str) -> bool:
    return law.bounds[law.parameters.index(name)][0] > 0


def constrained(law: Law, constraint: Constraint, unit: Any) -> Law:
    """The law of the free parameters alone, for x in multiples of `unit`.

    Its `rescale`, and `in_ones`, return all parameters of `law` for x in ones.

    Raises:
      ValueError: the constraint does not suit the law.
    """
    if not constraint:
        return law
    if wrong := constraint.mistakes(law):
        raise ValueError(" ".join(each.partition(": ")[2] for each in wrong))
    free, place = constraint.free(law), law.parameters.index
    tied = {place(name): place(other) for name, other in constraint.tie.items()}
    fixed = {place(name): value for name, value in constraint.fix.items()}

    def held(values: list[Array]) -> list[Array]:
        for k, value in fixed.items():
            values[k] = np.asarray(value, float)
        for k, other in tied.items():
            values[k] = values[other]
        return values

    def in_ones(values: Sequence[Array]) -> list[Array]:
        """All parameters for x in ones. Exponents, the same in every unit, decide the others."""
        full = [np.ones(())] * len(law.parameters)
        for k, value in zip(free, values, strict=True):
            full[k] = np.asarray(value, float)
        return held(list(law.in_ones(unit, *held(full))))

    def whole(values: Sequence[Array]) -> list[Array]:
        if law.rescale is None:
            return in_ones(values)
        with np.errstate(all="ignore"):
            found = list(law.rescale(1 / np.asarray(unit), *in_ones(values)))
        for k, value in zip(free, values, strict=True):
            found[k] = np.asarray(value, float)  # not lost to rounding
        return found

    bounds = {k: law.bounds[k] for k in free}
    for k, other in tied.items():
        (low, high), (least, most) = law.bounds[k], bounds[other]
        bounds[other] = max(low, least), min(high, most)
    names = tuple(law.parameters[k] for k in free)
    own = _runs_off(law)
    coordinates = _coordinates(law, free, whole) if own else _plain(bounds, free)

    def guess(x: Array, y: Array, weights: Array) -> Array:
        guesses = law.guess(x, y, weights)
        if own:
            return coordinates[1](*law.to_unconstrained(*guesses)[free])
        return _guess(found, guesses[free], x, y, weights)

    found = Law(
        name=law.name,
        formula=law.formula,
        parameters=names,
        predict=lambda x, *values: law.predict(x, *whole(values)),
        source=law.source,
        bounds=tuple(bounds[k] for k in free),
        guess=guess,
        roles={name: law.roles[name] for name in names if name in law.roles},
        rescale=lambda _, *values: stack(*in_ones(values)),
        coordinates=coordinates,
        variables=law.variables,
        units=law.units,
        reads=law.reads,
        gives=law.gives,
        y_range=law.y_range,
        rises=law.rises,
        whole=law,
    )
    return found


def _plain(bounds: Mapping[int, tuple[float, float]], free: Sequence[int]) -> Coordinates:
    return log_coordinates("".join("l" if bounds[k][0] > 0 else "p" for k in free))


def _runs_off(law: Law) -> bool:
    """Whether parameters without bounds are fitted by other coordinates than themselves.

    They may grow without end along a valley, as those of `farseer` do, where another's exponent
    nears 0. All else is fitted by its logarithm, or as it is: that is much quicker.
    """
    values = 0.3 + 0.1 * np.arange(len(law.parameters))
    at = law.to_unconstrained(*values)
    endless = np.isneginf([low for low, _ in law.bounds])
    return bool((np.abs(at - values)[endless] > 1e-9).any())


def _coordinates(
    law: Law, free: Sequence[int], whole: Callable[[Sequence[Array]], list[Array]]
) -> Coordinates:
    """Those of the whole law, in which fits converge, less those of what is held.

    The way back solves for the coordinates that are left out, each of which grows with its own
    parameter, by Newton's method: the parameters that they give are those that are held.
    """
    held = [k for k in range(len(law.parameters)) if k not in free]

    def to_unconstrained(*values: Array) -> Array:
        return law.to_unconstrained(*np.broadcast_arrays(*whole(values)))[free]

    def missed(at: Array) -> Array:
        """How far the parameters are from those held, [held, ...]."""
        found = law.from_unconstrained(*at)
        return found[held] - stack(*whole(list(found[free])))[held]

    def from_unconstrained(*coordinates: Array) -> Array:
        given = stack(*coordinates)
        at = np.zeros((len(law.parameters), *given.shape[1:]))
        at[free] = given
        with np.errstate(all="ignore"):
            for _ in range(NEWTON):
                off = missed(at)
                worst = 0.0
                for j, k in enumerate(held):
                    step = np.zeros_like(at)
                    step[k] = STEP * np.maximum(1.0, np.abs(at[k]))
                    slope = (missed(at + step)[j] - missed(at - step)[j]) / (2 * step[k])
                    move = np.clip(np.nan_to_num(off[j] / slope), -FAR, FAR)
                    at[k] -= move
                    worst = max(worst, float(np.max(np.abs(move) / (1 + np.abs(at[k])))))
                if worst < 1e-13:
                    break
            return law.from_unconstrained(*at)[free]

    return to_unconstrained, from_unconstrained


def _guess(law: Law, guesses: Array, x: Array, y: Array, weights: Array) -> Array:
    """Around guesses of the whole law, with what enters linearly solved for by relative errors.

    The best guess of the whole law need not be near the best that the constraint allows.
    """
    low, high = (ends[:, None] for ends in np.array(law.bounds).T)
    guesses = np.clip(guesses, np.maximum(low, -1e300), np.minimum(high, 1e300))
    linear = _linear(law, guesses[:, 0], x)
    bent = [k for k in range(len(guesses)) if k not in linear]
    steps = np.array(grid(*[FACTORS] * len(bent))) if bent else np.ones((0, 1))
    if steps.shape[1] > GUESSES / 4:
        steps = np.ones((len(bent), 1))
    count = steps.shape[1] * guesses.shape[1]
    spread = (guesses[bent, None] * steps[..., None]).reshape(len(bent), count)
    every = np.zeros((len(guesses), count))
    every[bent] = np.clip(spread, low[bent], high[bent])
    every = every[:, :GUESSES]
    base = law.predict(x, *every[..., None]) * np.ones((every.shape[1], len(y)))
    if linear:
        columns = []
        for k in linear:
            one = every.copy()
            one[k] = 1.0
            columns.append(law.predict(x, *one[..., None]) - base)
        signed = [j for j, k in enumerate(linear) if low[k, 0] < 0]
        terms = np.nan_to_num(stack(*columns).swapaxes(0, 1) / y)
        found, misfit = nnls(terms, np.nan_to_num((y - base) / y), weights, free=signed)
        every[linear] = np.clip(found.T, low[linear], high[linear])
    else:
        misfit = (weights * (base / y - 1) ** 2).sum(axis=1)
    return np.concatenate([best_of_grid(misfit, *every, count=8), guesses], axis=1)


def _linear(law: Law, at: Array, x: Array) -> list[int]:
    """Parameters that the error is an affine function of, each alone and all together."""
    found: list[int] = []
    for k in range(len(at)):
        moved = np.repeat(at[:, None], 4, axis=1)
        moved[k] = 0.0, 1.0, 2.0, 3.0
        moved[found, 2:] = 2.0  # a product with one before is not affine
        curve = law.predict(x, *moved[..., None]) * np.ones((4, x.shape[-1]))
        first = curve[1] - curve[0]
        alike = np.isclose(curve[3] - curve[2], first, rtol=1e-6, atol=1e-9 * np.abs(first).max())
        if np.isfinite(curve).all() and alike.all() and (first != 0).any():
            found.append(k)
    return found
