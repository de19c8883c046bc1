"""Fine-tuning as an evaluation: what the papers' protocols decide, and what is never looked at."""

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from study_texts import GOOD, read

from fits.base.errors import UserError
from models import zoo
from models.shapes import MixerShape, ViTShape
from scaling.data.around.part import Part
from scaling.data.arrays import Digits
from scaling.data.augment import Flip, MixUp
from scaling.data.private import Private
from scaling.data.procedural.source import Procedural
from scaling.evaluate.finetune import FineTune
from scaling.evaluate.trained.outcomes import Outcome
from scaling.evaluate.trained.protocols import Facts, HyperRule, ViTProtocol, Vtab1kProtocol
from scaling.evaluate.trained.trains import NotMeasured
from scaling.evaluate.trained.transfer import Pretrained
from scaling.evaluate.vtab import Vtab
from scaling.planning.closed_form import as_json, show_cost, study_cost, trained_by_evaluations
from scaling.planning.on_devices import plan_on
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run

PAGE = (Path(__file__).parents[1] / "docs/evaluation/finetune.md").read_text()
NANO = ViTShape(name="nano", patch=4, resolution=16, width=8, depth=1, mlp=16, heads=2)
DIGITS = Digits(resolution=16)
SMALL = ViTProtocol(resolution=16, steps=6, warmup_steps=2, batch=16, validation=0.1)


def upstream(model=NANO, **changes):
    fields = {"data": Procedural(classes=8), "recipe": Recipe(warmup_steps=2), "batch": 16}
    return Run(model=model, images_seen=160, **fields | changes)


def facts(images=50_000, area=500 * 375, flips=True, crops=True):
    return Facts(images=images, area=area, flips=flips, crops=crops)


def task(**changes):
    return FineTune(**{"name": "digits", "data": DIGITS, "protocol": SMALL} | changes)


def outcome(run, error):
    return Outcome(
        run=run.id,
        model=run.model_name,
        learning_rate=run.recipe.learning_rate,
        steps=run.steps,
        images_seen=run.images_seen,
        flops=run.flops,
        seconds=1.0,
        error=error,
        n=run.data.sizes()[1],
        reason=None if error is not None else "the loss is nan.",
    )


# The protocols


@pytest.mark.parametrize(
    ("images", "steps", "alpha"),
    [
        (1_000, 500, None),
        (19_999, 500, None),
        (20_000, 10_000, 0.1),
        (499_999, 10_000, 0.1),
        (500_000, 20_000, 0.1),
        (1_281_167, 20_000, 0.1),
    ],
)
def test_hyperrule_goes_by_the_number_of_labelled_images(images, steps, alpha):
    found = HyperRule().setting(zoo.shape("BiT-R50x1", 224), facts(images))
    assert found.steps == steps
    assert [each.alpha for each in found.augment if isinstance(each, MixUp)] == (
        [] if alpha is None else [alpha]
    )


@pytest.mark.parametrize(
    ("name", "area", "sides"),
    [
        ("BiT-R50x1", 32 * 32, (160, 128)),
        ("BiT-R50x1", 96 * 96 - 1, (160, 128)),
        ("BiT-R50x1", 96 * 96, (448, 384)),
        ("BiT-R101x3", 500 * 375, (448, 384)),
        ("BiT-R152x4", 500 * 375, (512, 480)),
        ("BiT-R152x4", 32 * 32, (160, 128)),
    ],
)
def test_hyperrule_goes_by_the_area_of_images_and_the_size_of_the_network(name, area, sides):
    shown = HyperRule().setting(zoo.shape(name, 224), facts(area=area)).shown
    assert (shown.resize, shown.side) == sides


def test_hyperrule_searches_nothing_and_decays_nothing():
    found = HyperRule().setting(zoo.shape("BiT-R50x1", 224), facts())
    recipe = found.recipe
    assert (found.learning_rates, found.batch) == ((0.003,), 512)
    assert (recipe.optimizer, recipe.beta1, recipe.clip_norm) == ("sgd", 0.9, None)
    assert (recipe.schedule, recipe.stairs, recipe.stair_factor) == ("stairs", (0.3, 0.6, 0.9), 0.1)
    assert (recipe.weight_decay_head, recipe.weight_decay_body, recipe.dropout) == (0, 0, 0)


