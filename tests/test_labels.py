"""Several labels an image: targets, mixing, evaluation, ancestors, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data.arrays import Arrays, InMemory
from scaling.data.augment import MixUp
from scaling.data.contact_sheet import contact_sheet
from scaling.data.labels import ancestor_table, check_labels, with_ancestors
from scaling.data.loader import batches
from scaling.evaluate.frozen import forward
from scaling.objectives.classify import Classify

examples = settings(max_examples=50, deadline=None, derandomize=True)
CLASSES = 5
LOGITS = np.random.default_rng(0).normal(size=(4, CLASSES)).astype(np.float32)
LABELS = np.array([[0, 3, -1], [2, -1, -1], [4, 1, 0], [1, 1, -1]], np.int32)  # one of them twice
HOT = np.array([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [1, 1, 0, 0, 1], [0, 1, 0, 0, 0]], float)


def sigmoid_loss(logits, targets):
    chance = 1 / (1 + np.exp(-logits.astype(float)))
    return -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance)).sum(1)


def softmax_loss(logits, targets):
    share = np.exp(logits.astype(float))
    return -(targets * np.log(share / share.sum(1, keepdims=True))).sum(1)


def test_sigmoid_takes_every_label_of_an_image_as_present_and_all_others_as_absent():
    loss, _ = Classify(loss="sigmoid").of_logits(LOGITS, LABELS)
    np.testing.assert_allclose(loss, sigmoid_loss(LOGITS, HOT), rtol=1e-5)


def test_softmax_shares_its_target_equally_among_the_labels_of_an_image():
    loss, _ = Classify(loss="softmax").of_logits(LOGITS, LABELS)
    shared = HOT / np.array([[2], [1], [3], [1]])
    np.testing.assert_allclose(loss, softmax_loss(LOGITS, shared), rtol=1e-5)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_one_label_in_several_columns_is_one_label(loss):
    """The path of single labels, and that of several, agree where they mean the same."""
    objective, single = Classify(loss=loss), np.array([3, 0, 2, 2], np.int32)
    several = np.stack([single, np.full(4, -1), np.full(4, -1)], 1).astype(np.int32)
    one, other = (objective.of_logits(LOGITS, labels) for labels in (single, several))
    np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    np.testing.assert_array_equal(one[1], other[1])


def test_any_label_of_an_image_is_a_right_answer():
    logits = np.eye(CLASSES, dtype=np.float32)[[3, 3, 0, 2]]
    _, wrong = Classify().of_logits(logits, LABELS)
    assert np.asarray(wrong).tolist() == [0, 1, 0, 1]


def test_no_logit_is_right_for_an_image_without_labels():
    _, wrong = Classify().of_logits(LOGITS, np.full((4, 2), -1, np.int32))
    assert np.asarray(wrong).tolist() == [1, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("coefficients", ["batch", "image"])
def test_mixup_mixes_the_targets_of_images_with_several_labels(coefficients):
    batch = {"image": np.zeros((4, 2, 2, 3), np.uint8), "label": LABELS}
    mixed = MixUp(coefficients=coefficients).mix(batch, jax.random.key(0))
    share = np.asarray(mixed["share"])[:, None]
    expected = share * HOT + (1 - share) * HOT[[3, 0, 1, 2]]
    np.testing.assert_allclose(Classify().targets(mixed, CLASSES), expected, rtol=1e-6)
    smooth = Classify(label_smoothing=0.2).targets(mixed, CLASSES)
    np.testing.assert_allclose(smooth, 0.8 * expected + 0.04, rtol=1e-6)
    assert mixed["partner"].shape == (4, 3)
    shares = Classify(loss="softmax").targets(mixed, CLASSES).sum(1)
    np.testing.assert_allclose(shares, 1, rtol=1e-6)


class Brightest(nnx.Module):
    """Logits: the mean of each channel."""

    def backbone(self, images):
        return images.mean((1, 2))

    def __call__(self, images, noise=None):
        return self.backbone(images)


def colours(labels, classes=3):
    """Image i is bright in channel i % 3."""
    pixels = np.zeros((len(labels), 4, 4, 3), np.uint8)
    pixels[np.arange(len(labels)), :, :, np.arange(len(labels)) % 3] = 255
    return InMemory(pixels, np.asarray(labels, np.int32), classes)


def test_evaluation_leaves_out_images_without_labels():
    images = colours([[0, 2], [0, -1], [-1, -1], [1, 0], [-1, -1]])  # guesses: 0 1 2 0 1
    loss, wrong = forward.losses(Brightest(), Classify(), images, np.arange(5))
    assert wrong.tolist() == [0, 1, 0]
    assert loss.shape == (3,)


def test_evaluation_where_no_image_has_a_label_is_refused():
    images = colours([[-1, -1], [-1, -1]])
    with pytest.raises(ValueError, match="none of 2 images to measure on has a label"):
        forward.losses(Brightest(), Classify(), images, np.arange(2))


def stream(labels, **changes):
    images = colours(labels)
    wanted = {"seed": 0, "batch": len(labels), "data_size": None, "first_step": 0, "last_step": 1}
    return list(batches(images, **(wanted | changes)))


def test_a_batch_carries_the_labels_of_its_images_as_they_are():
    (batch,) = stream([[0, 2], [1, -1], [-1, -1]])
    assert batch["label"].dtype == np.int32
    assert sorted(batch["label"].tolist()) == [[-1, -1], [0, 2], [1, -1]]


@pytest.mark.parametrize("labels", [[0, 3, 1], [[0, 1], [1, 3], [2, -1]]])
def test_a_label_beyond_the_classes_is_named_with_its_image(labels):
    with pytest.raises(ValueError, match=r"image 1 has the label 3; labels are 0 .. 2"):
        stream(labels)
    with pytest.raises(ValueError, match=r"image 1 has the label 3"):
        forward.losses(Brightest(), Classify(), colours(labels), np.arange(3))


def test_a_label_below_minus_one_is_refused():
    with pytest.raises(ValueError, match="image 7 has the label -2"):
        check_labels(np.array([[0, -2]], np.int32), 3, np.array([7]))


def test_an_image_without_a_label_is_a_mistake_for_softmax_and_none_for_sigmoid():
    labels = [[0, 2], [1, -1], [-1, -1]]
    stream(labels, needs_labels=Classify(loss="sigmoid").needs_labels)
    with pytest.raises(ValueError, match="image 2 has no label, and this loss needs one"):
        stream(labels, needs_labels=Classify(loss="softmax").needs_labels)


def test_an_archive_may_hold_several_labels_an_image(tmp_path):
    path, pixels = tmp_path / "images.npz", np.zeros((3, 4, 4, 3), np.uint8)
    train = np.array([[0, 4, -1], [2, -1, -1], [1, 2, 3]])
    np.savez(path, train_images=pixels, train_labels=train, heldout_images=pixels,
             heldout_labels=np.array([1, 0, 2]))  # fmt: skip
    source = Arrays(path=path, resolution=4)
    assert (source.problem(), source.classes, source.labels_each) == (None, 5, 3)
    np.testing.assert_array_equal(source.train().batch(np.arange(3))[1], train)
    expected = [[1, -1, -1], [0, -1, -1], [2, -1, -1]]
    assert source.heldout().batch(np.arange(3))[1].tolist() == expected
    assert source.labels().tolist() == train.tolist()
    assert source.labels(heldout=True).tolist() == expected


def test_an_archive_with_a_label_below_minus_one_says_which(tmp_path):
    path, pixels = tmp_path / "images.npz", np.zeros((2, 4, 4), np.uint8)
    np.savez(path, train_images=pixels, train_labels=[[0, 1], [1, -3]], heldout_images=pixels,
             heldout_labels=[0, 1])  # fmt: skip
    said = Arrays(path=path, resolution=4).problem()
    assert "train_labels[1, 1] is -3; labels start at 0, and -1 is for none." in said


def test_a_contact_sheet_shows_an_image_in_the_row_of_each_of_its_labels_or_of_none():
    images = colours([[0, 2], [0, -1], [-1, -1]])
    assert contact_sheet(images, columns=2, scale=4).shape[0] == 2 + 3 * (16 + 2)


# Hierarchies

ABOVE = [[3], [3], [4], [5], [5], []]
"""0 and 1 are below 3, 2 below 4, and both of these below 5."""


def test_missing_ancestors_are_filled_in_each_once():
    table = ancestor_table(ABOVE)
    found = with_ancestors(np.array([[0, 2], [1, 3], [5, -1], [-1, -1]], np.int32), table)
    sets = [{x for x in row if x >= 0} for row in found.tolist()]
    assert sets == [{0, 2, 3, 4, 5}, {1, 3, 5}, {5}, set()]
    assert all(
        sum(x >= 0 for x in row) == len(s) for row, s in zip(found.tolist(), sets, strict=True)
    )
    assert found.shape == (4, 2 * 3)


def test_a_class_may_have_several_parents():
    table = ancestor_table([[1, 2], [3], [3], []])
    assert table[0].tolist() == [0, 1, 2, 3]


@examples
@given(st.integers(1, 30), st.data())
def test_filling_in_twice_adds_nothing_and_every_parent_is_there(classes, data):
    above = [
        data.draw(st.lists(st.integers(i + 1, classes - 1), max_size=2)) if i + 1 < classes else []
        for i in range(classes)
    ]
    row = st.lists(st.integers(-1, classes - 1), min_size=2, max_size=2)
    labels = np.array(data.draw(st.lists(row, min_size=1)), np.int32)
    table = ancestor_table(above)
    once = with_ancestors(labels, table)
    for row, given_row in zip(once.tolist(), labels.tolist(), strict=True):
        held = {x for x in row if x >= 0}
        assert {x for x in given_row if x >= 0} <= held
        assert all(parent in held for x in held for parent in above[x])
    twice = with_ancestors(once, table)
    assert [set(row) - {-1} for row in twice.tolist()] == [set(r) - {-1} for r in once.tolist()]


def test_a_hierarchy_that_goes_round_in_a_circle_names_the_circle():
    with pytest.raises(ValueError, match="circle: class 1 below 2 below 3 below 1"):
        ancestor_table([[1], [2], [3], [1]])
    with pytest.raises(ValueError, match="circle: class 0 below 0"):
        ancestor_table([[0]])


def test_a_parent_that_is_no_class_is_named():
    with pytest.raises(ValueError, match=r"class 1 is below 9, and classes are 0 .. 2"):
        ancestor_table([[1], [9], []])


def test_a_line_of_two_thousand_classes_is_climbed_without_recursion():
    assert ancestor_table([[i + 1] for i in range(2000)] + [[]]).shape == (2001, 2001)


def test_targets_on_the_device_never_take_an_array_of_labels_times_classes():
    """The largest array is [batch, classes], not [batch, most, classes]."""
    of = Classify()._targets_of
    jaxpr = jax.make_jaxpr(lambda labels: of(labels, 1000))(jnp.zeros((8, 6), jnp.int32))
    sizes = [v.aval.size for eqn in jaxpr.jaxpr.eqns for v in eqn.outvars]
    assert max(sizes) == 8 * 1000
