"""S4L: few labels, losses by hand, and the labelled images of every batch."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import BATCH, NANO, small

from fits.base.errors import UserError
from models.noise import Noise
from models.precision import Precision
from scaling.data.loader import batches
from scaling.data.order import Labelled, labelled_rows
from scaling.data.procedural.source import Procedural
from scaling.data_seen import Seen
from scaling.objectives.built.s4l import (
    divergences,
    entropies,
    of_labelled,
    of_length,
    of_unlabelled,
    perturbation,
    pseudo_losses,
    virtual_adversarial,
)
from scaling.objectives.s4l import S4L
from scaling.study.parse import read_study
from scaling.training.gradients import accumulated
from scaling.training.placement_spec import PlacementSpec
from scaling.training.step import abstract_batch, program

LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
LABELS = np.array([2, -1, 0, -1], np.int32)
SHARE = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def shown(labelled, data_size=320, source=None, steps=3, rows=None, resample=None):
    images = (source or Procedural(classes=4)).train()
    return list(
        batches(
            images, seed=1, batch=BATCH, data_size=data_size, first_step=0, last_step=steps,
            labelled=labelled, rows=rows, resample=resample,
        )
    )  # fmt: skip


def test_losses_are_means_over_the_images_that_they_are_of():
    expected = -np.log([SHARE[0, 2], SHARE[2, 0]]).mean()
    assert float(of_labelled(LOGITS, LABELS, 0.5)) == pytest.approx(expected, rel=1e-5)
    assert float(of_labelled(LOGITS, np.full(4, -1), 0.5)) == 0
    entropy = -(SHARE * np.log(SHARE)).sum(1)
    np.testing.assert_allclose(entropies(LOGITS), entropy, rtol=1e-5)
    mean = float(of_unlabelled(entropies(LOGITS), LABELS, 0.5))
    assert mean == pytest.approx(entropy[[1, 3]].mean(), rel=1e-5)


# Of NANO, by hand: 4 patches of 8 px, width 8, MLP 16, 2 blocks, a MAP head. Multiply-adds of an
# image: embedding 4 * 3 * 8**2 * 8; in a block 4 * 4 * 8**2 (projections), 2 * 4**2 * 8 (attention)
# and 2 * 4 * 8 * 16 (MLP); pool 2 * 4 * 8**2 + 2 * 8**2 + 2 * 4 * 8 + 2 * 8 * 16.
ATTENTION = 2 * 256
BACKBONE = 6144 + 2 * (1024 + 1024) + ATTENTION + 960
CLASSIFIER = TURNS_HEAD = 8 * 4
TRAINED = 3 * (BACKBONE + CLASSIFIER)
VAT = (BACKBONE + CLASSIFIER) * (1 + 2 + 3) + ATTENTION  # clean, to the image, trained


@pytest.mark.parametrize(
    ("options", "macs"),
    [
        ({"task": "none"}, TRAINED),
        ({"task": "none", "entropy": 1.0, "pseudo_labels": 1.0}, TRAINED),  # the same logits
        ({"task": "rotation"}, 4 * (TRAINED + 3 * TURNS_HEAD)),
        ({"task": "exemplar"}, 2 * TRAINED),
        ({"task": "none", "vat": 1.0}, TRAINED + VAT),
        ({"task": "rotation", "vat": 1.0}, 4 * (TRAINED + 3 * TURNS_HEAD) + VAT),
        ({"task": "exemplar", "vat": 1.0}, 2 * TRAINED + VAT),
    ],
)
def test_flops_are_those_of_all_turns_and_views_and_of_the_passes_of_vat(options, macs):
    assert S4L(**options).flops(NANO, 10, classes=4) == 2 * macs * 10


@pytest.mark.slow
def test_vat_takes_the_flops_that_its_compiled_gradient_takes():
    """By the compiler's count, within 2 %; as seven forward passes it would be 17 % too much."""
    wide = replace(NANO, width=192, mlp=768)

    def compiled(config):
        run = small(model=wide, objective=config)
        built = config.build(wide, 4, Precision(unroll_up_to=2))  # a loop's body counts once
        learned = jax.eval_shape(built.init, jax.random.key(0))

        def loss(params, batch, key):
            return built.loss(params, learned.frozen, learned.state, batch, Noise(key))[0]

        step = jax.jit(jax.grad(loss)).lower(learned.params, abstract_batch(run), jax.random.key(0))
        return step.compile().cost_analysis()["flops"] / BATCH

    plain, vat = S4L(task="none"), S4L(task="none", vat=1.0)
    ours = vat.flops(wide, 1, 4) - plain.flops(wide, 1, 4)
    assert compiled(vat) - compiled(plain) == pytest.approx(ours, rel=0.02)