@pytest.mark.parametrize("protocol", [HyperRule(), ViTProtocol()])
def test_flips_and_crops_go_where_they_destroy_the_label(protocol):
    shape = zoo.shape("BiT-R50x1", 224)
    both = protocol.setting(shape, facts())
    assert [each.kind for each in both.augment[:2]] == [
        {"hyperrule": "random_crop", "vit": "inception_crop"}[protocol.kind],
        "flip",
    ]
    assert both.shown.crops == {"hyperrule": "random", "vit": "inception"}[protocol.kind]
    without = protocol.setting(shape, facts(flips=False, crops=False))
    assert Flip() not in without.augment
    assert without.shown.crops is None
    assert without.shown.side == both.shown.side


@pytest.mark.parametrize(("name", "side"), [("L/16", 384), ("H/14", 384), ("g/14", 518)])
def test_the_vit_protocol_has_the_papers_numbers(name, side):
    found = ViTProtocol().setting(zoo.shape(name, 224), facts())
    recipe = found.recipe
    assert found.shown.side == side
    assert (found.steps, found.batch, found.learning_rates) == (20_000, 512, (0.03, 0.01))
    assert (found.validation, recipe.warmup_steps, recipe.schedule) == (0.02, 500, "cosine")
    assert (recipe.optimizer, recipe.clip_norm, recipe.polyak) == ("sgd", 1.0, None)
    assert recipe.weight_decay_head == recipe.weight_decay_body == 0
    vtab = Vtab1kProtocol().setting(zoo.shape(name, 224), facts())
    assert (vtab.steps, vtab.learning_rates, vtab.shown) == (2500, (0.01,), found.shown)


# The images


def test_a_part_holds_out_training_images_and_no_test_images():
    part = Part(of=DIGITS, images=1000, validation=200)
    learnt, _ = part.train().batch(np.arange(800))
    heldout, _ = part.heldout().batch(np.arange(200))
    both = {x.tobytes() for x in [*learnt, *heldout]}
    everything, _ = DIGITS.train().batch(np.arange(1000))
    tests, _ = DIGITS.heldout().batch(np.arange(797))
    assert both == {x.tobytes() for x in everything}
    assert not both & ({x.tobytes() for x in tests} - {x.tobytes() for x in everything})
    assert not {x.tobytes() for x in learnt} & {x.tobytes() for x in heldout}


def test_what_is_searched_on_lies_inside_what_is_trained_on_in_the_end():
    vtab = a_vtab(train=80, validation=20)
    (first, *_) = vtab.transfers(upstream())
    final = first.final(0.01)
    assert (final.data, final.data_size) == (DIGITS, 100)
    chosen = [
        {x.tobytes() for x in images.batch(np.arange(images.size))[0]}
        for images in (
            Part(of=DIGITS, images=100, validation=1).train(),
            Part(of=DIGITS, images=1000, validation=900).train(),
        )
    ]
    assert len(chosen[0] - chosen[1]) == 0  # the first hundred of one permutation, either way


def test_a_part_with_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="validation=10 of 10 images leaves none to learn from"):
        Part(of=DIGITS, images=10, validation=10)


# Choosing


def test_the_learning_rate_is_chosen_on_held_out_training_images_alone(monkeypatch):
    trained = []

    def find(run):
        trained.append(run)
        if isinstance(run.data, Part):
            monkeypatch.setattr(Digits, "heldout", lambda self: pytest.fail("tests were looked at"))
            heldout = run.data.heldout()
            assert heldout.size == 100
            heldout.batch(np.arange(100))
            monkeypatch.undo()
            return outcome(run, {0.03: 0.4, 0.01: 0.3}[run.recipe.learning_rate])
        return outcome(run, 0.25)

    found = task().found(upstream(), find)
    assert {each.metric: (each.value, each.n) for each in found} == {
        "digits_finetune_error": (0.25, 797),
        "digits_finetune_learning_rate": (0.01, 100),
    }
    assert [run.data.sizes() for run in trained] == [(900, 100), (900, 100), (1000, 797)]
    assert [run.recipe.learning_rate for run in trained] == [0.03, 0.01, 0.01]


