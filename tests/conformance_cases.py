"""The networks of the conformance fixtures: small, and hardly two lengths alike.

A wrong transpose or reshape then has the wrong shape, and cannot hide. `conformance_oracles.py`
builds them in timm or transformers, `test_conformance.py` builds them here. Knows neither torch
nor JAX.
"""

from dataclasses import dataclass

from models.shapes import BiTShape, MixerShape, Shape, ViTShape

IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network.

    Fields:
      classes: outputs of the classifier on top; None: there is none, features are the outputs.
      transformers: the class of Hugging Face's library that computes it; None: timm does.
    """

    shape: Shape
    classes: int | None = 5
    transformers: str | None = None


def _vit(name: str, **choices) -> ViTShape:
    return ViTShape(
        name=name, patch=4, resolution=24, width=20, depth=2, mlp=28, heads=2, **choices
    )


CASES = {
    "vit-map": Case(shape=_vit("vit-map", pool="map", gelu="tanh")),
    "vit-token": Case(shape=_vit("vit-token", pool="token", gelu="erf")),
    "vit-gap": Case(shape=_vit("vit-gap", pool="gap", gelu="tanh")),
    "siglip": Case(shape=_vit("siglip", pool="map", gelu="erf"), classes=None),
    "bit": Case(shape=BiTShape(name="bit", resolution=36, stages=(2, 1), width=32)),
    "mixer": Case(
        shape=MixerShape(
            name="mixer", patch=4, resolution=24, width=20, depth=2, mlp_tokens=12, mlp=28
        )
    ),
    "vit-pre-logits": Case(
        shape=_vit("vit-pre-logits", pool="token", gelu="erf", pre_logits=13),
        classes=None,
        transformers="ViTModel",
    ),
}
