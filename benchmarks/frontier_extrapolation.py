"""How well the frontier of published tables is foreseen from their cheap runs.

    python benchmarks/frontier_extrapolation.py [--table NAME ...] [--no-laws] [--replicates N]

Of each table the runs of at most 1/10, or 1/30, of the largest compute are kept, and everything is
fitted to their frontier; the runs of the whole table's frontier beyond are then predicted. Printed,
as means over tables (and over the sources of tables, each of which counts once in `mean`):

  error   root mean square of log(predicted / measured) over the frontier beyond
  held    share of it inside nominal 90 % intervals
  width   of these, in log error
  score   the interval score of log error (Winkler 1972; Gneiting and Raftery 2007): width, plus
          20 times how far outside a run lies. Smaller is better. An end farther from the prediction
          than a factor of 1000 counts as that far.

`average` is `--law best` as it is. Below it, what it is without each of its parts:

  chosen elsewhere     its constants (powers of evidence and hold-out, how likely walks are, width
                       of intervals) chosen anew for each source by the mean score on the other
                       sources alone, each divided by the range of log error over the frontier
                       beyond: so none is chosen on a table that it is scored on
  evidence alone       no weight by hold-outs
  hold-out alone       no weight by evidence
  neither              all laws alike
  no spread of laws    intervals without the uncertainty about the law
  no walk              laws err by noise alone: no extrapolation term
  width of the mixture intervals not narrowed
  whole models out     the backtests leave out all runs of the models among those held out, in
                       tables that name their models

Last, means over tables against the best single law over the same tables: those of runs, and all;
`revisiting` has the learning curves of six networks, of which hundreds of points lie on a frontier.

The tables lie in ../shared/data (Zhai et al. 2022; OpenCLIP; Chinchilla's points along compute, N
and D; Farseer along the same; the six networks of each few-shot task of Alabdulmohsin et al. 2022,
whose compute is GFLOPs of a forward pass times examples seen). Those that are not there are left
out. Set OMP_NUM_THREADS=1: the matrices are small.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fits.average.average import AVERAGED, RULE, Average, Rule, average
from fits.base.numbers import Array
from fits.data.frontier import on_frontier
from fits.forecast.forecast import forecast
from fits.laws.registry import LAWS
from fits.regression.fit import fit

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TIMES = 10, 30
LEVEL = 0.9
FARTHEST = np.log(1000.0)
FEWEST = 4  # runs on the frontier kept
SINGLE = (*AVERAGED, "m3", "log-linear")
POWERS_OF_EVIDENCE, POWERS_OF_HOLDOUT = (0.25, 0.5, 1.0), (0.0, 1.0, 2.0)
WIDTHS = 0.6, 0.7, 0.8, 0.9, 1.0
WALKS = (1.0, 0.25), (0.5, 0.5), (1.0, 0.5), (0.5, 0.25)
GFLOPS = {  # a forward pass
    "ViT/S/16": 4.6,
    "ViT/B/16": 17.6,
    "BiT/50/1": 4.1,
    "BiT/101/3": 70.0,
    "MiX/B/16": 12.6,
    "MiX/L/16": 44.6,
}
COLUMNS = "error", "held", "width", "score"
CURVES = "revisiting"  # the source whose points are of learning curves
Rows: TypeAlias = list[list[float] | None]
"""As COLUMNS, of each question; None: no fit."""


# ------------------------------------------------------------------------------------- tables


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """A table: the resource spent by each run and its error, [runs], and its model where known."""

    source: str
    name: str
    x: Array
    y: Array
    models: tuple[str, ...] | None = None


def read(path: str) -> list[dict[str, str]]:
    """Rows of a table; none where it is not there."""
    if not (SHARED / path).exists():
        return []
    with (SHARED / path).open(newline="") as lines:
        return list(csv.DictReader(lines))


def runs(
    source: str,
    name: str,
    rows: list[dict[str, str]],
    x: Callable[[dict[str, str]], float],
    y: Callable[[dict[str, str]], float],
    model: str | None = None,
) -> list[Runs]:
    """One table of these rows; none of no rows."""
    pairs = np.array([(x(row), y(row)) for row in rows], float).reshape(-1, 2)
    models = tuple(row[model] for row in rows) if model else None
    found = Runs(source=source, name=name, x=pairs[:, 0], y=pairs[:, 1], models=models)
    return [found] if rows else []


def of_zhai() -> Iterator[Runs]:
    rows = [row for row in read("zhai2022/fewshot.csv") if row["core_days_fig2"]]
    for shots in ("inet5", "inet10"):
        mine = [row for row in rows if row[shots]]
        days = lambda row: float(row["core_days_fig2"])  # noqa: E731
        error = lambda row, shots=shots: 1 - float(row[shots]) / 100  # noqa: E731
        yield from runs("zhai", shots, mine, days, error, "model")
    rows = [row for row in read("zhai2022/finetune.csv") if row["core_days_fig2"]]
    for row in read("zhai2022/finetune_g14.csv"):
        rows.append({**row, "imagenet": str(100 - float(row["imagenet_finetune_error_pct"]))})
    mine = [row for row in rows if row["imagenet"]]
    error = lambda row: 1 - float(row["imagenet"]) / 100  # noqa: E731
    yield from runs("zhai", "fine-tuned", mine, days, error, "model") if mine else ()


def of_openclip() -> Iterator[Runs]:
    every = read("openclip/zeroshot_imagenet_retrieval.csv")
    every = [row for row in every if row["upstream_dataset"] != "CLIP-WIT"]
    image, text = "image_retrieval_recall@5", "text_retrieval_recall@5"
    asked = ("imagenet1k", "acc1"), ("flickr30k", image), ("flickr30k", text)
    for task, column in (*asked, ("mscoco_captions", image), ("mscoco_captions", text)):
        rows = [row for row in every if row["downstream_dataset"] == task and row[column]]
        name = f"{task} {column.split('_')[0]}"
        error = lambda row, column=column: 1 - float(row[column])  # noqa: E731
        yield from runs("openclip", name, rows, lambda r: float(r["gmacs_total"]), error, "arch")


def of_chinchilla() -> Iterator[Runs]:
    rows = read("chinchilla_epoch/svg_extracted_data.csv")
    size, flops = (
        lambda row: float(row["Model Size"]),
        lambda row: float(row["Training FLOP"]),
    )
    along = {"C": flops, "N": size, "D": lambda row: flops(row) / (6 * size(row))}
    for name, x in along.items():
        yield from runs("chinchilla", name, rows, x, lambda row: float(row["loss"]))


def of_farseer() -> Iterator[Runs]:
    rows = [row for part in ("train", "test") for row in read(f"scalebench/farseer_{part}.csv")]
    along = {
        "C": lambda row: 6 * float(row["N"]) * float(row["D"]),
        "N": lambda row: float(row["N"]),
        "D": lambda row: float(row["D"]),
    }
    for name, x in along.items():
        yield from runs("farseer", name, rows, x, lambda row: float(row["loss"]))


def of_revisiting() -> Iterator[Runs]:
    every = read("scaling_benchmark_2022/benchmark_vision_dev.csv")
    for task in sorted({row["Task"] for row in every}):
        rows = [row for row in every if row["Task"] == task]
        flops = lambda row: GFLOPS[row["Model"]] * float(row["Seen Examples"])  # noqa: E731
        yield from runs("revisiting", task, rows, flops, lambda row: float(row["Loss"]), "Model")


SOURCES = of_zhai, of_openclip, of_chinchilla, of_farseer, of_revisiting


# ------------------------------------------------------------------------------------- questions


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Runs kept, and the frontier beyond them."""

    table: Runs
    times: int
    kept: np.ndarray  # which runs, [runs]
    beyond: np.ndarray

    @property
    def x(self) -> Array:
        return self.table.x[self.beyond]

    @property
    def truth(self) -> Array:
        return np.log(self.table.y[self.beyond])

    @property
    def given(self) -> tuple[Array, Array]:
        return self.table.x[self.kept], self.table.y[self.kept]


