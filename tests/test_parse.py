"""Study files: what right ones become, and what is said of wrong ones."""

import copy
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from toml_text import toml

from fits.base.errors import UserError
from models import zoo
from models.shapes import BiTShape, MixerShape, MuP, ViTShape
from models.zoo import vit
from scaling.data.augment import Flip
from scaling.study.parse import read_study
from scaling.study.schema import EXAMPLE, MODELS

GOOD = """\
name = "small"
question = "Does it read?"

[data]
kind = "procedural"
resolution = 16

[models.nano]
patch = 4
width = 32
depth = 2
mlp = 128
heads = 2

[recipe]
warmup_steps = 10
cooldown_steps = 5

[[evaluate]]
kind = "upstream"
images = 1000

[[evaluate]]
kind = "fewshot"
name = "digits"
data = { kind = "digits", resolution = 16 }

[[grid]]
model = ["nano", "mu/4"]
images_seen = [2_560, 5_120]
batch = 128
"""


def read(tmp_path, text):
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    return read_study(tmp_path / "small.toml")


@pytest.fixture
def mistakes(tmp_path, monkeypatch):
    """Changes `old` into `new` in a good file (or takes a whole text), and returns what is said."""
    monkeypatch.chdir(tmp_path)

    def said(*changes, text=GOOD):
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / "small.toml").write_text(text, encoding="utf-8")
        with pytest.raises(UserError) as caught:
            read_study("small.toml")
        assert all(each.startswith("small.toml") for each in caught.value.mistakes)
        return [each.removeprefix("small.toml, line ") for each in caught.value.mistakes]

    return said


# What right files become


def test_a_grid_crosses_its_axes(tmp_path):
    study = read(tmp_path, GOOD.replace("batch = 128", "batch = [64, 128]\nseed = [0, 1, 2]"))
    assert (study.name, study.question) == ("small", "Does it read?")
    assert len(study.runs) == 2 * 2 * 2 * 3
    assert {(r.model.name, r.images_seen, r.batch, r.seed) for r in study.runs} == {
        (m, n, b, s)
        for m in ("nano", "mu/4")
        for n in (2560, 5120)
        for b in (64, 128)
        for s in range(3)
    }


def test_a_network_sees_images_of_the_resolution_of_the_data(tmp_path):
    text = GOOD.replace("resolution = 16", "resolution = 24").replace("mu/4", "Ti/8")
    shapes = {run.model.name: run.model for run in read(tmp_path, text).runs}
    assert shapes["Ti/8"] == vit("Ti/8", resolution=24)
    nano = shapes["nano"]
    assert (nano.patch, nano.resolution, nano.width, nano.depth) == (4, 24, 32, 2)
    assert (nano.mlp, nano.heads) == (128, 2)


def test_a_whole_number_may_be_written_as_a_float(tmp_path):
    text = GOOD.replace("[2_560, 5_120]", "[2.56e3, 5.12e3]")
    assert read(tmp_path, text).runs == read(tmp_path, GOOD).runs


def test_a_run_that_two_grids_name_is_kept_once(tmp_path):
    again = '[[grid]]\nmodel = "nano"\nimages_seen = [5_120, 10_240]\nbatch = 128\n'
    study = read(tmp_path, GOOD + again)
    assert len(study.runs) == 4 + 1
    assert len({run.id for run in study.runs}) == 5


def test_all_the_images_can_be_one_of_several_data_sizes(tmp_path):
    study = read(tmp_path, GOOD + 'data_size = [1_000, "all"]\n')
    assert {run.data_size for run in study.runs} == {1000, None}
    assert len(study.runs) == 8


def test_a_grid_changes_single_keys_of_the_recipe(tmp_path):
    text = GOOD + 'recipe = { learning_rate = 2e-3, clip_norm = "none" }\n'
    recipe = read(tmp_path, text).runs[0].recipe
    assert (recipe.learning_rate, recipe.clip_norm) == (2e-3, None)
    assert (recipe.warmup_steps, recipe.cooldown_steps) == (10, 5)


def test_either_way_to_give_the_cooldown_replaces_the_other(tmp_path):
    fraction = read(tmp_path, GOOD + "recipe = { cooldown_fraction = 0.5 }\n").runs[0].recipe
    assert (fraction.cooldown_steps, fraction.cooldown_fraction) == (None, 0.5)
    text = GOOD.replace("cooldown_steps = 5", "cooldown_fraction = 0.5")
    steps = read(tmp_path, text + "recipe = { cooldown_steps = 7 }\n").runs[0].recipe
    assert (steps.cooldown_steps, steps.cooldown_fraction) == (7, None)


