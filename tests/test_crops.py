"""What is seen of an image: crops and resize rules, against resizing and cutting by hand."""

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from scaling.data import Source, Subset, Without
from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.part import Part
from scaling.data.around.subset import Selection
from scaling.data.around.without import LeftOut
from scaling.data.arrays import Arrays
from scaling.data.pixels.crops import Crop, Crops
from scaling.data.pixels.decode import decode, decode_all
from scaling.data.pixels.resize import Decode, area_means, cut


def photo(height=30, width=50, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    bands = np.stack([4 * x, 6 * y, 2 * (x + y)], -1) % 230
    return (bands + rng.integers(0, 25, bands.shape)).astype(np.uint8)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def resized(pixels, height, width, how=Image.Resampling.BILINEAR):
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def test_a_box_is_cut_out_resized_and_a_square_taken_of_that():
    pixels = photo()
    crop = Crop(box=(4, 10, 20, 30), resized=(12, 18), corner=(1, 5))
    expected = resized(pixels[4:24, 10:40], 12, 18)[1:9, 5:13]
    np.testing.assert_array_equal(cut(pixels, crop, 8), expected)


def test_what_lies_beyond_the_image_is_black():
    """The crop of CIFAR: four pixels added on every side, and a square of the old size."""
    pixels = photo(8, 8)
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)))
    for y, x in ((-4, -4), (-1, 3), (4, 0), (0, 0), (2, 4)):
        crop = Crop(box=(0, 0, 8, 8), resized=(8, 8), corner=(y, x))
        expected = padded[4 + y : 12 + y, 4 + x : 12 + x]
        np.testing.assert_array_equal(cut(pixels, crop, 8), expected)


def test_padding_after_resizing_lies_around_the_resized_image():
    pixels = photo(16, 32)
    crop = Crop(box=(0, 0, 16, 32), resized=(8, 8), corner=(-2, 3))
    expected = np.pad(resized(pixels, 8, 8), ((4, 4), (4, 4), (0, 0)))[2:10, 7:15]
    np.testing.assert_array_equal(cut(pixels, crop, 8), expected)


def test_a_square_that_misses_the_image_is_black():
    crop = Crop(box=(0, 0, 8, 8), resized=(4, 4), corner=(4, -9))
    assert not cut(photo(8, 8), crop, 4).any()


def test_both_sides_are_resized_by_default_whatever_the_aspect_ratio():
    np.testing.assert_array_equal(decode(png(photo()), 16), resized(photo(), 16, 16))


def test_the_protocol_of_few_shot_resizes_both_sides_and_takes_the_centre():
    seen = decode(png(photo(60, 100)), 28, Decode(resize_to=32))
    np.testing.assert_array_equal(seen, resized(photo(60, 100), 32, 32)[2:30, 2:30])


@pytest.mark.parametrize(("height", "width"), [(60, 101), (101, 60), (50, 50), (20, 90)])
def test_the_shorter_side_is_resized_and_the_centre_taken(height, width):
    """As big_vision rounds: round(side * factor), then (longer - side) // 2."""
    pixels, factor = photo(height, width), 32 / min(height, width)
    to_height, to_width = round(height * factor), round(width * factor)
    y, x = (to_height - 28) // 2, (to_width - 28) // 2
    expected = resized(pixels, to_height, to_width)[y : y + 28, x : x + 28]
    seen = decode(png(pixels), 28, Decode(keep_aspect=True, resize_to=32))
    np.testing.assert_array_equal(seen, expected)


def test_a_line_of_pixels_fills_no_memory():
    """1 x 60,000 with its shorter side resized to 32 would be 32 x 1,920,000."""
    line = photo(1, 60_000)
    seen = decode(png(line), 28, Decode(keep_aspect=True, resize_to=32))
    middle = line[:, 29_996:30_004]
    np.testing.assert_array_equal(seen, resized(middle, 32, 256)[2:30, 114:142])


def bilinear(pixels, height, width):
    """Half-pixel centres, four pixels an output pixel, edges repeated: TensorFlow's resize."""
    found = pixels.astype(np.float64)
    for axis, size in enumerate((height, width)):
        n = pixels.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        part = np.expand_dims(at - low, tuple(i for i in range(3) if i != axis))
        high = np.minimum(low + 1, n - 1)
        found = (1 - part) * found.take(low, axis) + part * found.take(high, axis)
    return found


@pytest.mark.parametrize("size", [(12, 12), (45, 70), (30, 50)])
def test_without_antialiasing_an_output_pixel_is_made_of_four(size):
    pixels, side = photo(), 40
    crop = Crop(box=(0, 0, 30, 50), resized=size, corner=(0, 0))
    seen = cut(pixels, crop, side, Decode(antialias=False))
    expected = bilinear(pixels, *size)[:side, :side]
    height, width = expected.shape[:2]
    assert np.abs(seen[:height, :width] - expected).max() < 1 + 1e-9  # Pillow cuts off
    assert not seen[height:].any()
    assert not seen[:, width:].any()


def test_antialiasing_sees_every_pixel_of_a_fine_pattern_and_four_pixels_do_not():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255
    smooth = decode(png(stripes), 8).astype(int)
    coarse = decode(png(stripes), 8, Decode(antialias=False)).astype(int)
    assert (smooth[:, 1:-1] == 64).all()
    assert np.ptp(coarse) == 0
    assert abs(coarse[0, 0, 0] - 64) > 32


