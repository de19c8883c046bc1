"""Which form of an IsoFLOP profile finds the best size, and whether intervals hold it.

    python benchmarks/isoflop_forms.py [studies] [words of a method's name]

Simulated studies whose best size is a power of compute, exponent .55, by construction: the loss is
a floor that falls with compute plus a valley about the best size. Seven valleys: that of L(N, D); a
parabola; steeper towards large models, or towards small ones; steep and then saturating, as where a
warm-up leaves large models untrained; two whose shape changes with compute. Six designs: sizes
about the best of each budget, or one ladder of sizes for all budgets, of which a budget tries those
from 1.2 .. 2.4 below to 1.2 .. 3.4 above the best (in log size), with an error that a size has in
every budget. Prints, by form: root mean square errors of the exponent and of the log best size at
ten times the largest budget; for the forms that the project can average also the share of nominal
90 % intervals that hold the truth, over all kinds and in the worst, and their mean width. Writes
nothing.
"""

import contextlib
import sys

import numpy as np

from fits.allocation.allocation import trainings
from fits.allocation.envelope import envelope
from fits.allocation.isoflop import isoflop
from fits.allocation.near_best import contradicted, is_near, refitted
from fits.allocation.parametric import parametric
from fits.allocation.profile_forms import FORMS, RATES, WIDTHS
from fits.allocation.profiles import LEAST_SIZES
from fits.laws.chinchilla import CHINCHILLA
from fits.regression.fit import fit

EXPONENT, AHEAD = 0.55, 10.0
LEAST = min(RATES)


def valley(p, q, depth=0.15):
    return lambda n, t: depth * (np.expm1(p * n) / p + np.expm1(-q * n) / q)


def saturating(p, depth):
    """Of rate p(t) and depth(t) towards large models, up to 5 above the floor."""

    def shape(n, t):
        up = valley(p(t), 0.35, depth(t))(n, t)
        return np.where(n > 0, 5 * (1 - np.exp(-up / 5)), up)

    return shape


SHAPES = {  # (log size less that of the best, 0 to 1 along log compute) -> loss above the floor
    "law": valley(0.36, 0.35),
    "parabola": lambda n, t: 0.06 * n**2,
    "steep large": valley(0.9, 0.25),
    "steep small": valley(0.25, 1.2),
    "warm-up": saturating(lambda t: 1.6, lambda t: 0.12),
    "warm-up that ends": saturating(lambda t: 1.8 - 1.3 * t, lambda t: 0.35 - 0.25 * t),
    "steep, then flat": lambda n, t: valley(0.3 + 1.2 * t, 1.5 - 1.2 * t)(n, t),
}
DESIGNS = {  # sizes a budget, or None; step or span; budgets; noise of a run; noise of a size
    "9 sizes, 16x": (9, 16, 8, 0.003, 0),
    "11 sizes, 30x": (11, 30, 8, 0.001, 0),
    "6 sizes, 10x": (6, 10, 6, 0.002, 0),
    "ladder of 1.5x": (None, 1.5, 10, 0.0005, 0.0005),
    "ladder of 1.5x, noisy": (None, 1.5, 10, 0.002, 0.002),
    "ladder of 2x": (None, 2.0, 10, 0.0005, 0.0005),
}


def study(rng, shape, design):
    """Log computes, and (log sizes, losses) of each."""
    count, step, budgets, noise, of_size = design
    last = np.log(500) if count else np.log(2) * (budgets - 1)
    place = np.linspace(0, last, budgets)
    ladder = np.arange(-3.4, EXPONENT * last + 3.4, np.log(step)) + rng.uniform(0, 0.3)
    ladder += rng.normal(0, 0.08, len(ladder))
    own = rng.normal(0, of_size, len(ladder))
    profiles = []
    for x in place:
        best, error = EXPONENT * x, 0.0
        if count:
            n = best + rng.normal(0, 0.3) + np.linspace(-0.5, 0.5, count) * np.log(step)
        else:
            low, high = 1.2 + rng.uniform(0, 1.2), 1.2 + rng.uniform(0, 2.2)
            tried = (ladder > best - low) & (ladder < best + high)
            n, error = ladder[tried], own[tried]
        loss = 2 + 1.2 * np.exp(-0.15 * x) + np.exp(-0.05 * x) * shape(n - best, x / last)
        profiles.append((n, loss * np.exp(rng.normal(0, noise, len(n)) + error)))
    return place, profiles


def of_profiles(place, profiles):
    size, loss = (np.concatenate(each) for each in zip(*profiles, strict=True))
    compute = np.repeat(np.exp(place), [len(n) for n, _ in profiles])
    return trainings(np.exp(size), compute / np.exp(size), loss, compute=compute)


def averaged(forms):
    """The project's own, over some of its forms: value and ends of exponent and log size."""

    def estimate(place, profiles):
        found = isoflop(of_profiles(place, profiles), forms=forms, replicates=400)
        return found.exponent(), np.log(found.size(AHEAD * np.exp(place[-1])))

    return estimate


