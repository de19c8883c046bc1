"""The words of every diagnostic, in one place: code -> a sentence.

A template holds the diagnostic's parameters by position and its numbers by name; what a template
cannot say is a function of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Names: TypeAlias = tuple[str, ...]
Numbers: TypeAlias = Mapping[str, Any]
Message: TypeAlias = str | Callable[[Names, Numbers], str]
SHOWN = 3  # places of a kind that are spelled out


def listed_x(variables: Names, n: Numbers) -> str:
    """x of some points: "x = 1e+03; x = 2e+03; ..."."""
    count = len(n[variables[0]])
    said = [
        ", ".join(f"{name} = {n[name][k]:.3g}" for name in variables)
        for k in range(min(count, SHOWN))
    ]
    return "; ".join(said) + ("; ..." if n["count"] > SHOWN else "")


def _not_identifiable(names: Names, n: Numbers) -> str:
    are = "is" if len(names) == 1 else "are"
    return f"{', '.join(names)} {are} not identifiable: very different values fit equally well"


def _no_degrees_of_freedom(names: Names, n: Numbers) -> str:
    through = "goes through every point" if n["misfit"] < 1e-6 else "has no point to spare"
    return (
        f"{n['n']:.0f} points for {n['needs']:.0f} parameters: the curve {through} and the "
        "intervals mean nothing"
    )


def _outliers(where: str, cause: str) -> Message:
    def words(variables: Names, n: Numbers) -> str:
        advice = "Leave them out" + ("" if n["huber"] else ", or fit with --loss huber")
        return (
            f"{n['count']:.0f} of {n['n']:.0f} points are outliers, far {where} the curve "
            f"({listed_x(variables, n)}): {cause} {advice}"
        )

    return words


def _end(which: str, side: str) -> Message:
    def words(names: Names, n: Numbers) -> str:
        (name,) = names
        where = f"{name} {'up to' if which == 'smallest' else 'from'} {n['edge']:.3g}"
        by = f"{100 * n['by']:.2g} %" if n["relative"] else f"{n['by']:.2g}"
        cause = " (undertrained?)" if side == "above" else ""
        return (
            f"runs of the {which} {name} ({where}) lie {by} {side} the law fitted to the others: "
            f"they are of another kind{cause}, or the law does not hold there"
        )

    return words


def along_a_line(n: Numbers) -> str:
    """How data grew with size in a study whose runs lie along a line."""
    if n["slope"] == 0:
        return f"all runs saw about the same data, {n['data']:.3g}"
    if n["slope"] == 1:
        return f"data were in proportion to size, {n['data']:.3g} times it"
    return f"data grew with size, as its power of {n['slope']:.2g}"


def _methods_disagree(methods: Names, n: Numbers) -> str:
    one, other = methods
    what = []
    if "compute" in n:
        sizes = f"{n['size'][0]:.3g} by the first and {n['size'][1]:.3g} by the second"
        what.append(f"at {n['compute']:.3g} the best size is {sizes}")
    if "exponent" in n:
        first, second = n["exponent"]
        what.append(f"it grows as C^{first:.3f} by the first and C^{second:.3f} by the second")
    why = (
        "the diagnostics of the two say which assumption fails"
        if n["diagnostics"]
        else "no assumption of either is seen to fail: the intervals may be too narrow"
    )
    return f"{one} and {other} disagree: {', and '.join(what)}; {why}"


def _beyond(names: Names, n: Numbers) -> str:
    """How far x lies beyond those fitted."""
    (name,) = names
    if n["at"] > n["edge"]:
        return f"{name} = {n['at']:g} is {n['times']:.3g} times the largest {name} fitted"
    return f"{name} = {n['at']:g}: the smallest {name} fitted is {n['times']:.3g} times that"


AUTOCORRELATED = (
    "the law does not have the shape of the data, or the points are not independent. The "
    "intervals may be too narrow: if points belong together, such as those of one learning curve, "
    "name them with --cluster"
)

MESSAGES: dict[str, Message] = {
    "one_cluster": (
        "all {n:.0f} points are in one cluster, so the variance between clusters is unknown: "
        "no interval is known"
    ),
    "no_degrees_of_freedom": _no_degrees_of_freedom,
    "few_points": "{n:.0f} points for {needs:.0f} parameters: too few to trust the intervals",
    "few_clusters": (
        "the {n:.0f} points are in {clusters:.0f} independent clusters: too few to trust the "
        "intervals"
    ),
    "flat": "the error does not fall with x, so the exponent means nothing",
    "on_bound": "{0} is on its bound {bound:g}",
    "not_converged": (
        "the solver stopped before the minimum: the loss could still fall by {gain:.2g}"
    ),
    "floor_not_identifiable": lambda p, n: (
        f"the floor is not identifiable: the {100 * n['level']:g} % interval of {p[0]} is "
        f"[{n['low']:.2g}, {n['high']:.2g}], and the lowest error fitted is {n['lowest']:.2g}"
    ),
    "not_identifiable": _not_identifiable,
    "autocorrelated": (
        "residuals of neighbouring points are correlated ({correlation:.2f}): " + AUTOCORRELATED
    ),
    "autocorrelated_along": lambda p, n: (
        f"residuals of neighbouring points along {' and along '.join(p)} are correlated: "
        f"{AUTOCORRELATED}"
    ),
    "outliers_above": _outliers("above", "undertrained or failed runs?"),
    "outliers_below": _outliers("below", "another metric, or another unit?"),
    "smallest_above": _end("smallest", "above"),
    "smallest_below": _end("smallest", "below"),
    "largest_above": _end("largest", "above"),
    "largest_below": _end("largest", "below"),
    "influential": lambda p, n: (
        f"one run decides: without the run at {listed_x(p, n)} the prediction at {n['ahead']:g} "
        f"times the largest x would be {n['without']:.3g}, not {n['with']:.3g}"
    ),
    "extrapolates": _beyond,
    "negative_prediction": "the law predicts an error below 0 there: it cannot hold that far out",
    "collinear": lambda p, n: (
        f"{along_a_line(n)}: alpha and beta are not identifiable, and so neither is the best size; "
        "add runs of the same compute and other sizes"
    ),
    "options_not_used": lambda p, n: (
        f"{p[0]}: does not use {', '.join(p[1:])}, as the law of size and data does"
    ),
    "compute_not_proportional": (
        "compute is not proportional to size times data: the ratio varies from {low:.2g} to "
        "{high:.2g} times its mean, {mean:.3g}; the best data for a compute are only approximate"
    ),
    "best_sizes_cut": (
        "best sizes vary as much as the sizes tried, which cuts them off at the smallest and the "
        "largest computes: the exponent is likely too low"
    ),
    "largest_is_best": (
        "the largest size tried is the best at the largest computes: try larger ones"
    ),
    "sizes_far_apart": (
        "neighbouring sizes differ by up to {factor:.2g} times: the best size is known to that "
        "factor at best"
    ),
    "before_cooldown": (
        "{share:.0%} of the envelope is before the last 15 % of its run, where the learning rate "
        "was still high: there a run of that length would be better"
    ),
    "profiles_without_minimum": lambda p, n: (
        f"at {', '.join(f'{c:.2g}' for c in n['compute'])} the best size is outside the sizes "
        "tried, or there is no minimum: left out"
    ),
    "profiles_not_parabolic": lambda p, n: (
        f"the profiles are not parabolas: steeper towards {'large' if n['cubic'] > 0 else 'small'} "
        f"models ({n['standard_errors']:.1f} standard errors); a fit to the sizes near the "
        "best alone would give another best size"
    ),
    "profiles_of_few_sizes": (
        "{freedom:.0f} degrees of freedom are left by {profiles:.0f} parabolas: too few to trust "
        "the intervals"
    ),
    "methods_disagree": _methods_disagree,
    "no_common_range": "the two have no range of x in common: one is always extrapolated",
    "curves_cross": lambda p, n: (
        f"the curves cross at x = {', '.join(f'{x:.3g}' for x in n['x'])}: which is better "
        "depends on x"
    ),
    "shared_runs": (
        "{n:.0f} runs have the same x and y in both: if they are the same runs, the studies are "
        "not independent and the intervals are too wide"
    ),
    "forecast_is_prior": (
        "{n:.0f} different x for a law of {needs:.0f} parameters: the forecast is little more than "
        "its prior"
    ),
    "forecast_untested": (
        "fewer than {needs:.0f} different x up to half of the largest: no backtest of the forecast "
        "is possible"
    ),
    "forecast_not_falling": (
        "the curve does not fall by more than its noise; nor does the forecast"
    ),
    "forecast_extrapolates": lambda p, n: (
        _beyond(("x",), n)
        + (f"; backtests reach {n['tested']:g} times" if n["times"] > n["tested"] else "")
    ),
}
