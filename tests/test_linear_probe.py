"""Logistic regression against scikit-learn's, and the protocol around it."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from sklearn.linear_model import LogisticRegression

from fits.base.errors import UserError
from models.shapes import ViTShape
from scaling.data.around.subset import Selection, Subset
from scaling.data.arrays import Arrays, Digits, InMemory
from scaling.data.folder import Folder
from scaling.evaluate.frozen.logistic import Regression
from scaling.evaluate.frozen.tasks import checked_labels
from scaling.evaluate.knn import NearestNeighbours
from scaling.evaluate.linear_probe import PATHS, LinearProbe, held_out
from scaling.image_check import check_images
from scaling.training.recipe import Recipe
from scaling.training.run import Run

CLASSES = 4


@pytest.fixture(scope="module")
def task():
    """Features of very different scales, far from zero, that tell the classes apart in part."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 300).astype(np.int32)
    scales = np.logspace(0, -1.5, 12)
    features = (rng.normal(size=(300, 12)) + rng.normal(size=(CLASSES, 12))[labels]) * scales + 1
    return features.astype(np.float32), labels


def value(features, labels, weights, bias, l2):
    """What is minimised, in float64."""
    scores = features.astype(np.float64) @ weights + bias
    largest = scores.max(1, keepdims=True)
    losses = (
        np.log(np.exp(scores - largest).sum(1))
        + largest[:, 0]
        - scores[np.arange(len(labels)), labels]
    )
    return losses.sum() + l2 / 2 * np.square(weights).sum()


@pytest.mark.parametrize("l2", [100.0, 1.0, 0.1])
def test_the_optimum_is_that_of_scikit_learn(task, l2):
    features, labels = task
    (found,) = Regression(features, labels, CLASSES, "float64").path([l2])
    other = LogisticRegression(C=1 / l2, tol=1e-10, solver="newton-cg", max_iter=1000)
    other.fit(features.astype(np.float64), labels)
    mine = value(features, labels, found.weights, found.bias, l2)
    its = value(features, labels, other.coef_.T, other.intercept_, l2)
    assert found.converged
    assert found.value == pytest.approx(mine, rel=1e-9)
    assert mine == pytest.approx(its, rel=1e-6)
    scale = np.abs(other.coef_).max()
    np.testing.assert_allclose(found.weights / scale, other.coef_.T / scale, atol=1e-6)


def test_a_path_has_the_solutions_that_each_penalty_has_alone(task):
    features, labels = task
    penalties = np.geomspace(1e3, 1e-2, 6).tolist()
    regression = Regression(features, labels, CLASSES, "float64")
    for found in regression.path(penalties):
        (alone,) = regression.path([found.l2])
        assert found.converged
        assert found.value == pytest.approx(alone.value, rel=1e-9)


def test_scores_in_blocks_give_the_same_optimum(task, monkeypatch):
    """300 images in blocks of 64, the last one filled up."""
    features, labels = task
    (whole,) = Regression(features, labels, CLASSES, "float64").path([0.1])
    monkeypatch.setattr("scaling.evaluate.frozen.logistic.BLOCK", 64 * features.shape[1])
    regression = Regression(features, labels, CLASSES, "float64")
    (found,) = regression.path([0.1])
    assert regression._labels.shape == (5, 64)
    assert found.value == pytest.approx(whole.value, rel=1e-9)
    np.testing.assert_allclose(found.weights, whole.weights, atol=1e-5)
    np.testing.assert_allclose(found.bias, whole.bias, atol=1e-5)


def test_in_float32_the_optimum_is_missed_by_less_than_a_part_in_a_thousand(task):
    """Where penalties are chosen; the last fit on a CPU is in float64."""
    features, labels = task
    penalties = np.geomspace(1e5, 1e-6, 12).tolist()
    rough = Regression(features, labels, CLASSES, "float32").path(penalties)
    exact = Regression(features, labels, CLASSES, "float64").path(penalties)
    for mine, its in zip(rough, exact, strict=True):
        reached = value(features, labels, mine.weights, mine.bias, mine.l2)
        assert reached == pytest.approx(its.value, rel=1e-6 if mine.l2 > 1e-3 else 1e-3)


def test_what_has_not_converged_says_so(task, monkeypatch):
    features, labels = task
    monkeypatch.setattr("scaling.evaluate.frozen.logistic.TOLERANCE", {"float64": 0.0})
    (found,) = Regression(features, labels, CLASSES, "float64").path([1.0])
    assert not found.converged


def test_the_paths_are_those_of_the_papers():
    assert PATHS == {"kornblith": (1e-6, 1e5, 45), "clip": (1e-6, 1e6, 96)}


def test_each_class_gives_its_share_to_choose_by_and_keeps_an_image():
    labels = np.repeat(np.arange(4), [1, 2, 10, 100]).astype(np.int32)
    chosen = held_out(labels, 0.1)
    np.testing.assert_array_equal(np.bincount(labels[chosen], minlength=4), [0, 1, 1, 10])
    np.testing.assert_array_equal(chosen, held_out(labels, 0.1))
    with pytest.raises(ValueError, match="no class has two training images"):
        held_out(np.arange(3, dtype=np.int32), 0.1)


class Pixels(nnx.Module):
    """Features: the grey levels themselves."""

    def backbone(self, images):
        return jnp.reshape(images[..., 0], (len(images), -1))


