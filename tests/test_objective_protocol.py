"""The seam between training and objectives: an objective written here trains unchanged code.

A teacher that is never trained, a moving average that the loss updates, and two views.
"""

import ast
from pathlib import Path
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.build import build
from models.precision import precision_for
from models.shapes import ViTShape
from scaling.data.augment import Flip
from scaling.data.pixels.floats import to_floats
from scaling.data.procedural.source import Procedural
from scaling.objectives.classify import Classify
from scaling.objectives.config import ObjectiveConfig
from scaling.objectives.protocol import Learned, groups_of
from scaling.training import checkpoints
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.loop import PASSING, CheckpointPaths, train
from scaling.training.placement import data_parallel, jitted
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import SEED, abstract_batch, program, step_key
from scaling.training.trainer import Trainer

NANO = ViTShape(name="nano", patch=8, resolution=16, width=8, depth=1, mlp=16, heads=2)
DECAY = 0.9


class Distil(ObjectiveConfig):
    """The first view's features are drawn to a frozen teacher's and to the average network's of
    the second view."""

    kind: Literal["distil"] = "distil"
    views: ClassVar[int] = 2

    def build(self, model, classes, precision):
        return Distilled(model, precision)

    def passes(self, model, classes):
        return ()

    def flops(self, model, images_seen, classes):
        return 42 * images_seen


class Distilled:
    def __init__(self, model, precision):
        self.new = lambda key: build(model, precision, rngs=nnx.Rngs(key))
        self.graph, self.shapes = nnx.split(nnx.eval_shape(self.new, jax.random.key(0)))

    def init(self, key, backbone=None, frozen=None):
        student, teacher = (
            nnx.to_pure_dict(nnx.split(self.new(each))[1]) for each in jax.random.split(key)
        )
        student = student if backbone is None else backbone
        return Learned({"backbone": student}, teacher, jax.tree.map(jnp.copy, student))

    def features(self, params, images):
        shapes = jax.tree.map(lambda x: x, self.shapes)
        nnx.replace_by_pure_dict(shapes, params)
        return nnx.merge(self.graph, shapes)(to_floats(images))

    def loss(self, params, frozen, state, batch, noise):
        one, two = batch["image"]
        student = self.features(params["backbone"], one)
        targets = self.features(frozen, one), self.features(state, two)
        loss = sum(jnp.square(student - each).mean() for each in targets)
        state = jax.tree.map(lambda a, p: DECAY * a + (1 - DECAY) * p, state, params["backbone"])
        return loss, (state, {"loss": loss})

    def module(self, learned):
        raise AssertionError("only evaluations ask for the network")

    def parameter_groups(self, params):
        return {"backbone": groups_of(self.shapes, "body")}


@pytest.fixture(scope="module")
def run():
    run = Run(
        model=NANO,
        data=Procedural(classes=4),
        augment=(Flip(),),
        recipe=Recipe(optimizer="adam", learning_rate=1e-2, warmup_steps=2, weight_decay_body=0.0),
        images_seen=16 * 40,
        batch=16,
    )
    return run.model_copy(update={"objective": Distil()})


@pytest.fixture(scope="module")
def trainer(run):
    return Trainer(run)


@pytest.fixture(scope="module")
def trained(run, trainer, tmp_path_factory):
    """The beginning and the end as host arrays, the losses, and where the checkpoints are."""
    paths, losses = paths_in(tmp_path_factory.mktemp("runs"), run), []
    first = jax.tree.map(np.asarray, trainer.start().state)
    end = train(trainer, run, paths, lambda progress: losses.append(progress.loss))
    return first, jax.tree.map(np.asarray, end.state), losses, paths


def paths_in(root, run):
    return CheckpointPaths(
        trunk=root / "trunk", own=root / run.id, spec=CheckpointSpec(every_seconds=1e9)
    )


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def moved(one, other):
    return max(
        np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True)
    )


@pytest.mark.slow
def test_the_student_learns_and_the_teacher_stays_bit_for_bit(trained):
    first, last, losses, *_ = trained
    assert losses[-1] < losses[0]
    assert moved(first.params, last.params) > 1e-3
    assert_equal(first.frozen, last.frozen)


@pytest.mark.slow
def test_the_moving_average_follows_and_the_optimizer_holds_nothing_for_what_is_not_trained(
    trained,
):
    first, last, *_ = trained
    assert moved(first.state, last.state) > 1e-3
    assert moved(last.state, last.params["backbone"]) > 1e-5
    size = sum(x.size for x in jax.tree.leaves(last.params))
    moments = [x for x in jax.tree.leaves(last.optimizer.moments) if x.dtype == np.float32]
    assert sum(x.size for x in moments) == 2 * size


@pytest.mark.slow
def test_teacher_and_average_pass_through_checkpoints(run, trainer, trained):
    _, last, _, paths = trained
    again = train(trainer, run, paths, lambda progress: None)
    assert_equal(again.state, last)
    longer = run.model_copy(update={"images_seen": 2 * run.images_seen})
    branched = train(trainer, longer, paths_in(paths.trunk.parent, longer), lambda progress: None)
    alone = train(trainer, longer, paths_in(paths.own / "alone", longer), lambda progress: None)
    assert_equal(branched.state, alone.state)
    assert not (paths.own / PASSING).exists()


