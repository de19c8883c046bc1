"""Study files: what right ones become, and networks of every family in them."""

import pytest
from study_texts import FAMILIES, GOOD, read

from fits.base.errors import UserError
from models import zoo
from models.shapes import BiTShape, MixerShape, MuP, ViTShape
from models.zoo import vit
from scaling.data.augment import Flip
from scaling.study.parse import read_study
from scaling.study.schema import EXAMPLE, MODELS

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
