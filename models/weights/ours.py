"""The parameters that a shape has here, by path: the near end of every table of names.

A path is "blocks/mlp/into/kernel"; a classifier's are "head/kernel" and "head/bias". NumPy only:
that the modules have just these parameters is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from models.shapes import BiTShape, MixerShape, Shape, ViTShape

CHANNELS = 3
BACKBONE, HEAD = "backbone", "head"
WIDENING = 4  # of a BiT block's output over its middle

Flat: TypeAlias = dict[str, Any]
"""Arrays, or what describes them, by path."""


class Parameter(NamedTuple):
    """A parameter's shape in one layer, and how many layers are stacked before it."""

    shape: tuple[int, ...]
    layers: int | None = None

    @property
    def whole(self) -> tuple[int, ...]:
        return self.shape if self.layers is None else (self.layers, *self.shape)


def parameters(shape: Shape, classes: int | None) -> dict[str, Parameter]:
    """Every parameter of the backbone, and of a linear classifier if there is one.

    Raises:
      ValueError: the shape has a layer that no published weights have.
    """
    match shape:
        case ViTShape():
            found = dict(_vit(shape))
        case BiTShape():
            found = dict(_bit(shape))
        case MixerShape():
            found = dict(_mixer(shape))
    if classes is not None:
        found[f"{HEAD}/kernel"] = Parameter((shape.features, classes))
        found[f"{HEAD}/bias"] = Parameter((classes,))
    return found


def paths(params: Mapping[Any, Any]) -> Flat:
    """Parameters as training has them, by path: {"head": {"bias": x}} becomes {"head/bias": x},
    and what is below "backbone" goes without saying so."""
    return {path.removeprefix(f"{BACKBONE}/"): array for path, array in _flat(params, "").items()}


def tree(arrays: Flat) -> dict[Any, Any]:
    """The inverse of `paths`; what is a number in a path is one in the dict, as flax has it."""
    found: dict[Any, Any] = {}
    for path, array in arrays.items():
        whole = path if path.startswith(f"{HEAD}/") else f"{BACKBONE}/{path}"
        *steps, last = (int(step) if step.isdigit() else step for step in whole.split("/"))
        branch = found
        for step in steps:
            branch = branch.setdefault(step, {})
        branch[last] = array
    return found


def _flat(tree: Mapping[Any, Any], before: str) -> Flat:
    found: Flat = {}
    for key, value in tree.items():
        path = f"{before}{key}"
        found |= _flat(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
    return found


def _vit(shape: ViTShape) -> Iterator[tuple[str, Parameter]]:
    if shape.block != "sequential" or shape.query_key_norm or not shape.qkv_and_norm_biases:
        raise ValueError(
            f"{shape.name} has parallel blocks, normalised queries and keys, or no biases in qkv "
            f"and norms (ViT-22B); none of these layouts has names for that."
        )
    d = shape.width
    yield from _linear("embedding", CHANNELS * shape.patch**2, d)
    if shape.position == "learned":
        yield "position", Parameter((1, shape.patches, d))
    if shape.pool == "token":
        yield "token", Parameter((1, 1, d))
    layers = shape.depth
    yield from _norm("blocks/norm1", d, layers)
    yield from _attention("blocks/attention", d, shape.heads, layers)
    yield from _norm("blocks/norm2", d, layers)
    yield from _mlp("blocks/mlp", d, shape.mlp, layers)
    yield from _norm("norm", d)
    if shape.pool == "map":
        yield "pool/probe", Parameter((1, 1, d))
        yield from _attention("pool/attention", d, shape.heads)
        yield from _norm("pool/norm", d)
        yield from _mlp("pool/mlp", d, shape.mlp)
    if shape.pre_logits is not None:
        yield from _linear("pre_logits", d, shape.pre_logits)


def _mixer(shape: MixerShape) -> Iterator[tuple[str, Parameter]]:
    d, layers = shape.width, shape.depth
    yield from _linear("embedding", CHANNELS * shape.patch**2, d)
    yield from _norm("blocks/norm1", d, layers)
    yield from _mlp("blocks/token_mixing", shape.patches, shape.mlp_tokens, layers)
    yield from _norm("blocks/norm2", d, layers)
    yield from _mlp("blocks/channel_mixing", d, shape.mlp, layers)
    yield from _norm("norm", d)


def _bit(shape: BiTShape) -> Iterator[tuple[str, Parameter]]:
    if shape.order != "pre":
        raise ValueError(
            f"{shape.name} has norms after its convolutions, not before them; none of these "
            f"layouts has names for that."
        )
    yield "root/kernel", Parameter((7, 7, CHANNELS, shape.width))
    inputs = shape.width
    for stage, blocks in enumerate(shape.stages):
        middle = shape.width * 2**stage
        outputs = WIDENING * middle
        first = f"stages/{stage}/first"
        yield from _bottleneck(first, inputs, middle)
        if inputs != outputs or stage > 0:
            yield f"{first}/projection/kernel", Parameter((1, 1, inputs, outputs))
        if blocks > 1:
            yield from _bottleneck(f"stages/{stage}/blocks", outputs, middle, blocks - 1)
        inputs = outputs
    yield from _norm("norm", inputs)


def _bottleneck(
    path: str, inputs: int, middle: int, layers: int | None = None
) -> Iterator[tuple[str, Parameter]]:
    outputs = WIDENING * middle
    yield from _norm(f"{path}/norm1", inputs, layers)
    yield f"{path}/conv1/kernel", Parameter((1, 1, inputs, middle), layers)
    yield from _norm(f"{path}/norm2", middle, layers)
    yield f"{path}/conv2/kernel", Parameter((3, 3, middle, middle), layers)
    yield from _norm(f"{path}/norm3", middle, layers)
    yield f"{path}/conv3/kernel", Parameter((1, 1, middle, outputs), layers)


def _linear(
    path: str, inputs: int, outputs: int, layers: int | None = None
) -> Iterator[tuple[str, Parameter]]:
    yield f"{path}/kernel", Parameter((inputs, outputs), layers)
    yield f"{path}/bias", Parameter((outputs,), layers)


def _norm(path: str, width: int, layers: int | None = None) -> Iterator[tuple[str, Parameter]]:
    yield f"{path}/scale", Parameter((width,), layers)
    yield f"{path}/bias", Parameter((width,), layers)


def _mlp(
    path: str, width: int, hidden: int, layers: int | None = None
) -> Iterator[tuple[str, Parameter]]:
    yield from _linear(f"{path}/into", width, hidden, layers)
    yield from _linear(f"{path}/out", hidden, width, layers)


def _attention(
    path: str, width: int, heads: int, layers: int | None = None
) -> Iterator[tuple[str, Parameter]]:
    size = width // heads
    for each in ("query", "key", "value"):
        yield f"{path}/{each}/kernel", Parameter((width, heads, size), layers)
        yield f"{path}/{each}/bias", Parameter((heads, size), layers)
    yield f"{path}/out/kernel", Parameter((heads, size, width), layers)
    yield f"{path}/out/bias", Parameter((width,), layers)
