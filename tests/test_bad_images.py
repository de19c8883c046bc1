"""Real files of every awkward kind: what is read of them, and the words for what is not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from scaling.data import Folder
from scaling.data.augment import InceptionCrop
from scaling.data.pixels.crops import Crop, Crops, whole
from scaling.data.pixels.decode import UnreadableImages, decode, decode_all, size_of
from scaling.data.pixels.resize import Decode

PILLOW, OPENCV = Decode(antialias=False), Decode(antialias=False, decoder="opencv")


@pytest.fixture(params=["pillow", "opencv"])
def how(request):
    if request.param == "opencv":
        pytest.importorskip("cv2")
    return PILLOW if request.param == "pillow" else OPENCV


def photo(height=60, width=90):
    y, x = np.mgrid[:height, :width] / (height, width)[0]
    waves = [120 + 100 * np.sin(5 * x), 120 + 100 * np.cos(4 * y), 60 + 50 * x]
    return np.stack(np.broadcast_arrays(*waves), -1).astype(np.uint8)


def saved(image, kind, **options):
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def png_chunk(name, content):
    length, checksum = (struct.pack(">I", n) for n in (len(content), zlib.crc32(name + content)))
    return length + name + content + checksum


def png16(pixels):
    """A PNG of 16 bits a channel, which Pillow does not write: uint16 [h, w, 3]."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def animated(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 0, 200))]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_of_one_pixel_is_seen_in_its_colour_and_can_be_cropped(how, kind):
    file = saved(np.full((1, 1, 3), 90, np.uint8), kind)
    assert np.abs(decode(file, 8, how).astype(int) - 90).max() <= 1
    crop = InceptionCrop()

    def cropped(sizes):
        return crop.crops(sizes, side=8, seed=0, places=np.arange(1))

    assert np.abs(decode_all([file], ["a"], 8, how, cropped).astype(int) - 90).max() <= 1


def test_cmyk_becomes_rgb_alike_by_both_decoders(how):
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    seen = decode(saved(red, "JPEG"), 8, how)
    assert np.abs(seen.astype(int) - [255, 0, 0]).max() <= 4


def test_grey_becomes_three_equal_channels(how):
    seen = decode(saved(photo()[..., 0], "JPEG"), 16, how)
    assert (seen == seen[..., :1]).all()
    assert np.ptp(seen) > 50


@pytest.mark.parametrize("alpha", [3, bytes(range(0, 160, 10))], ids=["a colour", "each colour"])
def test_a_transparent_palette_is_seen_in_its_colours_without_a_warning(how, alpha):
    image = Image.fromarray(photo()).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    file = saved(image, "png", transparency=alpha)
    np.testing.assert_array_equal(decode(file, 16, how), decode(saved(image, "png"), 16, how))


def test_sixteen_bits_a_channel_in_colour_lose_their_lower_half(how):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 1 << 16, (8, 8, 3)).astype(np.uint16)
    np.testing.assert_array_equal(decode(png16(pixels), 8, how), pixels >> 8)


def test_sixteen_bits_in_grey_are_refused_because_they_would_be_clipped(how):
    grey = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    with pytest.raises(ValueError, match="it has more than 8 bits a channel"):
        decode(saved(grey, "PNG"), 8, how)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_seen(how, kind):
    seen = decode(animated(kind), 8, how).astype(int)
    assert np.abs(seen - [200, 0, 0]).max() <= 3