def test_area_is_the_mean_of_what_a_pixel_covers():
    pixels = photo(12, 20)
    blocks = pixels.reshape(4, 3, 4, 5, 3).mean((1, 3))
    np.testing.assert_array_equal(area_means(pixels, (4, 4)), np.rint(blocks))
    step = np.repeat(np.array([0, 90, 240], np.uint8)[:, None, None], 3, axis=2)
    assert area_means(step, (2, 1))[:, 0, 0].tolist() == [30, 190]  # 2/3 * 0 + 1/3 * 90, ...


def test_bicubic_is_pillows():
    seen = decode(png(photo()), 16, Decode(filter="bicubic"))
    np.testing.assert_array_equal(seen, resized(photo(), 16, 16, Image.Resampling.BICUBIC))


def test_a_crop_is_made_from_the_sizes_of_the_images_in_their_order():
    sizes = []

    def left_half(found):
        sizes.extend(found.tolist())
        box = np.pad(found // [1, 2], ((0, 0), (2, 0)))
        return Crops(box, np.full_like(found, 8), np.zeros_like(found))

    files = [png(photo(10, 20)), png(photo(30, 16))]
    seen = decode_all(files, ["a", "b"], 8, crop=left_half)
    assert sizes == [[10, 20], [30, 16]]
    np.testing.assert_array_equal(seen[0], resized(photo(10, 20)[:, :10], 8, 8))
    np.testing.assert_array_equal(seen[1], resized(photo(30, 16)[:, :8], 8, 8))


def test_arrays_are_cropped_out_of_the_images_as_they_are_stored(tmp_path):
    images = np.stack([photo(20, 40, seed) for seed in range(3)])
    grey = images[..., 0]
    stored = {"train_images": grey, "heldout_images": images}
    labels = {f"{name}_labels": np.array([0, 1, 2]) for name in ("train", "heldout")}
    np.savez(tmp_path / "images.npz", **stored, **labels)
    source = Arrays(path=tmp_path / "images.npz", resolution=8)

    def corner(sizes):
        assert sizes.tolist() == [[20, 40]] * 2
        box = np.tile([0, 0, 10, 10], (2, 1))
        return Crops(box, np.full((2, 2), 8), np.zeros((2, 2), np.int64))

    seen, found = source.heldout().batch(np.array([2, 0]), corner)
    assert found.tolist() == [2, 0]
    np.testing.assert_array_equal(seen[0], resized(images[2, :10, :10], 8, 8))
    seen, _ = source.train().batch(np.array([2, 0]), corner)
    np.testing.assert_array_equal(
        seen[1], resized(images[0, :10, :10, [0] * 3].T.swapaxes(0, 1), 8, 8)
    )


def test_a_source_around_another_hands_the_crop_to_it(tmp_path):
    images = np.stack([photo(20, 40, seed) for seed in range(8)])
    labels = {f"{name}_labels": np.arange(8) % 4 for name in ("train", "heldout")}
    np.savez(tmp_path / "images.npz", train_images=images, heldout_images=images, **labels)
    (tmp_path / "parents.txt").write_text("0 1\n")
    inner = Arrays(path=tmp_path / "images.npz", resolution=8)
    left_out = LeftOut.of(inner, (0,), why={})
    sources = {
        "all": Hierarchy(of=inner, parents=tmp_path / "parents.txt"),
        "some": Without(of=inner, file=left_out.write(tmp_path, "crops")),
        "of a class": Subset(of=inner, select=Selection(classes=2)),
        "part": Part(of=inner, images=4, validation=2),
    }

    def corner(sizes):
        box = np.tile([0, 0, 10, 10], (len(sizes), 1))
        return Crops(box, np.full_like(sizes, 8), np.zeros_like(sizes))

    cut, _ = inner.train().batch(np.arange(8), corner)
    plain, _ = inner.train().batch(np.arange(8))
    for name, source in sources.items():
        shown, whole = (source.train().batch(np.arange(2), crop)[0] for crop in (corner, None))
        for square, uncropped in zip(shown, whole, strict=True):
            (number,) = np.flatnonzero((plain == uncropped).all((1, 2, 3)))
            np.testing.assert_array_equal(square, cut[number], err_msg=name)


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "tfds", "name": "insects"},
        {"kind": "parquet", "path": "insects"},
        {
            "kind": "webdataset",
            "train_shards": "b",
            "heldout_shards": "c",
            "classes": 2,
        },
        {"kind": "folder", "path": "insects"},
    ],
)
def test_every_source_of_files_says_what_keeps_it_from_decoding_so(source, monkeypatch):
    read = TypeAdapter(Source).validate_python
    with pytest.raises(ValueError, match=r"decode\.resize_to=24 is less than resolution=28"):
        read(source | {"resolution": 28, "decode": {"resize_to": 24}})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cv2" else name)
    fault = read(source | {"resolution": 28, "decode": {"decoder": "opencv"}}).fault()
    assert fault.key == "decode"
    assert "pip install opencv-python-headless" in fault.words


def test_rules_that_contradict_themselves_are_refused(tmp_path):
    with pytest.raises(ValueError, match="area is computed with all pixels: leave antialias out"):
        Decode(filter="area", antialias=False)
    with pytest.raises(ValueError, match=r"decode\.resize_to=24 is less than resolution=28"):
        Arrays(path=tmp_path / "images.npz", resolution=28, decode=Decode(resize_to=24))