def test_a_grid_may_mirror_its_images(tmp_path):
    text = GOOD + 'augment = [{ kind = "flip" }]\n'
    assert [run.augment for run in read(tmp_path, text).runs] == [(Flip(),)] * 4


def test_a_study_of_the_project_is_read_by_its_name_from_anywhere(tmp_path, monkeypatch):
    studies = tmp_path / "studies"
    studies.mkdir()
    (studies / "small.toml").write_text(GOOD)
    monkeypatch.setattr("scaling.study.parse.files", lambda package: tmp_path)
    assert len(read_study("small").runs) == 4
    with pytest.raises(UserError, match=r'project \("small"\).*Did you mean "small"\?'):
        read_study("smal")


def test_the_example_of_the_docs_is_a_study_of_as_many_runs_as_they_say(tmp_path):
    assert len(read(tmp_path, EXAMPLE).runs) == 13


# Networks of every family

# As GOOD, but with one network of the docs of each family, each key in a line of its own.
FAMILIES = (
    GOOD[: GOOD.index("[models.nano]")]
    + MODELS
    + "\n"
    + GOOD[GOOD.index("[recipe]") :].replace(
        '["nano", "mu/4"]', '["nano", "nano-mean", "nano-resnet", "nano-mixer"]'
    )
)


def shapes(study):
    return {run.model.name: run.model for run in study.runs}


def test_a_grid_may_name_models_of_every_family_of_the_zoo(tmp_path):
    names = ("BiT-R50x1", "Mixer-B/4", "mu/4", "BiT-R101x2")
    text = GOOD.replace('"nano", "mu/4"', ", ".join(f'"{name}"' for name in names))
    text = text[: text.index("[models.nano]")] + text[text.index("[recipe]") :]
    assert shapes(read(tmp_path, text)) == {name: zoo.shape(name, 16) for name in names}


def test_a_table_of_models_is_of_the_family_that_its_keys_tell(tmp_path):
    mlps = {"mlp_tokens": 16, "mlp": 128}
    sizes = {"resolution": 16, "patch": 4, "width": 32, "depth": 2}
    assert shapes(read(tmp_path, FAMILIES)) == {
        "nano": ViTShape(name="nano", mlp=128, heads=2, **sizes),
        "nano-mean": ViTShape(
            name="nano-mean", mlp=128, heads=2, pool="gap", position="sincos", **sizes
        ),
        "nano-resnet": BiTShape(name="nano-resnet", resolution=16, stages=(1, 2), width=32),
        "nano-mixer": MixerShape(name="nano-mixer", **mlps, **sizes),
    }


def test_a_model_like_another_is_that_one_but_for_what_is_said(tmp_path):
    table = """like = "Ti/32"
patch = 8
pool = "token"
pre_logits = 48
gelu = "erf"
block = "parallel"
query_key_norm = true
qkv_and_norm_biases = false
mup = { base_width = 64, base_depth = 2, depth_exponent = 1.0 }
"""
    text = FAMILIES.replace(MODELS[MODELS.index('like = "mu/4"') :].partition("\n\n")[0], table)
    assert shapes(read(tmp_path, text))["nano-mean"] == ViTShape(
        name="nano-mean",
        patch=8,
        resolution=16,
        width=192,
        depth=12,
        mlp=768,
        heads=3,
        pool="token",
        pre_logits=48,
        gelu="erf",
        block="parallel",
        query_key_norm=True,
        qkv_and_norm_biases=False,
        mup=MuP(base_width=64, base_depth=2, depth_exponent=1),
    )


def test_a_grids_mup_is_for_its_vits_that_have_none_of_their_own(tmp_path):
    text = FAMILIES.replace("depth = 2\npool", "depth = 2\nmup = { base_width = 8 }\npool")
    found = shapes(read(tmp_path, text + "mup = { base_width = 16, base_head = 8 }\n"))
    assert found["nano"].mup == MuP(base_width=16, base_head=8)
    assert found["nano-mean"].mup == MuP(base_width=8)
    plain = shapes(read(tmp_path, FAMILIES))
    assert all(found[name] == plain[name] for name in ("nano-resnet", "nano-mixer"))


def test_with_and_without_mup_are_other_runs(tmp_path):
    again = GOOD[GOOD.index("[[grid]]") :] + "mup = { base_width = 16 }\n"
    study = read(tmp_path, GOOD + again)
    assert len({run.id for run in study.runs}) == 8


