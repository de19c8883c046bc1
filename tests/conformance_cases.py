"""The networks of the conformance fixtures: small, and no two lengths alike.

`make_conformance.py` builds them in timm, `test_conformance.py` builds them here. Knows neither
torch nor JAX. A wrong transpose or reshape then has the wrong shape, and cannot hide.
"""

from dataclasses import dataclass

from models.shapes import BiTShape, MixerShape, Shape, ViTShape

IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network: its shape, and the outputs of the classifier on top; None: there is none."""

    shape: Shape
    classes: int | None = 5


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
}