@pytest.mark.slow
def test_the_probe_chooses_without_the_test_images(monkeypatch):
    low, high, count = 1e-2, 1e3, 6
    monkeypatch.setitem(PATHS, "kornblith", (low, high, count))
    task = LinearProbe(name="digits", data=Digits(resolution=8))
    error, l2 = task.measure(Pixels(), objective=None, source=None)
    assert (error.metric, error.n) == ("digits_probe_error", 797)
    assert error.value < 0.08
    assert task.metrics == (error.metric, l2.metric)
    assert np.isclose(l2.value, np.geomspace(high, low, count)).any()
    honest = Digits.heldout

    def shuffled(self):
        images = honest(self)
        return InMemory(images.images, np.roll(images.labels, 1), images.classes)

    monkeypatch.setattr(Digits, "heldout", shuffled)
    worse, same = task.measure(Pixels(), objective=None, source=None)
    assert same.value == l2.value
    assert worse.value > 0.7


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "digits: there are no images."),
        ([0, 1, 2], "image 2 has the label 2, and there are 2 classes, 0 to 1"),
        ([0, -1], "image 1 has the label -1"),
        ([1, 1], "1 of 2 classes has no training image [(]0[)]"),
    ],
)
def test_labels_that_cannot_be_are_named(labels, said):
    with pytest.raises(ValueError, match=said):
        checked_labels("digits", np.array(labels, np.int32), 2, all_of_them=True)


def labelled_arrays(folder, labels):
    """An archive with so many training images of each class, and one held out of each."""
    train, heldout = np.array(labels), np.arange(3)
    sets = {
        f"{name}_{part}": array
        for name, each in (("train", train), ("heldout", heldout))
        for part, array in (("images", np.zeros((len(each), 16, 16), np.uint8)), ("labels", each))
    }
    np.savez(folder / "gap.npz", **sets)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            [0, 0, 2],
            "26: evaluate[1].data: 1 of 3 classes has no training image (1), and every class needs "
            "one here; take a set that has some of each, or measure by fewshot or knn, which do "
            "without.",
        ),
        (
            [0, 1, 2],
            "26: evaluate[1].data: no class has two training images: none is left to choose a "
            "penalty by; take more images.",
        ),
    ],
)
def test_labels_that_do_not_suit_the_probe_are_mistakes_of_the_study(
    mistakes, tmp_path, labels, said
):
    labelled_arrays(tmp_path, labels)
    kind = 'kind = "fewshot"\nname', 'kind = "linear_probe"\nname'
    data = '{ kind = "digits", resolution = 16 }', '{ kind = "arrays", path = "gap.npz"RES }'
    changes = kind, (data[0], data[1].replace("RES", ", resolution = 16"))
    assert mistakes(*changes) == [said]
    (resized,) = mistakes(kind, (data[0], data[1].replace("RES", ", resolution = 8")))
    assert "evaluate[1].data.resolution: is 8 px where [data] has 16 px" in resized


@pytest.mark.parametrize("kind", ["fewshot", "knn", "linear_probe"])
def test_a_task_without_labels_is_a_mistake_of_the_study(mistakes, kind):
    data = '{ kind = "procedural", resolution = 16, train_size = 1000, unlabelled = true }'
    changes = (
        ('kind = "fewshot"', f'kind = "{kind}"'),
        ('{ kind = "digits", resolution = 16 }', data),
    )
    assert mistakes(*changes) == [
        "26: evaluate[1].data: its training images have no labels, which a transfer task learns "
        "from; take images that have."
    ]


def test_the_rarest_classes_of_few_procedural_images_are_missed_before_the_training(mistakes):
    data = '{ kind = "procedural", resolution = 16, classes = 64, train_size = 100 }'
    (said,) = mistakes(
        ('kind = "fewshot"', 'kind = "linear_probe"'),
        ('{ kind = "digits", resolution = 16 }', data),
    )
    assert "of 64 classes have no training image ('glyph " in said
    assert ", ..)" in said


def test_a_class_whose_only_image_is_skipped_is_missed_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    for split in ("train", "test"):
        for i, name in enumerate(("ant/0", "bee/1", "bee/2", "bee/3")):
            file = tmp_path / "insects" / split / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i]).save(file)
    (tmp_path / "insects" / "train" / "ant" / "0.png").write_bytes(b"")
    data = Folder(path=tmp_path / "insects", resolution=16, skip_unreadable=1)
    run = Run(
        model=ViTShape(name="a", patch=4, resolution=16, width=8, depth=1, mlp=16, heads=1),
        data=Digits(),
        recipe=Recipe(warmup_steps=1),
        images_seen=64,
        batch=16,
    )
    with pytest.raises(UserError, match=r"gap: 1 of 2 classes has no training image \('ant'\)"):
        check_images(run, (LinearProbe(name="gap", data=data),))


def test_labels_that_a_study_leaves_unread_are_looked_at_before_the_first_step(tmp_path):
    labelled_arrays(tmp_path, [0, 0, 2])
    arrays = Arrays(path=tmp_path / "gap.npz", resolution=16)
    data = Subset(of=arrays, select=Selection(label_noise=0.001))
    assert not data.labels_at_hand
    shape = ViTShape(name="a", patch=4, resolution=16, width=8, depth=1, mlp=16, heads=1)
    recipe = Recipe(warmup_steps=1)
    run = Run(model=shape, data=Digits(), recipe=recipe, images_seen=64, batch=16)
    check_images(run, (NearestNeighbours(name="near", data=data, k=(1,)),))
    with pytest.raises(UserError, match=r"gap: 1 of 3 classes has no training image \(1\)"):
        check_images(run, (LinearProbe(name="gap", data=data),))
