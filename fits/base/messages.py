"""The words of every diagnostic, in one place: code -> a sentence.

A template holds the diagnostic's parameters by position and its numbers by name; what a template
cannot say is a function of both. The order ranks: `MESSAGES` begins with the most severe, and a
table with room for one diagnostic shows the first. Notes on a table and what `check` finds are in
dictionaries of their own, and rank behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, TypeAlias

from fits.base.counted import counted
from fits.base.names import short

Names: TypeAlias = tuple[str, ...]
Numbers: TypeAlias = Mapping[str, Any]
Message: TypeAlias = str | Callable[[Names, Numbers], str]
SHOWN = 3  # places of a kind that are spelled out
NAMED = 5  # rows of a kind that are spelled out


def render(code: str, names: Names, numbers: Numbers) -> str:
    """For a person. Raises LookupError, TypeError or ValueError where they don't suit the code."""
    message = MESSAGES[code]
    return message(names, numbers) if callable(message) else message.format(*names, **numbers)


def listed_x(variables: Names, n: Numbers) -> str:
    """x of some points: "x = 1e+03; x = 2e+03; ..."."""
    count = len(n[variables[0]])
    said = [
        ", ".join(f"{name} = {n[name][k]:.3g}" for name in variables)
        for k in range(min(count, SHOWN))
    ]
    return "; ".join(said) + ("; ..." if n["count"] > SHOWN else "")


def _of(n: Numbers, thing: str) -> str:
    """ "1 of 9 rows", "2 of 9 rows", "1 of 1 row"."""
    return f"{n['count']:.0f} of {n['n']:.0f} {thing}{'' if n['n'] == 1 else 's'}"


def _verb(n: Numbers, one: str, many: str) -> str:
    return one if n["count"] == 1 else many


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


def _slip_of_ratio(names: Names, n: Numbers) -> str:
    flops, size, data, place = names
    rows = ", ".join(f"{place} {row:.0f}" for row in n["rows"][:NAMED])
    more = ", ..." if len(n["rows"]) > NAMED else ""
    mine, others = (_range(*n[name]) for name in ("ratio", "others"))
    return (
        f"{flops} / ({size} x {data}) is {mine} in {len(n['rows'])} of {n['n']:.0f} rows ({rows}"
        f"{more}), and {others} in the others: a slip in one of the three? Correct it, or leave "
        "the row out"
    )


def _range(low: float, high: float) -> str:
    one, other = f"{low:.3g}", f"{high:.3g}"
    return one if one == other else f"{one} to {other}"


def _without_minimum(names: Names, n: Numbers) -> str:
    (side,) = names
    where = ", ".join(f"{c:.2g}" for c in n["compute"])
    said = f"at {where} the best size is {side} than all sizes tried, or there is no minimum"
    if n["kept"] < 2:
        return said
    left = f"{said}: left out"
    if n["kept"] > len(n["compute"]):
        return left
    return (
        f"{left}. Only {n['kept']:.0f} were kept, where noise may have moved the best size "
        f"inwards: the intervals may be too narrow; try {side} sizes"
    )


def along_a_line(n: Numbers) -> str:
    """How data grew with size in a study whose runs lie along a line."""
    if n["slope"] == 0:
        return f"all runs saw about the same data, {n['data']:.3g}"
    if n["slope"] == inf:
        return f"all runs have about the same size, {n['size']:.3g}"
    if n["slope"] == -1:
        return f"all runs spent about the same compute, {n['compute']:.3g}"
    if n["slope"] == 1:
        return f"data were in proportion to size, {n['data']:.3g} times it"
    how = "grew" if n["slope"] > 0 else "fell"
    return f"data {how} with size, as its power of {n['slope']:.2g}"


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


def _slip(names: Names, n: Numbers) -> str:
    x, y = names
    said = [
        f"{x} = {a:.3g}: {y} = {b:g}, where a line through its neighbours gives {c:.3g}"
        for a, b, c in list(zip(n["x"], n["y"], n["near"], strict=True))[:SHOWN]
    ]
    more = "; ..." if n["count"] > SHOWN else ""
    cause = "fractions among percentages" if n["percent"] else "a decimal point or a unit"
    them = _verb(n, "it", "them")
    return (
        f"{_of(n, 'row')} {_verb(n, 'differs from its', 'differ from their')} neighbours by a "
        f"power of ten ({'; '.join(said)}{more}): {cause}? Correct {them}, or leave {them} out"
    )