def test_of_two_equally_good_learning_rates_the_first_is_taken():
    found = task().found(upstream(), lambda run: outcome(run, 0.5))
    assert found[1].value == 0.03


def test_a_learning_rate_that_diverges_is_not_chosen_and_where_all_do_that_is_said():
    def find(run):
        return outcome(run, None if run.recipe.learning_rate == 0.03 else 0.5)

    assert task().found(upstream(), find)[1].value == 0.01
    with pytest.raises(NotMeasured, match="digits: fine-tuning diverged at each learning rate"):
        task().found(upstream(), lambda run: outcome(run, None))


def test_lengths_from_scratch_lie_beside_the_fine_tuned_run():
    both = task(scratch_steps=(6, 24))
    found = both.found(upstream(), lambda run: outcome(run, 0.5 if run.init else 1 / run.steps))
    errors = {each.metric: each.value for each in found if each.metric in both.metrics}
    assert errors == {
        "digits_finetune_error": 0.5,
        "digits_scratch_6steps_error": 1 / 6,
        "digits_scratch_24steps_error": 1 / 24,
    }
    runs = both.runs(upstream())
    assert [(run.init is None, run.steps) for run in runs] == (
        [(False, 6)] * 3 + [(True, 6)] * 3 + [(True, 24)] * 3
    )


# VTAB


def a_vtab(**changes):
    groups = {"one": "natural", "two": "natural", "three": "specialized", "four": "structured"}
    tasks = [{"name": name, "group": group, "data": DIGITS} for name, group in groups.items()]
    protocol = Vtab1kProtocol(resolution=16, steps=6, warmup_steps=2, batch=16)
    return Vtab(**{"tasks": tasks, "protocol": protocol} | changes)


def test_vtab_is_the_mean_over_three_groups_not_over_tasks():
    errors = {"one": 0.1, "two": 0.3, "three": 0.4, "four": 0.9}

    def find(run):
        return outcome(run, errors[run.model.name.rpartition(" ")[2]])

    found = {each.metric: each for each in a_vtab().found(upstream(), find)}
    assert found["vtab_natural_error"].value == pytest.approx(0.2)
    assert found["vtab_error"].value == pytest.approx((0.2 + 0.4 + 0.9) / 3)
    assert found["vtab_error"].n == 4 * 797
    assert {*a_vtab().metrics} <= {*found}


def test_vtab_takes_a_thousand_images_of_each_task_and_searches_only_where_there_is_a_choice():
    assert [run.data_size for run in a_vtab().runs(upstream())] == [1000] * 4
    choice = Vtab1kProtocol(resolution=16, steps=6, warmup_steps=2, learning_rates=(0.1, 0.01))
    sizes = [run.data.sizes() for run in a_vtab(protocol=choice).runs(upstream())]
    assert sizes == [(800, 200), (800, 200), (1000, 797)] * 4


def test_a_vtab_without_one_of_the_groups_is_refused():
    tasks = [{"name": "one", "group": "natural", "data": DIGITS}]
    with pytest.raises(ValueError, match="none is specialized and none structured"):
        Vtab(tasks=tasks)


# What cannot be done


def said(evaluation, run=None, spec=DEFAULT):
    return " ".join(evaluation.problems(run or upstream(), spec))


MIXER = MixerShape(name="mixer", patch=4, resolution=16, width=8, depth=1, mlp_tokens=8, mlp=16)