def test_a_name_of_the_zoo_is_no_slip_for_a_table(tmp_path):
    text = FAMILIES.replace("nano-resnet", "BiT-R50x").replace(
        '"BiT-R50x"', '"BiT-R50x", "BiT-R50x1"'
    )
    assert shapes(read(tmp_path, text))["BiT-R50x1"] == zoo.bit("BiT-R50x1", 16)


def test_noise_is_for_vits_and_mixers(tmp_path, mistakes):
    noisy = "recipe = { dropout = 0.1, stochastic_depth = 0.2 }\n"
    assert mistakes(text=FAMILIES + noisy) == [
        "46: grid[0].model[2]: nano-resnet is a BiT, which has no dropout and no "
        "stochastic_depth; train it with dropout = 0, stochastic_depth = 0."
    ]
    (found,) = mistakes(("[recipe]\n", "[recipe]\ndropout = 0.1\n"), text=FAMILIES)
    assert "grid[0].model[2]: nano-resnet is a BiT, which has no dropout; train" in found
    recipes = [("[recipe]\n", "[recipe]\ndropout = 0.1\n"), (', "nano-resnet"', "")]
    grid = '[[grid]]\nmodel = "nano-resnet"\nimages_seen = 2_560\nbatch = 128\n'
    text = FAMILIES + grid + "recipe = { dropout = 0 }\n"
    for old, new in recipes:
        text = text.replace(old, new, 1)
    assert len(read(tmp_path, text).runs) == 7


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "stages = [1, 2]",
            "stage = [1, 2]",
            [
                'nano-resnet.stage: unknown key; did you mean "stages"?',
                "nano-resnet.stages: is missing; give a list",
            ],
        ),
        (
            "stages = [1, 2]",
            "stages = [1, 0]",
            ["nano-resnet.stages[1]: 0 is not a whole number > 0"],
        ),
        (
            "stages = [1, 2]",
            "stages = 3",
            ["nano-resnet.stages: 3 is not a list, each of it a whole"],
        ),
        ("stages = [1, 2]", "stages = []", ["nano-resnet.stages: is an empty list"]),
        (
            "stages = [1, 2]",
            "stages = [1, 1, 1, 1, 1, 1, 1, 1, 1]",
            ["stages: is a list of 9 values; put at most 8"],
        ),
        (
            "stages = [1, 2]",
            "stages = [1, 2]\nheads = 2\npool = 1",
            ["nano-resnet.heads: unknown key; allowed", "nano-resnet.pool: unknown key; allowed"],
        ),
        (
            "stages = [1, 2]\nwidth = 32",
            "stages = [1, 2]\nwidth = 48",
            ["nano-resnet: width=48 is no multiple of the 32 groups"],
        ),
        (
            "stages = [1, 2]\nwidth = 32",
            "stages = [1, 2]",
            ["nano-resnet.width: is missing; give a whole"],
        ),
        (
            "mlp_tokens = 16",
            "mlp_token = 16",
            [
                'nano-mixer.mlp_token: unknown key; did you mean "mlp_tokens"',
                "nano-mixer.mlp_tokens: is missing",
            ],
        ),
        (
            "mlp_tokens = 16",
            "mlp_tokens = 16\nheads = 2",
            ["nano-mixer.heads: unknown key; allowed"],
        ),
        ("mlp_tokens = 16", "mlp_tokens = 16\npatch = 17", ["patch has a value already"]),
        (
            'like = "mu/4"',
            'like = "mi/4"',
            ["nano-mean.like: 'mi/4': there is no ViT variant 'mi'; did you mean"],
        ),
        (
            'like = "mu/4"',
            'like = "BiT-R50x1"',
            ['like: "BiT-R50x1" is no ViT; give stages and width instead'],
        ),
        (
            'like = "mu/4"',
            'like = "Mixer-B/4"',
            ['like: "Mixer-B/4" is no ViT; give all sizes instead'],
        ),
        (
            'like = "mu/4"',
            'like = "nano"',
            ["nano-mean.like: 'nano': there is no such model; the zoo has"],
        ),
        (
            'like = "mu/4"',
            'lik = "mu/4"',
            [
                'nano-mean.lik: unknown key; did you mean "like"?',
                "nano-mean.like: is missing; give text",
            ],
        ),
        ('like = "mu/4"', "like = 4", ["nano-mean.like: 4 is not text."]),
        (
            'like = "mu/4"',
            'like = "mu/4"\nwidth = 33',
            ["nano-mean: heads=2 does not divide width=33; use 1 or 3 heads"],
        ),
        (
            'like = "mu/4"',
            'like = "mu/4"\nwidth = 34',
            ["nano-mean: position='sincos' needs a width that 4 divides"],
        ),
        ('pool = "gap"', 'pool = "mean"', ['nano-mean.pool: there is no "mean"; allowed: "map",']),
        (
            'pool = "gap"',
            "pol = 1\nmup = 3",
            ['nano-mean.pol: unknown key; did you mean "pool"', "nano-mean.mup: 3 is not a table."],
        ),
        (
            'pool = "gap"',
            "mup = { width = 3, depth_exponent = 2 }",
            [
                "mup.width: unknown key; did you mean",
                "mup.base_width: is missing",
                "mup.depth_exponent: 2 is not a number >= 0.5 and <= 1",
            ],
        ),
        (
            "[models.nano-mixer]",
            "[models.BiT-R50x3]",
            [
                "this name is the zoo's; choose another",
                "no grid trains it",
                'there is no "nano-mixer"',
            ],
        ),
    ],
)
def test_a_mistake_in_a_model_is_named_with_what_is_right(mistakes, old, new, said):
    start = FAMILIES.index(old)
    found = mistakes(text=FAMILIES[:start] + new + FAMILIES[start + len(old) :])
    assert len(found) == len(said), found
    for each in said:
        assert any(each in line for line in found), found