def _slip_of(value: float, near: float) -> str:
    percent = value <= 1 < near and 75 < near / value < 133
    return "a fraction among percentages" if percent else "a slip of the decimal point or the unit"


def _times(factor: float) -> str:
    """Say "1,000 times too large", of what must be multiplied by .001."""
    return f"{max(factor, 1 / factor):,.0f} times too {'small' if factor > 1 else 'large'}"


def _costliest(names: Names, n: Numbers) -> str:
    x, y = names
    head = (
        f"the costliest run ({x} = {n['x']:.3g}, {y} = {n['y']:g}) is not on the frontier: a run "
        f"of {n['better_x']:.3g} has {n['better_y']:g}"
    )
    times, better_times = n.get("times", 1.0), n.get("better_times", 1.0)
    if n["near"]:
        cause = _slip_of(n["y"], n["near"])
        why = f"a line through its neighbours gives {n['near']:.3g} for it: {cause}?"
    elif n["better_near"]:
        cause = _slip_of(n["better_y"], n["better_near"])
        why = f"a line through the neighbours of that run gives {n['better_near']:.3g}: {cause}?"
    elif better_times > 1:
        why = (
            f"that run would lie on the curve of the others at {n['better_x'] * better_times:.3g}: "
            f"is its {x} {_times(better_times)}?"
        )
    elif n["ahead"] >= 100:
        at = f" A{_moved(x, n)[1:]}" if times < 1 else ""
        why = f"its {x} is {n['ahead']:.3g} times the next largest: another unit?{at}"
    elif n["ratio"] <= 1.02:
        why = "the two are about equal, as with noise or an error that no longer falls"
    else:
        higher = f"its error is {100 * (n['ratio'] - 1):.0f} % higher"
        also = f"; or is its {x} {_times(times)} ({_moved(x, n)})" if times < 1 else ""
        also += f"; or is it an {_mirror(n)} among the others" if n.get("mirrored") else ""
        why = f"{higher}: undertrained, too few data, or failed{also}?"
    return f"{head}; {why}"


def _mirror(n: Numbers) -> str:
    """What a run may have that stands among the other of error and accuracy."""
    return "error" if n["accuracy"] else "accuracy"


def _moved(x: str, n: Numbers) -> str:
    return f"at {x} = {n['x'] * n['times']:.3g} it would lie on the curve of the others"


def _misplaced(names: Names, n: Numbers) -> str:
    x, y = names
    causes = []
    if n["times"] != 1:
        causes.append(f"is its {x} {_times(n['times'])} ({_moved(x, n)})")
    if n["mirrored"]:
        causes.append(f"is it an {_mirror(n)} among the others")
    ask = ", or ".join(causes)
    return (
        f"the run at {x} = {n['x']:.3g} ({y} = {n['y']:g}) lies off the curve of the others: "
        f"{ask}? If not, it is a run of another kind"
    )


def _rows_of_kinds(names: Names, n: Numbers) -> str:
    y, x, column, *values = names
    by = f"'{column}'" if " " in column else column
    return (
        f"rows of equal {x} differ by {n['apart']:.0%} in {y} ({n['places']:.0f} places), and "
        f"column {column} tells them apart ({short(', '.join(values))}): one law through all is "
        f"that of none. Choose with --where '{column}={values[0]}', or fit each with --by {by} "
        "where the command has it"
    )


def _rows_of_sweep(names: Names, n: Numbers) -> str:
    y, x, *columns = names
    shown = ", ".join(columns[:3]) + (", .." if len(columns) > 3 else "")
    return (
        f"rows of equal {x} differ by {n['apart']:.0%} in {y} ({n['places']:.0f} places), and in "
        f"{shown}: of a sweep fit the best of each, --best-of '{x.replace(', ', ',')}'; of runs of "
        "several kinds choose one with --where"
    )


def slip_in_brief(code: str, names: Names, n: Numbers) -> str:
    """For a cell of a table, the row that has a slip and the likely cause; "": it names none."""
    return _IN_BRIEF[code](names, n) if code in _IN_BRIEF else ""


def _slip_in_brief(names: Names, n: Numbers) -> str:
    row = _row_in_brief(names, n["x"][0], n["y"][0], n["near"][0])
    more = n["count"] - 1
    return f"{row}; {more:.0f} more" if more else row


def _misplaced_in_brief(names: Names, n: Numbers) -> str:
    if n["times"] != 1:
        return _x_in_brief(names, n["x"], n["times"])
    return f"slip? {names[0]} = {n['x']:.3g}: {names[1]} = {n['y']:.4g}, an {_mirror(n)}?"