@pytest.mark.slow
def test_parts_of_a_batch_have_the_gradient_of_the_whole_however_labels_are_spread():
    """Four parts with 3, 1, 0 and 0 of the labels: rows are taken in turn."""
    config = S4L(labelled_share=0.25, entropy=0.3, pseudo_labels=0.2, confidence=0.3)
    objective = config.build(NANO, 4, Precision())
    params = objective.init(jax.random.key(0)).params
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(x.dtype), params)
    label = np.full(BATCH, -1, np.int32)
    label[[0, 4, 8, 5]] = [2, 0, 3, 1]
    batch = {
        "image": rng.integers(0, 256, (BATCH, 16, 16, 3), np.uint8),
        "label": label,
        "index": np.arange(BATCH),
    }
    noise = Noise(jax.random.key(1))

    def taken(parts):
        of = accumulated(parts)(objective.loss)
        return jax.jit(lambda params: of(params, {}, {}, batch, noise))(params)

    found = [taken(parts) for parts in (1, 4)]
    ((one, (_, metrics)), whole), ((other, (_, of_parts)), split) = found
    assert float(one) == pytest.approx(float(other), rel=1e-6)
    for name, value in metrics.items():
        assert float(of_parts[name]) == pytest.approx(float(value), rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, split)
    assert max(float(np.abs(x).max()) for x in jax.tree.leaves(whole)) > 1e-2
    plan = small(objective=config)
    program(plan, objective, PlacementSpec(microbatches=4))  # which is no longer refused


def test_an_image_has_a_pseudo_label_where_one_class_is_likely_enough():
    likely = SHARE.max(1)
    limit = float(np.sort(likely)[1:3].mean())
    expected = np.where(likely >= limit, -np.log(likely), 0)
    np.testing.assert_allclose(pseudo_losses(LOGITS, limit), expected, rtol=1e-5)


def test_the_perturbation_has_its_length_and_changes_more_than_a_random_one():
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(48, 3)))
    images = jnp.asarray(rng.normal(size=(5, 4, 4, 3)))
    says = lambda x: jnp.tanh(x.reshape(len(x), -1) @ weights)  # noqa: E731
    found = perturbation(says, images, says(images), 0.3, jax.random.key(0))
    np.testing.assert_allclose(np.sqrt(np.square(found).sum((1, 2, 3))), 0.3, rtol=1e-5)
    others = [
        of_length(jax.random.normal(jax.random.key(k), images.shape), 0.3) for k in range(1, 9)
    ]
    by = [np.asarray(divergences(says(images), says(images + each))) for each in (found, *others)]
    assert (by[0] > np.max(by[1:], 0)).mean() >= 0.8
    mean = virtual_adversarial(says, images, 0.3, jax.random.key(0))
    assert float(mean) == pytest.approx(by[0].mean(), rel=1e-5)
    assert np.isfinite(np.asarray(of_length(jnp.zeros((1, 2, 2, 3)), 1.0))).all()


