"""Distillation: the loss by hand, what each view is, and what makes no teacher."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import BATCH, NANO, TEACHER, small, teacher
from pydantic import PrivateAttr
from saved_params import save_params
from simulated import simulated
from study_texts import GOOD
from weights_cases import random_params

from fits.base.errors import UserError
from models.noise import Noise
from models.positions import resize_positions
from models.precision import Precision
from models.shapes import BiTShape, MixerShape
from models.weights.writing import write
from scaling.data.augment import Flip, MixUp
from scaling.data.augment.mixup import MixUp as Mix
from scaling.data.pixels.floats import to_floats
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.manifest import manifest_of
from scaling.objectives.built.distill import divergence, resized
from scaling.objectives.classify import Classify
from scaling.objectives.distill import Distill
from scaling.objectives.protocol import Learned
from scaling.objectives.simclr import SimCLR
from scaling.objectives.teacher import Known, Teacher
from scaling.runs.begun import as_begun
from scaling.runs.results_file import manifest_text
from scaling.runs.run_file import read_run_file, write_run_file
from scaling.study.parse import read_study
from scaling.study.study import Study
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import saved_shapes
from scaling.training.initial import teacher_parameters
from scaling.training.loop import CheckpointPaths, train
from scaling.training.placement_spec import PlacementSpec
from scaling.training.trainer import Trainer
from scaling.zoo.trained import Asked
from scaling.zoo.trained import trained as trained_network

NOISE = Noise(jax.random.key(0))
CLASSIFY = Classify()


def built(config, model=NANO):
    return config.build(model, 4, Precision())


def images(seed=0, views=None, side=16):
    shape = (4, side, side, 3) if views is None else (views, 4, side, side, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def params_of(model, seed=0):
    return jax.tree.map(jnp.asarray, random_params(model, 4, seed))


@pytest.fixture
def done(tmp_path):
    """The folder of a small classifier's run, with the checkpoint of its end."""

    def make(objective=CLASSIFY, finished=True, **changes):
        run = small(objective=objective, **changes)
        folder = tmp_path / "runs" / run.id
        write_run_file(folder, run, (), print)
        step = run.steps if finished else run.steps - 2
        save_params(folder / "checkpoints" / str(step), run, step, random_params(NANO, 4, 5))
        return folder

    return make


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_its_definition_class_by_class_times_the_square_of_the_temperature(temperature):
    student, tutor = np.random.default_rng(0).normal(0, 3, (2, 5, 7))
    p, q = (np.exp(x / temperature) for x in (tutor, student))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    expected = temperature**2 * (p * np.log(p / q)).sum(1)
    found = divergence(jnp.asarray(student), jnp.asarray(tutor), temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (np.asarray(found) > 0).all()


def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient(tmp_path):
    config = Distill(teacher=teacher(tmp_path, NANO), temperature=2.0)
    same, other = params_of(NANO), params_of(NANO, seed=1)
    batch = {"image": images()}
    of = built(config).loss
    loss = jax.jit(jax.value_and_grad(lambda p, frozen: of(p, frozen, {}, batch, NOISE)[0]))
    found, gradient = loss(same, same)
    assert float(found) == 0
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient))
    apart, moving = loss(other, same)
    steepest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(moving))
    assert float(apart) > 0.1
    assert largest < 1e-5 * steepest


def test_no_gradient_reaches_the_teacher(tmp_path):
    config = Distill(teacher=teacher(tmp_path))
    batch, student = {"image": images()}, params_of(NANO)
    of = built(config).loss
    gradient = jax.jit(jax.grad(lambda frozen: of(student, frozen, {}, batch, NOISE)[0]))
    assert not any(np.any(g) for g in jax.tree.leaves(gradient(params_of(TEACHER))))


