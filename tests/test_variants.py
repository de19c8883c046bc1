"""What tells runs of a study apart where model, data and duration do not."""

from scaling.study.parse import read_study
from scaling.study.variants import variants

HEAD = """
name = "small"
question = "?"
[recipe]
warmup_steps = 2
[data]
kind = "digits"
resolution = 8
[models.a]
patch = 4
width = 16
depth = 1
mlp = 16
heads = 2
[models.b]
patch = 4
width = 32
depth = 1
mlp = 16
heads = 2
[[evaluate]]
kind = "upstream"
"""
GRID = """
[[grid]]
model = {model}
images_seen = [640, 1_280]
batch = {batch}
{more}
"""


def words(tmp_path, *grids):
    file = tmp_path / "small.toml"
    file.write_text(HEAD + "".join(grids))
    return variants(read_study(str(file)).runs)


def grid(model='["a", "b"]', batch=64, more=""):
    return GRID.format(model=model, batch=batch, more=more)


def test_a_plain_grid_has_one_variant(tmp_path):
    assert set(words(tmp_path, grid()).values()) == {""}


def test_augmentations_are_variants_in_words(tmp_path):
    crop = 'augment = [{ kind = "random_crop", padding = 1 }, { kind = "flip" }]'
    found = words(tmp_path, grid(), grid(more=crop))
    assert sorted(found.values()) == [
        *4 * ["augment=none"],
        *4 * ["augment=random_crop(padding=1)+flip"],
    ]


def test_only_the_fields_of_a_recipe_that_differ_are_named(tmp_path):
    few = "recipe = { weight_decay_head = 0.5, learning_rate = 2e-3 }"
    many = "recipe = { weight_decay_head = 3.0, learning_rate = 2e-3 }"
    found = words(tmp_path, grid(more=few), grid(more=many))
    assert set(found.values()) == {
        "recipe.weight_decay_head=0.5",
        "recipe.weight_decay_head=3",
    }


def test_several_fields_stand_together(tmp_path):
    found = words(tmp_path, grid(), grid(batch=32, more='augment = [{ kind = "flip" }]'))
    assert set(found.values()) == {"batch=64, augment=none", "batch=32, augment=flip"}


def test_what_goes_with_the_model_makes_no_variant(tmp_path):
    found = words(
        tmp_path,
        grid('"a"', more="recipe = { learning_rate = 2e-3 }"),
        grid('"b"', more="recipe = { learning_rate = 1e-3 }"),
    )
    assert set(found.values()) == {""}
