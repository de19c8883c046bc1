"""The common corruptions: each against its formula written again, and the evaluation of them."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve
from study_texts import GOOD
from test_classification import SOFTMAX, SOURCE, Colour

from fits.base.errors import UserError
from scaling.evaluate.corrupted import CORRUPTIONS, Corrupted, _disk, _plasma, corrupt
from scaling.evaluate.corruptions import ALL, Corruptions, read_reference
from scaling.study.parse import read_study


@pytest.fixture(scope="module")
def image():
    """A smooth picture of all colours, 64 px, with an edge."""
    y, x = np.mgrid[:64, :64] / 63
    found = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], -1)
    found[20:40, 20:40] = (0.9, 0.2, 0.1)
    return (found * 255).astype(np.uint8)


def test_there_are_fifteen_and_a_study_can_name_each():
    assert list(CORRUPTIONS) == list(ALL)
    assert len(ALL) == 15


@pytest.mark.parametrize("kind", ALL)
def test_each_changes_the_image_at_each_severity_and_always_in_the_same_way(image, kind):
    for severity in range(1, 6):
        once, again = (corrupt(image, kind, severity, 7) for _ in range(2))
        assert once.dtype == np.uint8
        assert once.shape == image.shape
        np.testing.assert_array_equal(once, again)
        assert (once != image).mean() > 0.02
    random = kind not in {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate"}
    other = corrupt(image, kind, 5, 8)
    assert (other != once).any() == (random and kind != "jpeg_compression")


@pytest.mark.parametrize("side", [1, 3, 8, 33])
def test_small_and_odd_images_are_corrupted_too(side):
    image = np.full((side, side, 3), 100, np.uint8)
    for kind in ALL:
        assert corrupt(image, kind, 5, 0).shape == image.shape


@pytest.mark.parametrize(
    "kind", [k for k in ALL if "noise" in k or k in {"motion_blur", "zoom_blur", "contrast"}]
)
def test_the_five_severities_grow(image, kind):
    far = [np.abs(corrupt(image, kind, s, 0).astype(float) - image).mean() for s in range(1, 6)]
    assert far == sorted(far)


def test_noises_have_the_moments_of_their_formulas():
    grey = np.full((256, 256, 3), 128, np.uint8)
    for severity, c in ((1, 0.08), (2, 0.12)):
        found = corrupt(grey, "gaussian_noise", severity, 0) / 255
        assert found.std() == pytest.approx(c, rel=0.02)
    found = corrupt(grey, "shot_noise", 1, 0) / 255
    assert found.std() == pytest.approx(np.sqrt(128 / 255 / 60), rel=0.02)
    assert found.mean() == pytest.approx(128 / 255, abs=0.005)
    found = corrupt(grey, "impulse_noise", 5, 0)
    assert (found != 128).mean() == pytest.approx(0.27, abs=0.01)
    assert set(np.unique(found)) == {0, 128, 255}
    assert (found == 255).mean() == pytest.approx(0.135, abs=0.01)


def test_contrast_and_brightness_are_their_formulas(image):
    x = image / 255
    mean = x.mean((0, 1))
    wanted = np.clip((x - mean) * 0.1 + mean, 0, 1) * 255
    assert np.abs(corrupt(image, "contrast", 4, 0) - wanted).max() <= 1
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    hsv = rgb_to_hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
    assert np.abs(corrupt(image, "brightness", 3, 0) - hsv_to_rgb(hsv) * 255).max() <= 1


def test_pixelate_and_jpeg_are_pillow_s(image):
    small = Image.fromarray(image).resize((25, 25), Image.Resampling.BOX)  # .4 of 64
    wanted = np.asarray(small.resize((64, 64), Image.Resampling.BOX))
    np.testing.assert_array_equal(corrupt(image, "pixelate", 3, 0), wanted)
    rough = corrupt(image, "jpeg_compression", 5, 0).astype(float)
    fine = corrupt(image, "jpeg_compression", 1, 0).astype(float)
    assert np.abs(rough - image).mean() > np.abs(fine - image).mean() > 0


def test_defocus_is_the_convolution_with_a_disk(image):
    kernel = _disk(10 * 64 / 224, 0.5)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.max() == pytest.approx(1 / (np.pi * (10 * 64 / 224) ** 2), rel=0.03)
    wanted = [convolve(image[..., k] / 255, kernel, mode="mirror") for k in range(3)]
    found = corrupt(image, "defocus_blur", 5, 0)
    assert np.abs(found - np.stack(wanted, -1) * 255).max() <= 1


def test_blurs_and_glass_keep_what_is_flat():
    flat = np.full((48, 48, 3), 90, np.uint8)
    for kind in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform"):
        assert np.abs(corrupt(flat, kind, 5, 3).astype(int) - 90).max() <= 1, kind


def test_glass_exchanges_pixels_and_loses_none(image):
    """Before its blurs; those of 64 px and the first severity are of .2 px, which is none."""
    found = corrupt(image, "glass_blur", 1, 0).astype(int)
    assert np.abs(np.sort(found, None) - np.sort(image.astype(int), None)).max() <= 12
    assert (found != image).any(-1).mean() > 0.5


def test_zoom_enlarges_about_the_centre():
    dot = np.zeros((65, 65, 3), np.uint8)
    dot[32, 32] = 255
    found = corrupt(dot, "zoom_blur", 5, 0)
    assert np.unravel_index(found[..., 0].argmax(), (65, 65)) == (32, 32)
    np.testing.assert_array_equal(found, found[::-1, ::-1])


def test_the_fractal_of_fog_is_rougher_where_its_steps_fall_more_slowly():
    rough, smooth = (_plasma(128, r, np.random.default_rng(0)) for r in (1.4, 2.5))
    assert rough.min() >= 0
    assert rough.max() <= 1
    assert np.abs(np.diff(rough, axis=0)).mean() > 2 * np.abs(np.diff(smooth, axis=0)).mean()


def test_an_image_is_corrupted_alike_in_any_batch():
    images = Corrupted(SOURCE.heldout(), "gaussian_noise", 3)
    many, labels = images.batch(np.array([5, 9, 2]))
    one, label = images.batch(np.array([9]))
    np.testing.assert_array_equal(many[1], one[0])
    assert labels[1] == label[0]
    np.testing.assert_array_equal(images.labels_of(np.array([5, 9, 2])), labels)


def test_errors_are_means_over_severities_and_relative_to_a_reference(tmp_path):
    (tmp_path / "ref.toml").write_text("contrast = 0.5\ngaussian_noise = 0.8\n")
    (tmp_path / "ref.csv").write_text("corruption,error\ncontrast,0.5\ngaussian_noise,0.8\n")
    kinds, severities = ("gaussian_noise", "contrast"), (1, 5)
    each = Corruptions(
        name="c",
        corruptions=kinds,
        severities=severities,
        images=200,
        reference=tmp_path / "ref.csv",
    )
    found = {m.metric: m.value for m in each.measure(Colour(), objective=SOFTMAX, source=SOURCE)}
    assert tuple(found) == each.metrics
    plain = {}
    for kind in kinds:
        errors = []
        for severity in severities:
            pixels, labels = Corrupted(SOURCE.heldout(), kind, severity).batch(np.arange(200))
            means = (pixels.astype(np.float32) * np.float32(2 / 255) - 1).mean((1, 2))
            errors.append((np.c_[means, np.full(200, 0.1)].argmax(1) != labels).mean())
        plain[kind] = np.mean(errors)
        assert found[f"c_{kind}_error"] == pytest.approx(plain[kind])
    assert found["c_error"] == pytest.approx(np.mean(list(plain.values())))
    wanted = (plain["contrast"] / 0.5 + plain["gaussian_noise"] / 0.8) / 2
    assert found["c_mce"] == pytest.approx(wanted)
    assert read_reference(tmp_path / "ref.toml", kinds) == read_reference(
        tmp_path / "ref.csv", kinds
    )
    assert "c_mce" not in each.errors


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('corruptions = ["fogg"]', 'there is no "fogg"; did you mean "fog"'),
        ('corruptions = ["fog", "fog"]', "corruptions names one twice; write it once."),
        ("severities = [6]", "6 is not a whole number >= 1 and <= 5."),
        ('reference = "no.csv"', "no.csv: cannot be read: No such file or directory."),
        ('reference = "bad.csv"', "bad.csv: cannot be understood: its lines are corruption,error"),
        ('reference = "long.csv"', "long.csv: cannot be understood: field larger than"),
        ('reference = "fogg.toml"', "there is no corruption 'fogg'. Did you mean 'fog'?"),
        ('reference = "fog.toml"', "fog.toml: has no error for gaussian_noise"),
        ('corruptions = ["fog"]\nreference = "zero.toml"', "fog is 0; give an error above 0"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("bad.csv", "a,b\n"),
        ("long.csv", f"corruption,error\n{'x' * 200_000},0.5\n"),
        ("fogg.toml", "fogg = 1\n"),
        ("fog.toml", "fog = 1\n"),
        ("zero.toml", "fog = 0\n"),
    ):
        (tmp_path / name).write_text(text)
    (tmp_path / "s.toml").write_text(
        GOOD + f'\n[[evaluate]]\nkind = "corruptions"\nname = "c"\n{more}\n'
    )
    with pytest.raises(UserError, match=r"line \d+: evaluate") as told:
        read_study(tmp_path / "s.toml")
    assert said in str(told.value)