def questions(names: list[str]) -> list[Question]:
    found = []
    for table in (table for source in SOURCES for table in source()):
        if names and not any(each in f"{table.source} {table.name}" for each in names):
            continue
        frontier = chosen(table.x, table.y)
        for times in TIMES:
            kept = table.x <= table.x.max() / times
            beyond = frontier & ~kept
            enough = kept.any() and chosen(table.x[kept], table.y[kept]).sum() >= FEWEST
            if enough and beyond.sum() > 1:
                found.append(Question(table=table, times=times, kept=kept, beyond=beyond))
    return found


def chosen(x: Array, y: Array) -> np.ndarray:
    return on_frontier(x, y, np.ones((1, len(x)), bool))[0]


def score(question: Question, value: Array, low: Array, high: Array) -> list[float]:
    """As COLUMNS."""
    with np.errstate(divide="ignore", over="ignore"):
        centre, low, high = (np.log(np.maximum(each, 1e-300)) for each in (value, low, high))
    low, high = np.maximum(low, centre - FARTHEST), np.minimum(high, centre + FARTHEST)
    truth = question.truth
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    width = float(np.mean(high - low))
    return [
        float(np.sqrt(np.mean((centre - truth) ** 2))),
        float(np.mean(outside == 0)),
        width,
        width + 2 / (1 - LEVEL) * float(np.mean(outside)),
    ]