def test_labelled_rows_are_spread_evenly_and_each_epoch_shows_every_labelled_image_once():
    labelled = Labelled(size=20, share=0.25)
    seen = []
    for step in range(10):  # 4 of 16 rows a step: two epochs of 20
        shows, members = labelled_rows(3, step, 16, labelled)
        np.testing.assert_array_equal(np.flatnonzero(shows), [3, 7, 11, 15])
        seen.extend(members)
    for epoch in np.reshape(seen, (2, 20)):
        assert sorted(epoch) == list(range(20))
    assert seen[:20] != seen[20:]


def test_two_hosts_together_see_the_batch_of_one():
    labelled = Labelled(size=30, share=0.5)
    whole = shown(labelled)
    parts = [shown(labelled, rows=np.arange(first, first + 8)) for first in (0, 8)]
    for one, *halves in zip(whole, *parts, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], np.concatenate([x[name] for x in halves]))


def test_labels_are_shown_of_the_first_images_alone_and_the_smaller_sets_lie_inside():
    few, many = (shown(Labelled(size=size, share=0.5), steps=40) for size in (32, 64))
    of = lambda found: {int(i) for b in found for i in b["index"][b["label"] >= 0]}  # noqa: E731
    assert of(few) == set(range(32))
    assert of(many) == set(range(64))
    for batch in few:
        assert (batch["label"] >= 0).sum() == BATCH // 2


