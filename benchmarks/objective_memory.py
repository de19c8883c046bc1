"""The closed form of what objectives and private training take, against compilers.

    python benchmarks/objective_memory.py [CASE ...]
    python benchmarks/objective_memory.py --tpu [--kept | --quick] [CASE ...]

The first compiles for this machine's processor: S/16, 224 px, 32 images, float32, Adafactor, 500
classes, half a minute a case, and prints state and activations apart. With --tpu the peak by the
TPU's compiler, as `memory_model.py`, with 500 classes: 224 px, bfloat16, Adafactor; a teacher is
ViT-L/16. --kept prints the cases whose verdicts are there, --quick the closed form alone. A case
takes one to five minutes of one core. CASEs are objectives, as `simclr`, or `private`. Writes
nothing but verdicts.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from models.zoo import shape
from scaling.base.console import print_table
from scaling.base.machine import cache_folder
from scaling.data.procedural.source import Procedural
from scaling.objectives.byol import BYOL
from scaling.objectives.classify import Classify
from scaling.objectives.clip import Clip
from scaling.objectives.distill import Distill
from scaling.objectives.exemplar import Exemplar
from scaling.objectives.jigsaw import Jigsaw
from scaling.objectives.lit import Lit
from scaling.objectives.relative_patch import RelativePatch
from scaling.objectives.rotation import Rotation
from scaling.objectives.s4l import S4L
from scaling.objectives.siglip import SigLip
from scaling.objectives.simclr import SimCLR
from scaling.objectives.teacher import Known
from scaling.planning.compiled import compile_step, compiled_parts, remembered
from scaling.planning.devices import GIB, topology
from scaling.planning.memory import predicted
from scaling.planning.steps import words
from scaling.training.placement_spec import PlacementSpec
from scaling.training.privacy import Privacy
from scaling.training.recipe import Recipe
from scaling.training.run import Run

CLASSES, MIB = 500, 2**20
FULL, NONE = PlacementSpec(remat="full"), PlacementSpec()
PRIVATE = Privacy(noise_multiplier=1.0, delta=1e-6)


class Case(NamedTuple):
    """One step; `privacy` that of its recipe, `images` those of a device."""

    objective: Any
    model: str
    on: str
    images: int
    spec: PlacementSpec = NONE
    privacy: Privacy | None = None


class Taught(Distill):
    """By a ViT-L/16 whose numbers nobody asks for."""

    def known(self) -> Known:
        return Known(shape("L/16", 224), CLASSES)


def cases() -> list[Case]:
    """All."""
    two = ("Ti/16", "v3:2x2", 16), ("B/16", "v3:2x2", 8)
    found = [
        Case(each, *case)
        for each in (
            Classify(),
            SimCLR(),
            BYOL(),
            Exemplar(),
            Rotation(),
            S4L(vat=1.0),
            Taught.model_validate({"teacher": {"from": "L/16"}}),
            Clip(),
            SigLip(),
        )
        for case in two
    ]
    found += [Case(SimCLR(), "B/16", "v5e:2x4", 16), Case(SimCLR(), "L/16", "v3:2x2", 16, FULL)]
    found += [
        Case(Classify(), model, "v3:2x2", images, PlacementSpec(microbatches=parts), PRIVATE)
        for model, images, parts in (
            ("Ti/16", 8, 1),
            ("Ti/16", 32, 4),
            ("S/16", 8, 1),
            ("S/16", 32, 8),
            ("B/16", 4, 1),
            ("B/16", 16, 8),
        )
    ]
    many = PRIVATE.model_copy(update={"augmentations": 4})
    return [*found, Case(Classify(), "S/16", "v3:2x2", 8, PlacementSpec(microbatches=2), many)]


def on_processor() -> list[Case]:
    """One of every objective, and private steps whole and in parts."""
    objectives = (
        Classify(),
        Taught.model_validate({"teacher": {"from": "L/16"}}),
        SimCLR(),
        BYOL(),
        Exemplar(),
        Rotation(),
        Jigsaw(),
        RelativePatch(),
        S4L(),
        S4L(vat=1.0),
        Clip(),
        SigLip(),
        Lit(),
    )
    found = [Case(each, "S/16", "cpu", 32) for each in objectives]
    parts = (PlacementSpec(microbatches=n) for n in (1, 8))
    return found + [Case(Classify(), "S/16", "cpu", 32, spec, PRIVATE) for spec in parts]


def run_of(case: Case) -> Run:
    batch = case.images * topology(case.on).devices
    network = shape(case.model, 224)
    found = Run(
        model=network,
        data=Procedural(resolution=224, classes=CLASSES),
        recipe=Recipe(
            warmup_steps=0,
            clip_norm=None if case.privacy else 1.0,
            privacy=case.privacy,
            cooldown_fraction=0.5,
        ),
        data_size=10**6,
        images_seen=batch * 10,
        batch=batch,
        compute="float32" if case.on == "cpu" else "bfloat16",
    )
    return found.model_copy(update={"objective": case.objective})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    only = parser.add_mutually_exclusive_group()
    parser.add_argument("--tpu", action="store_true", help="the TPU's compiler")
    only.add_argument("--kept", action="store_true", help="cases that were compiled before")
    only.add_argument("--quick", action="store_true", help="the closed form alone")
    parser.add_argument("cases", nargs="*", help="objectives; none: all")
    options = parser.parse_args()
    if not options.tpu and (options.kept or options.quick):
        parser.error("--kept and --quick are for --tpu.")
    known = cases() if options.tpu else on_processor()
    wanted = [case for case in known if name_of(case) in (options.cases or [name_of(case)])]
    if not options.tpu:
        show_parts(wanted)
        return
    rows = (row(case, options) for case in wanted)
    print_table(
        ("objective", "model", "on", "images", "step", "closed form", "compiler", "error"),
        [each for each in rows if each is not None],
        left=("objective", "model", "on", "step"),
    )


def show_parts(wanted: list[Case]) -> None:
    """State and activations of each case, in closed form and compiled for this processor."""
    rows: list[tuple[str, ...]] = []
    first: float | None = None
    for case in wanted:
        run, on = run_of(case), topology(case.on)
        ours, theirs = predicted(run, case.spec, on), compiled_parts(run, on, case.spec)
        state = theirs.arguments - ours.batch
        made = max(ours.moments.values())
        ratio = (theirs.temporary + theirs.outputs) / made
        first = ratio if first is None else first
        rows.append(
            (
                told(case),
                words(case.spec),
                f"{ours.state / MIB:.2f}",
                f"{state / MIB:.2f}",
                f"{100 * (ours.state / state - 1):+.2f} %",
                f"{made / MIB:.0f}",
                f"{ratio * made / MIB:.0f}",
                f"{ratio:.2f}",
                f"{ratio / first:.2f}",
            )
        )
    print_table(
        (
            "objective",
            "step",
            *("state", "compiled", "error"),
            *("activations", "compiled", "ratio", "over the first's"),
        ),
        rows,
        left=("objective", "step"),
    )


def told(case: Case) -> str:
    """The name of a case, with what tells it from others of the name."""
    if case.objective.kind == "s4l" and case.objective.vat:
        return "s4l, vat"
    return name_of(case)


def name_of(case: Case) -> str:
    return "private" if case.privacy else case.objective.kind


def row(case: Case, options: argparse.Namespace) -> tuple[str, ...] | None:
    """One line of the table; None: it is left out."""
    run, on = run_of(case), topology(case.on)
    ours = predicted(run, case.spec, on)
    name = name_of(case)
    if case.privacy and case.privacy.augmentations > 1:
        name += f", {case.privacy.augmentations} augmentations"
    step, peak = words(case.spec), f"{ours.peak / GIB:.3f}"
    shown = (name, case.model, case.on, f"{case.images}", step, peak)
    if options.quick:
        return (*shown, "", "")
    ask = remembered if options.kept else compile_step
    theirs = ask(run, on, case.spec, cache_folder() / "plans")
    if theirs is None:
        return None
    return (*shown, f"{theirs.gib:.3f}", f"{100 * (ours.peak / theirs.bytes - 1):+.1f} %")


if __name__ == "__main__":
    main()
