"""What a placement asks of networks and batches that they cannot do, in words.

Study files, command lines and plans say it alike, before anything is trained. Knows no JAX.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fits.base.errors import UserError
from models.shapes import BiTShape, MixerShape, Shape, ViTShape
from scaling.objectives.config import ObjectiveConfig
from scaling.training.placement_spec import PlacementSpec
from scaling.training.privacy import FUSED_PRIVATE
from scaling.training.run import Run


def network_mistakes(spec: PlacementSpec, shape: Shape) -> Iterator[str]:
    """What this network cannot have of it."""
    if isinstance(shape, BiTShape):
        if spec.update == "fused":
            yield (
                f'{shape.name} is a BiT, whose blocks differ, and update = "fused" goes through '
                'equal ones; use "plain", or leave it to a study of its own.'
            )
        if spec.tensor > 1:
            yield (
                f"{shape.name} is a BiT, which has no heads or hidden features to share: "
                f"tensor = {spec.tensor}; use 1."
            )
        return
    shared = _shared(shape)
    if any(count % spec.tensor for count in shared.values()):
        told = " and ".join(f"{count} {what}" for what, count in shared.items())
        can = [n for n in range(1, spec.tensor) if not any(c % n for c in shared.values())]
        yield (
            f"{shape.name} has {told}, which tensor = {spec.tensor} does not divide; use "
            f"{' or '.join(map(str, can[-2:]))}."
        )
    if not any(length % spec.fsdp == 0 for length in _lengths(shape)):
        yield (
            f"{shape.name} has {shape.width} features and {max(_lengths(shape))} hidden ones, and "
            f"fsdp = {spec.fsdp} divides neither: every device would hold nearly all of the state; "
            f"use {_near(spec.fsdp, shape)}."
        )


def objective_mistakes(
    spec: PlacementSpec, objective: ObjectiveConfig, *, private: bool = False
) -> Iterator[str]:
    """What this objective cannot have of it.

    Args:
      private: whether the gradient of each image is taken.
    """
    kind = type(objective).model_fields["kind"].default
    if spec.update == "fused" and private:
        yield FUSED_PRIVATE
    elif spec.update == "fused" and not objective.one_pass:
        yield (
            f'update = "fused": it goes once through the blocks of one network, and {kind}, as it '
            'is set here, does not; say update = "plain".'
        )
    if spec.microbatches > 1 and objective.couples_examples:
        yield (
            f"microbatches = {spec.microbatches}: the loss {kind} of an image depends on the "
            "others of its batch, so a batch in parts has another; leave microbatches out."
        )


def batch_mistakes(spec: PlacementSpec, batch: int) -> Iterator[str]:
    """Parts that this batch cannot be split into, with the nearest batches that can."""
    parts = {
        f"into fsdp = {spec.fsdp} parts": spec.fsdp,
        f"into microbatches = {spec.microbatches} parts": spec.microbatches,
    }
    if spec.devices is not None:
        shares = spec.devices // spec.tensor
        parts[f"over {shares} devices"] = shares
    for how, count in parts.items():
        if count and batch % count:
            below = batch // count * count
            near = f"{below} or {below + count}" if below else f"{count}"
            yield f"{batch} cannot be split {how}; use {near}."


def check_runs(spec: PlacementSpec, runs: Iterable[Run], *, batches: bool = True) -> None:
    """
    Args:
      batches: whether those of the runs are what is trained.

    Raises:
      UserError: networks, or batches, of which `spec` asks what they cannot do; all, each once.
    """
    found: dict[str, None] = {}
    for run in runs:
        found |= dict.fromkeys(network_mistakes(spec, run.model))
        private = run.recipe.privacy is not None
        found |= dict.fromkeys(objective_mistakes(spec, run.objective, private=private))
        if batches:
            said = (f"a batch of {each}" for each in batch_mistakes(spec, run.batch))
            found |= dict.fromkeys(said)
    if found:
        raise UserError(list(found))


def _shared(shape: ViTShape | MixerShape) -> dict[str, int]:
    """What devices along a tensor axis share, counted."""
    if isinstance(shape, ViTShape):
        return {"heads": shape.heads, "hidden features": shape.mlp}
    return {"hidden features of channels": shape.mlp, "of tokens": shape.mlp_tokens}


def _lengths(shape: ViTShape | MixerShape) -> tuple[int, ...]:
    """Dimensions of which at least one must be divided for the state to be split."""
    return shape.width, shape.mlp


def _near(count: int, shape: ViTShape | MixerShape) -> str:
    """The nearest numbers of devices that divide one of them."""
    able = [n for n in range(1, 2 * count) if any(length % n == 0 for length in _lengths(shape))]
    below, above = [n for n in able if n < count], [n for n in able if n > count]
    return " or ".join(map(str, below[-1:] + above[:1]))
