"""What a study will cost, against costs counted by hand."""

import json
from dataclasses import replace

import pytest

from models.cost import forward_macs, parameters
from models.shapes import MuP
from models.zoo import shape
from scaling.data.arrays import Digits
from scaling.evaluate import Upstream
from scaling.launch.jobs import jobs
from scaling.planning.closed_form import as_csv, as_json, show_cost, study_cost
from scaling.planning.disk import states_kept
from scaling.study.study import Study
from scaling.training.recipe import Recipe
from scaling.training.run import Run


def a_study(models, steps, recipe, seeds=(0,), batch=64):
    runs = tuple(
        Run(
            model=shape(model, 16),
            data=Digits(),
            recipe=recipe,
            images_seen=batch * n,
            batch=batch,
            seed=seed,
        )
        for model in models
        for n in steps
        for seed in seeds
    )
    return Study(name="small", question="How much?", runs=runs, evaluate=(Upstream(),))


TWO = Recipe(warmup_steps=4, cooldown_steps=2)


def test_a_trunk_costs_its_longest_run_and_the_others_their_cooldowns():
    found = study_cost(a_study(["mu/4"], [10, 20, 40], TWO)).cost
    assert (found.runs, found.trunks) == (3, 1)
    assert (found.steps, found.steps_alone) == (38 + 3 * 2, 10 + 20 + 40)
    assert (found.images, found.images_alone) == (64 * 44, 64 * 70)
    an_image = 6 * forward_macs(shape("mu/4", 16), classes=10)
    assert (found.flops, found.flops_alone) == (an_image * 64 * 44, an_image * 64 * 70)
    assert found.saving_percent == pytest.approx(100 * (1 - 44 / 70))


def test_a_cooldown_that_grows_with_the_run_is_paid_for_by_each():
    recipe = Recipe(warmup_steps=4, cooldown_fraction=0.5)
    assert study_cost(a_study(["mu/4"], [10, 20, 40], recipe)).cost.steps == 20 + 5 + 10 + 20


def test_runs_with_other_seeds_share_nothing():
    found = study_cost(a_study(["mu/4"], [10], TWO, seeds=(0, 1, 2))).cost
    assert (found.trunks, found.steps, found.saving_percent) == (3, 30, 0)


def test_the_sum_is_over_models_and_each_model_knows_its_size():
    found = study_cost(a_study(["mu/4", "Ti/8"], [10, 20], TWO))
    assert [model.name for model in found.models] == ["mu/4", "Ti/8"]
    assert [model.params for model in found.models] == [
        parameters(shape(name, 16)) for name in ("mu/4", "Ti/8")
    ]
    assert found.cost.flops == sum(model.cost.flops for model in found.models)
    assert found.cost.runs == 4


def test_a_shape_with_and_without_mup_is_two_models_of_the_plan():
    study = a_study(["mu/4"], [10], TWO)
    (run,) = study.runs
    with_mup = run.model_copy(update={"model": replace(run.model, mup=MuP(base_width=16))})
    both = study.model_copy(update={"runs": (run, with_mup)})
    names = ["mu/4", "mu/4 muP16"]
    assert [model.name for model in study_cost(both).models] == names
    assert [line.split(",")[1] for line in as_csv(both).splitlines()[1:]] == names


def test_the_plan_agrees_with_what_a_launcher_will_do():
    study = a_study(["mu/4", "Ti/8"], [10, 20, 40], TWO, seeds=(0, 1))
    to_do = jobs(study.runs, {run.id for run in study.runs})
    found = study_cost(study).cost
    assert found.trunks == len(to_do)
    assert found.flops == pytest.approx(sum(job.flops for job in to_do), rel=1e-12)


def test_the_printed_plan_is_aligned_and_has_no_escape_codes_in_a_pipe(capsys):
    show_cost(study_cost(a_study(["mu/4", "Ti/8"], [10, 20, 40], TWO)))
    text = capsys.readouterr().out
    assert "\x1b" not in text
    title, _, head, mu, ti, _, total, alone, disk = text.splitlines()
    assert title == "small: How much?"
    headings = "model params GMACs runs trunks images FLOPs if alone saved"
    assert " ".join(head.split()) == headings
    assert len(mu) == len(ti) == len(head)
    assert mu.split()[:2] == ["mu/4", f"{parameters(shape('mu/4', 16)):_}"]
    assert total.startswith("6 runs on 2 trunks: 88 steps, 5_632 images, ")
    assert alone.endswith("saves 37 %.")
    assert disk.startswith("On disk: 12 training states, about ")


def test_one_run_is_not_said_to_be_several(capsys):
    show_cost(study_cost(a_study(["mu/4"], [10], TWO)))
    assert "\n1 run on 1 trunk: " in capsys.readouterr().out


def test_the_plan_as_json_is_complete_and_flat():
    study = a_study(["mu/4"], [10, 20], TWO)
    found = json.loads(json.dumps(as_json(study_cost(study))))
    model = found.pop("models")[0]
    assert found.pop("study") == "small"
    assert found.pop("question") == "How much?"
    assert (model.pop("name"), model.pop("variant")) == ("mu/4", "")
    assert model.pop("params") == parameters(shape("mu/4", 16))
    assert model.pop("forward_gmacs") == forward_macs(shape("mu/4", 16), 10) / 1e9
    assert (found.pop("states"), found.pop("disk_bytes")) == states_kept(study)
    assert found.pop("fine_tuning") is None
    assert found.pop("remarks") == []
    assert model == found
    assert found.keys() == {
        *("runs", "trunks", "steps", "steps_alone", "images", "images_alone"),
        *("flops", "flops_alone", "saving_percent"),
    }


def test_a_plan_takes_models_of_every_family():
    names = ("mu/4", "BiT-R50x1", "Mixer-B/16")
    found = study_cost(a_study(names, [10], TWO))
    assert [model.name for model in found.models] == list(names)
    for model in found.models:
        one = shape(model.name, 16)
        assert model.params == parameters(one)
        assert model.forward_gmacs == forward_macs(one, 10) / 1e9
        assert model.cost.flops == 6 * forward_macs(one, 10) * 64 * 10
