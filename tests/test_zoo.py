import dataclasses

import pytest

from models.shapes import BiTShape, MixerShape, MuP, ViTShape
from models.zoo import BITS, MIXERS, VARIANTS, bit, mixer, shape, vit

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


# Other families


def test_a_bit_is_named_by_its_layers_and_the_factor_of_its_widths():
    assert bit("BiT-R50x3") == BiTShape(
        name="BiT-R50x3", resolution=224, stages=(3, 4, 6, 3), width=192
    )
    assert bit("BiT-R152x4", 480).features == 4 * 256 * 8
    assert [bit(name).depth for name in BITS] == [50, 50, 101, 101, 152, 152]


def test_a_mixer_gives_its_row_of_the_papers_table():
    assert mixer("Mixer-B/16") == MixerShape(
        name="Mixer-B/16",
        patch=16,
        resolution=224,
        width=768,
        depth=12,
        mlp_tokens=384,
        mlp=3072,
    )
    assert (mixer("Mixer-L/32").patches, mixer("Mixer-L/32").features) == (49, 1024)


def test_a_name_finds_its_family():
    assert shape("Ti/16", 32) == vit("Ti/16", 32)
    assert [shape(name, 64) for name in BITS] == [bit(name, 64) for name in BITS]
    assert [shape(f"{name}/8", 64) for name in MIXERS] == [mixer(f"{n}/8", 64) for n in MIXERS]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bit-r50x1", "there is no such BiT; did you mean 'BiT-R50x1' or"),
        ("R101x3", "there is no such BiT; did you mean 'BiT-R101x3' or"),
        ("BiT-R50", "there is no such BiT; did you mean"),
        ("BiT-R34x1", "there is no such BiT; did you mean"),
        ("BiT-R50x0", "there is no such BiT; did you mean"),
        ("BiT-R50x1/16", "there is no such BiT; did you mean 'BiT-R50x1'"),
        ("mixer-b/16", "there is no Mixer 'mixer-b'; did you mean 'Mixer-B/16' or"),
        ("Mixer_L/16", "there is no Mixer 'Mixer_L'; did you mean 'Mixer-L/16' or"),
        ("Mixer-B", "does not say its patch side in pixels; write for example 'Mixer-B/16'"),
        ("Mixer-B/0", "a patch must be > 0 pixels; write for example 'Mixer-B/16'"),
        ("ti/16", "there is no ViT variant 'ti'; did you mean 'Ti/16'"),
        ("Inception", "there is no such model; the zoo has mu, Ti, s, "),
        ("", "there is no such model; the zoo has mu, Ti, s, "),
    ],
)
def test_an_unknown_name_is_answered_in_the_family_it_is_nearest_to(name, said):
    with pytest.raises(ValueError, match=r"there is no|patch") as error:
        shape(name)
    assert str(error.value).startswith(repr(name))
    assert said in str(error.value)


@pytest.mark.parametrize("field", ["patch", "width", "depth", "mlp_tokens", "mlp", "resolution"])
@pytest.mark.parametrize("wrong", [0, 1.5, "4"])
def test_a_size_of_a_mixer_that_is_no_positive_whole_number_is_refused_by_name(field, wrong):
    sizes = {key: size for key, size in MICRO.items() if key != "heads"} | {"mlp_tokens": 8}
    with pytest.raises(ValueError, match=f"nano: {field}={wrong!r} is not a positive whole"):
        MixerShape(name="nano", **sizes | {field: wrong})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stages": ()}, r"stages=\(\) is empty; write \(3, 4, 6, 3\)"),
        ({"stages": (3, 0)}, "stages=0 is not a positive whole number"),
        ({"width": 0}, "width=0 is not a positive whole number"),
        ({"width": 48}, "width=48 is no multiple of the 32 groups of GroupNorm; use 64"),
        ({"width": 8}, "use 32"),
        ({"resolution": 0}, "resolution=0 is not a positive whole number"),
    ],
)
def test_a_bit_that_cannot_be_is_refused_with_what_can(wrong, said):
    with pytest.raises(ValueError, match=said):
        BiTShape(**{"name": "nano", "resolution": 32, "stages": (1, 2), "width": 32} | wrong)


def test_what_no_choice_allows_is_refused():
    with pytest.raises(ValueError, match=r"position='sincos' needs a width that 4 divides"):
        ViTShape(name="nano", **MICRO | {"width": 66, "heads": 2}, position="sincos")
    with pytest.raises(ValueError, match=r"nano: pre_logits=0 is not a positive whole"):
        ViTShape(name="nano", **MICRO, pre_logits=0)
    with pytest.raises(ValueError, match=r"mup: base_width=0 is not a positive whole"):
        MuP(base_width=0)
    with pytest.raises(ValueError, match=r"depth_exponent=2.0 is outside \[0.5, 1\]"):
        MuP(base_width=64, depth_exponent=2)


def test_a_shape_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        vit("B/16").depth = 13


def test_an_exponent_of_depth_without_a_base_depth_is_refused():
    with pytest.raises(ValueError, match=r"depth_exponent=1.0 says nothing without base_depth"):
        MuP(base_width=64, depth_exponent=1)
