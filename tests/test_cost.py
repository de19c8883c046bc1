import csv
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cost import (
    catalogue,
    forward_macs,
    parameters,
    row,
    train_flops,
    trunk_forward_macs,
    trunk_parameters,
)
from models.shapes import ViTShape
from models.zoo import VARIANTS, vit

CONFORMANCE = (
    Path(__file__).resolve().parents[1].parent / "shared/data/conformance/vit_params_flops.csv"
)

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


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="needs the shared conformance tables")
def test_all_52_published_counts_agree_to_the_last_parameter_and_multiply_add():
    with CONFORMANCE.open() as file:
        rows = list(csv.DictReader(file))
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


def test_the_catalogue_has_every_variant_and_the_papers_own_patches_once():
    rows = catalogue()
    keys = {(row["name"], row["resolution"]) for row in rows}
    assert len(keys) == len(rows) == 4 * len(VARIANTS) + 8
    assert {r["name"].partition("/")[0] for r in rows} == set(VARIANTS)
    assert {("s/28", 384), ("S/32", 224), ("B/28", 224), ("B/32", 384), ("e/14", 378)} <= keys


def test_a_row_of_the_catalogue_says_what_the_formulas_say():
    assert row(vit("G/14")) == {
        "name": "G/14",
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
