"""The seam between training and objectives: an objective written here trains unchanged code.

A teacher that is never trained, a moving average that the loss updates, and two views.
"""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.build import build
from models.precision import precision_for
from models.shapes import ViTShape
from scaling.base.config import Config
from scaling.data import Procedural
from scaling.data.augment import Flip
from scaling.data.pixels import to_floats
from scaling.objectives.classify import Classify
from scaling.objectives.protocol import Learned, groups_of
from scaling.training import checkpoints as checkpoint
from scaling.training.loop import Trainer
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import program, step_key

NANO = ViTShape(name="nano", patch=8, resolution=16, width=8, depth=1, mlp=16, heads=2)
DECAY = 0.9


class Distil(Config):
    """The first view's features are drawn to a frozen teacher's and to the average network's of
    the second view."""

    kind: Literal["distil"] = "distil"
    views: ClassVar[int] = 2
    couples_examples: ClassVar[bool] = False

    def build(self, model, classes, precision):
        return Distilled(model, precision)

    def flops(self, model, images_seen, classes):
        return 42 * images_seen


class Distilled:
    def __init__(self, model, precision):
        self.new = lambda key: build(model, precision, rngs=nnx.Rngs(key))
        self.graph, self.shapes = nnx.split(nnx.eval_shape(self.new, jax.random.key(0)))

    def init(self, key, backbone=None):
        student, teacher = (
            nnx.to_pure_dict(nnx.split(self.new(each))[1]) for each in jax.random.split(key)
        )
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
        raise NotImplementedError

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
def trained(run):
    """The beginning and the end as host arrays, the losses, the trainer and the last moment."""
    trainer = Trainer(run)
    moment, losses = trainer.start(), []
    first = jax.tree.map(np.asarray, moment.state)
    for until in (1, 40):
        moment = trainer.advance(
            moment,
            until,
            total_steps=None,
            keep=lambda moment: None,
            every_seconds=1e9,
            tell=lambda progress: losses.append(progress.loss),
        )
    return first, jax.tree.map(np.asarray, moment.state), losses, trainer, moment


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def moved(one, other):
    return max(
        np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True)
    )


def test_the_student_learns_and_the_teacher_stays_bit_for_bit(trained):
    first, last, losses, *_ = trained
    assert losses[-1] < losses[0]
    assert moved(first.params, last.params) > 1e-3
    assert_equal(first.frozen, last.frozen)


def test_the_moving_average_follows_and_the_optimizer_holds_nothing_for_what_is_not_trained(
    trained,
):
    first, last, *_ = trained
    assert moved(first.state, last.state) > 1e-3
    assert moved(last.state, last.params["backbone"]) > 1e-5
    size = sum(x.size for x in jax.tree.leaves(last.params))
    assert sum(x.size for x in jax.tree.leaves(last.optimizer) if x.ndim) == 2 * size


def test_its_checkpoint_is_read_back(trained, tmp_path):
    *_, trainer, moment = trained
    checkpoint.save(tmp_path / "40", moment)
    assert_equal(checkpoint.restore(tmp_path / "40", trainer.like()).state, moment.state)


def test_a_runs_flops_are_those_that_its_objective_counts(run):
    assert run.flops == 42 * run.images_seen


def test_a_step_is_built_from_a_run_without_data_or_arrays(run, monkeypatch):
    """It lowers for abstract values, so it could be compiled for devices that are not there."""
    monkeypatch.setattr(Procedural, "train", None)
    for each in (run, run.model_copy(update={"objective": Classify()})):
        views = (2,) if each.objective.views == 2 else ()
        start, step = program(each, each.objective.build(NANO, 4, precision_for("tpu")))
        state = jax.eval_shape(start)
        batch = {
            "image": jax.ShapeDtypeStruct((*views, 16, 16, 16, 3), np.uint8),
            "label": jax.ShapeDtypeStruct((16,), np.int32),
            "index": jax.ShapeDtypeStruct((16,), np.uint32),
        }
        rate = jax.ShapeDtypeStruct((), np.float32)
        key = jax.eval_shape(lambda each=each: step_key(each.seed, 0))
        after, metrics = jax.eval_shape(step, state, batch, rate, key)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert metrics["loss"].shape == ()
        assert "stablehlo" in jax.jit(step).lower(state, batch, rate, key).as_text()
