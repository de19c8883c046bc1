"""Which pixels a network in a file was trained on, and that it computes the same on -1 .. 1."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from weights_cases import BIT, MAP, MIXER, TOKEN, random_params

from models.build import build
from models.weights.facts import About
from models.weights.pixels import pixels_of
from models.weights.reading import inspect, read
from models.weights.tensors import Unusable
from models.weights.writing import write

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = {"mean": list(MEAN), "std": list(STD)}


def stripped(path):
    """The file as other code writes it: without what ours says of itself."""
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    header["__metadata__"] = {"format": "pt"}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
    return path


def foreign(folder, shape, layout="timm", params=None):
    path = folder / "model.safetensors"
    write(path, params or random_params(shape, None), shape, layout)
    return stripped(path)


def beside(path, name, **said):
    (path.parent / name).write_text(json.dumps(said))


def features(shape, params, pixels):
    graph, state = nnx.split(nnx.eval_shape(lambda: build(shape, rngs=nnx.Rngs(0))))
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, params["backbone"]))
    return np.asarray(nnx.merge(graph, state)(jnp.asarray(pixels, jnp.float32)))


def assert_normalised(path, shape, params, *, mean=MEAN, std=STD):
    """What is read computes on -1 .. 1 what `params` compute on pixels with that mean and std."""
    seen = np.random.default_rng(1).uniform(-1, 1, (2, shape.resolution, shape.resolution, 3))
    theirs = (seen * 0.5 + 0.5 - np.array(mean)) / np.array(std)
    wanted = features(shape, params, theirs)
    found = features(shape, read(path, shape, dtype="float32")[1], seen)
    assert np.abs(found - features(shape, params, seen)).max() > 0.01  # it is not nothing
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def small(shape):
    """Random parameters of the size that trained ones have, so that rounding is theirs too."""
    return jax.tree.map(lambda x: x * np.float32(0.3), random_params(shape, None))


@pytest.mark.parametrize(
    ("shape", "layout", "file", "said"),
    [
        (TOKEN, "timm", "config.json", {"pretrained_cfg": IMAGENET}),
        (MIXER, "timm", "config.json", {"pretrained_cfg": IMAGENET}),
        (MAP, "timm", "open_clip_config.json", {"preprocess_cfg": IMAGENET}),
        (
            TOKEN,
            "huggingface",
            "preprocessor_config.json",
            {"do_normalize": True, "image_mean": list(MEAN), "image_std": list(STD)},
        ),
    ],
    ids=["timm", "mixer", "open_clip", "transformers"],
)
def test_the_mean_and_std_beside_a_file_are_folded_into_the_patch_embedding(
    tmp_path, shape, layout, file, said
):
    shape = replace(shape, gelu="erf")
    params = small(shape)
    path = foreign(tmp_path, shape, layout, params)
    if layout == "huggingface":
        said = json.loads((tmp_path / "config.json").read_text()) | said
    beside(path, file, **said)
    assert_normalised(path, shape, params)
    assert inspect(path, shape).of_pixels == (
        f"mean 0.485, 0.456, 0.406 and std 0.229, 0.224, 0.225 ({file}) are folded into the patch "
        "embedding: it sees pixels of -1 .. 1"
    )


def test_pixels_of_0_to_1_are_a_mean_of_0_and_a_std_of_1(tmp_path):
    params = small(TOKEN)
    path = foreign(tmp_path, TOKEN, "huggingface", params)
    beside(path, "preprocessor_config.json", do_normalize=False, do_rescale=True)
    assert_normalised(path, TOKEN, params, mean=(0, 0, 0), std=(1, 1, 1))


def test_a_mean_and_std_of_one_half_change_no_digit(tmp_path):
    params = random_params(TOKEN, None)
    path = foreign(tmp_path, TOKEN, params=params)
    beside(path, "config.json", pretrained_cfg={"mean": [0.5] * 3, "std": [0.5] * 3})
    kernel = read(path, TOKEN)[1]["backbone"]["embedding"]["kernel"]
    np.testing.assert_array_equal(kernel, params["backbone"]["embedding"]["kernel"])
    assert inspect(path, TOKEN).of_pixels is None


def test_what_a_person_says_of_pixels_goes_before_what_stands_beside_the_file(tmp_path):
    params = small(TOKEN)
    path = foreign(tmp_path, TOKEN, params=params)
    beside(path, "config.json", pretrained_cfg=IMAGENET)
    given = About(heads=TOKEN.heads, pixels=pixels_of("0.5", "0.5", "as given"))
    found = inspect(path, given=given)
    assert found.of_pixels is None
    kernel = found.read()["backbone"]["embedding"]["kernel"]
    np.testing.assert_array_equal(kernel, params["backbone"]["embedding"]["kernel"])
    (tmp_path / "config.json").unlink()
    pixels = pixels_of("0.485,0.456,0.406", "0.229, 0.224, 0.225", "as given")
    given = About(heads=TOKEN.heads, pixels=pixels)
    assert inspect(path, given=given).of_pixels.startswith(
        "mean 0.485, 0.456, 0.406 and std 0.229, 0.224, 0.225 (as given) are folded"
    )


def test_where_nothing_says_mean_and_std_what_is_assumed_is_said(tmp_path):
    path = foreign(tmp_path, TOKEN)
    assert inspect(path, TOKEN).of_pixels == (
        "nothing says the mean and std of the pixels it was trained on: -1 .. 1 is assumed, a mean "
        "and std of 0.5; else give --mean and --std"
    )
    write(tmp_path / "a.npz", random_params(TOKEN, None), TOKEN)
    assert inspect(tmp_path / "a.npz").of_pixels is None  # Google's code has -1 .. 1


def test_a_network_that_is_read_and_written_again_is_not_folded_twice(tmp_path):
    params = small(TOKEN)
    path = foreign(tmp_path, TOKEN, params=params)
    beside(path, "config.json", pretrained_cfg=IMAGENET)
    folded = read(path, TOKEN)[1]
    write(path, folded, TOKEN, "timm")  # the config.json of the first one lies beside it still
    assert inspect(path, TOKEN).of_pixels is None
    again = read(path, TOKEN)[1]
    for each in ("kernel", "bias"):
        found, wanted = (x["backbone"]["embedding"][each] for x in (again, folded))
        np.testing.assert_array_equal(found, wanted)


def test_a_bit_with_other_pixels_is_refused_because_its_root_pads_with_zeros(tmp_path):
    path = foreign(tmp_path, BIT)
    beside(path, "config.json", pretrained_cfg=IMAGENET)
    with pytest.raises(Unusable, match=r"pads with zeros.*standardised"):
        inspect(path)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5, 0, 0.5]}}, "std.*0.5, 0, 0.5"),
        ({"pretrained_cfg": {"mean": [0.5] * 2, "std": [0.5] * 3}}, "three numbers"),
        ({"pretrained_cfg": {"mean": 10**400, "std": 1}}, "three numbers"),
        ({"pretrained_cfg": {"mean": "grey", "std": [0.5] * 3}}, "three numbers"),
        ({"pretrained_cfg": {"mean": [0.5] * 3}}, "mean without std"),
    ],
)
def test_a_mean_and_std_that_cannot_be_are_named(tmp_path, said, words):
    path = foreign(tmp_path, TOKEN)
    beside(path, "config.json", **said)
    with pytest.raises(Unusable, match=words):
        inspect(path, TOKEN)


def test_a_scale_of_pixels_that_is_no_255th_is_refused(tmp_path):
    path = foreign(tmp_path, TOKEN, "huggingface")
    beside(path, "preprocessor_config.json", rescale_factor=1 / 127.5, do_normalize=False)
    with pytest.raises(Unusable, match=r"rescale_factor"):
        inspect(path, TOKEN)


@pytest.mark.parametrize(
    "said",
    [{"mean": [0.4, 0.4], "std": 1}, {"do_rescale": False, "mean": 0.4, "std": 0.2}, {"mean": 0.4}],
    ids=["two colours", "another range", "no std"],
)
def test_a_configuration_of_pixels_that_is_wrong_does_not_count_where_a_person_says_it(
    tmp_path, said
):
    path = foreign(tmp_path, TOKEN)
    beside(path, "config.json", **said)
    with pytest.raises(Unusable, match=r"Else give --mean and --std"):
        inspect(path, TOKEN)
    given = About(heads=TOKEN.heads, pixels=pixels_of("0.4", "0.2", "as given"))
    assert inspect(path, given=given).pixels == given.pixels


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ("123.675,116.28,103.53", "58.4,57.1,57.4", "mean is 123.675, 116.28, 103.53"),
        ("0.4", "58", "std is 58, 58, 58"),
        ("-1", "1", "mean is -1, -1, -1"),
        ("0.4", "1e-30", "std is 1e-30, 1e-30, 1e-30"),
        ("0.4", "0", "std is 0, 0, 0"),
    ],
)
def test_a_mean_and_std_that_no_pixels_of_0_to_1_have_are_refused(mean, std, said):
    with pytest.raises(ValueError, match=said):
        pixels_of(mean, std, "as given")
