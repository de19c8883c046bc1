"""Published layouts: their names and shapes, and that what is written is read back."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from weights_cases import (
    BIT,
    CLASSES,
    EVERY,
    GAP,
    HIDDEN,
    MAP,
    MIXER,
    SHAPES,
    TOKEN,
    assert_same,
    file_name,
    random_params,
)

from models.build import build
from models.positions import resize_positions, sincos_positions
from models.shapes import MuP
from models.weights import npz, safetensors
from models.weights.layouts import LAYOUTS, rows
from models.weights.ours import parameters, paths
from models.weights.reading import inspect, read
from models.weights.rows import entries
from models.weights.tensors import Unusable
from models.weights.writing import write
from models.zoo import BITS, MIXERS, VARIANTS, shape

D, H, E, M, L = 8, 2, 4, 12, 3  # width, heads, features of a head, MLP, depth of the small ViTs


def names(path):
    """Shape by name of what is in a file."""
    container = npz if path.suffix == ".npz" else safetensors
    with container.opened(path) as tensors:
        return {name: list(spec.shape) for name, spec in tensors.specs.items()}


@pytest.mark.parametrize("name", SHAPES)
def test_the_parameters_listed_are_those_of_the_modules(name):
    module = nnx.eval_shape(lambda: build(SHAPES[name], rngs=nnx.Rngs(0)))
    there = nnx.to_pure_dict(nnx.split(module)[1])
    shapes = {path: array.shape for path, array in paths({"backbone": there}).items()}
    assert shapes == {path: p.whole for path, p in parameters(SHAPES[name], None).items()}


def output(shape, params, images):
    """What the network makes of the images."""
    graph, state = nnx.split(nnx.eval_shape(lambda: build(shape, rngs=nnx.Rngs(0))))
    nnx.replace_by_pure_dict(state, jax.tree.map(jax.numpy.asarray, params["backbone"]))
    return np.asarray(nnx.merge(graph, state)(images))


@pytest.mark.parametrize(("layout", "name", "classes"), EVERY)
def test_what_is_written_is_read_back(tmp_path, layout, name, classes):
    params = random_params(SHAPES[name], classes)
    path = tmp_path / file_name(layout)
    write(path, params, SHAPES[name], layout)
    found = inspect(path)
    assert (found.layout, found.classes, found.skipped) == (layout, classes, {})
    assert found.shape == SHAPES[name]
    assert_same(found.read(), params)


def test_every_layout_and_network_is_written_or_refused_in_words(tmp_path):
    written = {(layout, name, classes) for layout, name, classes in EVERY}
    for layout in LAYOUTS:
        for name, each in SHAPES.items():
            for classes in (None, CLASSES):
                if (layout, name, classes) in written:
                    continue
                path = tmp_path / file_name(layout)
                with pytest.raises(Unusable, match=f"^{layout}"):
                    write(path, random_params(each, classes), each, layout)
                assert not list(tmp_path.iterdir())


def test_names_of_big_vision(tmp_path):
    path = tmp_path / "weights.npz"
    write(path, random_params(replace(MAP, pre_logits=10), 5), replace(MAP, pre_logits=10))
    found = names(path)

    def block(before):
        attention = f"{before}/MultiHeadDotProductAttention_0"
        return {
            f"{before}/LayerNorm_0/scale": [D],
            f"{before}/LayerNorm_0/bias": [D],
            **{f"{attention}/{x}/kernel": [D, H, E] for x in ("query", "key", "value")},
            **{f"{attention}/{x}/bias": [H, E] for x in ("query", "key", "value")},
            f"{attention}/out/kernel": [H, E, D],
            f"{attention}/out/bias": [D],
            f"{before}/MlpBlock_0/Dense_0/kernel": [D, M],
            f"{before}/MlpBlock_0/Dense_0/bias": [M],
            f"{before}/MlpBlock_0/Dense_1/kernel": [M, D],
            f"{before}/MlpBlock_0/Dense_1/bias": [D],
        }

    wanted = {
        "embedding/kernel": [2, 2, 3, D],
        "embedding/bias": [D],
        "pos_embedding": [1, 9, D],
        "Transformer/encoder_norm/scale": [D],
        "Transformer/encoder_norm/bias": [D],
        "MAPHead_0/probe": [1, 1, D],
        **block("MAPHead_0"),
        "pre_logits/kernel": [D, 10],
        "pre_logits/bias": [10],
        "head/kernel": [10, 5],
        "head/bias": [5],
    }
    for layer in range(L):
        before = f"Transformer/encoderblock_{layer}"
        wanted |= block(before)
        wanted |= {f"{before}/LayerNorm_1/{each}": [D] for each in ("scale", "bias")}
    assert found == wanted


def test_names_of_augreg(tmp_path):
    path = tmp_path / "weights.npz"
    write(path, random_params(HIDDEN, 5), HIDDEN, "augreg")
    block = "Transformer/encoderblock_2"
    assert (
        names(path).items()
        >= {
            "cls": [1, 1, D],
            "Transformer/posembed_input/pos_embedding": [1, 10, D],
            f"{block}/LayerNorm_0/scale": [D],
            f"{block}/LayerNorm_2/scale": [D],
            f"{block}/MultiHeadDotProductAttention_1/query/kernel": [D, H, E],
            f"{block}/MlpBlock_3/Dense_1/kernel": [M, D],
            "pre_logits/kernel": [D, 10],
        }.items()
    )
    assert len(names(path)) == 4 + 16 * L + 2 + 2 + 2
    assert not any("LayerNorm_1/" in name or "MlpBlock_0/" in name for name in names(path))


def test_names_of_a_scan_are_those_without_numbers_and_a_leading_axis(tmp_path):
    params = random_params(MAP, None)
    write(tmp_path / "apart.npz", params, MAP)
    write(tmp_path / "scan.npz", params, MAP, "big_vision-scan")
    wanted = {}
    for name, size in names(tmp_path / "apart.npz").items():
        stacked = re.sub(r"encoderblock_\d+", "encoderblock", name)
        wanted[stacked] = size if stacked == name else [L, *size]
    assert names(tmp_path / "scan.npz") == wanted


def test_names_of_the_bit_release_and_of_big_vision(tmp_path):
    write(tmp_path / "a.npz", random_params(BIT, 5), BIT, "bit")
    released = names(tmp_path / "a.npz")
    conv = "standardized_conv2d/kernel"
    assert (
        released.items()
        >= {
            f"resnet/root_block/{conv}": [7, 7, 3, 32],
            f"resnet/block2/unit01/a/proj/{conv}": [1, 1, 128, 256],
            f"resnet/block3/unit03/b/{conv}": [3, 3, 128, 128],
            "resnet/block3/unit03/c/group_norm/gamma": [128],
            "resnet/block1/unit02/a/group_norm/beta": [128],
            "resnet/group_norm/gamma": [512],
            "resnet/head/conv2d/kernel": [1, 1, 512, 5],
            "resnet/head/conv2d/bias": [5],
        }.items()
    )
    write(tmp_path / "b.npz", random_params(BIT, 5), BIT, "big_vision")
    theirs = names(tmp_path / "b.npz")
    assert len(theirs) == len(released) == 1 + 6 * 9 + 3 + 2 + 2
    assert (
        theirs.items()
        >= {
            "root_block/conv_root/kernel": [7, 7, 3, 32],
            "block2/unit01/conv_proj/kernel": [1, 1, 128, 256],
            "block3/unit03/conv2/kernel": [3, 3, 128, 128],
            "block3/unit03/gn3/scale": [1, 1, 1, 128],
            "norm-pre-head/bias": [1, 1, 1, 512],
            "head/kernel": [512, 5],
        }.items()
    )


def test_names_of_a_mixer(tmp_path):
    write(tmp_path / "a.npz", random_params(MIXER, 5), MIXER)
    found = names(tmp_path / "a.npz")
    assert len(found) == 2 + 12 * L + 2 + 2
    assert (
        found.items()
        >= {
            "stem/kernel": [2, 2, 3, D],
            "MixerBlock_2/LayerNorm_1/scale": [D],
            "MixerBlock_2/token_mixing/Dense_0/kernel": [9, 5],
            "MixerBlock_2/channel_mixing/Dense_1/kernel": [M, D],
            "pre_head_layer_norm/bias": [D],
            "head/kernel": [D, 5],
        }.items()
    )


def test_names_of_timm(tmp_path):
    write(tmp_path / "a.safetensors", random_params(MAP, 5), MAP)
    found = names(tmp_path / "a.safetensors")
    assert len(found) == 3 + 12 * L + 2 + 13 + 2
    assert (
        found.items()
        >= {
            "patch_embed.proj.weight": [D, 3, 2, 2],
            "pos_embed": [1, 9, D],
            "blocks.2.attn.qkv.weight": [3 * D, D],
            "blocks.2.attn.qkv.bias": [3 * D],
            "blocks.2.mlp.fc1.weight": [M, D],
            "attn_pool.latent": [1, 1, D],
            "attn_pool.q.weight": [D, D],
            "attn_pool.kv.weight": [2 * D, D],
            "attn_pool.mlp.fc2.weight": [D, M],
            "head.weight": [5, D],
        }.items()
    )
    write(tmp_path / "b.safetensors", random_params(BIT, 5), BIT)
    assert (
        names(tmp_path / "b.safetensors").items()
        >= {
            "stem.conv.weight": [32, 3, 7, 7],
            "stages.2.blocks.0.downsample.conv.weight": [512, 256, 1, 1],
            "stages.2.blocks.2.conv2.weight": [128, 128, 3, 3],
            "stages.0.blocks.1.norm3.bias": [32],
            "head.fc.weight": [5, 512, 1, 1],
        }.items()
    )
    write(tmp_path / "c.safetensors", random_params(MIXER, 5), MIXER)
    assert (
        names(tmp_path / "c.safetensors").items()
        >= {
            "stem.proj.weight": [D, 3, 2, 2],
            "blocks.1.mlp_tokens.fc1.weight": [5, 9],
            "blocks.1.mlp_channels.fc2.weight": [D, M],
            "norm.weight": [D],
        }.items()
    )


def test_names_of_transformers(tmp_path):
    for name in ("vit", "siglip", "bit"):
        (tmp_path / name).mkdir()
    write(tmp_path / "vit" / "a.safetensors", random_params(TOKEN, 5), TOKEN, "huggingface")
    assert (
        names(tmp_path / "vit" / "a.safetensors").items()
        >= {
            "vit.embeddings.cls_token": [1, 1, D],
            "vit.embeddings.position_embeddings": [1, 10, D],
            "vit.embeddings.patch_embeddings.projection.weight": [D, 3, 2, 2],
            "vit.encoder.layer.2.attention.attention.key.weight": [D, D],
            "vit.encoder.layer.2.attention.output.dense.bias": [D],
            "vit.encoder.layer.2.intermediate.dense.weight": [M, D],
            "vit.encoder.layer.2.layernorm_after.weight": [D],
            "vit.layernorm.bias": [D],
            "classifier.weight": [5, D],
        }.items()
    )
    write(tmp_path / "siglip" / "a.safetensors", random_params(MAP, None), MAP, "huggingface")
    assert (
        names(tmp_path / "siglip" / "a.safetensors").items()
        >= {
            "vision_model.embeddings.position_embedding.weight": [9, D],
            "vision_model.encoder.layers.2.self_attn.q_proj.weight": [D, D],
            "vision_model.encoder.layers.2.layer_norm2.bias": [D],
            "vision_model.post_layernorm.weight": [D],
            "vision_model.head.probe": [1, 1, D],
            "vision_model.head.attention.in_proj_weight": [3 * D, D],
            "vision_model.head.attention.in_proj_bias": [3 * D],
            "vision_model.head.attention.out_proj.weight": [D, D],
            "vision_model.head.layernorm.weight": [D],
        }.items()
    )
    write(tmp_path / "bit" / "a.safetensors", random_params(BIT, 5), BIT, "huggingface")
    assert (
        names(tmp_path / "bit" / "a.safetensors").items()
        >= {
            "bit.embedder.convolution.weight": [32, 3, 7, 7],
            "bit.encoder.stages.1.layers.0.downsample.conv.weight": [256, 128, 1, 1],
            "bit.norm.weight": [512],
            "classifier.1.weight": [5, 512],
        }.items()
    )


BLOCK_1 = "Transformer/encoderblock_1"
MEANINGS = {
    ("big_vision", "map"): {
        f"{BLOCK_1}/LayerNorm_0/bias": "blocks/norm1/bias",
        f"{BLOCK_1}/LayerNorm_1/bias": "blocks/norm2/bias",
        f"{BLOCK_1}/MultiHeadDotProductAttention_0/query/bias": "blocks/attention/query/bias",
        f"{BLOCK_1}/MultiHeadDotProductAttention_0/key/bias": "blocks/attention/key/bias",
        f"{BLOCK_1}/MultiHeadDotProductAttention_0/value/bias": "blocks/attention/value/bias",
        "Transformer/encoder_norm/bias": "norm/bias",
        "MAPHead_0/LayerNorm_0/bias": "pool/norm/bias",
        "MAPHead_0/MultiHeadDotProductAttention_0/key/bias": "pool/attention/key/bias",
        "MAPHead_0/MultiHeadDotProductAttention_0/out/bias": "pool/attention/out/bias",
        "MAPHead_0/MlpBlock_0/Dense_1/bias": "pool/mlp/out/bias",
        "embedding/bias": "embedding/bias",
    },
    ("augreg", "token"): {
        f"{BLOCK_1}/LayerNorm_0/scale": "blocks/norm1/scale",
        f"{BLOCK_1}/LayerNorm_2/scale": "blocks/norm2/scale",
        f"{BLOCK_1}/MultiHeadDotProductAttention_1/key/kernel": "blocks/attention/key/kernel",
        "cls": "token",
    },
    ("big_vision", "mixer"): {
        "MixerBlock_1/LayerNorm_0/scale": "blocks/norm1/scale",
        "MixerBlock_1/LayerNorm_1/scale": "blocks/norm2/scale",
        "pre_head_layer_norm/scale": "norm/scale",
    },
    ("bit", "bit"): {
        "resnet/block3/unit01/b/group_norm/gamma": "stages/2/first/norm2/scale",
        "resnet/block3/unit01/c/group_norm/gamma": "stages/2/first/norm3/scale",
        "resnet/block3/unit01/c/group_norm/beta": "stages/2/first/norm3/bias",
        "resnet/block3/unit03/c/group_norm/beta": "stages/2/blocks/norm3/bias",
    },
    ("big_vision", "bit"): {
        "block3/unit01/gn2/scale": "stages/2/first/norm2/scale",
        "block3/unit01/gn3/bias": "stages/2/first/norm3/bias",
        "block3/unit03/conv3/kernel": "stages/2/blocks/conv3/kernel",
    },
    ("timm", "map"): {
        "blocks.1.norm1.weight": "blocks/norm1/scale",
        "blocks.1.norm2.bias": "blocks/norm2/bias",
        "attn_pool.q.weight": "pool/attention/query/kernel",
        "attn_pool.proj.weight": "pool/attention/out/kernel",
        "attn_pool.norm.weight": "pool/norm/scale",
        "norm.weight": "norm/scale",
    },
    ("timm", "mixer"): {
        "blocks.1.norm2.bias": "blocks/norm2/bias",
        "norm.bias": "norm/bias",
    },
    ("timm", "bit"): {
        "stages.2.blocks.0.norm3.bias": "stages/2/first/norm3/bias",
        "stages.2.blocks.2.norm2.weight": "stages/2/blocks/norm2/scale",
    },
    ("huggingface", "token"): {
        "vit.encoder.layer.1.attention.attention.query.weight": "blocks/attention/query/kernel",
        "vit.encoder.layer.1.attention.attention.key.weight": "blocks/attention/key/kernel",
        "vit.encoder.layer.1.attention.attention.value.weight": "blocks/attention/value/kernel",
        "vit.encoder.layer.1.attention.output.dense.weight": "blocks/attention/out/kernel",
        "vit.encoder.layer.1.layernorm_before.bias": "blocks/norm1/bias",
        "vit.encoder.layer.1.layernorm_after.bias": "blocks/norm2/bias",
        "vit.layernorm.bias": "norm/bias",
    },
    ("huggingface", "map"): {
        "vision_model.encoder.layers.1.self_attn.q_proj.weight": "blocks/attention/query/kernel",
        "vision_model.encoder.layers.1.self_attn.k_proj.weight": "blocks/attention/key/kernel",
        "vision_model.encoder.layers.1.self_attn.v_proj.weight": "blocks/attention/value/kernel",
        "vision_model.encoder.layers.1.layer_norm1.bias": "blocks/norm1/bias",
        "vision_model.encoder.layers.1.layer_norm2.bias": "blocks/norm2/bias",
        "vision_model.post_layernorm.bias": "norm/bias",
        "vision_model.head.layernorm.bias": "pool/norm/bias",
    },
    ("huggingface", "bit"): {
        "bit.encoder.stages.2.layers.0.norm3.bias": "stages/2/first/norm3/bias",
        "bit.encoder.stages.2.layers.2.norm2.weight": "stages/2/blocks/norm2/scale",
    },
}


@pytest.mark.parametrize(("layout", "name"), MEANINGS)
def test_arrays_of_the_same_shape_are_not_taken_for_one_another(tmp_path, layout, name):
    """By their numbers, whatever the order of their axes. Where there are layers, it is the
    second of ours; in PyTorch's and BiT's third block too, since the first stands apart."""
    params = random_params(SHAPES[name], None)
    path = tmp_path / file_name(layout)
    write(path, params, SHAPES[name], layout)
    ours, wanted = paths(params), parameters(SHAPES[name], None)
    container = npz if path.suffix == ".npz" else safetensors
    with container.opened(path) as file:
        for there, here in MEANINGS[layout, name].items():
            array = ours[here] if wanted[here].layers is None else ours[here][1]
            found = np.sort(file.read(there), axis=None)
            np.testing.assert_array_equal(found, np.sort(array, axis=None), err_msg=there)


def test_fused_projections_stand_in_the_order_that_pytorch_splits_them(tmp_path):
    params = random_params(MAP, None)
    write(tmp_path / "a.safetensors", params, MAP, "timm")
    write(tmp_path / "b.safetensors", params, MAP, "huggingface")
    pool = paths(params["backbone"]["pool"]["attention"])
    for path, name, parts in [
        ("a.safetensors", "attn_pool.kv.bias", ("key", "value")),
        ("b.safetensors", "vision_model.head.attention.in_proj_bias", ("query", "key", "value")),
    ]:
        with safetensors.opened(tmp_path / path) as file:
            wanted = np.concatenate([pool[f"{part}/bias"].ravel() for part in parts])
            np.testing.assert_array_equal(file.read(name), wanted)


def test_pytorchs_products_are_ours(tmp_path):
    """y = x W^T + b with their arrays, against kernel and bias with ours."""
    params = random_params(MAP, 5)
    write(tmp_path / "a.safetensors", params, MAP)
    with safetensors.opened(tmp_path / "a.safetensors") as file:
        theirs = {name: file.read(name) for name in file.specs}
    x = np.random.default_rng(1).normal(size=D)
    block = paths(params["backbone"]["blocks"])
    qkv = theirs["blocks.1.attn.qkv.weight"] @ x + theirs["blocks.1.attn.qkv.bias"]
    for place, part in enumerate(("query", "key", "value")):
        ours = np.einsum("d,dhe->he", x, block[f"attention/{part}/kernel"][1])
        ours = ours + block[f"attention/{part}/bias"][1]
        np.testing.assert_allclose(qkv.reshape(3, H, E)[place], ours, rtol=1e-6)
    heads = x.reshape(H, E)
    ours = np.einsum("he,hed->d", heads, block["attention/out/kernel"][1])
    np.testing.assert_allclose(theirs["blocks.1.attn.proj.weight"] @ x, ours, rtol=1e-5)
    image = np.random.default_rng(2).normal(size=(2, 2, 3))  # a patch: row, column, colour
    ours = image.ravel() @ params["backbone"]["embedding"]["kernel"]
    conv = np.einsum("rck,dkrc->d", image, theirs["patch_embed.proj.weight"])
    np.testing.assert_allclose(conv, ours, rtol=1e-5)


def test_a_token_is_read_as_the_sum_of_itself_and_its_position(tmp_path):
    write(tmp_path / "a.npz", random_params(TOKEN, None), TOKEN, "augreg")
    arrays = dict(np.load(tmp_path / "a.npz"))
    table = "Transformer/posembed_input/pos_embedding"
    arrays[table][:, 0] = 0.5
    np.savez(tmp_path / "b.npz", **arrays)
    _, params = read(tmp_path / "b.npz")
    np.testing.assert_array_equal(params["backbone"]["token"], arrays["cls"] + 0.5)
    np.testing.assert_array_equal(params["backbone"]["position"], arrays[table][:, 1:])


def test_positions_are_resized_to_the_resolution_asked_for(tmp_path):
    params = random_params(MAP, None)
    write(tmp_path / "a.npz", params, MAP)
    larger = replace(MAP, resolution=10)
    found, resized = read(tmp_path / "a.npz", larger)
    assert found == larger
    table = params["backbone"].pop("position")
    np.testing.assert_array_equal(resized["backbone"].pop("position"), resize_positions(table, 5))
    assert_same(resized, params)


def test_a_network_read_at_another_resolution_runs(tmp_path):
    write(tmp_path / "a.npz", random_params(GAP, None), GAP)
    larger, params = read(tmp_path / "a.npz", replace(GAP, resolution=8))
    assert output(larger, params, np.zeros((1, 8, 8, 3), "f4")).shape == (1, D)


def test_fixed_positions_become_a_table_where_only_tables_are_known(tmp_path):
    fixed = replace(GAP, position="sincos")
    params = random_params(fixed, None)
    write(tmp_path / "a.safetensors", params, fixed)
    _, learned = read(tmp_path / "a.safetensors")
    table = learned["backbone"].pop("position")
    np.testing.assert_array_equal(table, sincos_positions(3, D))
    assert_same(learned, params)
    write(tmp_path / "a.npz", params, fixed)
    assert "pos_embedding" not in names(tmp_path / "a.npz")
    found, again = read(tmp_path / "a.npz", fixed)
    assert found == fixed
    assert_same(again, params)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("layout", ["big_vision", "timm"])
def test_a_type_asked_for_is_the_nearest_number_of_that_type(tmp_path, layout, dtype):
    params = random_params(TOKEN, 5)
    path = tmp_path / file_name(layout)
    write(path, params, TOKEN, layout, dtype=dtype)
    _, found = read(path)
    assert_same(found, jax.tree.map(lambda x: x.astype(dtype), params))
    _, back = read(path, dtype="float32")
    assert {x.dtype for x in paths(back).values()} == {np.dtype("f4")}


def test_transformers_is_told_what_weights_do_not_say(tmp_path):
    erf = replace(TOKEN, gelu="erf")
    write(tmp_path / "model.safetensors", random_params(erf, 5), erf, "huggingface")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["ViTForImageClassification"]
    assert config.items() >= {"hidden_act": "gelu", "num_attention_heads": 2}.items()
    assert config.items() >= {"layer_norm_eps": 1e-6, "image_size": 6, "num_labels": 5}.items()


def test_a_config_of_other_weights_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Unusable, match=r"config\.json is there already"):
        write(tmp_path / "a.safetensors", random_params(TOKEN, 5), TOKEN, "huggingface")
    assert [each.name for each in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"block": "parallel"}, "parallel blocks"),
        ({"query_key_norm": True}, "normalised queries and keys"),
        ({"qkv_and_norm_biases": False}, "no biases"),
    ],
)
def test_networks_that_no_layout_can_say_are_refused(tmp_path, changes, reason):
    with pytest.raises(Unusable, match=reason):
        write(tmp_path / "a.npz", random_params(MAP, None), replace(MAP, **changes))


@pytest.mark.parametrize(
    "shape",
    [pytest.param(MAP, id="map", marks=pytest.mark.slow), pytest.param(TOKEN, id="token")],
)
def test_a_network_of_mup_is_written_as_the_same_function_in_the_standard_parametrisation(
    tmp_path, shape
):
    mup = MuP(base_width=shape.width // 2, base_head=1, base_depth=1, depth_exponent=0.75)
    scaled, params = replace(shape, mup=mup), random_params(shape, None)
    write(tmp_path / "a.npz", params, scaled, "big_vision" if shape is MAP else "augreg")
    _, found = read(tmp_path / "a.npz")
    images = np.random.default_rng(0).uniform(-1, 1, (2, shape.resolution, shape.resolution, 3))
    images = images.astype(np.float32)
    want = output(scaled, params, images)
    np.testing.assert_allclose(output(shape, found, images), want, rtol=1e-5, atol=1e-6)
    assert np.abs(output(shape, params, images) - want).max() > 1e-3 * np.abs(want).max()


def test_weights_are_not_read_into_a_network_of_mup(tmp_path):
    write(tmp_path / "a.npz", random_params(MAP, None), MAP)
    with pytest.raises(Unusable, match="parametrised by muP, published weights are not"):
        read(tmp_path / "a.npz", replace(MAP, mup=MuP(base_width=8)))


def test_a_bit_with_norms_after_its_convolutions_is_neither_written_nor_read(tmp_path):
    post = replace(BIT, order="post")
    with pytest.raises(Unusable, match=r"^BiT-2-1-3-w32 has norms after its convolutions"):
        write(tmp_path / "a.npz", {"backbone": {"root_norm": {}}}, post, "bit")
    write(tmp_path / "b.npz", random_params(BIT, None), BIT, "bit")
    for asked in (post, "BiT-R50x1-post"):
        with pytest.raises(Unusable, match="has norms after its convolutions"):
            read(tmp_path / "b.npz", asked)


def test_parameters_that_are_not_the_shapes_are_all_named(tmp_path):
    params = random_params(MAP, 5)
    del params["backbone"]["position"]
    params["backbone"]["norm"]["scale"] = np.zeros(9)
    params["projection"] = {"kernel": np.zeros((2, 3))}
    with pytest.raises(Unusable) as refused:
        write(tmp_path / "a.npz", params, MAP)
    assert str(refused.value).splitlines()[1:] == [
        "  missing      position [1, 9, 8]",
        "  wrong shape  norm/scale [9], not [8]",
        "  extra        projection/kernel [2, 3] float64",
    ]
    assert not list(tmp_path.iterdir())


def test_an_unknown_type_is_refused(tmp_path):
    with pytest.raises(Unusable, match="no type 'int8'; use float64, float32, float16, bfloat16"):
        write(tmp_path / "a.npz", random_params(MAP, None), MAP, dtype="int8")
    write(tmp_path / "a.npz", random_params(MAP, None), MAP)
    with pytest.raises(Unusable, match="no type 'int8'"):
        read(tmp_path / "a.npz", dtype="int8")


def test_an_unknown_layout_or_one_of_another_extension_is_refused(tmp_path):
    params = random_params(MAP, None)
    with pytest.raises(Unusable, match=r"no layout 'flax'; there are big_vision, "):
        write(tmp_path / "a.npz", params, MAP, "flax")
    with pytest.raises(Unusable, match=r"timm is written as \.safetensors, but .*a\.npz"):
        write(tmp_path / "a.npz", params, MAP, "timm")
    with pytest.raises(Unusable, match=r"a\.pt does not end in \.npz or \.safetensors"):
        write(tmp_path / "a.pt", params, MAP)


def test_every_network_of_the_zoo_has_a_table_in_which_no_name_stands_twice():
    zoo = [*(f"{each}/16" for each in VARIANTS), *BITS, *(f"{each}/16" for each in MIXERS)]
    for each in map(shape, zoo):
        wanted = parameters(each, 1000)
        for layout in ("big_vision", "timm"):
            table = entries(rows(layout, each, 1000), wanted)
            theirs = [name for entry in table for name in entry.theirs]
            assert len(set(theirs)) == len(theirs)
            assert {path for entry in table for path in entry.ours} == wanted.keys()


def test_weights_are_read_without_jax():
    code = (
        "import sys; import models.weights.reading, models.weights.writing; "
        "assert not {'jax', 'flax', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
