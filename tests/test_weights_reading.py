"""Files as they were published over the years, files with something amiss, and what is said."""

import json
import re
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from weights_cases import BIT, GAP, HIDDEN, MAP, MIXER, TOKEN, assert_same, random_params

from models.weights import safetensors
from models.weights.facts import About
from models.weights.layouts import rows
from models.weights.ours import parameters
from models.weights.reading import in_words, inspect, read
from models.weights.recognise import recognise
from models.weights.rows import entries
from models.weights.tensors import Spec, Unusable
from models.weights.writing import write
from models.zoo import shape as zoo_shape


def npz_of(tmp_path, shape, classes=5, layout="big_vision"):
    """Parameters, and the arrays of a file of them by name."""
    params = random_params(shape, classes)
    write(tmp_path / "whole.npz", params, shape, layout)
    return params, dict(np.load(tmp_path / "whole.npz"))


def safetensors_of(tmp_path, shape, classes, layout):
    params = random_params(shape, classes)
    folder = tmp_path / "whole"
    folder.mkdir()
    write(folder / "model.safetensors", params, shape, layout)
    with safetensors.opened(folder / "model.safetensors") as file:
        return params, {name: file.read(name) for name in file.specs}


def save(path, arrays):
    """A file as others write it: nothing of ours in its metadata, no configuration beside it."""
    specs = {name: Spec(array.shape, array.dtype) for name, array in arrays.items()}
    safetensors.write(path, specs, arrays.__getitem__, {})
    return path


@pytest.mark.parametrize("prefix", ["params/", "opt/target/", "img/", "params/img/"])
def test_an_image_network_is_found_behind_its_prefix_and_the_rest_is_named(tmp_path, prefix):
    params, arrays = npz_of(tmp_path, MAP)
    beside = {
        "params/": {"opt/0/mu/head/bias": "optimizer state", "chrono/steps": "training clock"},
        "opt/target/": {"opt/state/step": "optimizer state"},
        "img/": {"txt/Embed_0/embedding": "text tower", "t": "joins the two towers"},
        "params/img/": {"params/txt/head/bias": "text tower", "params/b": "joins the two towers"},
    }[prefix]
    there = {prefix + name: array for name, array in arrays.items()}
    np.savez(tmp_path / "a.npz", **there, **{name: np.int64(1) for name in beside})
    found = inspect(tmp_path / "a.npz")
    assert found.skipped == beside
    assert_same(found.read(), params)


def test_bfloat16_that_numpy_saved_as_two_bytes_of_nothing_is_read(tmp_path):
    _, arrays = npz_of(tmp_path, MAP)
    halves = {name: array.astype(ml_dtypes.bfloat16) for name, array in arrays.items()}
    np.savez(tmp_path / "a.npz", **halves)
    assert np.load(tmp_path / "a.npz")["embedding/bias"].dtype == np.dtype("V2")
    _, params = read(tmp_path / "a.npz")
    bias = params["backbone"]["embedding"]["bias"]
    assert bias.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(bias, halves["embedding/bias"])


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda x: x.astype(">f4"),
        lambda x: np.array(x.T, order="C").T,
    ],
)
def test_the_order_of_axes_and_bytes_in_the_file_does_not_matter(tmp_path, change):
    params, arrays = npz_of(tmp_path, MAP)
    np.savez_compressed(tmp_path / "a.npz", **{name: change(x) for name, x in arrays.items()})
    assert_same(read(tmp_path / "a.npz")[1], params)


def test_a_map_head_that_was_inlined_is_found(tmp_path):
    params, arrays = npz_of(tmp_path, MAP)
    inlined = {name.removeprefix("MAPHead_0/"): array for name, array in arrays.items()}
    assert "probe" in inlined
    assert "MlpBlock_0/Dense_0/bias" in inlined
    np.savez(tmp_path / "a.npz", **inlined)
    found = inspect(tmp_path / "a.npz")
    assert found.shape == MAP
    assert_same(found.read(), params)