def test_mup_in_a_grid_without_a_vit_is_a_mistake(mistakes):
    text = (
        FAMILIES[: FAMILIES.index("[models.nano]")] + FAMILIES[FAMILIES.index("[models.nano-res") :]
    )
    text = text.replace('"nano", "nano-mean", ', "")
    (found,) = mistakes(text=text + "mup = { base_width = 16 }\n")
    assert "grid[0].mup: is for ViTs, and this grid has none; leave it out." in found
    found = mistakes(text=text + "mup = { base_widht = 16 }\n")
    assert 'grid[0].mup.base_widht: unknown key; did you mean "base_width"' in found[0]


def test_a_models_mistake_in_mup_hides_none_in_its_grids(mistakes):
    wrong = "mup = { base_width = 16, depth_exponent = 1 }"
    found = mistakes(text=FAMILIES.replace('pool = "gap"', wrong) + wrong + "\n")
    assert len(found) == 2, found
    for place, line in zip(("models.nano-mean.mup", "grid[0].mup"), found, strict=True):
        assert f": {place}: depth_exponent=1.0 says nothing without base_depth" in line
    (found,) = mistakes(text=GOOD + wrong + "\n")
    assert "grid[0].mup: depth_exponent=1.0 says nothing without base_depth" in found


def test_every_mistake_in_every_family_is_named_at_once(mistakes):
    found = mistakes(
        ("heads = 2", "heads = 2\nhead = 3"),
        ('pool = "gap"', 'pool = "gap"\nmlp = 0'),
        ("stages = [1, 2]", "stages = [1, 2.5]"),
        ("mlp_tokens = 16", 'mlp_tokens = 16\ngelu = "relu"'),
        ('"nano-mean", ', '"nano-mean", "BiT-R51x1", '),
        text=FAMILIES,
    )
    assert [line.partition(": ")[2].partition(": ")[0] for line in found] == [
        "models.nano.head",
        "models.nano-mean.mlp",
        "models.nano-resnet.stages[1]",
        "models.nano-mixer.gelu",
        "grid[0].model[2]",
    ]


# What is said of wrong ones


