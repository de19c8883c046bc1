"""Runs: their names, their lengths, what they share, and what is refused."""

from dataclasses import fields, replace

import pytest
from pydantic import ValidationError

from models.shapes import BiTShape, MixerShape, MuP, ViTShape
from models.zoo import shape, vit
from scaling.data.arrays import Digits
from scaling.data.augment import Flip
from scaling.data.procedural.source import Procedural
from scaling.objectives.classify import Classify
from scaling.training.initial import Init
from scaling.training.recipe import Recipe
from scaling.training.run import Run

NANO = ViTShape(name="nano", patch=4, resolution=16, width=32, depth=2, mlp=128, heads=2)
SHORT = Recipe(warmup_steps=10, cooldown_steps=5)


def run(**changes):
    fields = {"model": NANO, "data": Digits(), "recipe": SHORT, "images_seen": 6400, "batch": 64}
    return Run(**fields | changes)


def test_an_id_published_once_never_changes():
    assert run().id == "c53ce476d074"
    assert run().trunk == "1b0ac16beb24"


def test_a_changed_copy_has_an_id_and_a_trunk_of_its_own():
    first = run()
    before = first.id, first.trunk  # computed once, and kept
    copy = first.model_copy(update={"seed": 5})
    assert (copy.id, copy.trunk) == (run(seed=5).id, run(seed=5).trunk)
    assert (first.id, first.trunk) == before
    assert first == run()


