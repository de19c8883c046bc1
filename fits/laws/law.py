"""Law: a curve, and what a fit must know about it. Knows no data.

Adding a law takes a function, bounds and a guess. Analytic derivatives, coordinates in which the
solver converges faster, and a rule for changing the unit of x make fits faster and steadier, and
may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Y_RANGE, Array, stack

Role: TypeAlias = Literal["floor", "exponent", "scale", "shift", "optimum", "chance"]
"""What a parameter is: `floor`, the irreducible error; `chance`, the error of a guess; `exponent`,
dimensionless, so that its bounds hold in any unit; `scale`, `shift` and `optimum`, a factor, an
offset and a place of x, whose bounds hold only for x in units of its geometric mean."""

Coordinates: TypeAlias = tuple[Callable[..., Array], Callable[..., Array]]
"""To unconstrained coordinates, and back."""

STEP = 6e-6  # relative, of central differences: the cube root of a double's precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """A curve, and what a fit must know about it.

    `guess` and everything below `bounds` is for x counted in units of its geometric mean, so that
    no result depends on the unit of x. Functions of parameters take them one by one, broadcast
    them, and return them stacked, [parameters, ...].

    Fields:
      name: what a user types.
      formula: what a reader reads.
      parameters: their names, in the order in which every function here takes them.
      predict: (x, *parameters) -> error; x is [...], or [variables, ...] where there are several.
      source: where the law comes from.
      bounds: smallest and largest value of each parameter.
      guess: (x [points], y [points], weights [points]) -> initial guesses, [parameters, guesses],
        from one of which the solver finds the best fit.
      roles: of the parameters that have one.
      rescale: (unit, *parameters) -> parameters of the same curve for x in ones, where these are
        for x in multiples of `unit`, one number a variable; None: the law is fitted to x as it is.
      coordinates: (*parameters) -> coordinates in which squared errors have a valley without sharp
        bends, each growing with its own parameter where that has bounds; and the way back. None:
        the logarithm of what is bounded above 0, and the parameter itself otherwise.
      jacobian: (x, *parameters) -> derivatives of the error by the coordinates; None: central
        differences.
      variables: names of what x holds.
      units: which variables are counted in one unit, say tokens seen and tokens there are: a
        number a variable, the same for those; None: it is taken as it is, for in another unit the
        law would be another.
      unit_decides: variables in another unit of which it is another law; named where it is printed.
      reads: places of the variables that it looks at, where those are not all.
      least: variable -> its smallest value, and what it counts, where not all above 0 can be.
      most: variable in `least` -> beyond which it counts something else.
      gives: what a formula calls it: E, an error or loss that falls; y, a quantity of either way.
      y_range: smallest and largest that it can be fitted to.
      rises: whether the error grows with x, as it does with a loss: what lies ahead is small x.
      unheld: parameter -> why it cannot be held at a number or tied, where it cannot.
      whole: the law that `rescale` returns parameters of, where some are held (`constrained.py`).
    """

    name: str
    formula: str
    parameters: tuple[str, ...]
    predict: Callable[..., Array]
    source: str
    bounds: tuple[tuple[float, float], ...]
    guess: Callable[[Array, Array, Array], Array]
    roles: Mapping[str, Role] = field(default_factory=dict)
    rescale: Callable[..., Array] | None = None
    coordinates: Coordinates = None  # type: ignore[assignment]  # see __post_init__
    jacobian: Callable[..., Array] | None = None
    variables: tuple[str, ...] = ("x",)
    units: tuple[int | None, ...] = (0,)
    unit_decides: tuple[str, ...] = ()
    reads: tuple[int, ...] | None = None
    least: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    gives: Literal["E", "y"] = "E"
    y_range: tuple[float, float] = Y_RANGE
    rises: bool = False
    unheld: Mapping[str, str] = field(default_factory=dict)
    whole: Law | None = None

    def __post_init__(self) -> None:
        if len(self.bounds) != len(self.parameters):
            raise ValueError(
                f"law {self.name} has {len(self.parameters)} parameters and {len(self.bounds)} "
                "bounds; give one pair a parameter."
            )
        if unknown := [name for name in self.roles if name not in self.parameters]:
            raise ValueError(
                f"law {self.name}: {', '.join(unknown)} has a role and is no parameter."
            )
        if self.coordinates is None:
            kinds = "".join("l" if low > 0 else "p" for low, _ in self.bounds)
            object.__setattr__(self, "coordinates", log_coordinates(kinds))

    @property
    def to_unconstrained(self) -> Callable[..., Array]:
        return self.coordinates[0]

    @property
    def from_unconstrained(self) -> Callable[..., Array]:
        return self.coordinates[1]

    def out_of_range(self, names: Sequence[str], x: Array) -> list[str]:
        """In words, the variables that are smaller, or larger, than they can be.

        Args:
          names: what each variable is called, [variables].
          x: [points], or [variables, points] where there are several.
        """
        found = []
        for variable, name, values in zip(self.variables, names, np.atleast_2d(x), strict=True):
            if variable not in self.least or not values.size:
                continue
            (least, what), most = self.least[variable], self.most.get(variable, np.inf)
            for end, wrong, limit in (
                (values.min(), values.min() < least, f"at least {least:g}"),
                (values.max(), values.max() > most, f"at most {most:g}"),
            ):
                if wrong:
                    of_law = f"{variable} of law {self.name} is {limit}"
                    found.append(f"{name} is {end:.3g}, and {of_law}: {what}.")
        return found

    @property
    def floor(self) -> str | None:
        """Name of the parameter that is the irreducible error; None: the law has none."""
        return next((name for name, role in self.roles.items() if role == "floor"), None)

    def derivatives(self, x: Array, *values: Array) -> Array:
        """Of the error by the coordinates, [parameters, ...]; central differences if need be."""
        if self.jacobian is not None:
            return self.jacobian(x, *values)
        at = self.to_unconstrained(*values)
        found = []
        for k in range(len(at)):
            step = STEP * np.maximum(1.0, np.abs(at[k]))
            up, down = at.copy(), at.copy()
            up[k], down[k] = at[k] + step, at[k] - step
            high = self.predict(x, *self.from_unconstrained(*up))
            low = self.predict(x, *self.from_unconstrained(*down))
            found.append((high - low) / (2 * step))
        return stack(*found)

    def in_ones(self, unit: Array | float, *values: Array) -> Array:
        """Parameters for x in ones of what were parameters for x in multiples of `unit`."""
        return stack(*values) if self.rescale is None else self.rescale(unit, *values)


def log_coordinates(logarithms: str) -> Coordinates:
    """For each parameter its logarithm ("l") or itself ("p")."""
    kinds = [kind == "l" for kind in logarithms]

    def to_unconstrained(*values: ArrayLike) -> Array:
        return stack(*(np.log(v) if k else v for v, k in zip(values, kinds, strict=True)))

    def from_unconstrained(*coordinates: ArrayLike) -> Array:
        return stack(*(np.exp(v) if k else v for v, k in zip(coordinates, kinds, strict=True)))

    return to_unconstrained, from_unconstrained