def test_exif_orientation_is_ignored_as_tensorflow_and_big_vision_do(how):
    """Rotated by a quarter turn, the image would be higher than wide."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(photo(), "JPEG", exif=exif.tobytes(), quality=95)
    assert Image.open(io.BytesIO(turned)).getexif()[0x0112] == 6
    plain = saved(photo(), "JPEG", quality=95)
    assert size_of(turned) == (60, 90)
    np.testing.assert_array_equal(decode(turned, 16, how), decode(plain, 16, how))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused_wherever_it_ends(how, kind, kept):
    file = saved(photo(), kind)
    with pytest.raises(ValueError, match="not a readable image"):
        decode(file[: int(kept * len(file))], 16, how)


def test_a_jpeg_without_its_last_two_bytes_is_truncated(how):
    with pytest.raises(ValueError, match="truncated"):
        decode(saved(photo(), "JPEG")[:-2], 16, how)


def test_an_image_beyond_all_memory_is_refused_by_its_header(how):
    header = struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"")
    with pytest.raises(ValueError, match="not a readable image: Image size"):
        decode(b"\x89PNG\r\n\x1a\n" + chunks, 16, how)


def test_a_folder_of_all_of_them_names_what_is_bad_and_loses_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole_jpeg, exif = saved(photo(), "JPEG"), Image.Exif()
    exif[0x0112] = 3
    files = {
        "animated.png": animated("PNG"),
        "cmyk.jpg": saved(Image.new("CMYK", (9, 5)), "JPEG"),
        "deep.png": saved(Image.fromarray(np.full((8, 8), 40_000, np.uint16)), "PNG"),
        "deep-in-colour.png": png16(np.zeros((4, 4, 3), np.uint16)),
        "empty.jpg": b"",
        "gif-by-another-name.png": animated("GIF"),
        "one-pixel.png": saved(np.zeros((1, 1, 3), np.uint8), "PNG"),
        "text.jpeg": b"<html>404</html>",
        "truncated.jpg": whole_jpeg[:-200],
        "turned.jpg": saved(photo(), "JPEG", exif=exif.tobytes()),
    }
    bad = {"deep.png", "empty.jpg", "text.jpeg", "truncated.jpg"}
    for split in ("train", "test"):
        (tmp_path / split / "odd").mkdir(parents=True)
        for name, content in files.items():
            (tmp_path / split / "odd" / name).write_bytes(content)
    source = Folder(path=tmp_path, resolution=16)
    with pytest.raises(UnreadableImages) as found:
        source.check(print)
    expected = {str(tmp_path / split / "odd" / name) for split in ("train", "test") for name in bad}
    assert set(found.value.why) == expected
    assert "8 images cannot be read; repair or remove them:" in str(found.value)
    for name in expected:
        assert f"{name}: " in str(found.value)
    assert all(file.exists() for file in (tmp_path / "train" / "odd").iterdir())
    for name in expected:
        (tmp_path / name).unlink()
    source.check(print)
    assert source.train().batch(np.arange(len(files) - len(bad)))[0].shape == (6, 16, 16, 3)


def test_a_crop_of_an_unreadable_file_names_it():
    def everything(sizes):
        return Crops(whole(sizes), np.full_like(sizes, 8), np.zeros_like(sizes))

    files = [saved(photo(), "PNG"), b"not an image", saved(photo(), "JPEG")[:-300]]
    with pytest.raises(UnreadableImages) as found:
        decode_all(files, ["a", "b", "c"], 8, crop=everything)
    assert set(found.value.why) == {"b", "c"}


# The two decoders


def test_opencv_sees_what_pillow_sees_up_to_last_bits():
    pytest.importorskip("cv2")
    file = saved(photo(375, 500), "JPEG", quality=92)
    crop = Crop(box=(30, 60, 200, 260), resized=(112, 112), corner=(0, 0))
    for one in (PILLOW, Decode(filter="area"), Decode(), Decode(filter="bicubic")):
        other = one.model_copy(update={"decoder": "opencv"})
        seen = [decode(file, 112, each, crop).astype(int) for each in (one, other)]
        assert np.abs(seen[0] - seen[1]).max() <= 3
        assert np.abs(seen[0] - seen[1]).mean() < 0.6


def test_a_jpeg_decoded_at_a_quarter_shows_the_same_picture(how):
    file = saved(photo(1200, 1600), "JPEG", quality=92)
    scaled = how.model_copy(update={"scaled_decoding": True})
    for crop in (None, Crop(box=(101, 203, 700, 900), resized=(128, 128), corner=(0, 0))):
        whole_size, quarter = (decode(file, 128, each, crop).astype(int) for each in (how, scaled))
        assert np.abs(whole_size - quarter).mean() < 1.5
        assert np.abs(whole_size - quarter).max() < 12


def test_a_jpeg_is_not_decoded_smaller_than_is_wanted_of_it(how, monkeypatch):
    """A box of 250 x 260 for 128 pixels has none to spare, one of 256 x 256 twice as many."""
    import scaling.data.pixels.decode as module

    scales, honest = [], module._scale
    monkeypatch.setattr(module, "_scale", lambda *a: scales.append(honest(*a)) or scales[-1])
    file = saved(photo(1200, 1600), "JPEG")
    scaled = how.model_copy(update={"scaled_decoding": True})
    for side in ((250, 260), (256, 256), (1100, 1200), (512, 511)):
        decode(file, 128, scaled, Crop(box=(5, 7, *side), resized=(128, 128), corner=(0, 0)))
    assert scales == [1, 2, 8, 2]


def test_a_decoder_that_is_not_installed_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fault = Folder(path=tmp_path, resolution=8, decode=OPENCV).fault()
    assert fault.key == "decode"
    assert "pip install opencv-python-headless" in fault.words


def test_provenance_says_decoder_filter_and_resize_rule(tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "0.jpg").write_bytes(saved(photo(), "JPEG"))
    plain = Folder(path=tmp_path, resolution=16).provenance()
    assert plain["decoder"].startswith("pillow ")
    assert plain["resize"] == "both sides to 16"
    assert (plain["filter"], plain["exif_orientation"]) == ("bilinear", "ignored")
    rule = OPENCV.model_copy(update={"keep_aspect": True, "resize_to": 18})
    other = Folder(path=tmp_path, resolution=16, decode=rule).provenance()
    assert other["decoder"].startswith("opencv-python-headless ")
    assert other["resize"] == "the shorter side to 18, the central 16"
    assert other["filter"] == "bilinear, not antialiased"
    assert other["train_fingerprint"] != plain["train_fingerprint"]


def test_what_is_said_of_an_image_is_the_same_in_every_process():
    said = set()
    for padding in range(3):
        with pytest.raises(ValueError, match="not a readable image") as error:
            decode(b"junk" * 10 + bytes(padding), 8)
        said.add(str(error.value))
    assert said == {"not a readable image: cannot identify image file"}
