import csv
import math
import random
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from models.build import build
from models.cost import (
    catalogue,
    forward_macs,
    parameters,
    row,
    train_flops,
    trunk_forward_macs,
    trunk_parameters,
)
from models.shapes import BiTShape, MixerShape, MuP, TextShape, ViTShape
from models.text import Text
from models.zoo import BITS, MIXERS, VARIANTS, bit, vit
from models.zoo import shape as named

CONFORMANCE = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "conformance"
counted = pytest.mark.skipif(not CONFORMANCE.exists(), reason="needs the shared conformance tables")

# Zhai et al. 2022, Table 2: million parameters, GFLOPs at 224 and at 384 px. As printed there.
TABLE_2 = {
    "s/28": ("5.4", 0.7, 2.0),
    "s/16": ("5.0", 2.2, 7.8),
    "S/32": ("22", 2.3, 6.9),
    "Ti/16": ("5.5", 2.5, 9.5),
    "B/32": ("87", 8.7, 26.0),
    "S/16": ("22", 9.2, 31.2),
    "B/28": ("87", 11.3, 30.5),
    "B/16": ("86", 35.1, 111.3),
    "L/16": ("303", 122.9, 382.8),
    "g/14": ("1011", 533.1, 1596.4),
    "G/14": ("1843", 965.3, 2859.9),
}

shapes = st.builds(
    lambda heads, size, patch, margin, grid, **rest: ViTShape(
        name="any",
        width=heads * size,
        heads=heads,
        patch=patch,
        resolution=patch * grid + margin % patch,
        **rest,
    ),
    heads=st.integers(1, 8),
    size=st.integers(1, 64),
    patch=st.integers(1, 32),
    margin=st.integers(0, 31),
    grid=st.integers(1, 16),
    depth=st.integers(1, 48),
    mlp=st.integers(1, 4096),
)


def table(name):
    with (CONFORMANCE / name).open() as file:
        return list(csv.DictReader(file))


@counted
def test_all_52_published_counts_of_vits_agree_to_the_last_parameter_and_multiply_add():
    rows = table("vit_params_flops.csv")
    assert len(rows) == 52
    for want in rows:
        shape = vit(f"{want['variant']}/{want['patch']}", int(want["res"]))
        found = {
            "tokens": shape.tokens,
            "params_nohead": parameters(shape),
            "params_1000": parameters(shape, 1_000),
            "params_21841": parameters(shape, 21_841),
            "params_29593": parameters(shape, 29_593),
            "params_trunk_only": trunk_parameters(shape),
            "fwd_macs_nohead": forward_macs(shape),
            "fwd_macs_trunk_only": trunk_forward_macs(shape),
        }
        assert found == {column: int(want[column]) for column in found}, shape


@counted
def test_all_12_published_counts_of_bits_agree():
    """Of the ResNets with norm and ReLU after each convolution, big_vision's bit.py: their
    projections have a norm, which neither the network of the paper (bit_paper.py) nor its published
    weights have. Those have so many parameters less, and the same multiply-adds.
    """
    rows = table("bit_params_flops.csv")
    assert len(rows) == 12
    for want in rows:
        shape = bit(want["model"] + "-post", int(want["res"]))
        found = {
            "params_nohead": parameters(shape),
            "params_1000": parameters(shape, 1_000),
            "params_21841": parameters(shape, 21_841),
            "params_29593": parameters(shape, 29_593),
            "fwd_macs_nohead": forward_macs(shape),
        }
        assert found == {column: int(want[column]) for column in found}, shape
        paper = bit(want["model"], int(want["res"]))
        outputs = [4 * shape.width * 2**stage for stage in range(len(shape.stages))]
        assert parameters(paper) == parameters(shape) - 2 * sum(outputs)
        assert forward_macs(paper) == forward_macs(shape)


