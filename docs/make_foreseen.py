"""python docs/make_foreseen.py: writes docs/laws/average.png, and prints the numbers of its page.

The frontier of the paper's few-shot and fine-tuned errors beyond a tenth and a thirtieth of the
largest compute, as it would have been foreseen from the runs up to there: by the law that is named,
with the interval that is conditional on it, and by the average over laws.
"""

import csv
from pathlib import Path

import numpy as np

from fits.average.average import average
from fits.data.frontier import on_frontier
from fits.laws.registry import LAWS
from fits.plot_foreseen import draw_foreseen
from fits.plotting import save
from fits.regression.fit import fit

ROOT = Path(__file__).resolve().parents[1]
TABLES = {"10-shot": "zhai2022_inet10.csv", "fine-tuned": "zhai2022_finetune.csv"}
NAMED = "power", "power-floor", "saturating", "m4"
TIMES = 10, 30
DRAWN = "fine-tuned", 10, "saturating"


def main():
    print(f"{'':26}{'beyond':>7}" + "".join(f"{name:>24}" for name in (*NAMED, "best")))
    print(f"{'':33}" + f"{'error  held  width':>24}" * (len(NAMED) + 1))
    for name, file in TABLES.items():
        with (ROOT / "notebooks" / file).open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        x, y = (np.array([float(row[column]) for row in rows]) for column in ("core_days", "error"))
        for times in TIMES:
            found = {law: fitted(law, x, y, x.max() / times) for law in (*NAMED, "best")}
            beyond = on_frontier(x, y, np.ones((1, len(x)), bool))[0] & (x > x.max() / times)
            cells = [scores(each, x[beyond], y[beyond]) for each in found.values()]
            print(f"{name:12} {times:3} times ahead {beyond.sum():7}" + "".join(cells))
            if (name, times) == DRAWN[:2]:
                draw(found, x, y, float(x.max() / times))


def fitted(name, x, y, edge):
    """x -> prediction and its 90 % interval, by a law or an average fitted to runs up to `edge`."""
    runs = x[x <= edge], y[x <= edge]
    if name == "best":
        found = average(*runs, choose=on_frontier)
    else:
        found = fit(LAWS[name], *runs, choose=on_frontier)
    return lambda at: (found.predict(at), *found.band(at))


def scores(found, x, y):
    """Root mean square log error, share held, mean width in log error."""
    value, low, high = found(x)
    error = np.sqrt(np.mean(np.log(value / y) ** 2))
    with np.errstate(divide="ignore"):
        width = np.mean(np.log(high / low))
    return f"{error:13.3f}{np.mean((low <= y) & (y <= high)):5.2f}{width:6.2f}"


def draw(found, x, y, edge):
    law = DRAWN[-1]
    figure = draw_foreseen(
        x,
        y,
        edge,
        [
            (f"law {law}, if it holds", found[law]),
            ("average over laws", found["best"]),
        ],
        xlabel="core-days",
        ylabel="error, fine-tuned",
    )
    save(figure, ROOT / "docs" / "laws" / "average.png")


if __name__ == "__main__":
    main()