def test_every_mistake_is_named_at_once_with_its_line(mistakes):
    assert mistakes(
        ('name = "small"', 'name = "small"\nnaem = 3'),
        ("resolution = 16\n", "resolution = 16\nlable_noise = 0.1\n"),
        ("warmup_steps = 10", "warmup_steps = -10"),
        ('["nano", "mu/4"]', '["nano",\n"mi/4"]'),
        ("[2_560, 5_120]", "[2_560, 5_000, -128]"),
        ('data = { kind = "digits"', 'data = { kind = "digit"'),
    ) == [
        '2: naem: unknown key; did you mean "name"?',
        '8: data.lable_noise: unknown key; did you mean "label_noise" or "noise"?',
        "18: recipe.warmup_steps: -10 is not a whole number >= 0.",
        '28: evaluate[1].data.kind: there is no "digit"; did you mean "digits"?',
        "32: grid[0].model[1]: 'mi/4': there is no ViT variant 'mi'; "
        "did you mean 'M/4' or 'Ti/4' or 'mu/4'?",
        "33: grid[0].images_seen[1]: images_seen=5_000 is not a whole number of batches of 128; "
        "use 4_992 or 5_120.",
        "33: grid[0].images_seen[2]: -128 is not a whole number > 0 and <= 1_000_000_000_000_000.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name = ", "nam = ", ["1: nam: unknown key", "name: is missing; give a name of letters"]),
        ('"small"', '"two words"', ['name: "two words" is not a name of letters']),
        ('"Does it read?"', '""', ["question: is empty"]),
        ('"procedural"', '"proceduraal"', ['data.kind: there is no "proceduraal"; did you mean']),
        ('kind = "procedural"\n', "", ['data.kind: is missing; give one of "arrays", "digits"']),
        ("[data]\n", "[data]\nname = 2020-01-01\n", ["data.name: unknown key; allowed: "]),
        ("resolution = 16\n", 'resolution = "16"\n', ['"16" is not a whole number >= 1 and']),
        ("resolution = 16\n", "resolution = true\n", ["resolution: true is not a whole number"]),
        ("resolution = 16\n", "resolution = [16]\n", ["resolution: a list is not a whole number"]),
        ("[data]\n", "[data]\nlabel_noise = 2\n", ["2 is not a number >= 0 and < 1"]),
        ("resolution = 16\n", "resolution = 15\n", ["data: 5 cells of 2 pixels that move by 3"]),
        ("width = 32\n", "", ["nano.width: is missing; give a whole number > 0 and <="]),
        ("heads = 2", "heads = 3", ["models.nano: heads=3 does not divide width=32; use 2 or 4"]),
        ("patch = 4", "patch = 17", ["models.nano: patch=17 px is larger than the image"]),
        ("[models.nano]", '[models."na/no"]', ["a name with a / is the zoo's", 'mean "na/no"?']),
        ("[recipe]", '[objective]\nkind="classify"\nloss="sofmax"\n[recipe]', ['"sofmax"; did']),
        ("[recipe]", '[recipe]\noptimizer = "lion"', ['"lion"; allowed: "adafactor", "']),
        ("[recipe]", "[recipe]\nlearning_rate = nan", ["nan is not a number > 0"]),
        ("[recipe]", "[recipe]\ncooldown_fraction = 0.1", ["recipe: cooldown_steps=5 and"]),
        ("images = 1000", "images = 0", ["evaluate[0].images: 0 is not a whole number > 0."]),
        ("images = 1000", "images = 10_001", ["10_001 is more than the 10_000 held-out images"]),
        ('name = "digits"', 'name = "Digits"', ['"Digits" is not a name of small letters, digits']),
        ('name = "digits"', 'name = "a"\nshots = [5, 0]', ["shots[1]: 0 is not a whole number"]),
        ('name = "digits"', 'name = "a"\nshots = [5, 5]', ["a_5shot_error is measured twice"]),
        ("resolution = 16 }", "resolution = 8 }", ["resolution: is 8 px where [data] has 16 px"]),
        ('kind = "digits"', 'kind = "procedural"', ["evaluate[1].data: there is no end to these"]),
        (
            "batch = 128",
            'batch = 128\naugment = { kind = "mixup" }',
            ["a table is not a list of tables. Put it in brackets: augment = [{ ... }]."],
        ),
        ("[[grid]]", "[grid]", ["grid: a table is not a list of tables. Write [[grid]] above it"]),
        ('["nano", "mu/4"]', "[]", ["grid[0].model: is an empty list"]),
        ('["nano", "mu/4"]', '["nano", 4]', ["grid[0].model[1]: 4 is not text."]),
        ('"mu/4"]', '"nanno"]', ['grid[0].model[1]: there is no "nanno"; did you mean "nano"?']),
        ('"mu/4"]', '"Ti/4x"]', ["'Ti/4x' does not say its patch side in pixels"]),
        ('"mu/4"]', '"mu/32"]', ["patch=32 px is larger than the image of resolution=16 px"]),
        ('"mu/4"]', '"nano"]', ['grid[0].model[1]: "nano" is there twice']),
        ('["nano", "mu/4"]', '"mu/4"', ["models.nano: no grid trains it"]),
        ("batch = 128", "batch = 128\nseed = [0, 0.0]", ["grid[0].seed[1]: 0 is there twice"]),
        ("batch = 128", "batch = 128\nseed = -1", ["grid[0].seed: -1 is not a whole number >= 0"]),
        ("batch = 128", "", ["grid[0].batch: is missing; give a whole number > 0 and"]),
        ("batch = 128", 'batch = 128\ndata_size = "al"', ['_000, or "all".']),
        ("[2_560, 5_120]", "0.5", ["grid[0].images_seen: 0.5 is not a whole number > 0"]),
        ("[2_560, 5_120]", "[2_560, 64]", ["is not a whole number of batches of 128; use 128."]),
        ("[2_560, 5_120]", "[1_280, 2_560]", ["warmup_steps=10 and a cooldown of 5 steps do not"]),
        ("batch = 128", "batch = 128\nrecipe = { learning_rat = 1 }", ["did you mean"]),
        ("batch = 128", "batch = 128\nrecipe = { warmup_steps = 16 }", ["warmup_steps=16 and"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_what_is_right(mistakes, old, new, said):
    start = GOOD.index(old)  # the first of several
    found = mistakes(text=GOOD[:start] + new + GOOD[start + len(old) :])
    assert len(found) == len(said)
    for each in said:
        assert any(each in line for line in found), found


def test_a_mistake_elsewhere_hides_no_other(mistakes):
    """A recipe with a wrong learning rate still says that its warm-up is too long, and so on."""
    found = mistakes(
        ("warmup_steps = 10", 'warmup_steps = 10_000\nlearning_rate = "fast"'),
        ("heads = 2\n", "heads = 2\ncolour = 1\n"),
        ("resolution = 16\n", "resolution = 16\nlabel_nois = 0\n"),
        ("resolution = 16 }", "resolution = 8, colour = 2 }"),
        ("[2_560, 5_120]", '[2_560, "x"]'),
        ('"mu/4"]', '"mu/32"]'),
    )
    assert [line.partition(": ")[2].partition(": ")[0] for line in found] == [
        "data.label_nois",
        "models.nano.colour",
        "recipe.learning_rate",
        "evaluate[1].data.colour",
        "evaluate[1].data.resolution",
        "grid[0].model[1]",
        "grid[0].images_seen[0]",
        "grid[0].images_seen[1]",
    ]


def test_what_a_misspelt_key_may_have_meant_is_not_held_against_the_rest(mistakes):
    assert len(mistakes(("warmup_steps = 10", "warmup_step = 10"))) == 1
    assert len(mistakes(("resolution = 16\n", "resolutoin = 24\n"), ("= 16 }", "= 24 }"))) == 1


def test_the_same_evaluation_twice_is_a_mistake(mistakes):
    found = mistakes(("[[grid]]", '[[evaluate]]\nkind = "upstream"\n\n[[grid]]'))
    assert found == ["28: evaluate[2]: upstream_loss is measured twice; keep one, or rename one."]


def test_a_folder_of_images_that_is_not_there_is_a_mistake_with_the_nearest_name(
    mistakes, tmp_path
):
    (tmp_path / "flowers").mkdir()
    found = mistakes(('kind = "procedural"', 'kind = "folder"\npath = "flower"'))
    assert found == [
        f"6: data.path: there is no {tmp_path}/flower. Did you mean 'flowers'? Unpack the images "
        f"there as train/<class>/ and test/<class>/, or say another path."
    ]


def test_a_missing_data_set_is_placed_at_the_key_that_names_it(mistakes, tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")
    pytest.importorskip("array_record", reason="array-record is not installed")
    keys = 'kind = "tfds"\nname = "flowers"\ndata_dir = "."'
    (found,) = mistakes(('kind = "procedural"', keys))
    assert found.startswith("6: data.name: . holds no data set")
    (found,) = mistakes(('kind = "procedural"', keys.replace('"."', '"nowhere"')))
    assert found.startswith("7: data.data_dir: there is no nowhere.")
    (found,) = mistakes(('kind = "procedural"', 'kind = "arrays"\npath = "own.npz"'))
    assert found.startswith("6: data.path: there is no own.npz.")


def test_results_can_be_asked_for_after_the_data_are_gone(tmp_path, mistakes):
    change = ('kind = "procedural"', 'kind = "folder"\npath = "gone"')
    assert len(mistakes(change)) == 1
    text = GOOD.replace(*change).replace("images = 1000", "")
    (tmp_path / "small.toml").write_text(text)
    assert len(read_study(tmp_path / "small.toml", data_needed=False).runs) == 4


def test_a_data_size_beyond_the_data_set_is_a_mistake(mistakes, tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for i in range(count):
                picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
                picture.save(tmp_path / "pets" / split / name / f"{i}.png")
    found = mistakes(
        ('kind = "procedural"', 'kind = "folder"\npath = "pets"'),
        ("batch = 128", "batch = 128\ndata_size = [6, 7]"),
    )
    assert found == [
        "22: evaluate[0].images: 1_000 is more than the 4 held-out images of [data]; "
        "leave the key out for all of them.",
        "33: grid[0].data_size[1]: 7 is more than the 6 training images of [data]; "
        'use "all", or less.',
    ]


def test_text_that_is_not_toml_is_said_to_be_so_with_line_and_column(mistakes):
    found = mistakes(text='name = "small"\nquestion = what?\n')
    assert found == ["2, column 12: this is not TOML: Invalid value."]
    assert mistakes(text="name = 1\nname = 2\n") == ["2: name has a value already; write it once."]
    assert mistakes(text="name = 1\nname = [\n2]\n") == [
        "3, column 3: this is not TOML: Cannot overwrite a value."
    ]


def test_all_that_the_keys_of_a_table_say_against_each_other_is_said_at_once(mistakes):
    """Also beside a key that is wrong on its own, and nothing of what that key may have meant."""
    data = "resolution = 16\n"
    two = mistakes((data, "resolution = 15\nnoise = 40\n"))
    assert sorted(line.split()[2] for line in two) == ["5", "contrast=96"]
    three = mistakes((data, "resolution = 15\nnoise = 40\ntail = -1\n"))
    assert set(two) < set(three)
    assert any("data.tail: -1 is not" in line for line in three)
    (alone,) = mistakes((data, "resolution = 16\nnoise = -1\ncontrast = 20\n"))
    assert "data.noise" in alone
    recipe = mistakes(("warmup_steps = 10", "warmup_steps = -1\ncooldown_fraction = 0.1"))
    assert any("recipe: cooldown_steps=5 and cooldown_fraction=0.1" in line for line in recipe)
    assert len(recipe) == 2


def test_a_run_of_parts_of_batches_that_is_too_short_is_told_both(mistakes):
    found = mistakes(("[2_560, 5_120]", "[2_560, 1_300]"))
    assert ["whole number of batches" in line for line in found] == [True, False]
    assert "do not fit into a run of 10" in found[1]


def test_an_empty_file_is_told_what_a_study_needs(mistakes):
    (found,) = mistakes(text="# nothing yet\n")
    assert "a study needs name, question, [data], [[evaluate]] and [[grid]]" in found
    assert "docs/study-file.md" in found


def test_a_mark_that_an_editor_puts_in_front_is_passed_over(tmp_path):
    assert read(tmp_path, "\ufeff" + GOOD).runs == read(tmp_path, GOOD).runs


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2024-01-01", "grid[0].model: '2024-01-01': there is no such model"),
        ("07:32:00", "grid[0].model: '07:32:00': there is no such model"),
        ("1" * 5000, "a number has thousands of digits"),
        ("0x" + "f" * 5000, "grid[0].model: 1.797"),
        ("[" * 5000 + "]" * 5000, "lie more than 50 deep"),
        ("[" * 300 + "]" * 300, "lie more than 50 deep"),
        ("[" * 20 + "]" * 20, "grid[0].model[0]: a list is not text"),
    ],
)
def test_what_no_person_would_write_is_answered_in_words(mistakes, value, said):
    found = mistakes(('["nano", "mu/4"]', value))
    assert any(said in line for line in found)
    assert max(map(len, found)) < 300


def test_keys_five_thousand_deep_are_answered_in_words(mistakes):
    assert "more than 50 deep" in mistakes(text=GOOD + ".".join("a" * 5000) + " = 1\n")[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("batch = 128", "batch = 1e300", "1e+300 is too large; give a whole number > 0 and <= 1"),
        ("batch = 128", "batch = 1_000_000_001", "batch: 1_000_000_001 is not a whole number > 0"),
        ("batch = 128", "batch = 128\nseed = 4_294_967_296", "and < 4_294_967_296"),
        ("[2_560, 5_120]", "1e16", "1e+16 is too large"),
        ("width = 32", "width = 1_000_000_000_000", "> 0 and <= 1_000_000."),
        ("[data]\n", "[data]\nheldout_size = 10_000_000_000\n", "<= 1_000_000_000."),
        ("[data]\n", "[data]\nseed = 9_223_372_036_854_775_808\n", "too large; give a whole"),
        ("resolution = 16\n", "resolution = 8193\n", "8_193 is not a whole number >= 1 and <= 8"),
    ],
)  # fmt: skip
def test_absurd_numbers_are_refused_with_the_range_allowed(mistakes, old, new, said):
    (found,) = mistakes((old, new))
    assert said in found


@pytest.mark.parametrize("name", ["smal.toml", "small.tml"])
def test_a_study_that_is_not_there_brings_the_nearest_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(GOOD)
    with pytest.raises(UserError, match=r'nor a file\. Did you mean "small.toml"\?'):
        read_study(name)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "small.toml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match=r"small.toml: byte 0 is not UTF-8"):
        read_study(tmp_path / "small.toml")
    with pytest.raises(UserError, match=r"cannot be read: Is a directory"):
        read_study(tmp_path)


# Whatever is written in a file


JUNK = st.sampled_from(
    [None, -1, 0, 3, 1e6, 0.5, float("nan"), True, "", "x", "all", [], [0], [[]], {}, {"kind": 1}]
)


def _places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from _places(item, (*path, key))


@pytest.mark.slow
@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_junk_anywhere_is_either_right_or_named(tmp_path_factory, data):
    raw = copy.deepcopy(tomllib.loads(data.draw(st.sampled_from([EXAMPLE, FAMILIES]))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(_places(raw))))
        around = raw
        for step in place[:-1]:
            around = around[step]
        junk = data.draw(JUNK)
        if junk is None:
            del around[place[-1]]
        else:
            around[place[-1]] = copy.deepcopy(junk)
    file = tmp_path_factory.mktemp("junk") / "study.toml"
    file.write_text(toml(raw)[0], encoding="utf-8")
    said, runs = (), ()
    try:
        runs = read_study(file).runs
    except UserError as mistakes:
        said = mistakes.mistakes
    assert bool(said) != bool(runs)
    assert all(each.startswith(str(file)) and each.endswith((".", "?")) for each in said)
    assert not any("Input should" in each for each in said)


def test_a_placement_that_a_network_or_a_batch_cannot_have_is_said(mistakes):
    fused = GOOD + '\n[placement]\nupdate = "fused"\nfsdp = 3\n'
    found = mistakes(('"mu/4"]', '"BiT-R50x1"]'), text=fused)
    assert len(found) == 3
    assert "nano has 32 features and 128 hidden ones, and fsdp = 3 divides neither" in found[0]
    assert found[0].endswith("use 2 or 4.")
    assert 'BiT-R50x1 is a BiT, whose blocks differ, and update = "fused"' in found[1]
    assert "128 cannot be split into fsdp = 3 parts; use 126 or 129." in found[2]


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        (
            "tensor = 3",
            "2 heads and 128 hidden features, which tensor = 3 does not divide",
        ),
        ("devices = 24", "128 cannot be split over 24 devices; use 120 or 144."),
        ("microbatches = 5", "128 cannot be split into microbatches = 5 parts; use 125 or 130."),
        ('update = "fused"\nremat = "dots"', "a fused step keeps the input of each block"),
    ],
)
def test_a_placement_that_would_not_do_what_it_says_is_said(mistakes, placement, said):
    found = mistakes(text=f"{GOOD}\n[placement]\n{placement}\n")
    assert said in "\n".join(found)


