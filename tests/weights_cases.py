"""Small networks with random parameters, for the tests of weights; no two lengths alike."""

import numpy as np

from models.shapes import BiTShape, MixerShape, ViTShape
from models.weights.layouts import LAYOUTS
from models.weights.ours import parameters, paths, tree

VIT = {"patch": 2, "resolution": 6, "width": 8, "depth": 3, "mlp": 12, "heads": 2}
MAP = ViTShape(name="ViT-8x3/2", pool="map", **VIT)
GAP = ViTShape(name="ViT-8x3/2", pool="gap", **VIT)
TOKEN = ViTShape(name="ViT-8x3/2", pool="token", **VIT)
HIDDEN = ViTShape(name="ViT-8x3/2", pool="token", pre_logits=10, **VIT)
BIT = BiTShape(name="BiT-2-1-3-w32", resolution=224, stages=(2, 1, 3), width=32)
MIXER = MixerShape(
    name="Mixer-8x3/2", patch=2, resolution=6, width=8, depth=3, mlp_tokens=5, mlp=12
)
SHAPES = {"map": MAP, "gap": GAP, "token": TOKEN, "hidden": HIDDEN, "bit": BIT, "mixer": MIXER}
CLASSES = 7

# Every layout of every network, with a classifier or without; what is left out is refused.
EVERY = [("big_vision", name, classes) for name in SHAPES for classes in (None, CLASSES)] + [
    (layout, name, classes)
    for layout, names in {
        "big_vision-scan": ("map", "gap", "token", "hidden"),
        "augreg": ("gap", "token", "hidden"),
        "bit": ("bit",),
        "timm": ("map", "gap", "token", "bit", "mixer"),
        "huggingface": ("gap", "token", "bit"),
    }.items()
    for name in names
    for classes in (None, CLASSES)
]
EVERY += [("huggingface", "map", None), ("huggingface", "hidden", None)]


def random_params(shape, classes, seed=0):
    rng = np.random.default_rng(seed)
    found = parameters(shape, classes)
    return tree({path: rng.normal(size=p.whole).astype("f4") for path, p in found.items()})


def file_name(layout):
    return f"weights{LAYOUTS[layout].extension}"


def assert_same(found, wanted):
    """Equal to the last bit, and nothing more or less."""
    found, wanted = paths(found), paths(wanted)
    assert found.keys() == wanted.keys()
    for path in wanted:
        np.testing.assert_array_equal(found[path], wanted[path], err_msg=path)
        assert found[path].dtype == wanted[path].dtype, path
