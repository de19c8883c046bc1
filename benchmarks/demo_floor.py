"""How often does the demo's 90 % interval hold the floor that is known?

    python benchmarks/demo_floor.py [--seeds 10] [--runs runs] [--table FILE]

Trains the demo study anew for each seed, which draws other glyphs, other images, other label noise
and other initial parameters, and fits the frontier of each. About as long as that many demos;
finished runs are found again. Prints a Markdown table, and writes it to FILE.
"""

import argparse
from pathlib import Path

import numpy as np

from fits.data.frontier import on_frontier
from fits.laws.powers import SATURATING
from fits.regression.fit import fit
from scaling.launch.launch import launch
from scaling.launch.launch_spec import DEFAULT
from scaling.launch.local.launcher import Local
from scaling.runs.run_folder import RunFolder
from scaling.study.parse import read_study
from scaling.study.study import Study


def with_seed(study: Study, seed: int) -> Study:
    """The demo in another world: data and training both drawn from `seed`."""
    runs = tuple(
        run.model_copy(update={"data": run.data.model_copy(update={"seed": seed}), "seed": seed})
        for run in study.runs
    )
    return study.model_copy(update={"runs": runs})


def row(study: Study, seed: int, runs: Path) -> tuple[str, bool]:
    """A line of the table, and whether the interval holds the floor."""
    flops, errors = [], []
    for run in study.runs:
        values = {r.metric: r.value for r in RunFolder(runs / run.id).results(study.evaluate)}
        flops.append(run.flops)
        errors.append(values["upstream_error"])
    found = fit(SATURATING, flops, errors, choose=on_frontier)
    floor = found.values[SATURATING.parameters.index("c")]
    low, high = found.intervals[SATURATING.parameters.index("c")]
    truth = study.runs[0].data.irreducible_error()
    assert truth is not None  # the demo's data know it
    holds = low <= truth <= high
    chosen = np.array(errors)
    line = (
        f"| {seed} | {chosen.max():.3f} | {chosen.min():.4f} | {floor:.4f} | "
        f"{low:.4f} .. {high:.4f} | {'yes' if holds else '**no**'} | {found.n} | {found.rms:.3f} |"
    )
    return line, holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    demo = read_study("demo")
    lines = [
        "| seed | highest error | lowest error | fitted floor | 90 % interval | holds 0.1 | "
        "frontier runs | rms log error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    held = 0
    for seed in range(options.seeds):
        study = with_seed(demo, seed)
        if not launch(study, options.runs, DEFAULT, Local()):
            raise SystemExit(1)
        line, holds = row(study, seed, options.runs)
        held += holds
        lines.append(line)
        print(line, flush=True)
    lines.append(f"\nThe interval holds the true floor for {held} of {options.seeds} seeds.")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.table:
        options.table.write_text(text)


if __name__ == "__main__":
    main()