# ------------------------------------------------------------------------------------- answers


def by_law(question: Question, name: str, replicates: int) -> list[float] | None:
    """None where there can be no fit."""
    try:
        law = LAWS[name]
        found = fit(law, *question.given, choose=on_frontier, replicates=replicates, level=LEVEL)
    except ValueError:
        return None
    return score(question, found.predict(question.x), *found.band(question.x))


def by_forecast(question: Question) -> list[float]:
    x, y = question.given
    mine = chosen(x, y)
    return score(question, *forecast(x[mine], y[mine])(question.x, LEVEL))


def by_average(question: Question, found: Average) -> list[float]:
    return score(question, *ends(question, found))


def averaged(question: Question, rule: Rule = RULE, *, whole: bool = False) -> Average:
    models = question.table.models
    clusters = None
    if whole and models:
        clusters = [models[row] for row in np.flatnonzero(question.kept)]
    return average(*question.given, choose=on_frontier, clusters=clusters, rule=rule, level=LEVEL)


def ends(question: Question, found: Average) -> tuple[Array, Array, Array]:
    return found.predict(question.x), *found.band(question.x)


def grid(walk: tuple[float, float]) -> list[Rule]:
    """Powers of evidence and hold-out, intervals as wide as those of the mixture."""
    return [
        replace(RULE, walk=walk, evidence=evidence, holdout=holdout, width=1.0)
        for evidence, holdout in itertools.product(POWERS_OF_EVIDENCE, POWERS_OF_HOLDOUT)
    ]


def chosen_elsewhere(
    asked: list[Question], scores: dict[Rule, list[list[float]]]
) -> tuple[list[list[float]], dict[str, Rule]]:
    """Of each question the score under the rule that is best over the other sources."""
    sources = [question.table.source for question in asked]
    best: dict[str, Rule] = {}
    for source in dict.fromkeys(sources):
        others = [k for k, each in enumerate(sources) if each != source]
        if others:
            best[source] = min(
                scores,
                key=lambda rule: relative_score(asked, scores[rule], others),
            )
    return [scores[best.get(s, RULE)][k] for k, s in enumerate(sources)], best


def relative_score(asked: list[Question], rows: list[list[float]], which: list[int]) -> float:
    """Mean over sources of score / range of log error beyond: alike for losses of any spread."""
    spread = [float(np.ptp(question.truth)) for question in asked]
    found: Rows = [[r[-1] / s] for r, s in zip(rows, spread, strict=True)]
    return of_sources(asked, found, which)[0]


def of_sources(asked: list[Question], rows: Rows, which: list[int]) -> list[float]:
    """Mean over sources of the means over their tables, of each column."""
    every: dict[str, list[list[float]]] = {}
    for k in which:
        row = rows[k]
        if row is not None:
            every.setdefault(asked[k].table.source, []).append(row)
    return np.mean([np.mean(each, axis=0) for each in every.values()], axis=0).tolist()


def show(title: str, asked: list[Question], rows: Rows) -> None:
    for times in TIMES:
        which = [k for k, question in enumerate(asked) if question.times == times]
        sources = list(dict.fromkeys(asked[k].table.source for k in which))
        cells = []
        for source in sources:
            mine = [k for k in which if asked[k].table.source == source and rows[k] is not None]
            found = of_sources(asked, rows, mine) if mine else [np.nan] * 4
            cells.append("".join(f"{each:7.3f}" for each in found))
        both = [k for k in which if rows[k] is not None]
        mean = of_sources(asked, rows, both) if both else [np.nan] * 4
        cells.append("".join(f"{each:7.3f}" for each in mean))
        print(f"{title if times == TIMES[0] else '':22}{times:3}x " + " |".join(cells), flush=True)