def test_labels_of_images_without_change_nothing():
    """A source whose other labels are all wrong gives the same batches, bit for bit."""

    class Lying:
        def __init__(self, images):
            self.images = images
            self.size, self.classes = images.size, images.classes
            self.resolution, self.shuffled = images.resolution, images.shuffled

        def batch(self, numbers, crop=None):
            pixels, labels = self.images.batch(numbers, crop)
            return pixels, np.where(numbers < 32, labels, (labels + 1) % 4).astype(np.int32)

    class Source:
        def train(self):
            return Lying(Procedural(classes=4).train())

    labelled = Labelled(size=32, share=0.5)
    for one, other in zip(shown(labelled), shown(labelled, source=Source()), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_batches_are_not_chosen_by_labels_that_are_hidden():
    with pytest.raises(UserError, match="resample counts labels of images whose labels are hidden"):
        shown(Labelled(size=32, share=0.5), resample="square-root")


def test_a_contact_sheet_shows_the_images_that_are_trained_on_and_hides_their_labels():
    run = small(objective=S4L(labelled_images=32))
    pixels, labels = Seen(run, 2 * BATCH).batch(np.arange(2 * BATCH))
    made = list(
        batches(
            run.data.train(), seed=run.seed, batch=BATCH, data_size=run.data_size, first_step=0,
            last_step=2, augment=run.augment, labelled=run.objective.labelled(run.data_size),
        )
    )  # fmt: skip
    np.testing.assert_array_equal(pixels, np.concatenate([each["image"] for each in made]))
    np.testing.assert_array_equal(labels, np.concatenate([each["label"] for each in made]))
    assert (labels < 0).sum() == BATCH


@pytest.mark.slow
@pytest.mark.parametrize("task", ["rotation", "exemplar", "none"])
def test_the_loss_is_the_sum_of_its_parts_and_a_classifier_can_be_measured(task):
    config = S4L(task=task, weight=2.0, entropy=0.5)
    objective = config.build(NANO, 4, Precision())
    learned = objective.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    views = () if config.views == 1 else (2,)
    batch = {
        "image": rng.integers(0, 256, (*views, 4, 16, 16, 3), np.uint8),
        "label": LABELS,
        "index": np.arange(4),
    }
    loss, (_, metrics) = objective.loss(*learned, batch, Noise(jax.random.key(1)))
    parts = [value for name, value in metrics.items() if name.startswith("loss_")]
    assert float(loss) == pytest.approx(float(sum(parts)), rel=1e-6)
    assert float(metrics["loss_supervised"]) == pytest.approx(np.log(4), rel=1e-5)
    if task == "rotation":
        assert float(metrics["loss_task"]) == pytest.approx(2 * np.log(4), rel=1e-5)
    module = objective.module(learned)
    losses, wrong = config.losses(module, np.zeros((2, 16, 16, 3), np.float32), np.array([0, 1]))
    assert losses.shape == wrong.shape == (2,)


@pytest.mark.parametrize(
    ("task", "rows"), [("rotation", [range(4), range(8, 12)]), ("exemplar", [(0, 4), (2, 6)])]
)
def test_the_classifier_may_see_every_turn_and_view_of_a_labelled_image(task, rows):
    config = S4L(task=task, classified="all")
    objective = config.build(NANO, 4, Precision())
    rng = np.random.default_rng(0)
    learned = objective.init(jax.random.key(0))
    params = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape), learned.params)
    views = () if config.views == 1 else (2,)
    batch = {
        "image": rng.integers(0, 256, (*views, 4, 16, 16, 3), np.uint8),
        "label": LABELS,  # of the first and the third
        "index": np.arange(4),
    }
    noise = Noise(jax.random.key(1))
    _, (_, metrics) = objective.loss(params, learned.frozen, learned.state, batch, noise)
    logits = objective.around(params)(objective.images(batch, noise))
    said = np.asarray(jax.nn.log_softmax(logits))
    expected = -np.mean([said[list(rows[0]), 2], said[list(rows[1]), 0]])
    assert float(metrics["loss_supervised"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "objective", "said"),
    [
        (
            {"data_size": None},
            {},
            "0.1 is a share of data_size, which is left out; give a data_size",
        ),
        ({}, {"labelled_images": 1000}, "labelled_images = 1_000 is more than the 320 images"),
        ({}, {"labelled_images": 0.001}, "0.001 of 320 images is less than one"),
        ({}, {"labelled_images": 2.5}, "below 1 it is a share, else a whole number"),
        ({}, {"labelled_share": 0.01}, "leaves no image with a label"),
        ({"augment": ({"kind": "mixup"},)}, {}, "leave mixup out"),
        ({"resample": "square-root"}, {}, "resample counts the labels of all to choose"),
        ({"data": Procedural(classes=4, unlabelled=True)}, {}, "the training images have none"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(changes, objective, said):
    with pytest.raises(ValueError, match=said):
        small(objective=S4L(**objective), **changes)


STUDY = """
name = "few"
question = "Do few labels do?"
data = { kind = "procedural", train_size = 500 }
[[evaluate]]
kind = "upstream"
images = 64
[[grid]]
model = "mu/4"
images_seen = 2_560
batch = 128
objective = { kind = "s4l", labelled_images = LABELLED }
recipe = { warmup_steps = 10, cooldown_steps = 5 }
"""


@pytest.mark.parametrize(
    ("labelled", "said"),
    [("0.1", "is a share of data_size, which is left out"), ("600", "is more than the 500 images")],
)
def test_a_study_of_a_source_that_ends_is_told_too(tmp_path, labelled, said):
    study = tmp_path / "study.toml"
    study.write_text(STUDY.replace("LABELLED", labelled))
    with pytest.raises(UserError, match=said):
        read_study(study)


@pytest.mark.parametrize(
    ("rules", "refused"),
    [('"square-root"', True), ('["none", "class-balanced"]', True), ('"none"', False)],
)
def test_a_study_whose_hidden_labels_would_choose_images_is_told_with_its_line(
    tmp_path, rules, refused
):
    study = tmp_path / "study.toml"
    study.write_text(STUDY.replace("LABELLED", "100") + f"resample = {rules}\n")
    said = r"line 12: grid\[0\]\.objective: s4l hides the labels .*; leave resample out, or give"
    if not refused:
        assert len(read_study(study).runs) == 1
        return
    with pytest.raises(UserError, match=said):
        read_study(study)
