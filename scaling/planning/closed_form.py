"""What a study will cost, in closed form, before anything is trained.

FLOPs are those of matrix products, 2 a multiply-add, a backward pass twice the forward
(`models.cost`); of evaluations only what they train is counted. Knows no JAX and no clock: FLOPs,
not seconds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models.cost import forward_macs, parameters
from models.shapes import Shape
from scaling.base.console import print_table
from scaling.evaluate.trained.trains import Trains
from scaling.planning.disk import states_kept
from scaling.planning.privacy import privacy_remarks
from scaling.study.study import Study
from scaling.study.variants import variants
from scaling.training.margin import unseen_margin
from scaling.training.run import Run

HEADINGS = ("model", "params", "GMACs", "runs", "trunks", "images", "FLOPs", "if alone", "saved")
RUN_COLUMNS = (
    *("run", "model", "params", "flops", "images_seen", "data_size", "seed", "variant"),
    "cooldown",
)


@dataclass(frozen=True)
class Cost:
    """What some runs take together, and what they would take if each were trained alone.

    Runs that differ only in `images_seen` share a trunk: it is trained once, up to where the last
    of them leaves it, and each pays for its own cooldown.
    """

    runs: int
    trunks: int
    steps: int
    steps_alone: int
    images: int
    images_alone: int
    flops: int
    flops_alone: int

    @property
    def saving_percent(self) -> float:
        """FLOPs that shared trunks save, of those of runs trained alone."""
        return 100 * (1 - self.flops / self.flops_alone)


@dataclass(frozen=True)
class ModelCost:
    """One of a study's models in one of its variants, and its share of the cost."""

    name: str
    variant: str
    """As `study.variants` tells them: "" where the study has one."""
    params: int
    """Of the backbone, its pool included, classifier left out: as in the results."""
    forward_gmacs: float
    """1e9 multiply-adds of one image's forward pass through the network under a linear classifier
    of the data's classes, whatever its objective puts there: a size of the model. What the
    objective does with it is in the FLOPs."""
    cost: Cost


@dataclass(frozen=True)
class StudyCost:
    """What a study will cost, by model and variant and in all."""

    study: str
    question: str
    models: tuple[ModelCost, ...]
    cost: Cost
    states: int
    """Training states on disk when all runs are done."""
    disk_bytes: int
    """That these take."""
    fine_tuning: Cost | None = None
    """Of what evaluations train; None: nothing. No part of `cost`."""
    remarks: tuple[str, ...] = ()
    """What is lost in it, in words."""


def study_cost(study: Study) -> StudyCost:
    """The cost of all runs of a study, none of them trained yet."""
    words = variants(study.runs)
    by_model: dict[Shape, dict[str, list[Run]]] = {}
    for run in study.runs:
        by_model.setdefault(run.model, {}).setdefault(words[run.id], []).append(run)
    models = [
        ModelCost(
            name=runs[0].model_name,
            variant=variant,
            params=parameters(model),
            forward_gmacs=forward_macs(model, runs[0].data.classes) / 1e9,
            cost=cost_of(runs),
        )
        for model, several in by_model.items()
        for variant, runs in several.items()
    ]
    cost = _sum(model.cost for model in models)
    beside = trained_by_evaluations(study)
    return StudyCost(
        study.name,
        study.question,
        tuple(models),
        cost,
        *states_kept(study),
        fine_tuning=_sum(cost_of([run]) for run in beside) if beside else None,
        remarks=remarks(study),
    )


def trained_by_evaluations(study: Study) -> list[Run]:
    """Every run that is trained to measure another; each is trained alone.

    All have one learning rate, for that changes no cost.
    """
    trains = [each for each in study.evaluate if isinstance(each, Trains)]
    return [
        tuned.model_copy(update={"recipe": tuned.recipe.model_copy(update={"learning_rate": 1.0})})
        for run in study.runs
        for each in trains
        for tuned in each.runs(run)
    ]


def remarks(study: Study) -> tuple[str, ...]:
    """What a plan says of a study beside its cost, as the margin that a patch does not see."""
    trains = [each for each in study.evaluate if isinstance(each, Trains)]
    networks = {run.model: run for run in study.runs}
    said = [unseen_margin(model) for model in networks]
    said += (
        words
        for each in trains
        for run in networks.values()
        for transfer in each.transfers(run)
        for words in transfer.remarks()
    )
    said += privacy_remarks(study)
    return tuple(dict.fromkeys(words for words in said if words))


def cost_of(runs: Sequence[Run]) -> Cost:
    """The cost of some runs of a study."""
    trunks: dict[str, list[Run]] = {}
    for run in runs:
        trunks.setdefault(run.trunk, []).append(run)
    return _sum(_trunk_cost(sharing) for sharing in trunks.values())