@pytest.mark.parametrize(
    ("evaluation", "run", "words"),
    [
        (a_vtab(train=900), upstream(), "1_100 images to train on and the source has 1_000"),
        (
            task(images=4),
            upstream(),
            "0 of 4 images are held out to choose a learning rate by; hold out another share",
        ),
        (
            task(protocol=ViTProtocol(resolution=3)),
            upstream(),
            "patch=4 px is larger than the image of resolution=3 px",
        ),
        (
            task(protocol=ViTProtocol(resolution=32)),
            upstream(MIXER),
            "mixer mixes the patches of 16 px and no other number; fine-tune it at 16 px",
        ),
        (
            task(data=Procedural(classes=8)),
            upstream(),
            "there is no end to these images; take a finite set",
        ),
        (
            task(protocol=ViTProtocol(resolution=16, steps=100)),
            upstream(),
            "warmup_steps=500 and an end of 1 step do not fit into a run of 100",
        ),
    ],
)
def test_what_cannot_be_fine_tuned_is_said(evaluation, run, words):
    assert words in said(evaluation, run)


def test_a_random_crop_of_the_side_images_are_brought_to_cuts_nothing():
    rule = HyperRule(sides=({"resize": 32, "crop": 32},))
    evaluation = task(protocol=rule)
    assert said(evaluation) == ""
    for run in evaluation.runs(upstream()):
        assert [each.kind for each in run.augment] == ["flip"]


def test_a_task_whose_images_have_no_labels_is_said():
    words = said(task(data=Procedural(classes=8, unlabelled=True), images=100))
    assert words.startswith("digits: classify learns from labels")


def test_hyperrule_asks_how_large_images_are_where_the_source_does_not_know():
    private = Private(name="pets", classes=37, images=3680, heldout_images=3669)
    rule = task(data=private, protocol=HyperRule())
    assert "write area = HEIGHT * WIDTH" in said(rule)
    assert said(task(data=private, protocol=HyperRule(), area=500 * 375)) == ""


def test_a_batch_that_the_placement_cannot_split_is_said():
    assert "digits: a batch of 16 cannot be split" in said(task(), spec=PlacementSpec(fsdp=3))


# Study files and plans

TUNED = """
[[evaluate]]
kind = "finetune"
name = "tuned"
data = { kind = "digits", resolution = 8 }
protocol = { kind = "vit", resolution = 30, steps = 40, warmup_steps = 4, batch = 32 }
scratch_steps = [80]

[[grid]]"""


def test_a_study_names_it_and_a_plan_counts_all_that_it_trains(tmp_path, capsys):
    study = read(tmp_path, GOOD.replace("\n[[grid]]", TUNED))
    runs = trained_by_evaluations(study)
    assert len(study.runs) == 4
    assert len(runs) == 4 * (3 + 3)
    assert {run.model.resolution for run in runs} == {30}
    found = study_cost(study)
    steps = 4 * (3 * 40 + 3 * 80)
    assert found.fine_tuning.steps == steps
    assert found.fine_tuning.flops == sum(run.flops for run in runs)
    assert as_json(found)["fine_tuning"]["images"] == steps * 32
    show_cost(found)
    printed = capsys.readouterr().out
    assert f"24 trainings, {steps} steps" in printed.replace("_", "")
    assert "30 px are 7 patches of 4 px and a margin of 2 px that is not seen, 13 % of" in printed