@pytest.mark.parametrize("where", ["Transformer/pos_embedding", "pos_embedding"])
def test_big_visions_tables_with_a_row_for_the_token_are_split(tmp_path, where):
    params, arrays = npz_of(tmp_path, TOKEN)
    row = np.full((1, 1, 8), 0.25, "f4")
    arrays["cls"] -= row
    arrays[where] = np.concatenate([row, arrays.pop("pos_embedding")], axis=1)
    np.savez(tmp_path / "a.npz", **arrays)
    _, found = read(tmp_path / "a.npz")
    token, wanted = found["backbone"].pop("token"), params["backbone"].pop("token")
    np.testing.assert_allclose(token, wanted, atol=1e-6)
    assert_same(found, params)


def test_a_bit_with_numbered_convolutions_is_the_same_bit(tmp_path):
    params, arrays = npz_of(tmp_path, BIT, layout="bit")
    numbered = {
        name.replace("/standardized_conv2d/", f"/standardized_conv2d_{i}/"): array
        for i, (name, array) in enumerate(arrays.items())
    }
    np.savez(tmp_path / "a.npz", **numbered)
    assert_same(read(tmp_path / "a.npz")[1], params)


def test_timms_positions_without_a_row_for_the_token_are_read(tmp_path):
    params, arrays = safetensors_of(tmp_path, TOKEN, 5, "timm")
    arrays["pos_embed"] = arrays["pos_embed"][:, 1:]
    path = save(tmp_path / "a.safetensors", arrays)
    assert_same(inspect(path, given=About(heads=2)).read(), params)


def test_transformers_leaves_its_prefix_out_when_it_saves_the_bare_network(tmp_path):
    params, arrays = safetensors_of(tmp_path, HIDDEN, None, "huggingface")
    bare = {name.removeprefix("vit."): array for name, array in arrays.items()}
    assert "pooler.dense.weight" in bare
    found = inspect(save(tmp_path / "a.safetensors", bare), given=About(heads=2))
    assert found.shape == replace(HIDDEN, gelu="erf")
    assert_same(found.read(), params)


