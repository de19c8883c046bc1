"""Batches made ahead: the same ones, whoever makes them and wherever they begin."""

import gc
import sys
import threading
from itertools import islice
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field, TypeAdapter

from scaling.base.config import Config
from scaling.data.arrays import Digits
from scaling.data.augment import AugReg, Flip, MixUp, RandAugment, check_augment
from scaling.data.hashing import hash64, key
from scaling.data.loader import AHEAD, ahead, batches, one_thread_ahead
from scaling.data.order import places, resampled, step_indices, subset
from scaling.data.procedural.source import Procedural


@pytest.fixture(params=["grain", "no grain"], autouse=True)
def whoever(request, monkeypatch):
    """Every test here holds with grain and without."""
    if request.param == "no grain":
        monkeypatch.setitem(sys.modules, "grain", None)
    else:
        pytest.importorskip("grain")


def collect(images, **changes):
    wanted = {"seed": 1, "batch": 12, "data_size": 31, "first_step": 0, "last_step": 9}
    stream = list(batches(images, **(wanted | {"augment": (Flip(),)} | changes)))
    return [np.concatenate([batch[part] for batch in stream]) for part in ("image", "label")]


def assert_same(some, others):
    for a, b in zip(some, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_are_the_images_that_the_order_names():
    images = Digits().train()
    stream = batches(images, seed=4, batch=8, data_size=50, first_step=0, last_step=20)
    for step, batch in enumerate(stream):
        numbers = subset(step_indices(4, step, 8, 50), 1000)
        assert_same((batch["image"], batch["label"]), images.batch(numbers))
        assert batch["index"].tolist() == step_indices(4, step, 8, 50).tolist()
    assert step == 19


def test_an_endless_source_of_limited_size_repeats_its_first_images():
    images = Procedural().train()
    pixels, labels = collect(images, data_size=6, batch=6, last_step=3, augment=())
    first, first_labels = images.batch(np.arange(6))
    for epoch in range(3):
        shown = {x.tobytes() for x in pixels[6 * epoch : 6 * epoch + 6]}
        assert shown == {x.tobytes() for x in first}
    assert sorted(labels) == sorted(np.tile(first_labels, 3))


def test_without_a_data_size_a_finite_source_is_shown_whole():
    pixels, _ = collect(Digits().train(), data_size=None, batch=100, last_step=10, augment=())
    assert len({x.tobytes() for x in pixels}) == 1000


@pytest.mark.parametrize("images", [Procedural().train(), Digits().train()])
def test_a_resumed_run_sees_what_it_would_have_seen(images):
    halves = [collect(images, last_step=4), collect(images, first_step=4)]
    assert_same([np.concatenate(parts) for parts in zip(*halves, strict=True)], collect(images))


def test_two_hosts_together_see_what_one_sees():
    images = Digits().train()
    hosts = [collect(images, rows=rows) for rows in np.arange(12).reshape(2, 6)]
    for one, *two in zip(collect(images), *hosts, strict=True):
        rows = [half.reshape(9, 6, *half.shape[1:]) for half in two]
        np.testing.assert_array_equal(np.concatenate(rows, 1).reshape(one.shape), one)


def test_a_mirrored_image_is_mirrored_left_to_right_and_keeps_its_label():
    images = Procedural().train()
    plain, labels = collect(images, augment=())
    shown, same_labels = collect(images)
    flips = np.concatenate([Flip().flips(1, places(step, 12)) for step in range(9)])
    assert 0 < flips.sum() < len(flips)
    np.testing.assert_array_equal(shown[flips], plain[flips][:, :, ::-1])
    np.testing.assert_array_equal(shown[~flips], plain[~flips])
    np.testing.assert_array_equal(labels, same_labels)


def test_two_views_of_an_image_are_augmented_apart_and_the_first_is_that_of_a_lone_view():
    images = Procedural().train()
    (alone,) = batches(
        images, seed=1, batch=64, data_size=None, first_step=5, last_step=6, augment=(Flip(),)
    )
    (both,) = batches(
        images,
        seed=1,
        batch=64,
        data_size=None,
        first_step=5,
        last_step=6,
        augment=(Flip(),),
        views=2,
    )
    first, second = both["image"]
    np.testing.assert_array_equal(first, alone["image"])
    same = (first == second).all((1, 2, 3))
    mirrored = (first == second[:, :, ::-1]).all((1, 2, 3))
    assert 16 < same.sum() < 48
    assert (same | mirrored).all()


DARKEN = 7


class Darken(Config):
    """The example of docs/extending.md: every image loses up to `most` of its brightness."""

    kind: Literal["darken"] = "darken"
    most: float = Field(0.5, gt=0, lt=1)

    def apply(self, images, *, seed, places, view=0):
        uniform = hash64(key(seed, DARKEN, view), places) / 2.0**64
        factor = 1 - self.most * uniform[:, None, None, None]
        return (images * factor).astype(np.uint8)


def test_an_augmentation_written_elsewhere_joins_the_union_and_is_the_same_on_any_hosts():
    union = Annotated[Flip | Darken, Field(discriminator="kind")]
    given = [{"kind": "flip"}, {"kind": "darken", "most": 0.3}]
    augment = TypeAdapter(tuple[union, ...]).validate_python(given)
    assert augment == (Flip(), Darken(most=0.3))
    images = Digits().train()
    whole, _ = collect(images, augment=augment)
    shares = np.arange(12).reshape(2, 6)
    hosts = [collect(images, augment=augment, rows=rows)[0] for rows in shares]
    rows = [half.reshape(9, 6, *half.shape[1:]) for half in hosts]
    np.testing.assert_array_equal(np.concatenate(rows, 1).reshape(whole.shape), whole)
    bright, _ = collect(images)
    assert (whole <= bright).all()
    assert whole.mean() == pytest.approx(0.85 * bright.mean(), rel=0.03)
    assert not np.array_equal(collect(images, augment=augment, seed=2)[0], whole)


def test_an_augmentation_listed_twice_is_refused_because_both_would_draw_the_same():
    with pytest.raises(ValueError, match='augment has "flip" 2 times; list it once'):
        check_augment((Flip(), Flip()))
    with pytest.raises(ValueError, match='augment has "randaugment" 2 times; list it once'):
        check_augment((RandAugment(), AugReg(setting="light1")))


def test_what_mixes_batches_comes_last_because_it_is_done_last():
    check_augment((Flip(), AugReg(setting="medium1")))
    with pytest.raises(ValueError, match='augment has "mixup", which mixes whole batches, not at'):
        check_augment((MixUp(), Flip()))
    with pytest.raises(ValueError, match='augment has "mixup", which mixes whole batches, not at'):
        check_augment((AugReg(setting="medium1"), Flip()))


def test_the_loader_leaves_what_mixes_batches_to_the_step():
    images = Digits().train()
    assert_same(collect(images, augment=(Flip(), MixUp())), collect(images))


@pytest.mark.parametrize("last_step", [3, 2])
def test_a_run_that_is_done_has_no_batches(last_step):
    stream = batches(
        Digits().train(), seed=0, batch=4, data_size=9, first_step=3, last_step=last_step
    )
    assert list(stream) == []


def test_more_images_than_there_are_is_refused():
    with pytest.raises(ValueError, match="data_size=1_001, and the source has 1_000 images"):
        collect(Digits().train(), data_size=1001)


def test_what_goes_wrong_in_the_background_is_raised_where_batches_are_asked_for():
    class Broken:
        resolution, classes, size = 8, 2, None

        def batch(self, indices):
            if indices[0] >= 20:
                raise OSError("image 20 cannot be decoded")
            return np.zeros((len(indices), 8, 8, 3), np.uint8), np.zeros(len(indices), np.int32)

    stream = batches(Broken(), seed=0, batch=4, data_size=None, first_step=0, last_step=99)
    assert len(list(islice(stream, 5))) == 5
    with pytest.raises(OSError, match="image 20 cannot be decoded"):
        next(stream)


def test_a_mistake_ends_our_own_thread_whether_or_not_garbage_is_collected(monkeypatch):
    """An exception and the frame that raised it hold each other, and all that the frame holds."""
    monkeypatch.setitem(sys.modules, "grain", None)
    before = set(threading.enumerate())
    gc.disable()
    try:
        stream = ahead(lambda step: {"step": 1 // (3 - step)}, 0, 100)
        with pytest.raises(ZeroDivisionError):
            list(stream)
        assert set(threading.enumerate()) <= before
    finally:
        gc.enable()


def test_our_own_thread_works_a_few_batches_ahead_and_ends_with_its_reader():
    made = []
    stream = one_thread_ahead(lambda step: made.append(step) or step, range(1000))
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    stream.close()
    assert made == list(range(len(made)))
    assert len(made) <= 3 + AHEAD


def test_resampled_batches_are_those_of_the_labels_of_the_data_set_wherever_they_begin():
    """Weights come from the members of the data set, not from all of the source."""
    images = Procedural(classes=8, tail=2.0).train()
    whole = collect(images, data_size=90, resample="class-balanced", augment=())
    later = collect(images, data_size=90, resample="class-balanced", augment=(), first_step=5)
    assert_same([each[5 * 12 :] for each in whole], later)
    labels = images.labels_of(np.arange(90))
    shares = resampled(labels, "class-balanced")
    expected = [step_indices(1, step, 12, 90, shares=shares) for step in range(9)]
    np.testing.assert_array_equal(whole[1], labels[np.concatenate(expected)])
    counts = np.bincount(whole[1], minlength=8)[np.bincount(labels, minlength=8) > 0]
    assert counts.max() <= 2 * counts.min() + 4


def test_resampling_without_an_end_to_the_images_is_refused():
    with pytest.raises(ValueError, match="needs an end to the images; give data_size"):
        collect(Procedural().train(), data_size=None, resample="square-root")