def test_what_weight_decay_acts_on_is_a_type_of_parameter_and_not_the_spelling_of_its_path(run):
    """Every matrix and no bias, norm, position table or probe, by what the network is made of."""
    built = Classify().build(NANO, 4, precision_for("cpu"))
    params = jax.eval_shape(built.init, jax.random.key(0)).params
    groups = built.parameter_groups(params)
    assert jax.tree.structure(groups) == jax.tree.structure(params)
    assert groups["head"] == {"kernel": "head", "bias": "undecayed"}
    body = groups["backbone"]
    assert body["embedding"] == {"kernel": "body", "bias": "undecayed"}
    assert body["position"] == body["pool"]["probe"] == "undecayed"
    assert body["blocks"]["norm1"] == {"scale": "undecayed", "bias": "undecayed"}
    assert body["blocks"]["attention"]["query"] == {"kernel": "body", "bias": "undecayed"}


def test_training_imports_no_objective_by_name():
    folder = Path(checkpoints.__file__).parent
    allowed = {f"scaling.objectives{name}" for name in ("", ".config", ".protocol")}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            from_objectives = {name for name in names if name.startswith("scaling.objectives")}
            assert from_objectives <= allowed, path


def test_a_runs_flops_are_those_that_its_objective_counts(run):
    assert run.flops == 42 * run.images_seen


@pytest.mark.slow
@pytest.mark.parametrize("objective", [Distil(), Classify()], ids=["distil", "classify"])
def test_a_step_is_built_from_a_run_without_data_or_arrays(run, objective, monkeypatch):
    """And lowered for a TPU that is not there."""
    monkeypatch.setattr(Procedural, "train", None)
    run = run.model_copy(update={"objective": objective})
    before = {id(array) for array in jax.live_arrays()}
    built = program(run, objective.build(NANO, 4, precision_for("tpu")))
    state, batch = jax.eval_shape(built.start, SEED), abstract_batch(run)
    rate = jax.ShapeDtypeStruct((), np.float32)
    key = jax.eval_shape(lambda: step_key(run.seed, 0))
    after, metrics = jax.eval_shape(built.step, state, batch, rate, key)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == (
        jax.tree.map(lambda x: (x.shape, x.dtype), state)
    )
    assert metrics["loss"].shape == ()
    for_tpu = jax.jit(built.step).trace(state, batch, rate, key).lower(lowering_platforms=("tpu",))
    assert "stablehlo" in for_tpu.as_text()
    pinned = jitted(built, data_parallel(objective.views), batch)
    assert "mhlo.sharding" in pinned.step.lower(
        pinned.state, batch, rate, SEED, SEED
    ).as_text() or (
        "sdy.sharding" in pinned.step.lower(pinned.state, batch, rate, SEED, SEED).as_text()
    )
    assert {id(array) for array in jax.live_arrays()} <= before


def first_moments(state):
    """Adam's, of every parameter."""
    is_adam = lambda node: hasattr(node, "mu")  # noqa: E731
    found = jax.tree.map(lambda node: node.mu, state.moments, is_leaf=is_adam)
    return jax.tree.map(np.asarray, found)


@pytest.mark.slow
def test_gradients_of_two_halves_add_up_to_those_of_the_batch(run):
    """A step with either starts from one state; Adam's first moments show the gradients."""
    run = run.model_copy(update={"objective": Classify()})
    trainer = Trainer(run)
    built = run.objective.build(NANO, 4, trainer.precision)
    steps = [
        jax.jit(program(run, built, PlacementSpec(microbatches=parts)).step) for parts in (1, 2)
    ]
    *before, last = enumerate(trainer._batches(0, 5))
    state = trainer.start().state
    for step, batch in before:
        state, _ = steps[0](state, batch, np.float32(1), step_key(run.seed, step))
    moments = []
    for each in steps:
        after, _ = each(state, last[1], np.float32(1), step_key(run.seed, last[0]))
        moments.append(first_moments(after.optimizer))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *moments)
    assert moved(first_moments(state.optimizer), moments[0]) > 1e-3


def test_a_batch_is_what_the_run_says_it_is(run, trainer):
    (batch,) = trainer._batches(3, 4)
    said = jax.tree.map(lambda x: (x.shape, x.dtype), abstract_batch(run))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), batch) == said


PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


def shown(opening):
    """The code of the page that has a line."""
    (found,) = [each for each in PAGE.split("```") if f"\n{opening}" in each]
    return found.partition("\n")[2]


def test_the_config_that_the_page_on_extending_shows_is_one():
    config, _, _ = shown("class SimCLR(ObjectiveConfig)").partition("\nclass SimCLRObjective")
    names = {"ObjectiveConfig": ObjectiveConfig, "Literal": Literal}
    exec(config, names)
    found = names["SimCLR"](temperature=0.2)
    assert (found.views, found.couples_examples, found.one_pass) == (2, True, True)


def test_the_evaluation_that_the_page_on_extending_shows_measures():
    names = {}
    exec(shown("class Spread(Config)"), names)
    built = Classify().build(NANO, 10, precision_for("cpu"))
    module = built.module(built.init(jax.random.key(0)))
    evaluation, data = names["Spread"](), Procedural()
    assert evaluation.source(data) == data
    assert evaluation.errors == ()
    (found,) = evaluation.measure(module, objective=Classify(), source=data)
    assert (found.metric, found.n) == ("spread", 64)
    assert found.value > 0
