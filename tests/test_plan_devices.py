"""What a study needs on devices that are not there: which step is chosen, and how much fits."""

import pytest

from fits.base.errors import UserError
from models.zoo import vit
from scaling.data.procedural.source import Procedural
from scaling.evaluate.upstream import Upstream
from scaling.planning import compiled
from scaling.planning.compiled import Verdict, out_of_memory
from scaling.planning.devices import GIB, topology
from scaling.planning.memory import predicted
from scaling.planning.steps import largest, likely, plan_steps
from scaling.study.parse import read_study
from scaling.study.study import Study
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run

SLICE = topology("v3:2x2")


def study_of(*models, batch=64, classes=1000):
    runs = tuple(
        Run(
            model=vit(name),
            data=Procedural(resolution=224, classes=8),
            recipe=Recipe(warmup_steps=0),
            images_seen=batch * steps,
            batch=batch,
            seed=seed,
            compute="bfloat16",
        )
        for name in models
        for steps in (100, 200)
        for seed in (0, 1)
    )
    return Study(name="s", question="?", runs=runs, evaluate=(Upstream(),))


class PretendCompiler:
    """Needs as much as a function of the spec and the images of a device says."""

    def __init__(self, gib):
        self.gib, self.asked = gib, []

    def __call__(self, run, on, spec):
        images = run.batch // on.devices
        self.asked.append((run.model_name, images, spec.update, spec.remat, spec.fsdp))
        found = self.gib(images, spec) * GIB
        return Verdict(found, found <= on.kind.hbm)


@pytest.mark.parametrize(
    ("message", "gib"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 35.2G of 15.48G hbm.",
            35.2,
        ),
        (
            "E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (16.95G) exceeds available HBM (15.48G). HLO module: jit_step.",
            16.95,
        ),
    ],
)
def test_the_compilers_words_for_too_much_memory_are_understood(message, gib):
    assert out_of_memory(message) == pytest.approx(gib * GIB)
    assert out_of_memory("INTERNAL: something else") is None


def test_a_damaged_verdict_is_compiled_anew(tmp_path):
    path = tmp_path / "a.json"
    for text in ("", "{", "[]", '{"bytes": 1}', '{"bytes": "x", "fits": true}'):
        path.write_text(text)
        assert compiled._read(path) is None
    path.write_text('{"bytes": 5.0, "fits": true}')
    assert compiled._read(path) == Verdict(5.0, True)


def test_runs_that_differ_in_seed_data_and_duration_share_one_program():
    compiler = PretendCompiler(lambda images, spec: 1.0)
    steps = plan_steps(study_of("Ti/16", "S/16"), SLICE, compiler)
    assert [step.run.model_name for step in steps] == ["Ti/16", "S/16"]
    assert {step.images_per_device for step in steps} == {8}


def test_the_first_step_that_fits_is_chosen():
    needs = {"none": 40.0, "dots": 20.0, "full": 15.0}
    compiler = PretendCompiler(lambda images, spec: needs[spec.remat] * (0.5 + images / 16))
    (step,) = plan_steps(study_of("B/16"), SLICE, compiler)
    assert (step.spec.update, step.spec.remat, step.verdict.fits) == ("plain", "full", True)


def test_a_state_that_no_device_holds_alone_is_split_over_all():
    compiler = PretendCompiler(lambda images, spec: 30.0 / spec.fsdp)
    (step,) = plan_steps(study_of("G/14"), SLICE, compiler)
    assert step.spec.fsdp == 8
    assert step.as_json()["sharding"] == {"fsdp": 8, "tensor": 1}


def test_what_cannot_fit_by_arithmetic_is_not_compiled():
    compiler = PretendCompiler(lambda images, spec: 11.4 if spec.update == "fused" else 21.0)
    plan_steps(study_of("G/14"), SLICE, compiler)
    assert ("G/14", 8, "plain", "full", 1) not in compiler.asked
    plain = predicted(study_of("G/14").runs[0], PlacementSpec(remat="full"), SLICE).peak
    assert plain > 1.15 * SLICE.kind.hbm


def test_a_step_that_fits_nowhere_is_planned_with_what_comes_nearest():
    compiler = PretendCompiler(lambda images, spec: 50.0 if spec.fsdp == 1 else 20.0)
    (step,) = plan_steps(study_of("G/14"), SLICE, compiler)
    assert not step.verdict.fits
    assert step.spec.fsdp == 8
    assert step.largest_images_per_device == 0


@pytest.mark.parametrize(
    ("offset", "slope", "expected"),
    [(3.0, 0.1, 120), (3.0, 2.0, 6), (14.0, 0.01, 144), (15, 1, 0)],
)
def test_the_largest_batch_is_a_multiple_of_eight_that_was_seen_to_fit(offset, slope, expected):
    """However far off the closed form is, as long as it grows as fast as what the compiler says."""
    hbm = 15.48 * GIB

    def at(images):
        found = (offset + slope * images) * GIB
        return Verdict(found, found <= hbm)

    for wrong in (0.0, 3.0, -2.0):
        found = largest(at, 8, at(8), hbm, lambda n, w=wrong: (w + offset + slope * n) * GIB)
        assert found == expected


def test_the_largest_batch_is_predicted_from_one_compilation_with_a_reserve():
    hbm = 15.48 * GIB

    def guess(images):
        return (1 + 0.1 * images) * GIB

    def known(gib, basis="compiled"):
        return Verdict(gib * GIB, gib * GIB <= hbm, basis)

    assert likely(8, known(3.8, "closed form"), hbm, guess) == 120  # 3.0 + .1 n <= 15.48
    assert likely(8, known(3.8), hbm, guess) == 112
    assert likely(8, known(15.4), hbm, guess) == 8
    assert likely(8, known(15.8), hbm, guess) == 5
    assert likely(8, known(30.0), hbm, guess) == 0


def test_without_a_search_each_step_is_compiled_once():
    compiler = PretendCompiler(lambda images, spec: 1.0 + images / 100)
    plan_steps(study_of("Ti/16", "S/16"), SLICE, compiler)
    assert [(name, images) for name, images, *_ in compiler.asked] == [("Ti/16", 8), ("S/16", 8)]
    plan_steps(study_of("Ti/16"), SLICE, compiler, search=True)
    assert len(compiler.asked) > 3


def test_the_search_for_the_largest_batch_compiles_three_steps_at_most():
    hbm, compiled = 15.48 * GIB, []

    def at(images):
        compiled.append(images)
        found = (3 + 0.1 * images) * GIB
        return Verdict(found, found <= hbm)

    first = at(8)
    compiled.clear()
    assert largest(at, 8, first, hbm, lambda n: (3 + 0.09 * n) * GIB) > 8
    assert 1 <= len(compiled) <= 3


def test_a_batch_that_the_devices_do_not_divide_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"batch of 60 cannot be split over the 8 .* use 56 or 64"):
        plan_steps(study_of("Ti/16", batch=60), SLICE, PretendCompiler(lambda *_: 1.0))


def test_the_study_of_the_paper_has_its_grid():
    """Tables 5 to 22 list 262 runs and lack a few that were surely trained."""
    study = read_study("zhai2022", planned=True)
    assert len(study.runs) == 265
    assert {run.data_size for run in study.runs if run.model.name == "G/14"} == {3_000_000_000}
    assert {run.compute for run in study.runs} == {"bfloat16"}
    short = {run.recipe.cooldown_steps for run in study.runs if run.steps <= 60_000}
    assert short == {10_000}


def test_a_study_of_private_images_is_planned_and_not_launched():
    with pytest.raises(UserError, match="JFT-3B is not published"):
        read_study("zhai2022")
