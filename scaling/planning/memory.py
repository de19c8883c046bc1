"""What a step needs of a device's memory at the very least, in closed form. Knows no JAX.

Counted: parameters and optimizer state; gradients, where all exist at once; the input of each
block, and what is kept of the block for the backward pass. Not counted: what a compiler adds.
"""

from __future__ import annotations

from models.cost import parameters
from models.shapes import BiTShape, ViTShape
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

MOMENTS = {"adafactor": 2, "adafactor-f32": 4, "adam-bf16": 6, "adam": 8}  # bytes a parameter


def least_bytes(run: Run, spec: PlacementSpec, devices: int) -> float:
    """Of each device.

    Args:
      run: its batch is that of all devices together.
    """
    count = parameters(run.model, run.data.classes)
    average = 4 if run.recipe.polyak else 0
    state = count * (4 + MOMENTS[run.recipe.optimizer] + average) / spec.fsdp
    gradients = 0 if spec.update == "fused" else 4 * count / spec.fsdp
    return state + gradients + run.batch / devices / spec.microbatches * _kept(run, spec)


def _kept(run: Run, spec: PlacementSpec) -> float:
    """Bytes kept of one image for the backward pass through the blocks."""
    shape = run.model
    if isinstance(shape, BiTShape):
        return 0.0
    size = 4 if run.compute == "float32" else 2
    tokens = shape.tokens if isinstance(shape, ViTShape) else shape.patches
    inputs = tokens * shape.width
    if spec.recomputed in ("full", "offload"):
        return float(size * shape.depth * inputs)
    products = tokens * (4 * shape.width + shape.mlp)
    return float(size * shape.depth * (inputs + products))