def head(asked: list[Question]) -> None:
    sources = list(dict.fromkeys(each.table.source for each in asked))
    counts = [len({q.table.name for q in asked if q.table.source == each}) for each in sources]
    names = [f"{each}, {count}" for each, count in zip(sources, counts, strict=True)]
    print(f"{'':27}" + "  ".join(f"{name:28}" for name in (*names, "mean")))
    print(f"{'':27}" + "  ".join("".join(f"{each:>7}" for each in COLUMNS) for _ in (*names, 0)))


def targets(asked: list[Question], mine: Rows, laws: dict[str, Rows]) -> None:
    """Means over tables of the average, and its ratio to the best law over the same tables."""
    for what, curves in (("tables of runs", False), ("all tables", True)):
        for times in TIMES:
            which = [
                k
                for k, each in enumerate(asked)
                if each.times == times and (curves or each.table.source != CURVES)
            ]
            if not which:
                continue
            means = dict(zip(COLUMNS, np.mean([mine[k] for k in which], axis=0), strict=True))
            said = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            print(f"{what}, {len(which)}, {times} times ahead: {said}")
            for column in ("error", "score"):
                best, ratio, value, count = against(mine, laws, which, COLUMNS.index(column))
                print(f"  {column} {ratio:.2f} of that of {best}, {value:.3f} ({count} tables)")


def against(
    mine: Rows, laws: dict[str, Rows], which: list[int], column: int
) -> tuple[str, float, float, int]:
    """The law nearest to the average, or best before it, over the tables that have a fit of it."""
    found = []
    for name, rows in laws.items():
        both = [k for k in which if rows[k] is not None]
        if both:
            own, its = (np.mean([r[k][column] for k in both]) for r in (mine, rows))
            found.append((name, float(own / its), float(its), len(both)))
    return max(found, key=lambda law: law[1])


def ablation(asked: list[Question]) -> Rows:
    """Prints it, and returns the rows of the average."""
    start = time.process_time()
    plain = [averaged(question) for question in asked]
    seconds = (time.process_time() - start) / len(asked)

    def under(rule: Rule) -> Rows:
        return [by_average(q, a.under(rule)) for q, a in zip(asked, plain, strict=True)]

    show("average", asked, under(RULE))
    scores: dict[Rule, list[list[float]]] = {}
    for walk in WALKS:
        found = plain if walk == RULE.walk else [averaged(q, Rule(walk=walk)) for q in asked]
        for rule in grid(walk):
            whole = [ends(q, a.under(rule)) for q, a in zip(asked, found, strict=True)]
            for width in WIDTHS:
                scores[replace(rule, width=width)] = [
                    score(q, value, *(value * (end / value) ** width for end in each))
                    for q, (value, *each) in zip(asked, whole, strict=True)
                ]
    rows, best = chosen_elsewhere(asked, scores)
    show("chosen elsewhere", asked, [*rows])
    show("evidence alone", asked, under(replace(RULE, holdout=0.0)))
    show("hold-out alone", asked, under(replace(RULE, evidence=0.0)))
    show("neither", asked, under(replace(RULE, evidence=0.0, holdout=0.0)))
    show("no spread of laws", asked, under(replace(RULE, between=False)))
    show("width of the mixture", asked, under(replace(RULE, width=1.0)))
    still = replace(RULE, walk=None)
    show("no walk", asked, [by_average(q, averaged(q, still)) for q in asked])
    whole = [by_average(q, averaged(q, whole=True)) for q in asked if q.table.models]
    show("whole models out", [q for q in asked if q.table.models], [*whole])
    print(f"\n{seconds:.1f} s of CPU an average. Chosen on the other sources:")
    for source, rule in best.items():
        powers = f"evidence^{rule.evidence:g}, hold-out^{rule.holdout:g}, width {rule.width:g}"
        print(f"  {source:12} {powers}, larger walks rarer by {rule.walk}")
    return under(RULE)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--table", nargs="+", default=[], help="those whose name holds one of these"
    )
    parser.add_argument("--no-laws", action="store_true", help="the average alone")
    parser.add_argument("--replicates", type=int, default=200, help="of the bootstrap of a law")
    options = parser.parse_args()
    asked = questions(options.table)
    if not asked:
        raise SystemExit(f"no table: there is none in {SHARED}, or none of that name.")
    head(asked)
    mine = ablation(asked)
    if options.no_laws:
        return
    print()
    show("forecast", asked, [by_forecast(question) for question in asked])
    laws: dict[str, Rows] = {}
    for name in SINGLE:
        laws[name] = [by_law(question, name, options.replicates) for question in asked]
        show(name, asked, laws[name])
    print()
    targets(asked, mine, laws)


if __name__ == "__main__":
    main()
