"""Each image passes once through a network that several evaluations measure."""

from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling.data.arrays import Digits, InMemory
from scaling.data.source import Images
from scaling.evaluate.classification import Classification
from scaling.evaluate.fewshot import FewShot
from scaling.evaluate.frozen import forward
from scaling.evaluate.frozen.passes import Passes
from scaling.evaluate.frozen.tasks import train_labels
from scaling.evaluate.knn import NearestNeighbours
from scaling.evaluate.measuring import measured
from scaling.objectives.classify import Classify

DIGITS = Digits(resolution=8)
SMALL = 10_000  # bytes


class Grey(nnx.Module):
    """Features: the mean brightness of each row and column; the head says the first ten of them."""

    def backbone(self, images):
        grey = images[..., 0]
        return jnp.concatenate([grey.mean(1), grey.mean(2)], axis=1)

    def __call__(self, images, noise=None):
        return self.backbone(images)[:, :10]


@pytest.fixture
def passed(monkeypatch):
    """How often the image of each number passed, by the size of its set."""
    found = Counter()
    honest = forward._over_all

    def counted(function, module, images: Images, numbers, where):
        found.update((images.size, int(each)) for each in numbers)
        return honest(function, module, images, numbers, where)

    monkeypatch.setattr(forward, "_over_all", counted)
    return found


def all_of(passes):
    tasks = (
        FewShot(name="a", data=DIGITS, shots=(5,), subsets=2),
        NearestNeighbours(name="b", data=DIGITS, k=(1, 5)),
        FewShot(name="c", data=DIGITS, shots=(10,), subsets=1),
    )
    return [one for each in tasks for one in measured(each, passes, DIGITS)]


def test_few_shots_and_neighbours_on_one_task_pass_its_images_once(passed):
    found = all_of(Passes(Grey()))
    assert passed == Counter((size, i) for size in (1000, 797) for i in range(size))
    alone = [
        one
        for each in (
            FewShot(name="a", data=DIGITS, shots=(5,), subsets=2),
            NearestNeighbours(name="b", data=DIGITS, k=(1, 5)),
            FewShot(name="c", data=DIGITS, shots=(10,), subsets=1),
        )
        for one in each.measure(Grey(), objective=None, source=None)
    ]
    assert found == alone


def test_two_lists_of_metrics_of_one_head_pass_its_images_once(passed):
    passes = Passes(Grey(), None, Classify(loss="softmax"))
    first, second = (
        measured(Classification(name=name, measures=(each,), images=images), passes, DIGITS)
        for name, each, images in (("a", "top1_error", 100), ("b", "top5_error", None))
    )
    assert (first[0].n, second[0].n) == (100, 797)
    assert passed == Counter((797, i) for i in range(797))


def test_what_does_not_fit_into_the_memory_kept_passes_again_and_is_said(passed, capsys):
    once, again = Passes(Grey()), Passes(Grey(), kept=SMALL)
    assert all_of(once) == all_of(again)
    assert max(passed.values()) > 2
    assert "features of 797 images take" in capsys.readouterr().err


def test_of_two_sets_that_do_not_fit_together_the_one_used_last_is_kept(passed):
    one, other = Digits(resolution=8), Digits(resolution=16)
    passes = Passes(Grey(), kept=150_000)  # each takes 1000 x (8 + 64 + 4) bytes, or twice 64
    numbers = np.arange(1000)
    for source in (one, one, other, other, one):
        passes.features(source, "train", numbers)
    assert set(passed.values()) == {3}


def test_rows_come_in_the_order_in_which_they_are_asked():
    passes = Passes(Grey())
    every = passes.features(DIGITS, "heldout")
    for numbers in (np.array([5, 3, 700]), np.array([796, 0, 0, 4])):
        rows, labels = Passes(Grey()).features(DIGITS, "heldout", numbers)
        np.testing.assert_array_equal(rows, every.rows[numbers])
        np.testing.assert_array_equal(labels, every.labels[numbers])
        np.testing.assert_array_equal(passes.features(DIGITS, "heldout", numbers).rows, rows)


def test_labels_to_draw_shots_from_are_read_once_for_all_networks(monkeypatch):
    read = []
    honest = InMemory.labels_of

    def labels_of(self, numbers):
        read.append(len(numbers))
        return honest(self, numbers)

    monkeypatch.setattr(InMemory, "labels_of", labels_of)
    train_labels.cache_clear()
    for _ in range(3):
        FewShot(name="a", data=DIGITS, shots=(1,), subsets=1).of_features(Passes(Grey()))
    assert read.count(1000) == 1


def test_features_that_are_no_numbers_are_no_features():
    class Damaged(nnx.Module):
        def backbone(self, images):
            return jnp.full((len(images), 4), jnp.nan)

        def of_features(self, features):
            return features

        def of_texts(self, tokens):
            return jnp.full((len(tokens), 4), jnp.nan)

    images, few = DIGITS.heldout(), np.arange(4)
    for made in (forward.features, forward.image_vectors):
        with pytest.raises(ValueError, match=r"features of images are no finite numbers"):
            made(Damaged(), images, few)
    with pytest.raises(ValueError, match=r"features of texts are no finite numbers"):
        forward.text_vectors(Damaged(), np.zeros((4, 3), np.int32))
    with pytest.raises(ValueError, match=r"are no finite numbers"):
        NearestNeighbours(name="b", data=DIGITS).of_features(Passes(Damaged()))