def test_defaults_that_ids_leave_out_never_change():
    """Changing one of these silently gives new runs the ids, and so the results, of old ones."""
    assert Recipe().model_dump() == {
        "optimizer": "adafactor",
        "learning_rate": 8e-4,
        "weight_decay_head": 3.0,
        "weight_decay_body": 0.03,
        "beta1": 0.9,
        "beta2": 0.999,
        "clip_norm": 1.0,
        "clip_by": "current",
        "warmup_steps": 10_000,
        "schedule": "rsqrt",
        "stairs": (0.3, 0.6, 0.9),
        "stair_factor": 0.1,
        "timescale_steps": 10_000,
        "cooldown_steps": None,
        "cooldown_fraction": 0.2,
        "dropout": 0.0,
        "stochastic_depth": 0.0,
        "polyak": None,
        "privacy": None,
    }
    assert Classify().model_dump() == {
        "kind": "classify",
        "loss": "sigmoid",
        "head_bias": 0.0,
        "label_smoothing": 0.0,
    }
    default = run()
    assert (default.data_size, default.seed, default.augment) == (None, 0, ())
    assert default.init is None
    assert default.compute == "float32"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": vit("mu/4", 16)},
        {"objective": Classify(loss="softmax")},
        {"data": Procedural()},
        {"data_size": 100},
        {"recipe": Recipe(warmup_steps=11, cooldown_steps=5)},
        {"batch": 32},
        {"seed": 1},
        {"compute": "bfloat16"},
        {"augment": (Flip(),)},
        {"init": Init(from_="weights.npz")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_decides_a_run_gives_it_another_id_and_another_trunk(changes):
    assert run(**changes).id != run().id
    assert run(**changes).trunk != run().trunk


EVERY_FAMILY = [
    NANO,
    vit("Ti/16", 16),
    shape("BiT-R50x1", 16),
    shape("Mixer-B/16", 16),
    replace(NANO, pool="token", pre_logits=8, position="sincos", gelu="erf", block="parallel"),
    replace(NANO, query_key_norm=True, qkv_and_norm_biases=False),
    replace(NANO, mup=MuP(base_width=16)),
    replace(NANO, mup=MuP(base_width=16, base_head=8, base_depth=1, depth_exponent=1)),
]


@pytest.mark.parametrize("model", EVERY_FAMILY, ids=str)
def test_a_run_of_any_family_is_read_back_as_it_was_written(model):
    written = run(model=model)
    again = Run.model_validate_json(written.model_dump_json())
    assert again == written
    assert type(again.model) is type(model)
    assert again.id == written.id


def test_every_choice_of_every_family_gives_another_id():
    """Also a network of another family whose numbers and name are the same."""
    sizes = {"name": "any", "patch": 4, "resolution": 16, "width": 32, "depth": 2, "mlp": 64}
    models = [
        BiTShape(name="any", resolution=16, stages=(2,), width=32),
        MixerShape(**sizes, mlp_tokens=2),
        MixerShape(**sizes, mlp_tokens=2, gelu="erf"),
        plain := ViTShape(**sizes, heads=2),
    ]
    choices = {
        "pool": ("gap", "token"),
        "pre_logits": (8,),
        "position": ("sincos",),
        "gelu": ("erf",),
        "block": ("parallel",),
        "query_key_norm": (True,),
        "qkv_and_norm_biases": (False,),
        "mup": (MuP(base_width=16), MuP(base_width=16, base_depth=1), MuP(base_width=8)),
    }
    assert set(choices) == {field.name for field in fields(plain)} - set(sizes) - {"heads"}
    models += [replace(plain, **{key: each}) for key in choices for each in choices[key]]
    assert len({run(model=model).id for model in models}) == len(models)


def test_models_that_differ_in_mup_alone_have_names_of_their_own_and_others_keep_theirs():
    chosen = [
        MuP(base_width=64),
        MuP(base_width=32),
        MuP(base_width=64, base_head=32),
        MuP(base_width=64, base_depth=4),
        MuP(base_width=64, base_depth=4, depth_exponent=1),
    ]
    models = [NANO, BiTShape(name="any", resolution=16, stages=(2,), width=32)]
    models += [replace(NANO, mup=mup) for mup in chosen]
    assert [run(model=model).model_name for model in models] == [
        "nano",
        "any",
        "nano muP64",
        "nano muP32",
        "nano muP64-head32",
        "nano muP64-depth4",
        "nano muP64-depth4-exponent1.0",
    ]


def test_noise_that_a_family_does_not_have_is_refused():
    noisy = Recipe(warmup_steps=10, cooldown_steps=5, dropout=0.1)
    with pytest.raises(ValidationError, match="BiT-R50x1 is a BiT, which has no dropout; train"):
        run(model=shape("BiT-R50x1", 16), recipe=noisy)
    assert run(model=shape("Mixer-B/16", 16), recipe=noisy).recipe.dropout == 0.1


def test_runs_that_differ_only_in_duration_share_a_trunk():
    assert run(images_seen=12_800).id != run().id
    assert run(images_seen=12_800).trunk == run().trunk


def test_a_default_spelled_out_is_the_same_run():
    assert run(seed=0, data_size=None, objective=Classify()).id == run().id


def test_a_run_leaves_its_trunk_where_its_cooldown_begins():
    assert (run().steps, run().branch_step) == (100, 95)
    assert run(recipe=Recipe(warmup_steps=0, cooldown_fraction=0.3)).branch_step == 70


def test_flops_are_six_a_multiply_add_and_an_image():
    """A linear model in the images seen; the classifier's 10 x 32 products are counted."""
    tokens, d, m = 16, 32, 128
    trunk = tokens * 48 * d + 2 * (4 * tokens * d**2 + 2 * tokens**2 * d + 2 * tokens * d * m)
    pool = 2 * tokens * d**2 + 2 * d**2 + 2 * tokens * d + 2 * d * m
    assert run().flops == 6 * 6400 * (trunk + pool + 10 * d)
    assert run(images_seen=12_800).flops == 2 * run().flops


def test_parameters_are_those_of_the_backbone_whatever_the_classes():
    assert run(data=Procedural(classes=2)).params == run().params


@pytest.mark.parametrize(
    ("images_seen", "near"), [(6401, "6_400 or 6_464"), (6399, "6_336 or 6_400"), (63, "use 64")]
)
def test_images_seen_are_whole_batches(images_seen, near):
    with pytest.raises(ValidationError, match=f"not a whole number of batches of 64; .*{near}"):
        run(images_seen=images_seen)


def test_warm_up_and_cooldown_fit_into_the_run():
    with pytest.raises(ValidationError, match="do not fit into a run of 14"):
        run(images_seen=14 * 64)
    assert run(images_seen=15 * 64).steps == 15
