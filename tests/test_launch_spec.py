"""What a launch is to do: which runs, within what budget, and why each of them."""

import json
import time

import pytest
from launched import UPSTREAM, a_study

from fits.base.errors import UserError
from scaling.evaluate import Upstream
from scaling.evaluate.measured import Measured
from scaling.launch.jobs import jobs
from scaling.launch.launch import check_detached, dry_run, launch, prepare
from scaling.launch.launch_file import read_launch_file, write_launch_file
from scaling.launch.launch_spec import Budget, LaunchSpec, chosen, ordered, selected
from scaling.launch.local.launcher import Local
from scaling.launch.progress.events import describe
from scaling.runs.held_run import hold_run
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.training.recipe import Recipe

# Which runs


def test_conditions_on_columns_choose_runs():
    study = a_study(0, 1, durations=(640, 1280))
    assert {run.seed for run in selected(study, ["seed=1"]).runs} == {1}
    found = selected(study, ["seed!=1", "images_seen=1280"]).runs
    assert [(run.seed, run.images_seen) for run in found] == [(0, 1280)]
    assert selected(study, ["data_size=all"]) == study
    assert selected(study, ()) is study


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("seed", "--only seed: has no '='. Write COL=VALUE."),
        ("sed=1", "--only sed=1: no column 'sed'. Did you mean 'seed'? Columns: run, model, data"),
        ("seed=7", "--only seed=7: no run is left. There are 0, 1."),
        ("variant=a", "--only variant=a: no run is left. The study has no variants."),
    ],
)
def test_a_condition_that_chooses_nothing_is_refused(only, said):
    with pytest.raises(UserError) as mistake:
        selected(a_study(0, 1), [only])
    assert said in str(mistake.value)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("seed", "--first seed: has no '='. Write COL=VALUE."),
        ("sed=1", "--first sed=1: no column 'sed'. Did you mean 'seed'? Columns: run, model, data"),
        ("seed=7", "--first seed=7: no run meets it. There are 0, 1."),
    ],
)
def test_what_is_to_come_first_and_is_no_run_is_refused_though_all_are_done(place, first, said):
    study = a_study(0, 1)
    for run in study.runs:
        write_run_file(place.runs / run.id, run, study.evaluate, pytest.fail)
        with hold_run(place.runs / run.id) as held:
            held.finish([(UPSTREAM, [Measured(name, 0.5, 100) for name in UPSTREAM.metrics])], {})
    before = sorted(place.runs.rglob("*"))
    spec = LaunchSpec(first=(first,))
    for ask in (dry_run, launch):
        with pytest.raises(UserError) as mistake:
            ask(study, place.runs, spec, Local(workers=1))
        assert said in str(mistake.value)
    assert sorted(place.runs.rglob("*")) == before


def varied():
    """Two durations with two batches each."""
    study = a_study(0, durations=(640, 1280))
    others = tuple(run.model_copy(update={"batch": 32}) for run in study.runs)
    return study.model_copy(update={"runs": (*study.runs, *others)})


def test_conditions_choose_variants_by_the_words_of_the_tables(place, capsys):
    study = varied()
    assert [run.batch for run in selected(study, ["variant=batch=32"]).runs] == [32, 32]
    assert [run.batch for run in selected(study, ["variant!=batch=32"]).runs] == [64, 64]
    with pytest.raises(UserError, match=r"=batch=3: no run is left\. .*are batch=64, batch=32\."):
        selected(study, ["variant=batch=3"])
    spec = LaunchSpec(only=("variant=batch=32",))
    dry_run(study, place.runs, spec, Local(workers=1)).show()
    said = capsys.readouterr().out
    assert said.count(" batch=32 ") == 2  # though no other is left
    assert "batch=64" not in said


@pytest.mark.parametrize("batch", [32, 64])
def test_a_variant_comes_first_in_the_launch_and_in_its_file(place, batch):
    study, spec = chosen(varied(), LaunchSpec(first=(f"variant=batch={batch}",)))
    prepare(study, place.runs, retry=False, say=pytest.fail)
    found, described = read_launch_file(write_launch_file(study, place.runs, spec))
    for each in (spec, described):
        queue = ordered(jobs(found.runs, {run.id for run in found.runs}), each)
        assert [job.segments[0].run.batch for job in queue] == [batch, 96 - batch]


def test_what_comes_first_is_begun_first(place):
    study = a_study(0, 1, 2)
    assert place.launch(study, workers=1, first=("seed=2", "seed=1"))
    order = [study.runs[2].id, study.runs[1].id, study.runs[0].id]
    assert [event["run"] for event in place.events("begin")] == order


@pytest.mark.slow
def test_a_launch_of_some_runs_leaves_the_others_alone(place):
    study = a_study(0, 1)
    assert place.launch(study, only=("seed=1",))
    assert [event["run"] for event in place.events("end")] == [study.runs[1].id]
    assert not (place.runs / study.runs[0].id).exists()


# Within what budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("1e18", Budget(flops=1e18)),
        ("12h", Budget(seconds=43200.0)),
        ("1.5 d", Budget(seconds=129600.0)),
        ("90min", Budget(seconds=5400.0)),
    ],
)
def test_a_budget_is_flops_or_time(text, budget):
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "12 hours", "1e18 FLOPs", "1..2h"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(UserError, match="is no budget"):
        Budget.parse(text)