def by_law(near):
    """The law of size and data: value and ends of exponent and log size."""

    def estimate(place, profiles):
        runs = of_profiles(place, profiles)
        found = parametric(runs, fitted(runs))
        lines = [envelope(runs), isoflop(runs, replicates=400)] if near else []
        last = runs.compute.max()
        middle = np.sqrt(runs.compute.min() * last)
        if line := contradicted(found, lines, [middle, last, AHEAD * last]):
            kept = runs.keep(is_near(line, runs.size, runs.compute))
            with contextlib.suppress(ValueError):  # too few
                found = refitted(found, line, runs, fitted(kept))
        return found.exponent(), np.log(found.size(AHEAD * np.exp(place[-1])))

    return estimate


def fitted(runs):
    return fit(CHINCHILLA, (runs.size, runs.data), runs.loss, clusters=runs.run)


def polynomial(degree, width):
    """A line through the lowest points of polynomials in log size; value alone."""

    def estimate(place, profiles):
        best = [_lowest(*each, degree, width) for each in profiles]
        slope, height = np.polyfit(place, best, 1)
        return (slope,), (height + slope * (place[-1] + np.log(AHEAD)),)

    return estimate


def _lowest(n, loss, degree, width):
    centre = n[loss.argmin()]
    away = np.abs(n - centre)
    reach = max(width, 1.3 * np.sort(away)[min(len(n) - 1, degree + 2)])
    weights = np.clip(1 - (away / reach) ** 3, 0, None) ** 1.5
    terms = np.polyfit(n - centre, loss, degree, w=weights)
    ends = max(n.min() - centre, -reach), min(n.max() - centre, reach)
    at = np.linspace(*ends, 2001)
    return centre + at[np.polyval(terms, at).argmin()]


def chosen(rates=RATES, widths=WIDTHS):
    p, q, width = FORMS.T
    return FORMS[np.isin(p, rates) & np.isin(q, rates) & np.isin(width, widths)]


METHODS = {
    "parabola, all sizes": polynomial(2, np.inf),
    "parabola, weights within 5x": polynomial(2, 1.6),
    "cubic, all sizes": polynomial(3, np.inf),
    "cubic, weights within 5x": polynomial(3, 1.6),
    "average of parabolas by width": averaged(chosen(rates=(LEAST,))),
    "average of asymmetric, all sizes": averaged(chosen(widths=(np.inf,))),
    "average of asymmetric, within 5x": averaged(chosen(widths=(1.6,))),
    "average of all (the project's)": averaged(FORMS),
    "law of all runs": by_law(near=False),
    "law near the best (the project's)": by_law(near=True),
}


def main():
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    named = " ".join(sys.argv[2:])
    print(f"{studies} studies of each of {len(SHAPES)} shapes and {len(DESIGNS)} designs")
    for name, method in METHODS.items():
        if named not in name:
            continue
        kinds = {
            (shape, design): measured(method, SHAPES[shape], DESIGNS[design], studies)
            for shape in SHAPES
            for design in DESIGNS
        }
        error = np.sqrt(np.mean([each[:2] for each in kinds.values()], axis=0))
        said = f"{name:34} error {error[0]:.4f} {error[1]:.3f}"
        numbers = np.array([each[2:] for each in kinds.values()])
        if np.isfinite(numbers).all():
            held, wide = numbers[:, :2], numbers[:, 2:].mean(axis=0)
            worst = held.min(axis=0)
            said += "   held {:.3f} {:.3f}".format(*held.mean(axis=0))
            said += f", at worst {worst[0]:.2f} {worst[1]:.2f}   width {wide[0]:.3f} {wide[1]:.2f}"
        print(said, flush=True)
        if "project" not in name:
            continue
        print("  by shape: errors, shares held")
        for shape in SHAPES:
            mine = np.array([kinds[shape, design] for design in DESIGNS]).mean(axis=0)
            error, held = mine[:2] ** 0.5, mine[2:4]
            print("    {:18} {:.4f} {:.3f}   {:.2f} {:.2f}".format(shape, *error, *held))


def measured(method, shape, design, studies):
    """Mean squared errors of exponent and log size, shares held, widths."""
    sums = []
    for seed in range(studies):
        place, profiles = study(np.random.default_rng(seed), shape, design)
        inside = [
            k
            for k, (n, loss) in enumerate(profiles)
            if len(n) >= LEAST_SIZES and 0 < loss.argmin() < len(n) - 1
        ]
        found = method(place[inside], [profiles[k] for k in inside])
        ahead = place[inside][-1] + np.log(AHEAD)
        row = []
        for (value, *ends), true in zip(found, (EXPONENT, EXPONENT * ahead), strict=True):
            low, high = ends or (np.nan, np.nan)
            held = low <= true <= high if ends else np.nan
            row.append(((value - true) ** 2, held, high - low))
        sums.append(np.array(row).T.ravel())
    return np.mean(sums, axis=0)


if __name__ == "__main__":
    main()
