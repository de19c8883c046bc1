"""`scaling convert`: what it prints, what it writes, and what it refuses."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from saved_params import save_params
from weights_cases import GAP, MAP, TOKEN, assert_same, random_params

from models.weights.layouts import rows
from models.weights.ours import parameters
from models.weights.reading import read
from models.weights.rows import entries
from models.weights.writing import write
from scaling.cli.main import main
from scaling.data.procedural.source import Procedural
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder
from scaling.training.checkpoint_manifest import MANIFEST
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.zoo.convert import mappings


@pytest.fixture
def convert(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder; returns status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["scaling", "convert", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return command


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("out", "to"),
    [
        ("b.npz", "augreg"),
        ("b.npz", "big_vision-scan"),
        ("b.npz", None),
        ("b.safetensors", None),
        ("b.safetensors", "huggingface"),
    ],
)
def test_there_and_back_again_the_weights_are_the_same(convert, tmp_path, out, to):
    params = random_params(TOKEN, 5)
    write("a.npz", params, TOKEN)
    status, said, errors = convert("a.npz", out, *(["--to", to] if to else []))
    assert (status, errors) == (0, "")
    assert said.startswith(
        "a.npz: big_vision, ViT-8x3/2 (6 px, pool token, 2 heads, GELU tanh, 5 classes)\nb."
    )
    assert convert(out, "c.npz")[0] == 0
    found, again = read("c.npz")
    assert found == TOKEN
    assert_same(again, params)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "c.npz").read_bytes()


def test_a_mean_and_std_that_are_given_are_folded_and_said(convert, tmp_path):
    params = random_params(TOKEN, 5)
    write("a.npz", params, TOKEN)
    status, said, _ = convert("a.npz", "b.safetensors", "--mean", "0.4", "--std", "0.25")
    assert status == 0
    assert (
        "pixels: mean 0.4, 0.4, 0.4 and std 0.25, 0.25, 0.25 (--mean and --std) are folded into "
        "the patch embedding: it sees pixels of -1 .. 1" in said
    )
    here, there = (read(name)[1]["backbone"]["embedding"] for name in ("a.npz", "b.safetensors"))
    np.testing.assert_allclose(there["kernel"], 2 * here["kernel"], rtol=1e-6)
    wanted = here["bias"] + 0.4 * here["kernel"].sum(0)
    np.testing.assert_allclose(there["bias"], wanted, rtol=1e-5, atol=1e-6)
    assert "pixels" not in convert("b.safetensors", "c.npz")[1]


def test_a_dry_run_lists_every_array_and_writes_nothing(convert, tmp_path):
    write("a.npz", random_params(TOKEN, 5), TOKEN, "augreg")
    arrays = dict(np.load("a.npz"))
    there = {f"params/{name}": array for name, array in arrays.items()}
    np.savez("a.npz", **there, **{"opt/step": np.zeros(()), "chrono/seconds": np.zeros(())})
    status, said, errors = convert("a.npz", "b.safetensors", "--dry-run")
    assert (status, errors) == (0, "")
    assert files(tmp_path) == ["a.npz"]
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "array is here becomes as" in lines
    assert (
        "params/Transformer/encoderblock_2/MultiHeadDotProductAttention_1/key/kernel [8, 2, 4] "
        "float32 blocks/attention/key/kernel[2] blocks.2.attn.qkv.weight [24, 8] float32" in lines
    )
    assert any(
        line.startswith("params/cls + params/Transformer/posembed_input/pos_embedding [1, 1, 8]")
        and line.endswith("token cls_token + pos_embed [1, 1, 8] float32 + [1, 10, 8] float32")
        for line in lines
    )
    for name in there:
        assert name in said
    write("b.safetensors", random_params(TOKEN, 5), TOKEN)
    for name in json.loads((tmp_path / "b.safetensors").read_bytes()[8:].split(b"}}")[0] + b"}}"):
        assert name in said or name == "__metadata__"
    assert lines[-3:] == [
        "left out: opt/step, optimizer state",
        "left out: chrono/seconds, training clock",
        "nothing was written: --dry-run",
    ]


def test_stacks_that_come_apart_are_listed_layer_by_layer(convert):
    write("a.npz", random_params(GAP, None), GAP, "big_vision-scan")
    _, said, _ = convert("a.npz", "b.npz", "--dry-run")
    for layer in range(3):
        assert f"blocks/norm1/scale[{layer}]" in said
        assert f"Transformer/encoderblock_{layer}/LayerNorm_0/scale" in said
    _, said, _ = convert("a.npz", "b.npz", "--to", "big_vision-scan", "--dry-run")
    assert "blocks/norm1/scale " in said
    assert "[0]" not in said


def test_mappings_cover_every_parameter_on_both_sides():
    wanted = parameters(MAP, 5)
    for one, other in (("timm", "big_vision-scan"), ("big_vision-scan", "timm")):
        here, there = (entries(rows(layout, MAP, 5), wanted) for layout in (one, other))
        found = list(mappings(here, there))
        assert {path for _, path, _, _ in found} == wanted.keys()
        assert {n for names, *_ in found for n in names} == {n for e in here for n in e.theirs}
        assert {n for *_, names in found for n in names} == {n for e in there for n in e.theirs}


def test_fixed_positions_are_listed_as_computed(convert):
    write(
        "a.npz",
        random_params(replace(GAP, position="sincos"), None),
        replace(GAP, position="sincos"),
    )
    status, said, _ = convert("a.npz", "b.safetensors", "--sincos", "--resolution", 6, "--dry-run")
    assert status == 0
    assert any(
        line.split()[:2] == ["(computed)", "position"] and "pos_embed" in line
        for line in said.splitlines()
    )


def test_types_resolution_heads_and_name_can_be_asked_for(convert):
    write("a.safetensors", random_params(MAP, None), MAP, dtype="bfloat16")
    assert convert("a.safetensors", "b.npz", "--dtype", "float32", "--resolution", 9)[0] == 0
    found, params = read("b.npz")
    assert found.resolution == 8  # 9 px hold 4 patches of 2, and a file remembers the patches
    assert params["backbone"]["norm"]["bias"].dtype == np.float32
    status, _, errors = convert("a.safetensors", "c.npz", "--shape", "Ti/2", "--heads", 4)
    assert status == 2
    assert "is not a whole timm file of Ti/2" in errors
    assert convert("a.safetensors", "c.npz", "--heads", 4)[0] == 0
    assert read("c.npz")[0].heads == 4


def test_what_is_left_out_is_counted(convert):
    write("a.npz", random_params(MAP, None), MAP)
    there = {f"img/{name}": array for name, array in np.load("a.npz").items()}
    np.savez("a.npz", **there, **{"txt/a": np.zeros(2), "txt/b": np.zeros(2), "t": np.zeros(1)})
    status, said, _ = convert("a.npz", "b.safetensors")
    assert status == 0
    assert "left out: 2 arrays, text tower\nleft out: 1 array, joins the two towers\n" in said
    assert 'act_layer="gelu_tanh"' in said


def test_a_gelu_that_the_file_written_cannot_say_is_said(convert):
    write("a.safetensors", random_params(TOKEN, None), replace(TOKEN, gelu="erf"))
    assert "exact GELU" in convert("a.safetensors", "b.npz")[1]
    write("c.safetensors", random_params(TOKEN, None), TOKEN)
    assert "exact GELU" not in convert("c.safetensors", "d.npz")[1]


def test_all_that_is_amiss_is_named_and_nothing_written(convert, tmp_path):
    write("a.npz", random_params(MAP, 5), MAP)
    arrays = dict(np.load("a.npz"))
    del arrays["MAPHead_0/probe"], arrays["Transformer/encoderblock_1/LayerNorm_0/bias"]
    arrays["head/kernel"] = np.zeros((9, 5))
    arrays["extra/kernel"] = np.zeros(2)
    np.savez("a.npz", **arrays)
    status, said, errors = convert("a.npz", "b.safetensors")
    assert (status, said) == (2, "")
    assert sorted(errors.splitlines()[1:]) == [
        "  extra        extra/kernel [2] float64",
        "  missing      MAPHead_0/probe [1, 1, 8]",
        "  missing      Transformer/encoderblock_1/LayerNorm_0/bias [8]",
        "  wrong shape  head/kernel [9, 5], not [8, 5]",
    ]
    assert files(tmp_path) == ["a.npz"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["none.npz", "b.npz"], 1, "none.npz: No such file or directory."),
        (["a.npz", "a.npz"], 2, "a.npz is what is read; write to another file."),
        (["a.npz", "b.pt"], 2, "b.pt does not end in .npz or .safetensors"),
        (["a.npz", "b.npz", "--to", "timm"], 2, "timm is written as .safetensors, but b.npz ends"),
        (["a.npz", "b.npz", "--to", "timn"], 2, "there is no layout 'timn'; there are big_vision"),
        (["a.npz", "b.npz", "--to", "bit"], 2, "bit has no table for ViT-8x3/2 (a ViT with pool"),
        (["a.npz", "b.npz", "--dtype", "int8"], 2, "--dtype int8: there are float32 and bfloat16"),
        (["a.npz", "no/b.npz"], 2, "no is no folder; make it first."),
        (["a.npz", "folder"], 2, "folder is a folder; name a file."),
        (["a.npz", "b.npz", "--heads", "3"], 2, "a.npz: ViT-8x3/2 has 2 heads, not 3."),
        (["a.npz", "b.npz", "--shape", "Tj/16"], 2, "a.npz: 'Tj/16': there is no ViT variant"),
        (["cut.npz", "b.npz"], 2, "cut.npz cannot be read as .npz"),
        (["folder", "b.npz"], 2, "folder is no run's folder: it has no run.json. Did you mean"),
    ],
)
def test_mistakes_are_said_in_words(convert, tmp_path, words, status, said):
    write("a.npz", random_params(MAP, 5), MAP)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:2000])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.safetensors").write_bytes(b"")
    before = files(tmp_path)
    found, output, errors = convert(*words)
    assert (found, output) == (status, "")
    assert errors.startswith(said)
    assert "Traceback" not in errors
    assert files(tmp_path) == before


# A run of this project


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder, with two checkpoints of its own and one of its trunk; and the parameters."""
    shape = replace(MAP, patch=4, resolution=16)
    run = Run(
        model=shape,
        data=Procedural(classes=5, resolution=16),
        recipe=Recipe(cooldown_steps=4, warmup_steps=2),
        images_seen=80,
        batch=8,
    )
    folder = RunFolder(tmp_path_factory.mktemp("runs") / run.id)
    write_run_file(folder.path, run, (), print)
    trunk = TrunkFolder.of(folder, run).path
    own = folder.path / "checkpoints"
    params = {step: random_params(shape, 5, seed=step) for step in (6, 8, 10)}
    for step, where in ((6, trunk / "6"), (8, own / "passing"), (10, own / "10")):
        save_params(where, run, step, params[step])
    return folder, params