@pytest.mark.slow
def test_a_budget_of_flops_ends_a_launch_and_another_goes_on(place, capfd):
    study = a_study(0, 1, 2, 3)
    one = study.runs[0].flops
    assert not place.launch(study, workers=1, pause=0.1, budget=Budget(flops=1.5 * one))
    said = capfd.readouterr().out
    done = len(place.events("end"))
    assert 1 <= done < 4
    assert f"the budget of {1.5 * one:.3g} FLOPs is spent" in said
    assert place.launch(study)
    assert place.ended_once(study)


@pytest.mark.slow
def test_a_budget_of_time_counts_that_of_each_worker(place, capfd):
    study = a_study(0, 1)
    began = time.monotonic()
    assert not place.launch(study, pause=10.0, budget=Budget(seconds=4.0))
    assert time.monotonic() - began < 30
    assert "the budget of 4 s of device time is spent" in capfd.readouterr().out


# Why each


def why(study, runs, **spec):
    found = dry_run(study, runs, LaunchSpec(**spec), Local(workers=1)).as_json()
    return {run["id"]: run["why"] for job in found["jobs"] for run in job["runs"]}


def test_runs_that_an_edit_made_new_say_which_field_changed(place):
    study = a_study(0)
    assert set(why(study, place.runs).values()) == {"new"}
    assert place.launch(study)
    old = study.runs[0]
    recipe = Recipe(warmup_steps=1, learning_rate=old.recipe.learning_rate * 2)
    edited = study.model_copy(update={"runs": (old.model_copy(update={"recipe": recipe}),)})
    (words,) = why(edited, place.runs).values()
    assert words == (
        f"new: recipe.learning_rate is {recipe.learning_rate}, "
        f"was {old.recipe.learning_rate} in {old.id}"
    )
    assert why(study, place.runs) == {}
    wider = a_study(0, 1)  # the first is still of the study, and nothing was changed
    assert list(why(wider, place.runs).values()) == ["new"]


@pytest.mark.slow
def test_a_run_of_the_study_that_is_left_out_is_not_taken_for_one_before_an_edit(place):
    assert place.launch(a_study(0))
    assert list(why(a_study(0, 1), place.runs, only=("seed=1",)).values()) == ["new"]


def test_a_run_that_waits_says_how_far_its_trunk_has_come(place):
    study = a_study(0)
    (run,) = study.runs
    write_run_file(place.runs / run.id, run, study.evaluate, pytest.fail)
    assert why(study, place.runs) == {run.id: "waits"}
    kept = place.runs / "trunks" / run.trunk / "passing"
    kept.mkdir(parents=True)
    (kept / "checkpoint.json").write_text('{"step": 3}')
    assert why(study, place.runs) == {run.id: "waits; its trunk has come to step 3 of 10"}


@pytest.mark.slow
def test_runs_that_were_begun_say_how_they_stand(place):
    study = a_study(0, 13, 14)
    assert not place.launch(study)
    done, failed, stopped = (run.id for run in study.runs)
    assert why(study, place.runs) == {stopped: "left unfinished: the device is full."}
    found = why(study, place.runs, retry=True)
    assert found[failed].startswith("failed before: the loss is nan at step 3")
    more = study.model_copy(update={"evaluate": (Upstream(images=200),)})
    assert why(more, place.runs)[done] == "to be measured: upstream_loss, upstream_error"
    (place.runs / done / "manifest.json").write_text("?")
    assert why(study, place.runs)[done].startswith("damaged: ")


def test_other_files_among_the_runs_are_passed_over(place):
    study = a_study(0)
    for name, text in (("a", "{"), ("b", json.dumps({"run": 3})), ("c", "[" * 10**5)):
        path = RunFolder(place.runs / name).path
        path.mkdir(parents=True)
        (path / "run.json").write_text(text)
    assert list(why(study, place.runs).values()) == ["new"]


def test_a_dry_run_names_the_runs_that_only_a_retry_tries_again(place, capsys):
    study = a_study(0, 1)
    parked, other = study.runs
    prepare(study, place.runs, retry=False, say=pytest.fail)
    with hold_run(place.runs / parked.id) as held:
        held.fail("the loss is nan at step 3.")
    found = dry_run(study, place.runs, LaunchSpec(), Local(workers=1))
    assert found.as_json()["failed"] == {parked.id: "the loss is nan at step 3."}
    assert list(why(study, place.runs)) == [other.id]
    found.show()
    said = capsys.readouterr().out
    assert f"failed: {describe(parked)}: the loss is nan at step 3.\n" in said
    assert "Launch with --retry to try again what failed." in said
    found = dry_run(study, place.runs, LaunchSpec(retry=True), Local(workers=1))
    assert found.as_json()["failed"] == {}
    assert set(why(study, place.runs, retry=True)) == {parked.id, other.id}
    found.show()
    assert "--retry" not in capsys.readouterr().out


def test_a_dry_run_says_how_far_a_budget_goes(place, capsys):
    study = a_study(0, 1)
    flops = sum(run.flops for run in study.runs)
    spec = LaunchSpec(budget=Budget(flops=0.75 * flops))
    dry_run(study, place.runs, spec, Local(workers=1)).show()
    assert "are spent: 1 of 2 jobs fit into that" in capsys.readouterr().out
    dry_run(study, place.runs, LaunchSpec(budget=Budget(seconds=60.0)), Local(workers=1)).show()
    assert "wherever the jobs are then" in capsys.readouterr().out


# On a cluster


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (LaunchSpec(budget=Budget(seconds=1.0)), "--budget: nobody"),
        (LaunchSpec(stop=("behind",)), "--stop: nobody"),
    ],
)
def test_what_nobody_would_look_after_is_refused(spec, said):
    with pytest.raises(UserError, match=said):
        check_detached(spec)
    check_detached(LaunchSpec())