def test_transformers_two_towers_give_the_image_tower(tmp_path):
    params, arrays = safetensors_of(tmp_path, MAP, None, "huggingface")
    beside = {
        "text_model.embeddings.token_embedding.weight": "text tower",
        "logit_scale": "joins the two towers",
        "vision_model.embeddings.position_ids": "counts 0, 1, 2, ...",
    }
    arrays |= {name: np.zeros((1, 9), "i8") for name in beside}
    config = {"vision_config": {"num_attention_heads": 2, "image_size": 7}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = inspect(save(tmp_path / "model.safetensors", arrays))
    assert found.skipped == beside
    assert found.shape == replace(MAP, resolution=7)
    assert_same(found.read(), params)


def test_open_clips_two_towers_give_timms_image_tower(tmp_path):
    params, arrays = safetensors_of(tmp_path, MAP, None, "timm")
    there = {f"visual.trunk.{name}": array for name, array in arrays.items()}
    beside = {"text.token_embedding.weight": "text tower", "logit_scale": "joins the two towers"}
    there |= {name: np.zeros(2, "f4") for name in beside}
    found = inspect(save(tmp_path / "a.safetensors", there), given=About(heads=2))
    assert (found.shape, found.skipped) == (MAP, beside)
    assert_same(found.read(), params)


@pytest.mark.parametrize(
    ("shape", "pattern"), [(TOKEN, r"vit\.pooler\."), (GAP, r"vision_model\.head\.")]
)
def test_what_transformers_classifiers_do_not_read_is_left_out(tmp_path, shape, pattern):
    params, arrays = safetensors_of(tmp_path, shape, 5, "huggingface")
    unread = {"vit.pooler.dense.bias", "vision_model.head.layernorm.bias"}
    unread = {name for name in unread if re.match(pattern, name)}
    arrays |= {name: np.zeros(8, "f4") for name in unread}
    found = inspect(save(tmp_path / "a.safetensors", arrays), given=About(heads=2))
    assert set(found.skipped) == unread
    assert (found.shape.pool, found.shape.pre_logits) == (shape.pool, None)
    assert_same(found.read(), params)


def test_heads_of_pytorchs_weights_are_those_of_the_zoo_or_are_asked_for(tmp_path):
    ti = replace(zoo_shape("Ti/16", 32), depth=12)
    _, arrays = safetensors_of(tmp_path, ti, None, "timm")
    found = inspect(save(tmp_path / "a.safetensors", arrays))
    assert found.shape == ti
    small = tmp_path / "small"
    small.mkdir()
    _, arrays = safetensors_of(small, MAP, None, "timm")
    path = save(tmp_path / "b.safetensors", arrays)
    with pytest.raises(Unusable, match=r"b\.safetensors: into how many heads .*give --heads"):
        inspect(path)
    assert inspect(path, given=About(heads=4)).shape.heads == 4
    assert inspect(path, MAP).shape == MAP


@pytest.mark.parametrize(
    ("layout", "shape", "gelu"),
    [
        ("timm", MAP, "tanh"),
        ("timm", TOKEN, "erf"),
        ("timm", MIXER, "erf"),
        ("huggingface", MAP, "tanh"),
        ("huggingface", TOKEN, "erf"),
    ],
)
def test_the_gelu_is_that_of_whoever_publishes_in_the_layout(tmp_path, layout, shape, gelu):
    _, arrays = safetensors_of(tmp_path, shape, None, layout)
    path = save(tmp_path / "a.safetensors", arrays)
    assert inspect(path, given=About(heads=2)).shape.gelu == gelu
    for said, wanted in (("gelu", "erf"), ("gelu_pytorch_tanh", "tanh")):
        config = {"num_attention_heads": 2, "hidden_act": said}
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert inspect(path).shape.gelu == wanted


def test_a_configuration_that_cannot_be_used_is_named(tmp_path):
    _, arrays = safetensors_of(tmp_path, MAP, None, "timm")
    path = save(tmp_path / "a.safetensors", arrays)
    for text, said in [
        ("{", "cannot be understood"),
        ("[1]", "it is no JSON object"),
        ("[" * 100_000, "cannot be understood"),
        ('{"hidden_act": "quick_gelu"}', "the activation 'quick_gelu'; known are erf, gelu"),
    ]:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(Unusable, match=rf"config\.json .*{re.escape(said)}"):
            inspect(path)


def test_a_name_of_the_zoo_decides_the_sizes_and_the_file_the_rest(tmp_path):
    npz_of(tmp_path, replace(zoo_shape("mu/16", 48), pool="gap", pre_logits=6))
    found = inspect(tmp_path / "whole.npz", "mu/16")
    assert in_words(found.shape, found.classes) == (
        "mu/16 (48 px, pool gap, pre-logits 6, 2 heads, GELU tanh, 5 classes)"
    )
    assert inspect(tmp_path / "whole.npz", "mu/16", resolution=96).shape.resolution == 96
    with pytest.raises(Unusable, match=r"wrong shape  embedding/bias \[32\], not \[192\]"):
        inspect(tmp_path / "whole.npz", "Ti/16")
    with pytest.raises(Unusable, match=r"there is no ViT variant 'Tj'; did you mean"):
        inspect(tmp_path / "whole.npz", "Tj/16")
    with pytest.raises(Unusable, match=r"BiT-R50x1 is a BiT, but the file holds a ViT, mu/16"):
        inspect(tmp_path / "whole.npz", "BiT-R50x1")


def test_fixed_positions_are_not_taken_for_missing_ones_if_that_is_said(tmp_path):
    fixed = replace(GAP, position="sincos")
    params, _ = npz_of(tmp_path, fixed)
    path = tmp_path / "whole.npz"
    with pytest.raises(Unusable, match=r"missing      pos_embedding \[1, .*Then give --sincos"):
        inspect(path)
    found = inspect(path, resolution=6, given=About(sincos=True))
    assert found.shape == fixed
    assert_same(found.read(), params)


def test_a_mixer_cannot_be_read_at_another_resolution(tmp_path):
    npz_of(tmp_path, MIXER)
    with pytest.raises(Unusable, match=r"mixes 9 patches and no other number, so it is for 6 px"):
        inspect(tmp_path / "whole.npz", resolution=8)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (MAP, "big_vision"),
        (MAP, "big_vision-scan"),
        (TOKEN, "augreg"),
        (BIT, "bit"),
        (BIT, "big_vision"),
        (MIXER, "big_vision"),
    ],
)
def test_all_that_is_missing_extra_or_of_the_wrong_shape_is_named(tmp_path, shape, layout):
    """Whichever names they are: a file is recognised by most of what it says."""
    _, arrays = npz_of(tmp_path, shape, layout=layout)
    rng = np.random.default_rng(0)
    for trial in range(12):
        chosen = rng.permutation(list(arrays))[:5]
        missing, wrong = chosen[:3], chosen[3:]
        there = {name: array for name, array in arrays.items() if name not in missing}
        there |= {name: np.zeros((3, *arrays[name].shape), "f4") for name in wrong}
        there["surprise/kernel"] = np.zeros((2, 3))
        np.savez(tmp_path / "a.npz", **there)
        with pytest.raises(Unusable) as refused:
            inspect(tmp_path / "a.npz")
        said = str(refused.value).splitlines()
        assert len(said) == 1 + 3 + 2 + 1, (trial, said)
        assert "  extra        surprise/kernel [2, 3] float64" in said
        for name in missing:
            assert any(line.startswith(f"  missing      {name} [") for line in said), (trial, said)
        for name in wrong:
            assert any(f"  wrong shape  {name} [3, " in line for line in said), (trial, said)