def _costliest_in_brief(names: Names, n: Numbers) -> str:
    """In the order of `_costliest`."""
    if n["near"]:
        return _row_in_brief(names, n["x"], n["y"], n["near"])
    if n["better_near"]:
        return _row_in_brief(names, n["better_x"], n["better_y"], n["better_near"])
    if n.get("better_times", 1.0) > 1:
        return _x_in_brief(names, n["better_x"], n["better_times"])
    if n.get("times", 1.0) < 1 and (n["ahead"] >= 100 or n["ratio"] > 1.02):
        return _x_in_brief(names, n["x"], n["times"])
    if n["ahead"] >= 100:
        return f"slip? {names[0]} = {n['x']:.3g}: {n['ahead']:.3g} times the next largest"
    return _misplaced_in_brief(names, {**n, "times": 1}) if n.get("mirrored") else ""


def _row_in_brief(names: Names, x: float, y: float, near: float) -> str:
    return f"slip? {names[0]} = {x:.3g}: {names[1]} = {y:.4g}, not {near:.3g}"


def _x_in_brief(names: Names, x: float, times: float) -> str:
    return f"slip? {names[0]} = {x:.3g}, not {x * times:.3g}"


_IN_BRIEF: dict[str, Callable[[Names, Numbers], str]] = {
    "slip": _slip_in_brief,
    "misplaced": _misplaced_in_brief,
    "costliest_not_on_frontier": _costliest_in_brief,
}


def _rises(names: Names, n: Numbers) -> str:
    y, x, law = names
    of_falling = "is of a curve that falls" if law == "forecast" else "can only fall"
    if n["fitted"] and not n.get("falls", 1):
        return f"{y} rises with {x}: law {law} is fitted to all points, not to the frontier alone"
    if n["fitted"]:
        return (
            f"{y} rises with {x}, and law {law} {of_falling}: law growth, a power of either sign, "
            "is fitted to all points instead"
        )
    advice = f"Say --y-is accuracy if {y} grows as runs get better, or --law growth for a quantity"
    if not n.get("falls", 1):
        return f"{y} rises with {x}. {advice} that grows"
    held = ", with parameters of its own to hold" if n.get("held") else " that grows"
    return f"{y} rises with {x}, and law {law} {of_falling}. {advice}{held}"


def _rises_along(names: Names, n: Numbers) -> str:
    y, law, *along = names
    head = f"{y} rises with {' and with '.join(along)}, and law {law} can only fall"
    if n.get("fitted"):
        return f"{head}: a product of powers, each of either sign, is fitted instead"
    if n.get("rate"):
        return f"{head}. Say --y-is accuracy if {y} grows as runs get better"
    return f"{head}: say --law product for a quantity that is a product of powers"


def _forecast_outliers(names: Names, n: Numbers) -> str:
    where = ", ".join(f"{x:.10g}" for x in n["x"][:SHOWN]) + (
        ", ..." if len(n["x"]) > SHOWN else ""
    )
    said, without = ("{:.3g} [{:.3g}, {:.3g}]".format(*n[each]) for each in ("with", "without"))
    return (
        f"{_of(n, 'point')} {_verb(n, 'is an outlier', 'are outliers')}, far off the curve of "
        f"{_verb(n, 'its', 'their')} neighbours (x = {where}): a spike, or a slip in a row? The "
        f"90 % interval at x = {n['at']:.4g} is {said}, and {without} without "
        f"{_verb(n, 'it. Leave it', 'them. Leave them')} out (--where) if no more such points are "
        "to come"
    )


AUTOCORRELATED = (
    "the law does not have the shape of the data, or the points are not independent. The "
    "intervals may be too narrow: if points belong together, such as those of one learning curve, "
    "name them with --cluster"
)