@pytest.mark.parametrize(
    ("placement", "objective", "said"),
    [
        ('update = "fused"', 'kind = "byol"', "once through the blocks of one network, and byol"),
        (
            'update = "fused"',
            'kind = "s4l"\nlabelled_images = 100\nvat = 1.0',
            "and s4l, as it is",
        ),
        ("microbatches = 2", 'kind = "simclr"', "the loss simclr of an image depends on"),
        (
            "microbatches = 2",
            'kind = "s4l"\nlabelled_images = 100\ntask = "exemplar"',
            "the loss s4l of an image depends on the others",
        ),
    ],
)
def test_a_placement_that_an_objective_cannot_have_is_said(mistakes, placement, objective, said):
    text = GOOD.replace('[[evaluate]]\nkind = "upstream"\nimages = 1000\n', "")
    found = mistakes(text=f"{text}\n[objective]\n{objective}\n\n[placement]\n{placement}\n")
    assert len(found) == 1
    assert "objective: " in found[0]
    assert said in found[0]


def test_what_a_file_does_not_say_of_placement_checkpoints_and_dtype_is_the_machines(tmp_path):
    study = read(tmp_path, GOOD)
    assert study.compute_open
    assert {run.compute for run in study.runs} == {"float32"}
    said = 'compute = "bfloat16"\n' + GOOD + "\n[checkpoints]\nevery_steps = 50\n"
    study = read(tmp_path, said)
    assert not study.compute_open
    assert {run.compute for run in study.runs} == {"bfloat16"}
    assert study.checkpoints.every_steps == 50


def test_checkpoints_by_the_clock_and_by_the_step_clash(mistakes):
    both = GOOD + "\n[checkpoints]\nevery_steps = 50\nevery_seconds = 60\n"
    (found,) = mistakes(text=both)
    assert "a state is kept by the clock or by the step; leave one of the two out." in found
