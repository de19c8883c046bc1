"""The closed form of a step's memory against XLA's compiler for GPUs: GiB of one H100.

    python benchmarks/gpu_memory.py [--kept]

For each case the step is compiled ahead of time, without a GPU, or its verdict is read from
~/.cache/vit-scaling-laws/plans. JAX's CUDA plugin is needed: `scaling plan demo --on gpu:h100` says
which. A case takes a minute of one core. The network is the study zhai2022's: 29,593 classes,
bfloat16, Adafactor with bfloat16 momentum. --kept prints the cases whose verdicts are there and
compiles nothing. Writes nothing but verdicts.
"""

from __future__ import annotations

import argparse
import os

from scaling.base.console import print_table
from scaling.base.machine import cache_folder
from scaling.planning.compiled import ENVIRONMENT, compile_step, remembered
from scaling.planning.devices import GIB, topology
from scaling.planning.memory import predicted
from scaling.planning.steps import with_images, words
from scaling.study.parse import read_study
from scaling.training.placement_spec import PlacementSpec

NONE, FULL = PlacementSpec(), PlacementSpec(remat="full")
FUSED = PlacementSpec(update="fused")
SHARED = PlacementSpec(remat="full", fsdp=8)
MODELS = "Ti/16", "S/16", "B/16", "L/16"
CASES = (
    *((model, "gpu:h100", 64, spec) for spec in (NONE, FULL) for model in MODELS),
    *((model, "gpu:h100", 64, FUSED) for model in ("Ti/16", "B/16")),
    ("B/16", "gpu:h100x8", 64, NONE),
    *((model, "gpu:h100x8", 64, SHARED) for model in ("B/16", "L/16")),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kept", action="store_true", help="cases that were compiled before")
    ask = remembered if parser.parse_args().kept else compile_step
    os.environ.update(ENVIRONMENT)  # before anything loads JAX
    rows = (row(*case, ask) for case in CASES)
    print_table(
        ("model", "on", "images", "step", "closed form", "compiler", "error"),
        [each for each in rows if each is not None],
        left=("model", "on", "step"),
    )


def row(model: str, on: str, images: int, spec: PlacementSpec, ask) -> tuple[str, ...] | None:
    """One line of the table; None: it is left out."""
    devices = topology(on)
    run = next(r for r in read_study("zhai2022", planned=True).runs if r.model.name == model)
    run = with_images(run, images, devices)
    theirs = ask(run, devices, spec, cache_folder() / "plans")
    if theirs is None:
        return None
    ours = predicted(run, spec, devices).peak
    error = f"{100 * (ours / theirs.bytes - 1):+.1f} %"
    told = model, on, f"{images}", words(spec), f"{ours / GIB:.3f}", f"{theirs.gib:.3f}", error
    return told


if __name__ == "__main__":
    main()
