"""The layouts that weights are exchanged in, by name, and which shapes each of them can hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.mup import folded
from models.positions import sincos_positions
from models.shapes import BiTShape, MixerShape, Shape, ViTShape
from models.weights import flax_rows, torch_rows
from models.weights.ours import Flat
from models.weights.rows import TensorRow
from models.weights.tensors import Spec, Unusable


@dataclass(frozen=True)
class Layout:
    """A way to name and arrange weights in a file of one kind."""

    name: str
    extension: str
    of: str
    """Whose code reads it."""


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("big_vision", ".npz", "big_vision, and timm for ViT"),
        Layout("big_vision-scan", ".npz", "big_vision with scan=True: layers stacked"),
        Layout("augreg", ".npz", "vision_transformer, and timm: ViT with class token or GAP"),
        Layout("bit", ".npz", "the BiT release, and timm: BiT alone"),
        Layout("timm", ".safetensors", "timm"),
        Layout("huggingface", ".safetensors", "transformers; config.json is written beside it"),
    )
}
FIRST = {".npz": "big_vision", ".safetensors": "timm"}
"""The layout of an extension where none is named."""


def rows(layout: str, shape: Shape, classes: int | None) -> list[TensorRow]:
    """The table of `layout` for that shape.

    Raises:
      Unusable: no table of that layout says what such a network computes.
    """
    found = _rows(layout, shape)
    if found is None:
        able = [name for name in LAYOUTS if _rows(name, shape) is not None]
        raise Unusable([f"{layout} has no table for {_words(shape)}; use {' or '.join(able)}."])
    if layout == "huggingface" and isinstance(shape, ViTShape) and classes is not None:
        _check_transformers_classify(shape)
    return found


def _rows(layout: str, shape: Shape) -> list[TensorRow] | None:
    match layout, shape:
        case "big_vision", ViTShape():
            return flax_rows.vit()
        case "big_vision-scan", ViTShape():
            return flax_rows.vit(scan=True)
        case "big_vision", MixerShape():
            return flax_rows.mixer()
        case "big_vision", BiTShape():
            return flax_rows.bit(shape)
        case "augreg", ViTShape(pool="token" | "gap"):
            return flax_rows.augreg(token=shape.pool == "token")
        case "bit", BiTShape():
            return flax_rows.bit_released(shape)
        case "timm", ViTShape():
            return torch_rows.timm_vit(token_in_table=shape.pool == "token")
        case "timm", MixerShape():
            return torch_rows.timm_mixer()
        case "timm", BiTShape():
            return torch_rows.timm_bit(shape)
        case "huggingface", ViTShape(pool="token"):
            return torch_rows.huggingface_vit()
        case "huggingface", ViTShape():
            return torch_rows.huggingface_siglip()
        case "huggingface", BiTShape():
            return torch_rows.huggingface_bit(shape)
    return None


def _check_transformers_classify(shape: ViTShape) -> None:
    """Transformers' classes leave out what stands below a classifier; then nothing may stand."""
    if shape.pool == "map":
        reason = "classifies what a MAP head pools, transformers' SigLIP the mean of the tokens"
        remedy = "timm or big_vision"
    elif shape.pre_logits is not None:
        reason = "has a pre-logits layer, which transformers' ViT skips when it classifies"
        remedy = "big_vision"
    else:
        return
    raise Unusable([f"huggingface: {shape.name} {reason}. Use {remedy}."])


def laid_out(shape: Shape, arrays: Flat, layout: str) -> tuple[Shape, Flat]:
    """The same function with parameters that `layout` has a place for.

    Factors of muP are multiplied into the parameters; fixed positions become a table where the
    layout knows only tables. Arrays may be their specs.
    """
    if isinstance(shape, ViTShape) and shape.mup is not None:
        arrays = {path: _scaled(array, folded(shape, path)) for path, array in arrays.items()}
        shape = replace(shape, mup=None)
    if layout in ("big_vision", "big_vision-scan") or not isinstance(shape, ViTShape):
        return shape, arrays
    if shape.position == "learned":
        return shape, arrays
    table = sincos_positions(shape.grid, shape.width)
    return replace(shape, position="learned"), {**arrays, "position": table}


def _scaled(array: Any, factor: float) -> Any:
    """An array times the factor, in its own type; a spec as it is."""
    if isinstance(array, Spec) or factor == 1:
        return array
    return array * np.asarray(factor, array.dtype)


def huggingface_config(shape: Shape, classes: int | None) -> dict[str, Any]:
    """What transformers wants to know beside the weights, its config.json."""
    labels = {} if classes is None else {"num_labels": classes}
    if isinstance(shape, BiTShape):
        widths = [4 * shape.width * 2**stage for stage in range(len(shape.stages))]
        return {
            "model_type": "bit",
            "architectures": ["BitModel" if classes is None else "BitForImageClassification"],
            "embedding_size": shape.width,
            "hidden_sizes": widths,
            "depths": list(shape.stages),
            "layer_type": "preactivation",
            "num_groups": 32,
            **labels,
        }
    assert isinstance(shape, ViTShape)
    common = {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.mlp,
        "image_size": shape.grid * shape.patch,
        "patch_size": shape.patch,
        "hidden_act": "gelu" if shape.gelu == "erf" else "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    }
    if shape.pool == "token":
        return {
            "model_type": "vit",
            "architectures": ["ViTModel" if classes is None else "ViTForImageClassification"],
            **common,
            **({} if shape.pre_logits is None else {"pooler_output_size": shape.pre_logits}),
            **labels,
        }
    tower = {"model_type": "siglip_vision_model", **common, "vision_use_head": shape.pool == "map"}
    if classes is None:
        return {"architectures": ["SiglipVisionModel"], **tower}
    return {
        "model_type": "siglip",
        "architectures": ["SiglipForImageClassification"],
        "vision_config": tower,
        **labels,
    }


def _words(shape: Shape) -> str:
    kind = f"ViT with pool={shape.pool!r}" if isinstance(shape, ViTShape) else ""
    return f"{shape.name} (a {kind or type(shape).__name__.removesuffix('Shape')})"