@pytest.mark.slow
@pytest.mark.parametrize("view", ["same", "fixed", "independent"])
def test_each_network_is_shown_the_view_that_is_its_own(tmp_path, view):
    config = Distill(teacher=teacher(tmp_path, NANO), teacher_view=view)
    objective, frozen = built(config), params_of(NANO, seed=1)
    pixels = images(views=None if view == "same" else 2)
    students, teachers = (pixels, pixels) if view == "same" else pixels
    shown = objective.images({"image": pixels}, NOISE)
    np.testing.assert_array_equal(shown, to_floats(students))
    module = Classify().build(NANO, 4, Precision()).around(frozen)
    np.testing.assert_allclose(
        objective.answers(frozen, {"image": pixels}), module(to_floats(teachers)), rtol=1e-5
    )


def loaded(config, *augment):
    run = small(objective=config, augment=augment or (Flip(),))
    return next(Trainer(run)._batches(0, 1))["image"]


@pytest.mark.slow
def test_a_fixed_teacher_sees_the_image_as_it_is_and_an_independent_one_a_view_of_its_own(tmp_path):
    made = teacher(tmp_path)
    plain = loaded(Distill(teacher=made), MixUp())  # which acts later, in the step
    alone = loaded(Distill(teacher=made))
    student, fixed = loaded(Distill(teacher=made, teacher_view="fixed"))
    first, second = loaded(Distill(teacher=made, teacher_view="independent"))
    np.testing.assert_array_equal(fixed, plain)
    for each in (student, first):
        np.testing.assert_array_equal(each, alone)
    assert (alone != plain).any()
    assert (second != first).any()
    assert (second != plain).any()


def test_teacher_and_student_see_one_and_the_same_mixture(tmp_path):
    """KL stays 0 of a student that is its teacher, whatever MixUp does."""
    config = Distill(teacher=teacher(tmp_path, NANO))
    batch = {"image": jnp.asarray(images()), "label": jnp.zeros(4, jnp.int32)}
    mixed = Mix(alpha=1.0, coefficients="image").mix(batch, jax.random.key(1))
    params = params_of(NANO)
    assert float(built(config).loss(params, params, {}, mixed, NOISE)[0]) == 0
    assert (np.asarray(mixed["image"]) != batch["image"]).any()


@pytest.mark.slow
def test_a_teacher_of_another_family_and_size_sees_the_images_at_its_own_resolution(tmp_path):
    shape = BiTShape(name="BiT-1-1-w32", resolution=24, stages=(1, 1), width=32)
    config = Distill(teacher=teacher(tmp_path, shape) | {"resolution": 24})
    frozen = params_of(shape)
    answers = built(config).answers(frozen, {"image": images()})
    network = Classify().build(shape, 4, Precision()).around(frozen)
    seen = resized(to_floats(images()), 24)
    assert seen.shape == (4, 24, 24, 3)
    np.testing.assert_allclose(answers, network(seen), rtol=1e-5)


def test_a_teacher_s_learned_positions_are_resized_to_the_resolution_it_is_given(tmp_path):
    made = teacher(tmp_path) | {"resolution": 16}
    known = Teacher(**made).known()
    assert known.shape == replace(TEACHER, name=known.shape.name, resolution=16)
    found = teacher_parameters(Teacher(**made))["backbone"]["position"]
    whole = random_params(TEACHER, 4)["backbone"]["position"]
    np.testing.assert_array_equal(found, resize_positions(whole, 2))
    mixer = MixerShape(name="m", patch=8, resolution=16, width=8, depth=1, mlp_tokens=4, mlp=16)
    (tmp_path / "tutor.npz").unlink()
    with pytest.raises(ValueError, match="mixes 4 patches and no other number"):
        Teacher(**teacher(tmp_path, mixer), resolution=32).known()
    with pytest.raises(ValueError, match="patch"):
        Teacher(**made).model_copy(update={"resolution": 4}).known()