# Classes, million parameters and, for Mixers, 1e9 multiply-adds, as timm's model cards print them
# for the authors' weights: resnetv2_50x1_bit.goog_distilled_in1k; .goog_in21k of 50x1, 101x1 and
# 101x3; mixer_b16_224.goog_in21k_ft_in1k; mixer_l16_224.goog_in21k. Their multiply-adds of ResNets
# are counted in another way: 4.2 and 4.3 for the same R50x1.
MODEL_CARDS = [
    ("BiT-R50x1", 1_000, "25.5", None),
    ("BiT-R50x1", 21_843, "68.3", None),
    ("BiT-R101x1", 21_843, "87.2", None),
    ("BiT-R101x3", 21_843, "516.0", None),
    ("Mixer-B/16", 1_000, "59.9", "12.6"),
    ("Mixer-L/16", 21_843, "229.6", "44.6"),
]


@pytest.mark.parametrize(("name", "classes", "millions", "gmacs"), MODEL_CARDS)
def test_published_weights_have_the_counts_of_their_model_cards(name, classes, millions, gmacs):
    assert f"{parameters(named(name), classes) / 1e6:.1f}" == millions
    assert gmacs in (None, f"{forward_macs(named(name), classes) / 1e9:.1f}")


@pytest.mark.parametrize("name", TABLE_2)
def test_the_papers_table_of_models_comes_out(name):
    millions, *gflops = TABLE_2[name]
    digits = len(millions.partition(".")[2])
    assert f"{trunk_parameters(vit(name)) / 1e6:.{digits}f}" == millions
    for resolution, printed in zip((224, 384), gflops, strict=True):
        found = 2 * forward_macs(vit(name, resolution)) / 1e9
        rounding = 0.05  # the table has one digit after the point
        assert abs(found - printed) <= 0.01 * printed + rounding


@given(shapes, st.integers(1, 100_000))
def test_a_classifier_costs_its_kernel_and_its_bias(shape, classes):
    assert parameters(shape, classes) - parameters(shape) == (shape.width + 1) * classes
    assert forward_macs(shape, classes) - forward_macs(shape) == shape.width * classes


@given(shapes, st.integers(0, 10**9))
def test_training_costs_six_flops_a_multiply_add_and_image(shape, images_seen):
    assert train_flops(shape, images_seen, 10) == 6 * forward_macs(shape, 10) * images_seen


@given(shapes)
def test_depth_costs_the_same_at_every_layer(shape):
    def cost(depth):
        deeper = ViTShape(**{**vars(shape), "depth": depth})
        return parameters(deeper), forward_macs(deeper)

    for first, second, third in zip(cost(1), cost(2), cost(3), strict=True):
        assert third - second == second - first > 0


def test_the_catalogue_has_the_whole_zoo_once():
    rows = catalogue()
    keys = {(row["name"], row["resolution"]) for row in rows}
    assert len(keys) == len(rows) == 4 * len(VARIANTS) + 8 + 2 * len(BITS) + len(MIXERS)
    vits = {row["name"].partition("/")[0] for row in rows if row["family"] == "ViT"}
    assert vits == set(VARIANTS)
    assert {("s/28", 384), ("S/32", 224), ("B/28", 224), ("B/32", 384), ("e/14", 378)} <= keys
    assert {row["name"] for row in rows if row["family"] == "BiT"} == set(BITS)
    assert {row["name"] for row in rows if row["family"] == "Mixer"} == {"Mixer-B/16", "Mixer-L/16"}


def test_a_row_of_the_catalogue_says_what_the_formulas_say():
    assert row(vit("G/14")) == {
        "name": "G/14",
        "family": "ViT",
        "patch": 14,
        "resolution": 224,
        "width": 1664,
        "depth": 48,
        "mlp": 8192,
        "heads": 16,
        "params": 1_881_132_416,
        "params_trunk": 1_842_772_352,
        "forward_gmacs": 483.275014144,
    }
    assert row(vit("G/14"), 29_593) in catalogue(29_593)
    assert row(vit("G/14"), 29_593)["params"] == 1_930_404_761


# What was built, counted


def traced(shape):
    """The real network of that shape without its numbers: parameters, and operations by shape."""
    if isinstance(shape, TextShape):
        seen = jax.ShapeDtypeStruct((1, shape.length), jnp.int32)
    else:
        seen = jax.ShapeDtypeStruct((1, shape.resolution, shape.resolution, 3), jnp.float32)
    new = Text if isinstance(shape, TextShape) else build
    graph, state = nnx.split(nnx.eval_shape(lambda: new(shape, rngs=nnx.Rngs(0))))
    jaxpr = jax.make_jaxpr(lambda state, seen: nnx.merge(graph, state)(seen))(state, seen)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state)), multiply_adds(jaxpr.jaxpr)


