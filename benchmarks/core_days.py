"""Predicted TPUv3 core-days of "Scaling Vision Transformers" against the published ones.

    python benchmarks/core_days.py

A model's published cost is that of 1000 steps of 4096 images, read off Figure 2 of the paper. It is
compared with what `scaling plan zhai2022 --on v3:2x2` would predict if that model had never been
measured: from the published rates of the other ten alone, straight lines in logarithms over FLOPs
an image, the nearest beyond the ends. `steps` counts every run as trained alone, as the paper's
figure does; with trunks shared, as here, fewer are trained. A second table has the device-hours of
the study, trunks shared, on a slice of each kind of TPU. Prints both and writes nothing.
"""

from __future__ import annotations

from scaling.base.console import print_table
from scaling.planning.closed_form import study_cost
from scaling.planning.devices import topology
from scaling.planning.published import (
    CORE_DAYS,
    DAY,
    IMAGES_A_STEP,
    published_rates,
    without,
)
from scaling.planning.roofline import efficiency, step_time
from scaling.study.parse import read_study
from scaling.training.placement_spec import PlacementSpec

SLICES = ("v3:4x4", "v4:2x2x4", "v5e:4x4", "v5p:2x2x4", "v6e:4x4")
STUDY = read_study("zhai2022", planned=True)


def main() -> None:
    costs = {model.name: model.cost for model in study_cost(STUDY).models}
    against_the_figure(costs)
    print()
    on_every_slice(costs)


def any_run(model: str):
    """A run of the study of this model."""
    return next(run for run in STUDY.runs if run.model.name == model)


def against_the_figure(costs) -> None:
    on, rates = topology("v3:4x4"), published_rates()
    rows, published, predicted = [], 0.0, 0.0
    for model, core_days in CORE_DAYS.items():
        run = any_run(model)
        time = step_time(run, on, PlacementSpec(), rates=without(rates, model))
        images_a_second = run.batch / time.seconds / on.devices
        ours = 1000 * IMAGES_A_STEP / images_a_second / DAY
        steps = costs[model].images_alone / IMAGES_A_STEP
        published += core_days * steps / 1000
        predicted += ours * steps / 1000
        rows.append(
            (
                model,
                f"{core_days:.4g}",
                f"{ours:.4g}",
                f"{100 * (ours / core_days - 1):+.0f} %",
                f"{steps:,.0f}",
                f"{core_days * steps / 1000:,.0f}",
                f"{ours * steps / 1000:,.0f}",
            )
        )
    all_steps = sum(cost.images_alone for cost in costs.values()) / IMAGES_A_STEP
    error = f"{100 * (predicted / published - 1):+.0f} %"
    rows.append(
        ("all", "", "", error, f"{all_steps:,.0f}", f"{published:,.0f}", f"{predicted:,.0f}")
    )
    headings = ("model", "published", "predicted", "error", "steps", "published", "predicted")
    print("TPUv3 core-days of 1000 steps, then of all runs, each trained alone\n")
    print_table(headings, rows, left=("model",))


def on_every_slice(costs) -> None:
    rows = []
    for name in SLICES:
        on = topology(name)
        hours, useful = 0.0, 0.0
        for model, cost in costs.items():
            run = any_run(model)
            time = step_time(run, on, PlacementSpec())
            hours += cost.images / run.batch * time.seconds * on.devices / 3600
            useful += cost.flops
        basis = efficiency(any_run("G/14"), on, PlacementSpec())
        peak = useful / (hours * 3600) / on.kind.peak
        rows.append((name, f"{on.devices}", f"{hours:,.0f}", f"{peak:.0%}", basis.basis))
    print("Device-hours of the study, trunks shared\n")
    print_table(("slice", "devices", "device-hours", "of peak", "rates"), rows, left=("slice",))


if __name__ == "__main__":
    main()