DIAGNOSTICS: dict[str, Message] = {
    "one_cluster": (
        "all {n:.0f} points are in one cluster, so the variance between clusters is unknown: "
        "no interval is known"
    ),
    "no_degrees_of_freedom": _no_degrees_of_freedom,
    "fractions_among_percentages": lambda p, n: (
        f"{_of(n, 'row')} {_verb(n, 'has', 'have')} {p[0]} of at most 1 %, and would fit in with "
        f"the others as {_verb(n, 'a fraction', 'fractions')} ({n['example']:g} for "
        f"{100 * n['example']:g} %): write all in percent"
    ),
    "slip": _slip,
    "slip_of_ratio": _slip_of_ratio,
    "rises": _rises,
    "falls": lambda p, n: (
        f"{p[0]} as {p[3]} falls as {p[1]} grows, and law {p[2]} can only rise: is it an accuracy "
        f"(--y-is accuracy), or is {p[1]} no loss?"
    ),
    "rises_along": _rises_along,
    "rows_of_kinds": _rows_of_kinds,
    "rows_of_sweep": _rows_of_sweep,
    "floor_held_above": lambda p, n: (
        f"{p[0]} is held at {n['at']:g}, and {_of(n, 'error')} fitted {_verb(n, 'lies', 'lie')} "
        f"below it (the lowest is {n['lowest']:.4g}): no curve with that floor reaches there"
    ),
    "rows_of_first_stage": lambda p, n: (
        f"{_of(n, 'row')} {_verb(n, 'is', 'are')} among those that {p[0]} was fitted to: the two "
        "fits are not independent, and the intervals count the same errors twice. Fit all "
        "parameters at once, or hold those of another study"
    ),
    "few_points": "{n:.0f} points for {needs:.0f} parameters: too few to trust the intervals",
    "few_beside": lambda p, n: (
        f"{_of(n, 'point')} {_verb(n, 'lies', 'lie')} {p[0]} the curve, of {n['needs']:.0f} "
        "parameters: too few to trust the intervals. "
        + ("Take a quantile nearer to 0.5" if n["quantile"] else "Take a larger --huber")
    ),
    "few_clusters": lambda p, n: (
        f"the {n['n']:.0f} points are in {counted(n['clusters'], 'independent cluster')}: too few "
        "to trust the intervals"
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
    "outliers_above": _outliers("above", "undertrained or failed runs, or a slip in a row?"),
    "outliers_below": _outliers("below", "another metric or unit, or a slip in a row?"),
    "smallest_above": _end("smallest", "above"),
    "smallest_below": _end("smallest", "below"),
    "largest_above": _end("largest", "above"),
    "largest_below": _end("largest", "below"),
    "costliest_not_on_frontier": _costliest,
    "costliest_far_ahead": (
        "{0} of the costliest run, {x:.3g}, is {ahead:.3g} times the next largest, {next:.3g}: "
        "another unit, or a slip? What is predicted between them rests on that run alone"
    ),
    "misplaced": _misplaced,
    "influential": lambda p, n: (
        f"one run decides: without the run at {listed_x(p, n)} the prediction at {n['ahead']:g} "
        f"times the largest x would be {n['without']:.3g}, not {n['with']:.3g}"
    ),
    "extrapolates": _beyond,
    "negative_prediction": "the law predicts an error below 0 there: it cannot hold that far out",
    "collinear": lambda p, n: (
        f"{along_a_line(n)}: {' and '.join(p)} are not identifiable, and so neither is "
        + (
            "how the best size grows; add runs of other computes"
            if n["slope"] == -1
            else "the best size; add runs of the same compute and other sizes"
        )
    ),
    "options_not_used": lambda p, n: (
        f"{p[0]}: does not use {', '.join(p[1:])}, as the law of size and data does"
    ),
    "compute_in_macs": (
        "{0} over size times data is 3, half of what training takes. Where {0} counts a "
        "multiplication and its addition as one, say --unit flops=MAC"
    ),
    "flops_of_a_token": (
        "{0} are more than tokens, and {per:g} FLOPs a parameter are those of one token: compute, "
        "and what is divided by it, is wrong by the tokens of an example. Say --flops-per-nd with "
        "{per:g} times as many, such as 1180 for an image of 197"
    ),
    "flops_per_nd_not_used": (
        "--flops-per-nd {told:g} is not used: {0}, {1} and {2} are columns, and {0} over the other "
        "two is {ratio:.3g}"
    ),
    "none_repeated": (
        "{1} is not below {0} in any row: no data were seen again, so the fit says nothing of "
        "repeated data. Are both in one unit?"
    ),
    "compute_not_proportional": (
        "compute is not proportional to size times data: the ratio varies from {low:.2g} to "
        "{high:.2g} times its median, {median:.3g}; the best data for a compute are only "
        "approximate"
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
    "profiles_without_minimum": _without_minimum,
    "profiles_of_uncertain_form": (
        "which form a profile has is not known: the best size varies by {factor:.2g} times with "
        "it; try more sizes near the best"
    ),
    "best_sizes_bend": lambda p, n: (
        f"the best sizes bend: they grow as compute to the power of {n['first']:.3g} at the "
        f"smallest budgets and of {n['last']:.3g} at the largest, so one power through all may "
        f"give sizes too {'large' if n['last'] < n['first'] else 'small'} beyond them. Name the "
        "largest budgets alone with --budgets"
    ),
    "profiles_of_few_sizes": (
        "{freedom:.0f} degrees of freedom are left by {profiles:.0f} profiles: too few to trust "
        "the intervals"
    ),
    "law_near_best": lambda p, n: (
        f"fitted to the {n['runs']:.0f} of {n['of']:.0f} runs within {n['factor']:g} times the "
        f"best size by {p[0]}: the law does not have the shape of all, by which its exponent is "
        "{:.3f} [{:.3f}, {:.3f}]".format(*n["exponent"])
    ),
    "far_from_best": lambda p, n: (
        f"--trained: size {n['size']:.3g} is {n['times']:.3g} times the best for its compute, and "
        f"the law was fitted to runs within {n['factor']:g} times: it may not hold there"
    ),
    "methods_disagree": _methods_disagree,
    "no_common_range": "the two have no range of x in common: one is always extrapolated",
    "curves_cross": lambda p, n: (
        f"the curves cross at x = {', '.join(f'{x:.3g}' for x in n['x'])}: which is better "
        "depends on x"
    ),
    "shared_runs": lambda p, n: (
        f"{counted(n['n'], 'run has', 'runs have')} the same x and y in both: if "
        f"{'it is the same run' if n['n'] == 1 else 'they are the same runs'}, the studies are "
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
    "average_is_prior": (
        "{n:.0f} different x: the average over laws is little more than what is believed before"
    ),
    "average_untested": (
        "fewer than {needs:.0f} different x up to 1/{times:g} of the largest: no backtest of the "
        "laws is possible, and their weights are by evidence alone"
    ),
    "average_backtests_worse": (
        "fitted to runs up to 1/{times:g} of the largest x, the laws erred by {error:.2g} in log "
        "error on those beyond; the 90 % interval so far ahead reaches {half:.2g} to either side, "
        "and may be too narrow. If points belong together, such as those of one learning curve, "
        "fit the last of each alone"
    ),
    "average_not_falling": (
        "the error does not fall by more than its noise, and all laws averaged are of a falling one"
    ),
    "average_merged": (
        "the laws are averaged over {places:.0f} places along log x, each the mean of its points, "
        "of which there are {n:.0f}"
    ),
    "average_extrapolates": lambda p, n: (
        _beyond(("x",), n)
        + (f"; backtests reach {n['tested']:g} times" if 1 < n["tested"] < n["times"] else "")
    ),
    "laws_part": (
        "the laws part at x = {at:g}: {low:.3g} by {0}, {high:.3g} by {1}; most of the interval is "
        "uncertainty about the law"
    ),
    "forecast_steepens": (
        "the curve falls ever faster: by the power {late:.2g} of x over its last {n:.0f} points, "
        "{early:.2g} before, and no law that was fitted follows it. The fall is continued for "
        "about as long as it has lasted; where it really ends, the points cannot tell"
    ),
    "forecast_annealing": lambda p, n: (
        "the curve steepens towards its end, as under a learning rate that falls "
        f"({100 * n['chance']:.0f} % likely): the forecast continues that. If it does fall, say "
        "how: --schedule cosine --until X"
    ),
    "forecast_above": lambda p, n: (
        f"the forecast begins {100 * n['by']:.2g} % above the last point, which lies below all "
        "that was fitted: do not trust it near there"
    ),
    "forecast_below": lambda p, n: (
        f"the forecast begins {100 * n['by']:.2g} % below the last point, which lies above all "
        "that was fitted: a spike, or a curve that has begun to rise. No law here rises: do not "
        "trust it until later points lie lower"
    ),
    "forecast_outliers": _forecast_outliers,
    "run_diverged": lambda p, n: (
        f"{p[0]} is NaN or infinite from {p[1]} = {n['x']:.6g} on: the run has diverged. It takes "
        "no part in the race; go on from a checkpoint before that, or stop it"
    ),
    "forecast_of_several": lambda p, n: (
        f"points of one x differ by {100 * n['apart']:.2g} %, and the curve from one x to the next "
        f"by {100 * n['noise']:.2g} %: they look like several curves, or a run and its restart, "
        "and their mean is forecast. Forecast each by itself: --by COL, or --where"
    ),
    "forecast_after_schedule": (
        "the schedule ends at {until:.4g}, before {x:.4g}: a run whose rate is at its end hardly "
        "learns on, and another schedule is another curve"
    ),
    "forecast_extrapolates": lambda p, n: (
        _beyond(("x",), n)
        + (f"; backtests reach {n['tested']:g} times" if n["times"] > n["tested"] else "")
    ),
}


# ------------------------------------------------------------------------- notes on a table of runs


def _zero_error(names: Names, n: Numbers) -> str:
    where = f"{', '.join(names[1:])}: " if names[1:] else ""
    return f"{where}{counted(n['count'], 'run')} without any error left out: 0 has no logarithm"


def _candidates_run(names: Names, n: Numbers) -> str:
    often = "once" if n["times"] == 1 else f"{n['times']:.0f} times"
    return f"{n['count']:.0f} of {n['n']:.0f} candidates have been run {often}, and are left out"


def _rows_of(n: Numbers) -> str:
    """ "2 of 14 rows": the verb that follows is in the plural, unless it is one row."""
    return f"{n['count']:.0f} of {n['n']:.0f} rows"


def _no_number(names: Names, n: Numbers) -> str:
    return f"{_rows_of(n)} have no number as {names[0]} ({', '.join(names[1:])}) and are left out"


_FILES = {
    "gzip": "compressed by gzip",
    "bzip2": "compressed by bzip2",
    "xz": "compressed by xz",
    "zstd": "compressed by zstd",
    "lz4": "compressed by lz4",
    "utf-16": "UTF-16",
    "utf-32": "UTF-32",
    "tabs": "tabs between cells",
    "semicolons": "semicolons between cells",
    "bars": "bars between cells",
    "rules": "lines of dashes left out",
    "spaces": "blanks between cells",
    "other_mark": "the mark that its first line names between cells",
    "json_lines": "JSON lines",
    "json": "JSON",
    "json_columns": "JSON of columns, as pandas writes a data frame",
    "json_split": "JSON of names and rows (pandas orient split)",
    "json_index": "JSON of rows by their index (pandas orient index)",
    "json_named": "JSON of rows by their names, in the column index",
    "json_table": "JSON rows under one key",
    "cp1252": "Latin-1 (Windows-1252)",
    "bom": "UTF-8 with a byte order mark",
    "carriage_returns": "carriage returns alone as line ends",
    "zip": "the only file of a zip archive",
    "units_below": "units from the line below the names",
    "row_numbers": "numbers of the rows left out, which stand under no name",
    "repeated_headers": "repeats of the header left out",
    "mark_at_end": "an empty cell beyond the header at the end of rows left out",
    "repeated_names": "columns of one name told apart by their places",
    "header_in_comment": "column names from the comment on top",
    "comments": "lines that begin with # left out",
}


_WAYS = {
    "decimal_comma": "decimal comma",
    "decimal_point": "decimal point",
    "thousands": "thousands",
    "fortran": "D for the exponent",
    "power_of_ten": "power of ten",
    "comment_in_cell": "comment left out",
    "plus_minus": "what follows ± is not used",
    "brackets": "what is in brackets is not used",
    "about": "as if it were exact",
}


def _read_as(words: Names, n: Numbers) -> str:
    """Kind, column and example of each thing that was read otherwise than as it looks."""
    said: list[str] = []
    for k, value in enumerate(n["values"]):
        kind, column, example = words[3 * k : 3 * k + 3]
        number = f"{value:,.15g}" if 1e4 <= abs(value) < 1e15 else f"{value:.6g}"
        number = f"{value:.15g}" if kind == "thousands" else number
        if kind in _FILES:
            said.append(_FILES[kind])
        elif kind == "named_unit":
            said.append(f"{column} is in {example}")
        elif kind == "percent":
            said.append(f"{column} in percent ({example})")
        else:
            what = f" ({_WAYS[kind]})" if kind in _WAYS else ""
            said.append(f"{column} {example} as {number}{what}")
    return f"read as: {'; '.join(said)}"


def _equal_rows(names: Names, n: Numbers) -> str:
    first = f"line {n['line']:.0f} is line {n['first']:.0f}"
    if n["count"] == 1:
        return (
            f"1 row equals an earlier row in every column ({first}) and counts as a run of its "
            "own: leave it out if it is the same run"
        )
    return (
        f"{n['count']:.0f} rows equal an earlier row in every column ({first}) and count as runs "
        "of their own: leave them out if they are the same runs"
    )


NOTES: dict[str, Message] = {
    "read_as": _read_as,  # kind, column and example of each; their values
    "nothing_excluded": "--where {0} leaves out no row: no {1} is '{2}'",
    "empty_cells": "{count:.0f} of {n:.0f} rows have no {0} and are left out",
    "no_number": _no_number,  # of a column, and what its cells hold
    "zero_x": lambda p, n: (
        f"{_rows_of(n)} have a {p[0]} of 0, which has no place on a log axis, and are left out"
    ),
    "last_of": lambda p, n: (
        f"the last row of each {', '.join(p)}: {n['count']:.0f} of {n['n']:.0f} rows"
    ),
    "not_in_order": (
        "the last row of {count:.0f} of {n:.0f} runs is not that of the largest {0}: the last in "
        "the order of the file was taken; sort the table by {0}"
    ),
    "best_of": lambda p, n: (
        f"the best row of each {', '.join(p)}: {n['count']:.0f} of {n['n']:.0f} rows"
    ),
    "equal_rows": _equal_rows,
    "repeated_rows": lambda p, n: (
        f"{counted(n['count'], 'row repeats', 'rows repeat')} an earlier one (line {n['line']:.0f} "
        f"is line {n['first']:.0f}): {'it counts' if n['count'] == 1 else 'they count'} once"
    ),
    "zero_error": _zero_error,  # of a column, in the group with these values
    "fractions_as_percent": "no {0} is above 1 %; if these are fractions, say {1}",
    "seeds_apart": lambda p, n: (
        f"rows of equal {', '.join(p)} differ in seed, but never in seed alone: each is taken as "
        "independent. Where they are seeds of one setting, say --cluster with the columns that "
        "make the setting"
    ),
    "candidates_run": _candidates_run,
    "runs_without_metric": ("{count:.0f} of {n:.0f} runs lack one of the metrics and are left out"),
    "half_an_image": lambda p, n: (
        f"{counted(n['count'], 'accuracy', 'accuracies')} of 0 or 1, which "
        f"{'has' if n['count'] == 1 else 'have'} no logit, "
        f"{'counts' if n['count'] == 1 else 'count'} as half an image wrong or "
        "right"
    ),
}


# ------------------------------------------------------------------------- what `check` finds


def _lines(ends: tuple[float, ...]) -> str:
    """First and last line of each span: "2-9, 12"."""
    spans = zip(ends[::2], ends[1::2], strict=True)
    return ", ".join(f"{a:.0f}" if a == b else f"{a:.0f}-{b:.0f}" for a, b in spans) or "none"


def _left_out(names: Names, n: Numbers) -> str:
    why, name = names
    file, table = ("the file says", "the table has") if n["same"] else ("then", "now")
    reason = f"{'not' if why == 'where' else 'no'} {name}"
    return f"rows left out, {reason}: {file} {_lines(n['file'])}, {table} {_lines(n['table'])}"


def _rows(kind: str, then: str = "") -> Message:
    """x [rows x variables], and before a change y, weight and cluster [rows x columns], flat."""

    def words(columns: Names, n: Numbers) -> str:
        *x, y = columns
        count, was = len(n["line"]), n.get("was", ())
        said = [f"{counted(count, 'row')} {kind}:"]
        for k in range(min(count, NAMED)):
            at, before = (_listed(_part(each, k, count)) for each in (n["x"], was))
            now = f"line {n['line'][k]:.0f}: {', '.join(x)} {at}, {y} {n['y'][k]:g}"
            said.append(f"  {then}{now}" + (f"; was {before}" if was else ""))
        if count > NAMED:
            said.append(f"  ... and {count - NAMED} more")
        return "\n".join(said)

    return words


def _part(flat: tuple[float, ...], k: int, count: int) -> tuple[float, ...]:
    wide = len(flat) // count
    return flat[k * wide : (k + 1) * wide]


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{each:g}" for each in numbers)


CHOSEN = {"frontier": "on the frontier", "hull": "corners of the hull", "all": "fitted"}


def _points_differ(names: Names, n: Numbers) -> str:
    where = CHOSEN[names[0]]
    said = [f"line {line:.0f} is not {where}" for line in n["file_alone"]]
    said += [f"line {line:.0f} is {where}" for line in n["refit_alone"]]
    rest = [f"and {len(said) - NAMED} more"] if len(said) > NAMED else []
    return (
        f"the file says that the curve goes through {n['file']:.0f} rows, and of its rows "
        f"{n['refit']:.0f} are {where}: {', '.join([*said[:NAMED], *rest])}"
    )


def _span_differs(names: Names, n: Numbers) -> str:
    count = len(names) // 2

    def said(variables: Names, ends: tuple[float, ...]) -> str:
        each = zip(variables, ends[::2], ends[1::2], strict=True)
        return ", ".join(f"{name} from {low:g} to {high:g}" for name, low, high in each)

    file, refit = said(names[:count], n["file"]), said(names[count:], n["refit"])
    return f"the file gives the span {file}; its rows give {refit}"


def _scale(n: Numbers) -> str:
    return "log error" if n["log"] else "error"


def _as_in_file(names: Names, n: Numbers) -> str:
    count = n["diagnostics"]
    return (
        f"as in the file: {n['n']:.0f} points, root mean square of {_scale(n)} {n['rms']:.4f}, "
        f"{f'{count:.0f}' if count else 'no'} warning{'' if count == 1 else 's'}"
    )


def _another(what: str) -> Message:
    """Of a diagnostic: its code, then its own parameters and numbers."""
    return lambda p, n: f"{what}: {render(p[0], p[1:], n)}"


def _curve_moved(side: str) -> str:
    return f"refitted, the curve {side} the band it had; it moved by {{moved:.2g}} of the error"


def _new_rows(names: Names, n: Numbers) -> str:
    return (
        f"of {n['n']:.0f} new or changed rows that are fitted, {n['n'] - n['outside']:.0f} lie "
        f"inside the {100 * n['level']:g}% band it had"
        f"{', widened by the residual standard deviation' if n['widened'] else ''}"
    )


def _paper(names: Names, n: Numbers) -> str:
    side = "inside" if n["beyond"] <= 0 else f"up to {n['beyond']:.2g} outside"
    return (
        f"the paper's curve, give or take the rounding, lies {side} the fit's "
        f"{100 * n['level']:g}% band"
    )


FINDINGS: dict[str, Message] = {
    "rows_not_fitted": "the rows in the file can no longer be fitted",
    "table_not_fitted": "the table can no longer be fitted",
    "values_same": "the rows in the file give its values and intervals to every digit",
    "values_rounded": (
        "the rows in the file give its curve to {curve:.0e} of the error and its band to "
        "{band:.0e} of the width: another machine's rounding"
    ),
    "values_differ": (
        "the rows in the file do not give its numbers: the curve differs by {curve:.2g} of the "
        "error, the band by {band:.2g} of its width"
    ),
    "average_same": "the rows in the file give its weights of the laws and its band to every digit",
    "average_rounded": (
        "the rows in the file give its weights of the laws to {weights:.0e} and its band to "
        "{band:.0e} of the width: another machine's rounding"
    ),
    "average_differs": (
        "the rows in the file do not give its numbers: the weights of the laws differ by "
        "{weights:.2g}, the band by {band:.2g} of its width"
    ),
    "band_shape_differs": "the band in the file is not that of its rows",
    "interval_differs": "the rows in the file do not give its interval of {0}",
    "points_differ": _points_differ,
    "rms_differs": lambda p, n: (
        f"the file gives a root mean square of {_scale(n)} of {n['file']:.4g}; its rows give "
        f"{n['refit']:.4g}"
    ),
    "diagnostic_missing": _another("the file lacks a warning of the refit"),
    "diagnostic_not_found": _another("the file has a warning that the refit lacks"),
    "note_missing": _another("the file lacks a note on the table"),
    "note_not_found": _another("the file has a note not made now"),
    "span_differs": _span_differs,  # variables of the file, then of its rows
    "as_in_file": _as_in_file,
    "left_out_differs": _left_out,  # why, and the column or condition
    "table_same": "the table is the same to the byte, and its rows are those in the file",
    "table_same_elsewhere": (
        "the table has changed, but not in the rows and columns that were read"
    ),
    "file_keeps_other_rows": ("the table is the same to the byte, but the file keeps other rows:"),
    "table_changed": "the table has changed:",
    "rows_changed": _rows("changed"),
    "rows_new": _rows("new"),
    "rows_gone": _rows("gone", "then "),
    "curve_inside_band": _curve_moved("stays inside"),
    "curve_outside_band": _curve_moved("leaves"),
    "new_rows_agree": _new_rows,
    "new_rows_disagree": _new_rows,  # more are outside than chance explains
    "paper_no_common_range": "the table's x and the paper's have no stretch in common",
    "paper_differs": (
        "from x = {first:g} to {last:g} the fitted curve and the paper's differ by at most "
        "{apart:.2g} (at {at:.3g}); rounding its numbers allows {rounding:.2g}"
    ),
    "paper_inside_band": _paper,
    "paper_outside_band": _paper,
}

MESSAGES: dict[str, Message] = {**DIAGNOSTICS, **NOTES, **FINDINGS}