def test_images_are_made_smaller_by_averaging_and_larger_by_interpolation():
    """Halved by a triangle filter of 4 pixels; a plane stays a plane inside."""
    row = np.zeros((1, 8, 8, 3), np.float32)
    row[:, :, 3] = 1.0
    half = np.asarray(resized(jnp.asarray(row), 4))[0, 2, :, 0]
    np.testing.assert_allclose(half, [0.0, 0.375, 0.125, 0.0], atol=1e-6)
    ramp = np.tile(np.arange(8, dtype=np.float32)[None, None, :, None], (1, 8, 1, 3))
    double = np.asarray(resized(jnp.asarray(ramp), 16))[0, 3, 2:-2, 0]
    np.testing.assert_allclose(np.diff(double), 0.5, atol=1e-5)


def test_flops_are_those_of_the_student_and_of_the_teacher_s_forward_pass(tmp_path):
    run = small(objective=Distill(teacher=teacher(tmp_path)))
    tutor = replace(TEACHER, name="x")
    forward = Classify().passes(tutor, 4)[0].macs * 2
    assert run.flops == small(objective=Classify()).flops + forward * run.images_seen


def paths(folder):
    spec = CheckpointSpec(every_seconds=1e9)
    return CheckpointPaths(trunk=folder / "trunk", own=folder / "own", spec=spec)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, its trainer, the state before and after, and the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("distilled")
    run = small(objective=Distill(teacher=teacher(folder)))
    trainer = Trainer(run)
    begin = jax.tree.map(np.asarray, trainer.start().state)
    end = train(trainer, run, paths(folder), lambda progress: None)
    return run, trainer, begin, jax.tree.map(np.asarray, end.state), folder


@pytest.mark.slow
def test_the_teacher_stays_bit_for_bit_and_is_the_network_of_its_file(trained):
    _, _, begin, end, _ = trained
    jax.tree.map(np.testing.assert_array_equal, begin.frozen, end.frozen)
    jax.tree.map(np.testing.assert_array_equal, random_params(TEACHER, 4), end.frozen)
    assert (begin.params["head"]["kernel"] != end.params["head"]["kernel"]).any()


@pytest.mark.slow
def test_checkpoints_hold_a_checksum_of_the_teacher_who_is_read_again(trained):
    run, _, _, end, folder = trained
    saved = saved_shapes(folder / "own" / str(run.steps))
    assert [x.shape for x in jax.tree.leaves(saved["frozen"])] == [()]
    again = train(Trainer(run), run, paths(folder), lambda progress: None)
    jax.tree.map(np.testing.assert_array_equal, again.state, end)


@pytest.mark.slow
def test_a_run_does_not_go_on_with_another_teacher(trained, tmp_path):
    _, _, _, _, folder = trained
    moved = tmp_path / "tutor.npz"
    moved.write_bytes((folder / "tutor.npz").read_bytes())
    run = small(objective=Distill(teacher={"from": moved}))
    train(Trainer(run), run, paths(tmp_path), lambda progress: None)
    write(moved, random_params(TEACHER, 4, seed=9), TEACHER)
    longer = run.model_copy(update={"images_seen": run.images_seen + 2 * BATCH})
    with pytest.raises(UserError, match="another network than the one that this run has learned"):
        train(Trainer(run), longer, replace(paths(tmp_path), own=tmp_path / "b"), lambda _: None)


@pytest.mark.slow
def test_a_student_is_measured_as_a_softmax_classifier(trained):
    run, trainer, *_ = trained
    module = trainer.module(trainer.restored(trainer.stored(trainer.start())).state)
    found = Upstream(images=64).measure(module, objective=run.objective, source=run.data)
    assert found[0].value == pytest.approx(np.log(4), rel=1e-5)  # a head of zeros


@pytest.mark.slow
def test_a_fused_update_learns_what_a_plain_one_learns(tmp_path):
    run = small(objective=Distill(teacher=teacher(tmp_path)))
    ends = []
    for update in ("plain", "fused"):
        trainer = Trainer(run, spec=PlacementSpec(update=update))
        end = train(trainer, run, paths(tmp_path / update), lambda progress: None)
        ends.append(jax.tree.map(np.asarray, end.state.params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), *ends)