def test_weights_that_are_whole_numbers_are_refused(tmp_path):
    _, arrays = npz_of(tmp_path, MAP)
    arrays["embedding/bias"] = arrays["embedding/bias"].astype("i4")
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(Unusable, match=r"wrong type   embedding/bias int32, not float64 or"):
        read(tmp_path / "a.npz")


def test_two_names_for_one_thing_are_both_named(tmp_path):
    _, arrays = npz_of(tmp_path, MAP)
    arrays["Transformer/posembed_input/pos_embedding"] = arrays["pos_embedding"]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(Unusable, match=r"pos_embedding and Transformer/posembed_input/pos_embed"):
        read(tmp_path / "a.npz")


def test_a_file_of_something_else_is_said_to_be_that(tmp_path):
    np.savez(tmp_path / "a.npz", weights=np.zeros(3))
    with pytest.raises(Unusable, match=r"not the names of any known layout \(weights, \.\.\.\)"):
        read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz")
    with pytest.raises(Unusable, match="nothing at all"):
        read(tmp_path / "b.npz")


def test_sizes_that_cannot_be_are_said(tmp_path):
    _, arrays = npz_of(tmp_path, MAP)
    for name, array in arrays.items():
        if name.endswith(("query/bias", "key/bias", "value/bias")):
            arrays[name] = np.zeros((3, *array.shape[1:]), "f4")
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(Unusable, match="heads=3 does not divide width=8"):
        read(tmp_path / "a.npz")


def test_the_largest_published_networks_are_recognised_by_names_and_shapes_alone(tmp_path):
    for name in ("G/14", "So400m/14", "BiT-R152x4", "Mixer-L/16"):
        wanted = zoo_shape(name)
        table = entries(rows("timm", wanted, 21_843), parameters(wanted, 21_843))
        specs = {
            there: Spec(size, np.dtype("f4"))
            for entry in table
            for there, size in zip(entry.theirs, entry.their_shapes, strict=True)
        }
        found = recognise(specs, About(gelu="tanh"))
        assert (found.shape, found.classes) == (wanted, 21_843)


def test_a_number_in_a_name_makes_no_table_of_that_length(tmp_path):
    _, arrays = npz_of(tmp_path, MAP)
    arrays["Transformer/encoderblock_999999999999/x"] = np.zeros(1)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(Unusable, match="extra        Transformer/encoderblock_999999999999/x"):
        read(tmp_path / "a.npz")