def _trunk_cost(sharing: list[Run]) -> Cost:
    """Cost of all runs of one trunk; they have everything in common but their length."""
    any_run = sharing[0]
    flops_an_image = any_run.flops // any_run.images_seen
    longest = max(run.branch_step for run in sharing)
    steps = longest + sum(run.steps - run.branch_step for run in sharing)
    images_alone = sum(run.images_seen for run in sharing)
    return Cost(
        runs=len(sharing),
        trunks=1,
        steps=steps,
        steps_alone=sum(run.steps for run in sharing),
        images=steps * any_run.batch,
        images_alone=images_alone,
        flops=steps * any_run.batch * flops_an_image,
        flops_alone=images_alone * flops_an_image,
    )


def _sum(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(*(asdict(cost).values() for cost in costs), strict=True)))


def as_json(found: StudyCost) -> dict[str, Any]:
    """The plan as plain JSON; costs lie beside the names of what costs."""
    return {
        "study": found.study,
        "question": found.question,
        **_cost_json(found.cost),
        "states": found.states,
        "disk_bytes": found.disk_bytes,
        "fine_tuning": None if found.fine_tuning is None else _cost_json(found.fine_tuning),
        "models": [
            {
                "name": model.name,
                "variant": model.variant,
                "params": model.params,
                "forward_gmacs": model.forward_gmacs,
                **_cost_json(model.cost),
            }
            for model in found.models
        ],
        "remarks": list(found.remarks),
    }


def _cost_json(cost: Cost) -> dict[str, Any]:
    return {**asdict(cost), "saving_percent": cost.saving_percent}


def as_csv(study: Study) -> str:
    """The runs of a study as CSV, columns as in its results; no data_size: data are endless.

    FLOPs are those of each run as if trained alone; `cooldown` is the part of them that lies behind
    its trunk, which runs that differ only in images_seen share. `variant` is "" where the study has
    one.
    """
    words = variants(study.runs)
    unbound = {run.data for run in study.runs if run.data_size is None}
    sizes = {data: data.sizes()[0] for data in unbound}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RUN_COLUMNS)
    for run in study.runs:
        size = run.data_size or sizes[run.data] or ""
        writer.writerow(
            [
                *(run.id, run.model_name, run.params, run.flops, run.images_seen, size, run.seed),
                words[run.id],
                f"{1 - run.branch_step / run.steps:.9g}",
            ]
        )
    return text.getvalue()


def show_cost(found: StudyCost) -> None:
    """Prints the plan: one line for each model, or for each of its variants where the study has
    several, and the sum in words."""
    print(f"{found.study}: {found.question}\n")
    several = any(model.variant for model in found.models)
    model, *others = HEADINGS
    rows = [
        (
            m.name,
            *([m.variant] if several else []),
            *(f"{m.params:_}", f"{m.forward_gmacs:.3g}", *_cells(m.cost)),
        )
        for m in found.models
    ]
    headings = (model, *(["variant"] if several else []), *others)
    print_table(headings, rows, left=("model", "variant"))
    cost = found.cost
    print(
        f"\n{_counted(cost.runs, 'run')} on {_counted(cost.trunks, 'trunk')}: "
        f"{_counted(cost.steps, 'step')}, {_counted(cost.images, 'image')}, "
        f"{cost.flops:.3g} FLOPs.\n"
        f"Trained alone they would take {cost.flops_alone:.3g} FLOPs; "
        f"sharing trunks saves {cost.saving_percent:.0f} %.\n"
        f"On disk: {_counted(found.states, 'training state')}, about {size(found.disk_bytes)}; "
        "`scaling clean` frees what nothing needs."
    )
    if found.fine_tuning is not None:
        more = found.fine_tuning
        print(
            f"Fine-tuning to evaluate, besides: {_counted(more.runs, 'training')}, "
            f"{_counted(more.steps, 'step')}, {_counted(more.images, 'image')}, "
            f"{more.flops:.3g} FLOPs; in all {cost.flops + more.flops:.3g} FLOPs."
        )
    for remark in found.remarks:
        print(remark)


def size(count: float) -> str:
    """Bytes for a person: 12 MiB, 3.4 GiB, 1.2 TiB."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:.3g} {unit}"
    return f"{count / 1024:.3g} KiB"


def _counted(number: int, noun: str) -> str:
    return f"{number:_} {noun}{'' if number == 1 else 's'}"


def _cells(cost: Cost) -> tuple[str, ...]:
    return (
        f"{cost.runs:_}",
        f"{cost.trunks:_}",
        f"{cost.images:_}",
        f"{cost.flops:.3g}",
        f"{cost.flops_alone:.3g}",
        f"{cost.saving_percent:.0f} %",
    )