def multiply_adds(jaxpr):
    """Of all products and convolutions of a traced function, those inside a loop once a turn."""
    total = 0
    for equation in jaxpr.eqns:
        result = math.prod(equation.outvars[0].aval.shape)
        right = [var.aval.shape for var in equation.invars][1:2]
        turns = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        if equation.primitive.name == "dot_general":
            (_, contracted), _ = equation.params["dimension_numbers"]
            total += result * math.prod(right[0][axis] for axis in contracted)
        if equation.primitive.name == "conv_general_dilated":
            total += result * math.prod(right[0][:-1])  # height, width, inputs
        for value in equation.params.values():
            inside = getattr(value, "jaxpr", value)
            if hasattr(inside, "eqns"):
                total += turns * multiply_adds(inside)
    return total


VIT = {"patch": 4, "resolution": 18, "width": 24, "depth": 3, "mlp": 40, "heads": 3}
CHOICES = {
    "pool": ("map", "gap", "token"),
    "pre_logits": (None, 20),
    "position": ("learned", "sincos"),
    "gelu": ("tanh", "erf"),
    "block": ("sequential", "parallel"),
    "query_key_norm": (False, True),
    "qkv_and_norm_biases": (True, False),
    "mup": (None, MuP(base_width=12, base_depth=2)),
}


def drawn(count):
    """Choices of a ViT, drawn at random such that each two values of two fields come together."""
    every = [dict(zip(CHOICES, each, strict=True)) for each in product(*CHOICES.values())]
    return random.Random(0).sample(every, count)


def test_the_choices_drawn_below_have_every_pair_of_values():
    for one, other in combinations(CHOICES, 2):
        pairs = {(choices[one], choices[other]) for choices in drawn(32)}
        assert len(pairs) == len(CHOICES[one]) * len(CHOICES[other])


@pytest.mark.parametrize("choices", drawn(32), ids=lambda c: "-".join(str(v) for v in c.values()))
def test_a_vit_of_any_choices_has_the_parameters_and_multiply_adds_of_the_formulas(choices):
    shape = ViTShape(name="any", **VIT, **choices)
    assert traced(shape) == (parameters(shape), forward_macs(shape))


@pytest.mark.parametrize("stages", [(1,), (2, 1), (1, 2, 3)], ids=str)
@pytest.mark.parametrize(("resolution", "order"), [(33, "pre"), (64, "pre"), (33, "post")])
def test_a_bit_has_the_parameters_and_multiply_adds_of_the_formulas(stages, resolution, order):
    shape = BiTShape(name="any", resolution=resolution, stages=stages, width=32, order=order)
    assert traced(shape) == (parameters(shape), forward_macs(shape))


def test_a_mixer_has_the_parameters_and_multiply_adds_of_the_formulas():
    sizes = {"patch": 4, "resolution": 18, "width": 24, "depth": 3, "mlp_tokens": 10, "mlp": 40}
    shape = MixerShape(name="any", **sizes)
    assert traced(shape) == (parameters(shape), forward_macs(shape))


@pytest.mark.parametrize("pool", ["last", "map", "gap"])
def test_a_text_tower_has_the_parameters_and_multiply_adds_of_the_formulas(pool):
    sizes = {"width": 24, "depth": 3, "mlp": 40, "heads": 3, "vocabulary": 50, "length": 7}
    shape = TextShape(name="any", pool=pool, **sizes)
    assert traced(shape) == (parameters(shape), forward_macs(shape))


@pytest.mark.parametrize("name", ["G/14", "BiT-R152x4", "Mixer-L/16"])
def test_the_largest_of_a_family_is_built_as_counted_without_memory_for_it(name):
    shape = named(name)
    assert traced(shape) == (parameters(shape), forward_macs(shape))


def test_costing_a_model_needs_nothing_but_the_standard_library():
    code = (
        "import sys, models.cost; models.cost.catalogue();"
        "print([m for m in ('jax', 'numpy', 'flax') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[1]
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert found.stdout.strip() == "[]"