def test_a_plan_on_devices_has_a_line_for_each_step_of_fine_tuning(tmp_path):
    text = GOOD.replace("\n[[grid]]", TUNED)
    (tmp_path / "s.toml").write_text(text)
    (tmp_path / "t.toml").write_text(GOOD)
    plan, plain = (
        plan_on(
            str(tmp_path / name),
            "device:memory=24GiB,peak=165e12",
            None,
            {},
            closed_form=True,
            quiet=True,
        )
        for name in ("s.toml", "t.toml")
    )
    names = [step["model"] for step in plan.as_json()["steps"]]
    assert names[:2] == ["nano", "mu/4"]
    assert names[2:] == ["nano on tuned", "mu/4 on tuned"]
    more = [step for step in plan.steps if " on " in step.plan.run.model_name]
    assert plan.device_hours == pytest.approx(
        plain.device_hours + sum(step.device_hours for step in more)
    )
    one = next(step for step in more if step.plan.run.model_name == "nano on tuned")
    steps = 2 * 3 * (40 + 80)  # of two runs; two learning rates and the end
    assert one.device_hours * 3600 == pytest.approx(steps * one.time.seconds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("resolution = 30", "resolution = 2"),
            ["evaluate[2]: tuned: ", "larger than the image of resolution=2 px"],
        ),
        (
            ("resolution = 30", "resolutoin = 30"),
            ["evaluate[2].protocol.resolutoin", '"resolution"'],
        ),
        (('kind = "vit"', 'kind = "vti"'), ["evaluate[2].protocol.kind", 'did you mean "vit"']),
        (("steps = 40", "steps = 3"), ["warmup_steps=4 and an end of 1 step do not fit"]),
        (('"tuned"', '"digits"\nimages = 2_000'), ["2_000 images to train on", "has 1_000"]),
    ],
)
def test_a_mistake_in_a_study_is_named(tmp_path, change, words):
    with pytest.raises(UserError) as error:
        read(tmp_path, GOOD.replace("\n[[grid]]", TUNED.replace(*change)))
    for each in words:
        assert each in str(error.value)


def test_the_runs_of_an_evaluation_survive_the_way_through_a_file():
    for run in task(scratch_steps=(8,)).runs(upstream()):
        assert Run.model_validate_json(run.model_dump_json()) == run
        assert json.loads(run.model_dump_json())["data"]["kind"] in ("part", "digits")


@pytest.mark.parametrize(
    ("name", "protocol", "said"),
    [
        ("G/14", ViTProtocol(), True),
        ("g/14", ViTProtocol(), False),
        ("G/14", ViTProtocol(schedule="constant", polyak=0.9999), False),
        ("G/14", Vtab1kProtocol(), False),
    ],
)
def test_what_the_paper_does_otherwise_with_its_largest_network_is_said(name, protocol, said):
    weights = Pretrained(id="0123456789ab", model=zoo.shape(name, 224))
    (transfer,) = task(protocol=protocol).transfers(weights)
    found = [words for words in transfer.remarks() if "Polyak" in words]
    assert len(found) == said
    assert not found or 'schedule = "constant"' in found[0]


def test_the_whole_head_goes_a_pre_logits_layer_too():
    run = upstream(ViTShape(**vars(NANO) | {"pre_logits": 12}))
    for each in task(scratch_steps=(5,)).runs(run):
        assert each.model.pre_logits is None
        assert each.model.features == NANO.width


def test_weights_in_a_file_are_fine_tuned_by_the_runs_of_a_run_of_that_network():
    run = upstream()
    weights = Pretrained(id=run.id, model=run.model)
    assert task().runs(weights) == task().runs(run)
    other = Pretrained(id="0123456789ab", model=run.model)
    assert {each.id for each in task().runs(other)}.isdisjoint(each.id for each in task().runs(run))


def test_another_resolution_is_another_network_with_the_upstreams_shape():
    shape = task(protocol=ViTProtocol(resolution=32)).runs(upstream())[0].model
    assert shape == replace(NANO, name="nano on digits", resolution=32)


def test_the_plan_of_the_pages_study_is_what_the_page_says(tmp_path, capsys):
    study, tasks = re.findall(r"^```(?:toml|text)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    show_cost(study_cost(read(tmp_path, study)))
    (line,) = re.findall(r"^Fine-tuning to evaluate.*$", PAGE, re.MULTILINE)
    assert line in capsys.readouterr().out
    (table,) = tomllib.loads(tasks)["evaluate"]
    assert len(Vtab.model_validate_json(json.dumps(table)).metrics) == 1 + 3 + 3


def test_a_decode_rule_below_the_side_of_the_protocol_is_said():
    data = {"kind": "folder", "path": "photos", "resolution": 16, "decode": {"resize_to": 20}}
    found = FineTune(name="photos", data=data, protocol={"kind": "vit", "resolution": 32})
    (transfer,) = found.transfers(upstream())
    with pytest.raises(ValueError, match=r"at the 32 px of the protocol: decode\.resize_to=20"):
        transfer.setting.shown.source(transfer.task.data)