SHARDED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from objective_cases import BATCH, small, teacher
from models.shapes import ViTShape
from scaling.objectives.distill import Distill
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.placement import data_parallel
from scaling.training.placement_spec import PlacementSpec
from scaling.training.trainer import Trainer

assert jax.device_count() == 8
student, tutor = (
    ViTShape(name=name, patch=8, resolution=16, width=128, depth=depth, mlp=256, heads=2)
    for name, depth in (("student", 2), ("tutor", 3))
)
objective = Distill(teacher=teacher(Path(sys.argv[2]), tutor))
ends = []
for devices, spec in (
    (1, PlacementSpec()),
    (8, PlacementSpec(update="fused", fsdp=8)),
):
    run = small(objective=objective, model=student)
    placement = None if spec.fsdp > 1 else data_parallel(1, devices=jax.devices()[:1])
    trainer = Trainer(run, placement=placement, spec=spec)
    begin = jax.tree.map(np.asarray, trainer.start().state.frozen)
    end = trainer.advance(
        trainer.start(), 4, total_steps=None, keep=None, spec=CheckpointSpec(),
        tell=lambda progress: None,
    )
    jax.tree.map(np.testing.assert_array_equal, begin, jax.tree.map(np.asarray, end.state.frozen))
    for tree, depth in ((end.state.params, 2), (end.state.frozen, 3)):
        kernel = tree["backbone"]["blocks"]["mlp"]["into"]["kernel"]
        print(len(kernel.sharding.device_set), kernel.addressable_shards[0].data.shape)
        assert kernel.shape == (depth, 128, 256)
    ends.append(jax.tree.map(np.asarray, (end.state.params, begin)))
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *ends)
moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), ends[0][0], jax.tree.map(np.asarray,
    Trainer(small(objective=objective, model=student)).start().state.params))
