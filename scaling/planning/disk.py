"""What a study's training states take on disk, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scaling.planning.arrays import all_arrays, moments
from scaling.study.study import Study
from scaling.training.run import Run

BESIDE = 4e5  # bytes of a state besides its arrays: Orbax's names and shardings, as in the demo's


def states_kept(study: Study) -> tuple[int, int]:
    """Training states that are there when every run is done, and their bytes.

    Each run's end; and with `keep = "all"` each point of a trunk from which runs branch.
    """
    states = list(study.runs)
    if study.checkpoints.keep == "all":
        states += {(run.trunk, run.branch_step): run for run in study.runs}.values()
    return len(states), round(sum(_bytes(states)) + BESIDE * len(states))


def _bytes(states: Sequence[Run]) -> list[int]:
    """Of each state; equal networks are counted once and for all."""
    known: dict[str, int] = {}
    for run in states:
        if run.step_digest not in known:
            known[run.step_digest] = state_bytes(run)
    return [known[run.step_digest] for run in states]


def state_bytes(run: Run) -> int:
    """Of one training state: parameters, their average where there is one, moments, and what the
    objective has beside them."""
    trained, beside = all_arrays(run)
    found = 4 * sum(math.prod(array.whole) for array in beside)
    for array in trained:
        found += 4 * math.prod(array.whole) * (2 if run.recipe.polyak else 1)
        found += sum(
            size * math.prod(shape) for shape, size in moments(array, run.recipe.optimizer)
        )
    return found