@pytest.mark.slow
def test_a_run_is_exported_as_it_ended_with_its_classifier(convert, trained):
    folder, params = trained
    status, said, _ = convert(folder.path, "a.npz")
    assert status == 0
    assert "run, step 10 of 10, ViT-8x3/2 (16 px, pool map, 2 heads, GELU tanh, 5 classes)" in said
    _, found = read("a.npz")
    assert_same(found, params[10])
    assert convert(folder.path, "a.safetensors")[0] == 0
    assert_same(read("a.safetensors")[1], params[10])


@pytest.mark.slow
def test_a_run_that_is_not_done_is_exported_as_far_as_it_is(convert, trained, tmp_path):
    folder, params = trained
    shutil.copytree(folder.path.parent, tmp_path / "runs")
    own = tmp_path / "runs" / folder.id / "checkpoints"
    for step, gone in ((8, "10"), (6, "passing")):
        shutil.rmtree(own / gone)
        status, said, _ = convert(own.parent, f"{step}.npz")
        assert status == 0
        assert f"step {step} of 10, not its end" in said
        assert_same(read(f"{step}.npz")[1], params[step])
    shutil.rmtree(tmp_path / "runs" / "trunks")
    status, _, errors = convert(own.parent, "a.npz")
    assert status == 2
    assert "has no checkpoint yet; train it: `scaling run " in errors


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(convert, trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder.path.parent, tmp_path / "runs")
    last = tmp_path / "runs" / folder.id / "checkpoints" / "10"
    for path in last.rglob("*"):
        if path.is_file() and path.name != MANIFEST:
            path.write_bytes(b"")
    status, _, errors = convert(last.parents[1], "a.npz")
    assert status == 2
    assert "/checkpoints/10" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_run_knows_its_shape(convert, trained):
    folder, _ = trained
    status, _, errors = convert(folder.path, "a.npz", "--heads", 2)
    assert status == 2
    assert "is a run, which knows its shape; give --to and --dtype alone." in errors