assert max(jax.tree.leaves(moved)) > 2e-3
print("same")
"""


@pytest.mark.slow
def test_a_fused_step_on_eight_devices_that_share_student_and_teacher_learns_the_same(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, str(Path(__file__).parent), str(tmp_path)],
        env=simulated(8),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "1 (2, 128, 256)",
        "1 (3, 128, 256)",
        "8 (2, 128, 32)",
        "8 (3, 128, 32)",
        "same",
    ]


@pytest.mark.slow
def test_the_end_of_a_run_is_a_teacher_and_the_manifest_has_its_hash(done):
    folder = done()
    run = small(objective=Distill(teacher={"from": folder}), seed=1)
    state = Trainer(run).start().state
    jax.tree.map(np.testing.assert_array_equal, random_params(NANO, 4, 5), state.frozen)
    said = manifest_of(run, ())["objective"]["teacher"]
    assert said["from"] == str(folder)
    assert len(said["sha256"]) == 64


@pytest.mark.slow
def test_a_student_whose_teacher_is_gone_is_still_a_network_to_measure(done, tmp_path):
    found = trained_network(done(Distill(teacher={"from": tmp_path / "gone"})), Asked())
    assert found.flops is None
    assert found.classes == 4
    student = Learned(found.read()["params"], {}, {})
    module = found.objective.build(found.shape, found.classes, Precision()).module(student)
    assert module.head.kernel.shape == (8, 4)


def finish(folder, **more):
    """A manifest that says that the run of this folder is done."""
    run = read_run_file(folder).run
    said = {"run": run.id, "trunk": run.trunk, "flops": 1.0, "data": [{"train_size": 320}], **more}
    (folder / "results.jsonl").write_text("")
    (folder / "manifest.json").write_text(manifest_text(said, b""))
    return run


@pytest.mark.slow
def test_any_checkpoint_of_a_run_or_a_trunk_is_a_teacher_done_or_not(done):
    folder = done(finished=False)
    run = read_run_file(folder).run
    own = folder / "checkpoints" / str(run.steps - 2)
    early = folder.parent / "trunks" / run.trunk / "8"
    save_params(early, run, 8, random_params(NANO, 4, 7))
    for named, seed in ((own, 5), (early, 7)):
        config = Teacher(from_=named)
        assert config.known() == Known(NANO, 4, tuple(run.data.classes_told_apart))
        jax.tree.map(
            np.testing.assert_array_equal, random_params(NANO, 4, seed), teacher_parameters(config)
        )
    hashes = {Teacher(from_=each).provenance()["sha256"] for each in (own, early)}
    assert len(hashes) == 2
    trainer = Trainer(small(objective=Distill(teacher={"from": early}), seed=1))
    jax.tree.map(
        np.testing.assert_array_equal, random_params(NANO, 4, 7), trainer.start().state.frozen
    )


def test_where_a_path_is_not_one_network_those_that_could_be_meant_are_named(done):
    folder, other = done(), done(seed=1)
    run, unlike = finish(folder), finish(other)
    assert run.trunk != unlike.trunk
    trunk = folder.parent / "trunks" / run.trunk
    trunk.mkdir(parents=True)

    def said(path):
        with pytest.raises(ValueError, match="; ") as told:
            Teacher(from_=path).known()
        return str(told.value)

    assert said(trunk).endswith(f"name a run that left it and is done: {folder}.")
    for step in (8, 16):
        save_params(trunk / str(step), run, step, random_params(NANO, 4))
    assert said(trunk) == (
        f"{trunk} is a trunk, which has a network for every checkpoint; name a run that left it "
        f"and is done: {folder}; or, before the cooldown of the learning rate: {trunk / '8'}, "
        f"{trunk / '16'}."
    )
    beside = f"beside it: {trunk / '8'}, {trunk / '16'}."
    assert said(trunk / "12") == f"there is no {trunk / '12'}; name one of the checkpoints {beside}"
    (trunk / "12").mkdir()
    assert said(trunk / "12").endswith(f"it is no whole checkpoint; name one of those {beside}")
    end = folder / "checkpoints" / str(run.steps)
    assert Teacher(from_=end).provenance() == {
        **Teacher(from_=folder).provenance(),
        "from": str(end),
    }
    end.rename(end.with_name("20"))
    assert said(folder) == (
        f"{folder} is not finished: it has no checkpoint of its end, step {run.steps}; train it "
        f"first, or name one of the checkpoints that it has: {end.with_name('20')}, {trunk / '8'}, "
        f"{trunk / '16'}."
    )
    lonely = folder.parent / "trunks" / "0123" / "8"
    save_params(lonely, run, 8, random_params(NANO, 4))
    assert f"{lonely} is a checkpoint, and no run.json says of which network; " in said(lonely)


def test_a_finished_run_s_flops_are_known_without_its_teacher(tmp_path):
    """Of the runs that are not done, too, where one that is has learned from the same."""
    made, runs = teacher(tmp_path), tmp_path / "runs"
    first, second = (small(objective=Distill(teacher=made), seed=seed) for seed in (0, 1))
    flops = first.flops
    folders = [runs / run.id for run in (first, second)]
    for folder, run in zip(folders, (first, second), strict=True):
        write_run_file(folder, run, (), print)
    finish(folders[0], objective=first.objective.provenance(first.data))
    made["from"].unlink()
    study = Study(name="s", question="?", runs=(first, second), evaluate=())
    for run in as_begun(study, runs).runs:
        assert run.model_copy().flops == flops
    assert [run.id for run in as_begun(study, runs).runs] == [first.id, second.id]
    for changes in ({"objective": {"teacher": {"network": {"shape": 1, "classes": 4}}}}, {}):
        finish(folders[0], **changes)
        with pytest.raises(UserError, match="put it back, or look where a run of it is done"):
            _ = as_begun(study, runs).runs[0].model_copy().flops


def test_manifests_tell_two_files_of_one_name_apart(tmp_path):
    hashes = []
    for seed in (0, 1):
        write(tmp_path / "a.npz", random_params(NANO, 4, seed), NANO)
        hashes.append(Teacher(from_=tmp_path / "a.npz").provenance()["sha256"])
    assert hashes[0] != hashes[1]


def test_an_id_names_the_teacher_s_path_and_survives_the_way_through_a_file():
    one, other = (small(objective={"kind": "distill", "teacher": {"from": name}}) for name in "ab")
    assert one.id != other.id
    written = one.model_dump_json()
    assert json.loads(written)["objective"]["teacher"] == {"from": "a", "resolution": None}
    assert type(one).model_validate_json(written) == one


STUDIES = Path(__file__).resolve().parents[1] / "scaling" / "studies"


def test_the_bundled_studies_name_the_run_of_their_teacher_s_study():
    for name in ("objectives", "objectives-cifar10"):
        named = set(re.findall(r'"runs/(\w+)"', (STUDIES / f"{name}.toml").read_text()))
        assert named == {run.id for run in read_study(f"{name}-teacher", data_needed=False).runs}


class Named(Procedural):
    """Classes of other names."""

    _names: list[str] = PrivateAttr()
    classes_told_apart = property(lambda self: self._names)


@pytest.mark.slow
def test_what_is_no_teacher_is_named(done, tmp_path):
    def said(path):
        run = small(objective=Distill(teacher={"from": path}))
        (problem,) = run.objective.missing(run.setting)
        return problem

    assert said(tmp_path / "a") == f"teacher: there is no {tmp_path / 'a'}."
    assert "is no run's folder; name one, a checkpoint's, or a file of weights." in said(tmp_path)
    trunk = tmp_path / "trunks" / "0123"
    trunk.mkdir(parents=True)
    assert "is a trunk, which has a network for every checkpoint." in said(trunk)
    unfinished = done(finished=False, seed=2)
    assert "is not finished: it has no checkpoint of its end, step 24" in said(unfinished)
    assert "was trained by simclr and has no classifier" in said(done(SimCLR()))
    bare = tmp_path / "bare.npz"
    write(bare, random_params(NANO, None), NANO)
    assert "has no classifier; a teacher needs one" in said(bare)
    many = teacher(tmp_path, classes=7)["from"]
    assert "tells 7 classes apart, and [data] has 4" in said(many)
    bare.write_bytes(b"nothing")
    assert "bare.npz" in said(bare)
    glyphs = done(seed=4)
    names = list(Procedural(classes=4).classes_told_apart)
    for last, wrong in ((names[3], 0), ("cat", 1)):
        source = Named(classes=4)
        source._names = [*names[:3], last]
        found = list(
            Distill(teacher={"from": glyphs}).missing(small().setting._replace(source=source))
        )
        assert len(found) == wrong
        assert all(f"class 3 is {names[3]!r} there and 'cat' here" in each for each in found)
    damaged = done(seed=3)
    (damaged / "run.json").write_text("{}")
    assert "is no run's folder" in said(damaged)


def test_a_study_file_says_it_with_its_line_before_the_first_step(tmp_path):
    study = tmp_path / "my.toml"
    teacher(tmp_path, classes=7)
    objective = '[objective]\nkind = "distill"\nteacher = {{ {} = "{}" }}\n'
    path = tmp_path / "tutor.npz"
    for key, name, words in (
        ("from", tmp_path / "gone.npz", "there is no"),
        ("from", path, "tells 7 classes apart"),
        ("form", path, "did you mean"),
    ):
        study.write_text(GOOD.replace("[recipe]", objective.format(key, name) + "[recipe]", 1))
        with pytest.raises(UserError) as told:
            read_study(study)
        assert words in str(told.value)
        assert f"my.toml, line {17 if key == 'form' else 15}: objective" in str(told.value)
    study.write_text(
        GOOD.replace("[recipe]", objective.format("from", tmp_path / "gone.npz") + "[recipe]", 1)
    )
    assert len(read_study(study, data_needed=False).runs) == 4  # who only looks at results


def test_what_mixup_blends_is_no_fixed_view(tmp_path):
    with pytest.raises(ValueError, match="leave mixup out of augment, or say teacher_view"):
        small(
            objective=Distill(teacher=teacher(tmp_path), teacher_view="fixed"), augment=(MixUp(),)
        )
