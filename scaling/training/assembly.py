"""From a Run and a PlacementSpec to the step that trains it: the one place where they meet.

Training calls this for the devices there are, planning for devices that are not: the program that
is planned is the program that is trained, every array in the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax

from models.precision import Precision
from scaling.objectives.protocol import BuiltObjective
from scaling.training.placement import Jitted, Placement, best_fsdp, fully_sharded, jitted
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run
from scaling.training.step import SEED, abstract_batch, program


class Assembly(NamedTuple):
    """What a run needs to be trained; nothing is compiled and no array made yet."""

    objective: BuiltObjective
    placement: Placement
    jitted: Jitted


def assemble(
    run: Run,
    spec: PlacementSpec,
    precision: Precision,
    *,
    placement: Placement | None = None,
    devices: Sequence[jax.Device] | None = None,
    quick_start: dict[str, Any] | None = None,
) -> Assembly:
    """The step of `run`.

    Args:
      spec: how the step is computed.
      precision: how the network is.
      placement: where arrays lie; None: as the spec says, on `devices`.
      devices: None for all there are.
      quick_start: compiler options for the beginning, which runs once.

    Raises:
      UserError: the network has no such step, or the devices cannot be shared so.
    """
    objective = run.objective.build(run.model, run.data.classes, precision)
    made = program(run, objective, spec, unroll_up_to=precision.unroll_up_to)
    if placement is None:
        sizes = best_fsdp(spec.fsdp, jax.eval_shape(made.start, SEED, None, None))
        placement = fully_sharded(
            sizes,
            tensor=spec.tensor,
            width=run.model.width,
            views=run.views,
            devices=devices,
        )
    placement.check_batch(run.batch)
    if placement.use_rule is not None:
        together = replace(precision, gather=placement.gather)
        objective = run.objective.build(run.model, run.data.classes, together)
        made = program(
            run,
            objective,
            spec,
            unroll_up_to=precision.unroll_up_to,
            gather=placement.gather,
        )
    batch = abstract_batch(run)
    return Assembly(objective, placement, jitted(made, placement, batch, quick_start=quick_start))
