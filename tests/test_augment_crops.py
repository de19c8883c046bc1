"""The crops of `augment`: what they draw, and that nothing but seed, place and view decides it."""

import numpy as np
import pytest
from PIL import Image

from scaling.data import Digits, Folder, Procedural
from scaling.data.augment import Flip, InceptionCrop, MixUp, RandomCrop, ResizedCrop, check_augment
from scaling.data.loader import batches
from scaling.data.order import places, step_indices, subset
from scaling.study.parse import read_study

PLACES = np.arange(20_000, dtype=np.int64)


def drawn(crop, height=375, width=500, side=224, seed=3, view=0, rows=PLACES):
    sizes = np.tile(np.array([height, width]), (len(rows), 1))
    return crop.crops(sizes, side=side, seed=seed, places=rows, view=view)


def test_the_box_of_an_inception_crop_has_an_allowed_area_and_lies_within_the_image():
    crops = drawn(InceptionCrop())
    top, left, height, width = crops.box.T
    assert (crops.box >= 0).all()
    assert (top + height <= 375).all()
    assert (left + width <= 500).all()
    share = height * width / (375 * 500)
    assert 0.05 <= share.min() < 0.051
    assert 0.95 < share.max() <= 1
    aspect = width / height
    assert np.all(np.abs(width - np.clip(aspect, 0.75, 1.33) * height) <= 0.5 + 1e-9)
    assert (crops.resized == 224).all()
    assert not crops.corner.any()


def by_tensorflow(rng, rows, columns):
    """One box as `GenerateRandomCrop` draws it, a line a line of what is told of it in
    `inception_crop.py`: height and width."""
    while True:
        aspect = rng.uniform(0.75, 1.33)
        low = round(np.sqrt(0.05 * rows * columns / aspect))
        fits = [h for h in range(1, rows + 1) if round(h * aspect) <= columns]
        high = min(round(np.sqrt(rows * columns / aspect)), max(fits))
        height = rng.integers(min(low, high), high + 1)
        width = round(height * aspect)
        if 0.05 * rows * columns <= height * width <= rows * columns:
            return height, width


def test_heights_and_widths_are_distributed_as_tensorflow_draws_them():
    rng = np.random.default_rng(0)
    expected = np.array([by_tensorflow(rng, 60, 80) for _ in range(6000)])
    found = drawn(InceptionCrop(), 60, 80).box[:, 2:]
    for of_expected, of_found in zip(expected.T, found.T, strict=True):
        levels = np.arange(1, 81)
        below = [np.mean(values[:, None] <= levels, 0) for values in (of_expected, of_found)]
        assert np.abs(below[0] - below[1]).max() < 0.025  # Kolmogorov-Smirnov, 0.1 %: 0.029
    areas = [np.prod(each, 1).mean() / 4800 for each in (expected, found)]
    assert areas[0] == pytest.approx(areas[1], abs=0.01)


def test_the_mean_area_is_that_of_uniform_heights_as_the_docstring_says():
    """With a uniform area it would be about a half."""
    height, width = drawn(InceptionCrop()).box[:, 2:].T
    mean = np.mean(height * width) / (375 * 500)
    assert mean == pytest.approx(0.34, abs=0.005)
    aspect = np.random.default_rng(0).uniform(0.75, 1.33, 20_000)
    low = np.sqrt(0.05 * 375 * 500 / aspect)
    high = np.minimum(375, 500 / aspect)
    third = (high**3 - low**3) / (3 * (high - low))  # of height squared, uniform between
    assert mean == pytest.approx(np.mean(aspect * third) / (375 * 500), abs=0.005)


def test_places_of_boxes_are_uniform_and_leave_out_the_last():
    crops = drawn(InceptionCrop(area_min=0.25, area_max=0.25, aspect_min=1, aspect_max=1), 64, 64)
    assert (crops.box[:, 2:] == 32).all()
    for first in crops.box[:, :2].T:
        counts = np.bincount(first, minlength=33)
        assert counts[32] == 0  # as in TensorFlow
        assert 520 < counts[:32].min() <= counts[:32].max() < 730  # 625 expected, 25 its deviation
    assert abs(np.corrcoef(crops.box[:, 0], crops.box[:, 1])[0, 1]) < 0.03


