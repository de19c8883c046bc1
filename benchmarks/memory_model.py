"""The closed form of a step's memory against the TPU's compiler: GiB of one device.

    python benchmarks/memory_model.py [--kept | --quick]

For each case the step is compiled ahead of time for TPUs that are not there (libtpu is needed:
pip install 'vit-scaling-laws[tpu]'), or its verdict is read from ~/.cache/vit-scaling-laws/plans;
compiling all of them takes an hour of one core. The network is the study zhai2022's: 29,593
classes, bfloat16, Adafactor with bfloat16 momentum, unless said otherwise. `state` is what the
arguments alone take. --kept prints the cases whose verdicts are there, --quick the closed form
alone; neither compiles anything. Writes nothing but verdicts.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

from scaling.base.console import print_table
from scaling.base.machine import cache_folder
from scaling.planning.compiled import compile_step, remembered
from scaling.planning.devices import GIB, topology
from scaling.planning.memory import predicted
from scaling.planning.steps import words
from scaling.study.parse import read_study
from scaling.training.placement_spec import PlacementSpec

FULL, FUSED = PlacementSpec(remat="full"), PlacementSpec(update="fused")
NONE, DOTS = PlacementSpec(), PlacementSpec(remat="dots")


class Case(NamedTuple):
    """One step.

    Fields:
      held_out: neither its buffers nor its number were looked at while the closed form was written.
      optimizer, compute: what is changed of the study's run.
    """

    model: str
    on: str
    images: int
    spec: PlacementSpec
    held_out: bool = False
    optimizer: str = "adafactor"
    compute: str = "bfloat16"


CHOSEN = (  # by `scaling plan zhai2022 --on v3:2x2 --images-per-device 8`
    Case("s/28", "v3:2x2", 8, NONE, held_out=True),
    Case("s/16", "v3:2x2", 8, NONE),
    Case("Ti/16", "v3:2x2", 8, NONE),
    Case("S/32", "v3:2x2", 8, NONE),
    Case("S/16", "v3:2x2", 8, NONE, held_out=True),
    Case("B/32", "v3:2x2", 8, NONE),
    Case("B/28", "v3:2x2", 8, NONE),
    Case("B/16", "v3:2x2", 8, NONE),
    Case("L/16", "v3:2x2", 8, NONE),
    Case("g/14", "v3:2x2", 8, DOTS),
    Case("G/14", "v3:2x2", 8, FUSED),
)
CASES = (
    *CHOSEN,
    Case("B/32", "v5e:1x1", 8, NONE),
    Case("S/16", "v5e:2x4", 8, NONE),
    Case("B/16", "v5e:2x4", 32, NONE),
    Case("Ti/16", "v5e:4x4", 8, NONE),
    Case("B/32", "v5e:16x16", 32, NONE, held_out=True),
    Case("s/16", "v3:2x2", 8, DOTS),
    *(Case(model, "v3:2x2", 8, FULL) for model in ("Ti/16", "S/16", "B/32", "L/16", "g/14")),
    Case("Ti/16", "v3:2x2", 32, FULL),
    Case("S/32", "v3:2x2", 32, FULL),
    Case("B/16", "v3:2x2", 32, FULL),
    Case("L/16", "v3:2x2", 256, FULL),
    Case("Ti/16", "v3:2x2", 2048, FULL),
    *(Case(model, "v3:2x2", 8, FUSED) for model in ("Ti/16", "S/16", "B/32")),
    Case("Ti/16", "v5e:4x4", 8, PlacementSpec(update="fused", fsdp=16)),
    Case("L/16", "v5e:4x4", 8, PlacementSpec(remat="full", fsdp=16)),
    Case("G/14", "v5e:4x4", 32, PlacementSpec(update="fused", fsdp=16)),
    Case("G/14", "v5e:16x16", 32, PlacementSpec(update="fused", fsdp=256)),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--kept", action="store_true", help="cases that were compiled before")
    only.add_argument("--quick", action="store_true", help="the closed form alone")
    options = parser.parse_args()
    rows = (row(case, options) for case in CASES)
    print_table(
        ("model", "on", "images", "step", "state", "closed form", "compiler", "error", "held out"),
        [each for each in rows if each is not None],
        left=("model", "on", "step"),
    )


def row(case: Case, options: argparse.Namespace) -> tuple[str, ...] | None:
    """One line of the table; None: it is left out."""
    on = topology(case.on)
    run = next(r for r in read_study("zhai2022", planned=True).runs if r.model.name == case.model)
    batch = case.images * on.devices
    run = run.model_copy(
        update={
            "batch": batch,
            "images_seen": run.steps * batch,
            "compute": case.compute,
            "recipe": run.recipe.model_copy(update={"optimizer": case.optimizer}),
        }
    )
    ours = predicted(run, case.spec, on)
    told = (case.model, case.on, f"{case.images}", words(case.spec), f"{ours.state / GIB:.3f}")
    if options.quick:
        return (*told, f"{ours.peak / GIB:.3f}", "", "", "yes" if case.held_out else "")
    ask = remembered if options.kept else compile_step
    theirs = ask(run, on, case.spec, cache_folder() / "plans")
    if theirs is None:
        return None
    error = f"{100 * (ours.peak / theirs.bytes - 1):+.1f} %"
    held_out = "yes" if case.held_out else ""
    return (*told, f"{ours.peak / GIB:.3f}", f"{theirs.gib:.3f}", error, held_out)


if __name__ == "__main__":
    main()
