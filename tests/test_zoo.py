import dataclasses

import pytest

from models.shapes import ViTShape
from models.zoo import VARIANTS, vit

MICRO = {"patch": 4, "resolution": 32, "width": 64, "depth": 4, "mlp": 256, "heads": 4}


def test_a_name_gives_its_row_of_the_zoo():
    assert vit("G/14") == ViTShape(
        name="G/14", patch=14, resolution=224, width=1664, depth=48, mlp=8192, heads=16
    )
    assert vit("So400m/14", 378).resolution == 378


def test_the_case_of_a_letter_decides():
    assert vit("s/16").depth == 6
    assert vit("S/16").depth == 12
    assert vit("g/14").width < vit("G/14").width


def test_every_variant_has_whole_heads():
    for variant in VARIANTS:
        shape = vit(f"{variant}/16")
        assert shape.width % shape.heads == 0


@pytest.mark.parametrize(
    ("name", "resolution", "tokens"),
    [("B/32", 224, 49), ("B/28", 224, 64), ("B/28", 384, 13**2), ("G/14", 384, 27**2)],
)
def test_patches_that_do_not_fit_whole_are_not_tokens(name, resolution, tokens):
    assert vit(name, resolution).tokens == tokens


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ti/16", "'Ti/16'"),
        ("Tiny/16", "'Ti/16'"),
        ("g_opt/14", "'g-opt/14' or 'G-opt/14'"),
        ("So400/14", "'So400m/14'"),
        ("h/14", "'H/14'"),
        ("l", "'L/16'"),
    ],
)
def test_an_unknown_variant_is_answered_with_the_near_ones(name, near):
    with pytest.raises(ValueError, match="there is no ViT variant") as error:
        vit(name)
    assert near in str(error.value)


def test_a_variant_like_no_other_is_answered_with_the_whole_zoo():
    with pytest.raises(ValueError, match="mu, Ti, s, S, M, B, L, So400m, H, g, g-opt, G, G-opt, e"):
        vit("ResNet/16")


@pytest.mark.parametrize("name", ["B", "B/", "B/-16", "B/1.5", "B/16/2", "B/x"])
def test_a_name_without_a_patch_says_how_to_write_one(name):
    with pytest.raises(ValueError, match=r"patch side in pixels; write for example 'B/16'"):
        vit(name)


def test_a_patch_of_no_pixels_is_refused():
    with pytest.raises(ValueError, match=r"'Ti/0': a patch must be > 0 pixels; .* 'Ti/16'"):
        vit("Ti/0")


@pytest.mark.parametrize("field", list(MICRO))
@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4", None])
def test_a_size_that_is_no_positive_whole_number_is_refused_by_name(field, wrong):
    with pytest.raises(ValueError, match=f"nano: {field}={wrong!r} is not a positive whole"):
        ViTShape(name="nano", **MICRO | {field: wrong})


def test_heads_that_do_not_divide_the_width_are_answered_with_two_that_do():
    with pytest.raises(ValueError, match=r"heads=6 does not divide width=64; use 4 or 8 heads"):
        ViTShape(name="nano", **MICRO | {"heads": 6})
    with pytest.raises(ValueError, match=r"heads=65 does not divide width=64; use 64 heads"):
        ViTShape(name="nano", **MICRO | {"heads": 65})


@pytest.mark.parametrize(
    ("width", "heads", "near"),
    [(10**12, 7, "5 or 8"), (10**12 + 39, 10**6, "1 or 1000000000039"), (2, 10**12, "2")],
)
def test_divisors_of_a_width_of_any_size_are_proposed_at_once(width, heads, near):
    with pytest.raises(ValueError, match=f"use {near} heads"):
        ViTShape(name="wide", **MICRO | {"width": width, "heads": heads})


def test_a_patch_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match=r"patch=33 px is larger .* resolution=32 px"):
        ViTShape(name="nano", **MICRO | {"patch": 33})
    assert ViTShape(name="nano", **MICRO | {"patch": 32}).tokens == 1


def test_a_shape_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        vit("B/16").depth = 13