def test_boxes_of_a_resized_crop_have_uniform_areas_and_log_uniform_aspect_ratios():
    crops = drawn(ResizedCrop(area_max=0.5), 1000, 1000)  # so small that none is cut to the image
    top, left, height, width = crops.box.T
    share = (height * width / 1e6 - 0.08) / 0.42
    aspect = np.log(width / height) / np.log(4 / 3) / 2 + 0.5
    for unit in (share, aspect, top / (1000 - height), left / (1000 - width)):
        levels = np.linspace(0, 1, 101)
        below = (unit[:, None] <= levels).mean(0)
        assert np.abs(below - levels).max() < 0.016  # Kolmogorov-Smirnov, 0.01 %
    assert abs(np.corrcoef(share, aspect)[0, 1]) < 0.03
    assert (crops.resized == 224).all()


def test_a_resized_crop_is_cut_to_its_image_and_its_last_places_are_drawn():
    crops = drawn(ResizedCrop(), 200, 100)
    top, left, height, width = crops.box.T
    assert (crops.box >= 0).all()
    assert ((top + height).max(), (left + width).max()) == (200, 100)
    assert (width == 100).mean() > 0.3  # of a share of 3/8 on, a square is too wide
    with pytest.raises(ValueError, match=r"area_min=0.5 is more than area_max=0.2"):
        ResizedCrop(area_min=0.5, area_max=0.2)


@pytest.mark.parametrize("crop", [InceptionCrop(), ResizedCrop()])
@pytest.mark.parametrize("size", [(1, 1), (1, 1000), (1000, 1), (2, 3), (1, 2)])
def test_an_image_with_no_allowed_box_is_seen_whole_or_cut_to_one(size, crop):
    crops = drawn(crop, *size, rows=PLACES[:50])
    top, left, height, width = crops.box.T
    assert (top + height <= size[0]).all()
    assert (left + width <= size[1]).all()
    assert (crops.box[:, 2:] >= 1).all()
    if 1000 in size and isinstance(crop, InceptionCrop):
        np.testing.assert_array_equal(crops.box, [(0, 0, *size)] * 50)


@pytest.mark.parametrize("crop", [InceptionCrop(), ResizedCrop(), RandomCrop(padding=4)])
def test_a_crop_depends_on_seed_place_and_view_alone(crop):
    whole = drawn(crop, rows=PLACES[:12], side=32)
    half = drawn(crop, rows=PLACES[1:12:2], side=32)
    for one, other in zip(whole, half, strict=True):
        np.testing.assert_array_equal(one[1::2], other)
    for changed in ({"seed": 4}, {"view": 1}):
        other = drawn(crop, **{"rows": PLACES[:12], "side": 32} | changed)
        assert any((a != b).any() for a, b in zip(whole, other, strict=True))


def test_the_crop_of_cifar_moves_an_image_by_up_to_four_pixels_each_way_all_alike():
    crops = drawn(RandomCrop(padding=4), 32, 32, side=32)
    assert (crops.box == [0, 0, 32, 32]).all()
    assert (crops.resized == 32).all()
    counts = np.zeros((9, 9), int)
    np.add.at(counts, tuple((crops.corner + 4).T), 1)
    assert 180 < counts.min() <= counts.max() < 320  # 247 expected, 16 its standard deviation


def test_the_crop_of_bit_is_a_random_384_of_448():
    crops = drawn(RandomCrop(resize_to=448), side=384)
    assert (crops.box == [0, 0, 375, 500]).all()
    assert (crops.resized == 448).all()
    assert crops.corner.min(0).tolist() == [0, 0]
    assert crops.corner.max(0).tolist() == [64, 64]


def test_a_crop_comes_first_and_alone():
    check_augment((InceptionCrop(), Flip(), MixUp()))
    with pytest.raises(ValueError, match='"random_crop", which is cut out as the image is decoded'):
        check_augment((Flip(), RandomCrop(padding=4)))
    with pytest.raises(ValueError, match="list one crop, as the first"):
        check_augment((RandomCrop(padding=4), InceptionCrop()))


