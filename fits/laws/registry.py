"""All laws by name (`names.py` lists the names); which could be meant where one is fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fits.laws.broken import broken
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.downstream import EXPONENTIAL, SIGMOID
from fits.laws.farseer import FARSEER
from fits.laws.growth import GROWTH, PRODUCT, PRODUCT_3
from fits.laws.law import Law
from fits.laws.lines import LOG_LINEAR, PARABOLA
from fits.laws.moe import ROUTED, ROUTED_FLOOR
from fits.laws.powers import POWER, POWER_FLOOR, POWER_SHIFT, SATURATING
from fits.laws.repeated import REPEATED
from fits.laws.shape import SHAPE
from fits.laws.sigmoidal import M3, M4
from fits.laws.sparsity import SPARSITY

BROKEN, BROKEN_2, *_MORE = map(broken, range(1, 6))

LAWS = {
    law.name: law
    for law in (
        *(SATURATING, POWER, POWER_FLOOR, POWER_SHIFT, M3, M4),
        *(BROKEN, BROKEN_2, LOG_LINEAR, PARABOLA),
    )
}
"""Of one variable; each is held out beside the law that is fitted."""

MANY_BREAKS = {law.name: law for law in _MORE}
"""Fitted by name only: too many parameters to be held out beside every fit."""

OF_QUANTITIES = {GROWTH.name: GROWTH}
"""Of one variable, of what is no error: held out beside none of those."""

RISING = {law.name: law for law in (EXPONENTIAL, SIGMOID)}
"""Of one variable, a loss, with which the error rises."""

_PRODUCTS = PRODUCT, PRODUCT_3
_POOLS = FARSEER, ROUTED, ROUTED_FLOOR, SPARSITY
SEVERAL = {law.name: law for law in (CHINCHILLA, REPEATED, SHAPE, *_POOLS, *_PRODUCTS)}
"""Laws of several variables."""

EVERY_LAW = LAWS | MANY_BREAKS | OF_QUANTITIES | RISING | SEVERAL


def within(law: Law, other: Law, variables: tuple[str, ...]) -> Law:
    """`law`, of some of the variables of `other`, as a law of them all: say "power in N"."""
    places = tuple(other.variables.index(name) for name in variables)
    mine = places[0] if len(places) == 1 else list(places)
    return replace(
        law,
        name=f"{law.name} in {', '.join(variables)}",
        predict=lambda x, *values: law.predict(np.asarray(x)[mine], *values),
        rescale=lambda unit, *values: law.in_ones(unit[mine], *values),
        jacobian=lambda x, *values: law.derivatives(x[mine], *values),
        guess=lambda x, y, weights: law.guess(x[mine], y, weights),
        variables=other.variables,
        units=other.units,
        reads=places,
    )


def rivals(law: Law) -> list[Law]:
    """The laws that could be meant where `law` is fitted: of its variables, or of some of them."""
    if law is GROWTH:
        return [GROWTH, LOG_LINEAR, PARABOLA]
    if law.gives == "y":
        return [law, *(within(GROWTH, law, (name,)) for name in law.variables)]
    if law.name in RISING:
        return [law, *(each for each in RISING.values() if each is not law)]
    if len(law.variables) == 1:
        return list(({law.name: law} | LAWS).values())
    simple = [within(each, law, (name,)) for name in law.variables for each in (POWER, POWER_FLOOR)]
    if law in (ROUTED, ROUTED_FLOOR):
        simple = [ROUTED_FLOOR if law is ROUTED else ROUTED, *simple]
    if law is FARSEER:
        simple = [CHINCHILLA, *simple]
    if law in (REPEATED, SPARSITY):
        simple = [within(CHINCHILLA, law, CHINCHILLA.variables), *simple]
    return [law, *simple]
