"""Subsets of any source: by classes and by label noise, the smaller inside the larger."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from fits.base.errors import UserError
from scaling.data import Hierarchy, Source, Subset
from scaling.data.around.subset import Selection, new_numbers
from scaling.data.arrays import Arrays, Digits
from scaling.data.loader import batches
from scaling.data.private import Private
from scaling.data.procedural.source import Procedural
from scaling.study.parse import read_study

FINITE = Digits(resolution=8)
ENDLESS = Procedural(classes=12, tail=0, label_noise=0, heldout_size=2000)


def subset(of, **select):
    return Subset(of=of, select=Selection(**select))


def pixels_of(images, numbers):
    return {image.tobytes() for image in images.batch(np.asarray(numbers))[0]}


def test_images_of_other_classes_are_left_out_of_both_sets():
    part = subset(FINITE, classes=4)
    names = new_numbers(10, part.select)[:-1]
    for here, there in ((part.train(), FINITE.train()), (part.heldout(), FINITE.heldout())):
        kept = names[there.labels] >= 0
        pixels, labels = here.batch(np.arange(here.size))
        np.testing.assert_array_equal(pixels, there.images[kept])
        np.testing.assert_array_equal(labels, names[there.labels][kept])
    assert part.classes == 4
    assert part.sizes() == (400, part.heldout().size)


def test_fewer_classes_lie_inside_more_and_keep_their_numbers():
    seen = []
    for classes in (2, 5, 10):
        images = subset(FINITE, classes=classes).train()
        pixels, labels = images.batch(np.arange(images.size))
        seen.append(dict(zip((x.tobytes() for x in pixels), labels.tolist(), strict=True)))
    assert seen[0].items() < seen[1].items() < seen[2].items()


@pytest.mark.slow
def test_another_seed_takes_other_classes_and_the_same_seed_the_same():
    kept = [tuple(new_numbers(1000, Selection(classes=10, seed=seed))) for seed in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]
    counts = sum((new_numbers(10, Selection(classes=3, seed=s))[:-1] >= 0) for s in range(2000))
    np.testing.assert_allclose(counts / 2000, 0.3, atol=0.05)


def test_an_endless_source_keeps_its_classes_shares_and_repeats_nothing():
    tailed = ENDLESS.model_copy(update={"tail": 1.0})
    part = subset(tailed, classes=3, seed=5)
    images = part.train()
    assert images.size is None
    numbers = np.arange(6000)
    labels = images.labels_of(numbers)
    names = new_numbers(12, part.select)[:-1]
    share = (1 / np.arange(1.0, 13))[np.argsort(names)[-3:]]  # of new classes 0, 1, 2
    found = np.bincount(labels, minlength=3) / 6000
    np.testing.assert_allclose(found, share / share.sum(), atol=0.025)
    assert len(pixels_of(images, numbers[:1000])) == 1000
    np.testing.assert_array_equal(images.batch(numbers[:50])[1], labels[:50])
    alone = images.batch(numbers[33:34])[0][0]
    np.testing.assert_array_equal(alone, images.batch(numbers[:50])[0][33])


def test_label_noise_is_at_its_rate_in_training_and_absent_from_held_out_images():
    part, whole = subset(ENDLESS, label_noise=0.3), ENDLESS
    numbers = np.arange(20_000)
    true, found = whole.train().labels_of(numbers), part.train().labels_of(numbers)
    wrong = found != true
    assert wrong.mean() == pytest.approx(0.3, abs=0.01)
    moved = (found - true)[wrong] % 12
    np.testing.assert_allclose(
        np.bincount(moved, minlength=12)[1:] / wrong.sum(), 1 / 11, atol=0.01
    )
    heldout = np.arange(2000)
    np.testing.assert_array_equal(
        part.heldout().labels_of(heldout), whole.heldout().labels_of(heldout)
    )
    np.testing.assert_array_equal(
        part.train().batch(numbers[:9])[0], whole.train().batch(numbers[:9])[0]
    )


def test_less_noise_lies_inside_more():
    numbers = np.arange(5000)
    true, *found = (
        subset(ENDLESS, label_noise=noise).train().labels_of(numbers) for noise in (0, 0.1, 0.4)
    )
    little, much = (each != true for each in found)
    assert (much | ~little).all()
    np.testing.assert_array_equal(found[0][little], found[1][little])
    other = subset(ENDLESS, label_noise=0.1, seed=1).train().labels_of(numbers)
    assert (other != found[0]).mean() > 0.1


def test_several_labels_an_image_are_left_out_one_by_one():
    source = Procedural(classes=14, parents=(4,), second_label=0.5, label_noise=0.1, tail=0)
    part = subset(source, classes=5)
    names, images = new_numbers(14, part.select), part.heldout()
    whole = source.heldout().labels_of(np.arange(source.heldout_size))
    expected = names[whole][(names[whole] >= 0).any(1)]
    np.testing.assert_array_equal(images.labels_of(np.arange(images.size)), expected)
    assert part.labels_each == 2
    noisy = subset(source, label_noise=0.5).train().labels_of(np.arange(5000))
    plain = source.train().labels_of(np.arange(5000))
    np.testing.assert_array_equal(noisy < 0, plain < 0)  # none is added
    assert (noisy != plain)[plain >= 0].mean() == pytest.approx(0.5, abs=0.02)


def test_what_is_known_of_the_best_error_is_said_and_nothing_else():
    noisy = Procedural(label_noise=0.2)
    assert subset(noisy, label_noise=0.5).irreducible_error() == 0.2
    assert subset(noisy, classes=5).irreducible_error() is None
    assert subset(ENDLESS, classes=5).irreducible_error() == 0


def test_batches_of_a_subset_have_as_many_different_images_as_the_data_size():
    images = subset(FINITE, classes=3).train()
    wanted = {"seed": 0, "batch": 50, "first_step": 0, "last_step": 12}
    seen = {s: set() for s in (60, 200, None)}
    for size, shown in seen.items():
        for batch in batches(images, data_size=size, **wanted):
            shown |= {x.tobytes() for x in batch["image"]}
    assert [len(each) for each in seen.values()] == [60, 200, 300]
    assert seen[60] < seen[200] < seen[None]


def test_a_subset_may_be_of_a_subset_and_any_source_may_stand_inside():
    inner = {"kind": "subset", "of": {"kind": "digits"}, "select": {"classes": 5}}
    table = {"kind": "subset", "of": inner, "select": {"label_noise": 0.1}}
    source = TypeAdapter(Source).validate_python(table)
    assert source.sizes()[0] == 500
    assert TypeAdapter(Source).validate_json(source.model_dump_json()) == source
    assert source.provenance()["train_size"] == 500


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (subset(FINITE, classes=11), "classes=11 is more than the 10 classes of the source"),
        (subset(FINITE, label_noise=0.9), "makes a wrong label as likely as the right one"),
        (subset(FINITE, classes=2, label_noise=0.6), "with 2 classes stay below 0.5"),
    ],
)
def test_a_subset_that_cannot_be_is_said_in_words(part, said):
    assert said in part.fault().words
    with pytest.raises(ValueError, match=said):
        part.train()


def test_classes_without_an_image_are_said_in_words(tmp_path):
    path = tmp_path / "images.npz"
    both = {"images": np.zeros((2, 4, 4), np.uint8), "labels": [0, 9]}
    np.savez(path, **{f"{name}_{k}": v for name in ("train", "heldout") for k, v in both.items()})
    of = Arrays(path=path, resolution=4)
    names = [new_numbers(10, Selection(classes=2, seed=seed)) for seed in range(50)]
    empty = next(seed for seed, each in enumerate(names) if (each[[0, 9]] < 0).all())
    part = subset(of, classes=2, seed=empty)
    assert f"no training image is of the 2 classes that seed={empty} takes" in part.fault().words
    with pytest.raises(ValueError, match="no training image"):
        part.train()


def test_what_is_wrong_with_the_source_is_wrong_with_its_subset(tmp_path):
    part = subset(Arrays(path=tmp_path / "nothing.npz", resolution=8), classes=3)
    assert "there is no" in part.fault().words


def test_a_private_source_has_subsets_by_noise_alone():
    source = Private(name="JFT", classes=100, images=10**9, heldout_images=1000)
    assert subset(source, label_noise=0.1).sizes() == (10**9, 1000)
    assert "not known of a private source" in subset(source, classes=10).fault_of_selection().words
    with pytest.raises(UserError):
        subset(source, label_noise=0.1).train()


# Hierarchies


def hierarchy(tmp_path, text, **fields):
    path = tmp_path / "parents.txt"
    path.write_text(text)
    return Hierarchy(of=FINITE, parents=path, **fields)


def test_a_hierarchy_fills_in_ancestors_from_a_file_of_pairs(tmp_path):
    text = "0 10  # round\n6 10\n8 10\n8 11\n\n# eyes\n10 12\n"
    source = hierarchy(tmp_path, text, all_classes=13)
    assert (source.fault(), source.classes, source.sizes()) == (None, 13, FINITE.sizes())
    numbers = np.arange(1000)
    (pixels, labels), (same, own) = source.train().batch(numbers), FINITE.train().batch(numbers)
    np.testing.assert_array_equal(pixels, same)
    above = {0: {10, 12}, 6: {10, 12}, 8: {10, 11, 12}}
    for row, label in zip(labels.tolist(), own.tolist(), strict=True):
        assert {x for x in row if x >= 0} == {label} | above.get(label, set())
    assert labels.shape == (1000, source.labels_each) == (1000, 4)
    np.testing.assert_array_equal(source.labels(), labels)
    np.testing.assert_array_equal(source.train().labels_of(numbers), labels)


def test_the_manifest_tells_one_file_of_parents_from_another(tmp_path):
    one, other = (
        hierarchy(tmp_path, text, all_classes=11).provenance() for text in ("0 10\n", "7 10\n")
    )
    assert one["parents_sha256"] != other["parents_sha256"]


def test_a_hierarchy_may_begin_with_a_byte_order_mark(tmp_path):
    source = hierarchy(tmp_path, "\ufeff0 10\n", all_classes=11)
    assert (source.fault(), source.labels_each) == (None, 2)


@pytest.mark.parametrize(
    ("text", "fields", "said"),
    [
        ("0 1\n1 2\n2 0\n", {}, "goes round in a circle: class 0 below 1 below 2 below 0"),
        ("0 10\n", {}, "line 1: the parent 10 is no class; there are 0 .. 9"),
        ("\n11 0\n", {}, "line 2: the child 11 is no class"),
        ("apple fruit\n", {}, "line 1: 'apple fruit' is not `child parent`"),
        ("0 1 2\n", {}, "line 1: '0 1 2' is not `child parent`"),
        (f"0 {'9' * 5000}\n", {}, f"line 1: '0 {'9' * 38}' is not `child parent`"),
        ("0 1\n", {"all_classes": 5}, "5 is less than the 10 classes of the source"),
    ],
)
def test_a_hierarchy_that_cannot_be_is_said_in_words(tmp_path, text, fields, said):
    assert said in hierarchy(tmp_path, text, **fields).fault().words


def test_a_hierarchy_that_is_not_there_is_said_in_words(tmp_path):
    assert "there is no" in Hierarchy(of=FINITE, parents=tmp_path / "none.txt").fault().words
    folder = Hierarchy(of=FINITE, parents=tmp_path)
    assert folder.fault().words == f"{tmp_path} cannot be read: Is a directory."
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    picture = Hierarchy(of=FINITE, parents=tmp_path / "picture.png")
    assert picture.fault().words.endswith("picture.png: byte 0 is not UTF-8; this is no text file.")


# The axis of a grid

STUDY = """
name = "parts"
question = "How much do classes and wrong labels cost?"
[data]
{data}
[objective]
kind = "classify"
loss = "softmax"
[recipe]
warmup_steps = 1
[[evaluate]]
kind = "upstream"
{images}
[[grid]]
model = "mu/4"
images_seen = 128
batch = 32
{axes}
"""
DIGITS = 'kind = "digits"\nresolution = 16'


def study(tmp_path, axes, data=DIGITS, images=""):
    path = tmp_path / "parts.toml"
    path.write_text(STUDY.format(axes=axes, data=data, images=images))
    return read_study(path)


def test_subset_and_resample_are_axes_of_a_grid(tmp_path):
    found = study(
        tmp_path,
        'subset = ["all", { classes = 5 }, { classes = 5, label_noise = 0.1 }]\n'
        'data_size = [100, "all"]\nresample = ["none", "square-root"]',
    )
    assert len(found.runs) == 12
    assert len({run.id for run in found.runs}) == 12
    said = {(run.data.subset, run.data.classes) for run in found.runs}
    assert said == {("all", 10), ("classes=5", 5), ("classes=5 label_noise=0.1", 5)}
    assert {run.resample for run in found.runs} == {None, "square-root"}


def test_a_subset_that_leaves_nothing_out_is_the_run_without(tmp_path):
    plain = study(tmp_path, "").runs
    assert study(tmp_path, "subset = [{ label_noise = 0 }]\nresample = 'none'").runs == plain
    whole = study(tmp_path, 'subset = ["all", { seed = 3 }]').runs
    assert whole == plain


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("subset = { classes = 11 }", "grid[0].subset: classes=11 is more than the 10 classes"),
        ("subset = { clases = 5 }", "unknown key; did you mean 'classes'?"),
        ("subset = { classes = 1 }", "subset[0].classes: 1 is not a whole number >= 2"),
        ("subset = { label_noise = 0.95 }", "makes a wrong label as likely"),
        ("subset = { classes = 3 }\ndata_size = 301",
         "301 is more than the 300 training images of subset classes=3"),
        ('subset = ["all", { classes = 3 }]\ndata_size = [300, 1001]',
         "1_001 is more than the 1_000 training images of [data]"),
        ("subset = [{ classes = 3 }, { classes = 3 }]", "is there twice"),
        ('resample = "sqrt"', 'there is no "sqrt"'),
    ],
)  # fmt: skip
def test_an_axis_that_cannot_be_is_said_in_words(tmp_path, axes, said):
    with pytest.raises(UserError) as error:
        study(tmp_path, axes)
    assert said.replace("'", '"') in str(error.value).replace("'", '"')


def test_more_images_to_measure_on_than_a_subset_has_is_said(tmp_path):
    with pytest.raises(UserError, match=r"held-out images, and \[\[evaluate\]\] measures on 700"):
        study(tmp_path, "subset = { classes = 3 }", images="images = 700")


def test_resampling_of_an_endless_source_needs_a_data_size(tmp_path):
    endless = 'kind = "procedural"\nheldout_size = 100'
    with pytest.raises(UserError, match=r"no end to those of \[data\]; give a data_size"):
        study(tmp_path, 'resample = "square-root"', data=endless)
    assert study(tmp_path, 'resample = "square-root"\ndata_size = 500', data=endless).runs


def test_a_transfer_task_with_several_labels_an_image_is_refused(tmp_path):
    several = '{ kind = "subset", of = { kind = "procedural", parents = [4], ' \
              'classes = 20 }, select = { } }'  # fmt: skip
    with pytest.raises(UserError, match="has several labels an image, and a transfer task"):
        study(tmp_path, "", images=f'[[evaluate]]\nkind = "fewshot"\nname = "x"\ndata = {several}')


def test_a_selection_refuses_noise_of_one():
    with pytest.raises(ValidationError):
        Selection(label_noise=1.0)