def test_a_crop_that_cannot_be_cut_out_is_named():
    assert RandomCrop(padding=4).problem(32) is None
    assert RandomCrop(resize_to=24, padding=4).problem(32) is not None
    assert "nothing to choose" in RandomCrop().problem(32)
    assert "cannot cut 32 pixels, the resolution, out of 20" in RandomCrop(resize_to=20).problem(32)
    with pytest.raises(ValueError, match=r"area_min=0\.5 is more than area_max=0\.2"):
        InceptionCrop(area_min=0.5, area_max=0.2)


def stream(images, augment, **changes):
    wanted = {"seed": 1, "batch": 12, "data_size": 31, "first_step": 0, "last_step": 4}
    return list(batches(images, augment=augment, **(wanted | changes)))


def test_the_loader_shows_the_square_that_was_drawn_and_then_flips_it():
    images = Procedural(resolution=16).train()
    crop = RandomCrop(padding=3)
    for step, batch in enumerate(stream(images, (crop, Flip()))):
        numbers = step_indices(1, step, 12, 31)
        plain, labels = images.batch(numbers)
        where = places(step, 12)
        corners = drawn(crop, 16, 16, side=16, seed=1, rows=where).corner
        flips = Flip().flips(1, where)
        padded = np.pad(plain, ((0, 0), (3, 3), (3, 3), (0, 0)))
        for row, (y, x) in enumerate(corners + 3):
            square = padded[row, y : y + 16, x : x + 16]
            expected = square[:, ::-1] if flips[row] else square
            np.testing.assert_array_equal(batch["image"][row], expected)
        np.testing.assert_array_equal(batch["label"], labels)


@pytest.mark.parametrize("images", [Digits().train(), Procedural().train()])
@pytest.mark.parametrize("crop", [InceptionCrop(), ResizedCrop(), RandomCrop(padding=2)])
def test_hosts_and_restarts_change_no_pixel_of_a_crop(images, crop):
    whole = stream(images, (crop,), views=2)
    later = stream(images, (crop,), views=2, first_step=2)
    hosts = [stream(images, (crop,), views=2, rows=rows) for rows in np.arange(12).reshape(2, 6)]
    for step, batch in enumerate(whole):
        both = np.concatenate([host[step]["image"] for host in hosts], axis=1)
        np.testing.assert_array_equal(both, batch["image"])
        assert (batch["image"][0] != batch["image"][1]).any()
        if step >= 2:
            np.testing.assert_array_equal(later[step - 2]["image"], batch["image"])


def test_a_folder_cuts_crops_out_of_the_files_and_not_of_its_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng, stored = np.random.default_rng(0), []
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
                stored += [pixels] if split == "train" else []
    images = Folder(path=tmp_path, resolution=8).train()
    crop = InceptionCrop()
    (batch,) = stream(images, (crop,), batch=8, data_size=8, last_step=1)
    numbers = subset(step_indices(1, 0, 8, 8), 8)
    boxes = drawn(crop, 40, 60, side=8, seed=1, rows=places(0, 8)).box
    for row, (number, (top, left, height, width)) in enumerate(zip(numbers, boxes, strict=True)):
        part = stored[number][top : top + height, left : left + width]
        expected = Image.fromarray(part).resize((8, 8), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(batch["image"][row], np.asarray(expected))


def test_a_study_says_where_its_crop_does_not_fit(tmp_path):
    study = tmp_path / "crops.toml"
    study.write_text(
        """
name = "crops"
question = "Do they fit?"
data = { kind = "procedural", resolution = 16 }
recipe = { warmup_steps = 1 }
[[evaluate]]
kind = "upstream"
images = 100
[[grid]]
model = "mu/4"
images_seen = 640
batch = 64
augment = [{ kind = "random_crop", resize_to = 12 }]
"""
    )
    with pytest.raises(Exception, match=r"line 13.*cannot cut 16 pixels, the resolution, out of"):
        read_study(study)
