"""The evaluation `classify`: metrics of a network's own head, with label files and class maps."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from sklearn.metrics import average_precision_score
from study_texts import GOOD

from fits.base.errors import UserError
from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.subset import Selection, Subset
from scaling.data.arrays import Arrays
from scaling.data.folder import Folder
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Classification, Corruptions, Upstream, class_map
from scaling.evaluate.class_map import read_class_map, read_labels
from scaling.evaluate.class_map_files import json_in
from scaling.evaluate.metrics import expected_calibration_error, top_error
from scaling.manifest import manifest_of, sources_of
from scaling.objectives.classify import Classify
from scaling.objectives.teacher import names_of
from scaling.study.parse import read_study

SOURCE = Procedural(classes=4, label_noise=0.2, heldout_size=600)
SOFTMAX = Classify(loss="softmax")


class Colour(nnx.Module):
    """Scores: the mean of each channel, and a constant."""

    def __call__(self, images, noise=None):
        return jnp.pad(images.mean((1, 2)), ((0, 0), (0, 1)), constant_values=0.1)


def scores_of(source):
    pixels, labels = source.heldout().batch(np.arange(source.heldout().size))
    means = (pixels.astype(np.float32) * np.float32(2 / 255) - 1).mean((1, 2))
    return np.c_[means, np.full(len(means), 0.1, np.float32)], labels


def measured(source=SOURCE, **fields):
    each = Classification(name="x", **fields)
    found = each.measure(Colour(), objective=SOFTMAX, source=source)
    assert tuple(one.metric for one in found) == each.metrics
    return {one.metric.removeprefix("x_"): one.value for one in found}, {one.n for one in found}


def test_all_measures_of_one_forward_pass():
    every = ("top1_error", "top5_error", "map100", "calibration_error")
    found, n = measured(measures=every)
    scores, labels = scores_of(SOURCE)
    upstream = Upstream().measure(Colour(), objective=SOFTMAX, source=SOURCE)
    assert found["top1_error"] == upstream[1].value
    assert found["top5_error"] == 0  # of four classes
    assert 0 < found["map100"] < 1
    calibration = expected_calibration_error(scores, labels, "softmax")
    assert found["calibration_error"] == pytest.approx(calibration, rel=1e-4)
    assert n == {600}
    assert Classification(name="x", measures=every).errors == ("x_top1_error", "x_top5_error")


def test_labels_from_a_file_take_the_place_of_the_source_s(tmp_path):
    scores, own = scores_of(SOURCE)
    first = scores.argmax(1)
    lists = [
        [] if i % 3 == 0 else [int(first[i]), int(own[i])] if i % 3 == 1 else [3]
        for i in range(600)
    ]
    (tmp_path / "real.json").write_text(json.dumps(lists))
    found, n = measured(labels=tmp_path / "real.json")
    assert found["top1_error"] == pytest.approx((first[2::3] != 3).mean() / 2)
    assert n == {400}


def test_a_class_map_of_a_part_of_the_classes(tmp_path):
    """Image class 0 is head class 1 or 2, image class 2 is 0; images of 1 and 3 are left out."""
    (tmp_path / "map.toml").write_text('[classes]\n"glyph 0" = [1, 2]\n"glyph 2" = 0\n')
    rows = "class,training_class\nglyph 0,1\nglyph 0,2\nglyph 2,0\n"
    (tmp_path / "map.csv").write_text(rows)
    scores, labels = scores_of(SOURCE)
    kept = (labels == 0) | (labels == 2)
    for among, columns in (("all", [0, 1, 2, 3]), ("mapped", [0, 1, 2])):
        guess = scores[:, columns].argmax(1)
        right = np.where(labels == 0, np.isin(guess, [1, 2]), guess == 0)[kept]
        for file in ("map.toml", "map.csv"):
            found, n = measured(class_map=tmp_path / file, among=among)
            assert found["top1_error"] == pytest.approx(1 - right.mean())
            assert n == {kept.sum()}


def test_names_of_folders_are_what_a_map_names(tmp_path):
    """As of ImageNet-V2, whose folders 0 .. 11 sort as 0, 1, 10, 11, 2, ..."""
    for split in ("train", "test"):
        for name in map(str, range(12)):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (4, 4), (20 * int(name), 0, 0)).save(tmp_path / split / name / "a.png")
    source = Folder(path=tmp_path, resolution=4)
    (tmp_path / "map.toml").write_text("[classes]\n" + "\n".join(f'"{i}" = {i}' for i in range(12)))
    mapped = read_class_map(tmp_path / "map.toml", 12, 12, source.class_names)
    images = source.heldout()
    pixels, labels = images.batch(np.arange(12))
    truth = pixels[:, 0, 0, 0] // 20
    assert list(labels) != list(truth)
    np.testing.assert_array_equal(mapped.labels(labels)[:, 0], truth)
    (tmp_path / "real.json").write_text(json.dumps({"7/a.png": [3], "10/a.png": [4, 5]}))
    found = read_labels(tmp_path / "real.json", 12, 12, images.names)
    assert found[images.names.index("10/a.png")].tolist() == [4, 5]
    assert (found.max(1) >= 0).sum() == 2


def objectnet(made, **changed):
    """Its four files, of six classes of a classifier in place of a thousand, as it has them."""
    files = {
        "folder_to_objectnet_label.json": {"clock": "Alarm clock", "rake": "Rake", "cup": "Mug"},
        "objectnet_to_imagenet_1k.json": {"Alarm clock": "analog; digital, led", "Mug": "mug"},
        "pytorch_to_imagenet_2012_id.json": {"0": 2, "1": 0, "2": 5, "3": 4, "4": 1, "5": 3},
        "imagenet_to_label_2012_v2": "mug\ndigital, led\ncrane\nanalog\ncrane\nfox\n",
    }
    made.mkdir()
    for name, what in files.items():
        what = changed.get(name.partition("_")[0], what)
        if what is not None:
            (made / name).write_text(what if isinstance(what, str) else json.dumps(what))
    return made


def test_objectnet_s_own_files_are_a_class_map(tmp_path):
    names = ["clock", "cup", "rake"]
    found = read_class_map(objectnet(tmp_path / "mappings"), 3, 6, names)
    assert sorted(found.right[0]) == [4, 5]
    assert found.right[1].tolist() == [1, -1]
    assert found.right[2].tolist() == [-1, -1]  # no class of the classifier
    fewer = read_class_map(tmp_path / "mappings", 2, 6, ["cup", "other"])
    assert fewer.right.tolist() == [[1], [-1]]


@pytest.mark.parametrize(
    ("changed", "head", "said"),
    [
        (
            {"imagenet": None},
            6,
            "has no imagenet_to_label_2012_v2. A folder is read",
        ),
        ({"objectnet": {"Mug": "crane"}}, 6, "'Mug' is 'crane', which .* do not have once"),
        ({"objectnet": {"Mug": "jug"}}, 6, "'Mug' is 'jug', which .* do not have once"),
        ({"folder": ["Mug"]}, 6, "is no object of texts"),
        ({"pytorch": {"0": "2"}}, 6, "is no object of numbers"),
        ({"objectnet": "{"}, 6, "is no JSON"),
        ({}, 7, "is of 6 classes, and the classifier has 7"),
        ({"folder": {"mug": "Mug"}}, 6, "maps no class of the images; its first is 'mug'"),
    ],
)
def test_objectnet_s_files_that_do_not_fit_are_named(tmp_path, changed, head, said):
    folder = objectnet(tmp_path / "mappings", **changed)
    with pytest.raises(ValueError, match=said):
        read_class_map(folder, 3, head, ["clock", "cup", "rake"])


def test_a_list_of_the_classifier_s_classes_is_a_class_map(tmp_path):
    """As ImageNet's WordNet ids are published, with their words or without, for folders of them."""
    (tmp_path / "list.txt").write_text("n3 tench, Tinca\nn1 goldfish\nn2\n")
    found = read_class_map(tmp_path / "list.txt", 2, 3, ["n2", "n3"])
    assert found.right.tolist() == [[2], [0]]
    assert found.known.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "head", "said"),
    [
        ("a\nb\na\n", 3, "lines 1 and 3 both begin with 'a'"),
        ("a\n\nb\n", 3, "line 2: is empty"),
        ("a\nb\n", 3, "is of 2 classes, and the classifier has 3"),
        ("x\ny\nz\n", 3, "it maps no class of the images; its first is 'x', and the first is 'a'"),
    ],
)
def test_a_list_that_does_not_fit_is_named(tmp_path, text, head, said):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_class_map(tmp_path / "list.txt", 2, head, ["a", "b"])


def test_the_manifest_has_the_checksums_of_labels_and_maps(tmp_path):
    (tmp_path / "map.toml").write_text("[classes]\n0 = 0\n")
    run = read_study("demo").runs[0]
    folder = objectnet(tmp_path / "mappings")
    maps = [Classification(name="x", class_map=path) for path in (tmp_path / "map.toml", folder)]
    found = manifest_of(run, maps)["evaluate"]
    assert list(map(Path, found)) == [tmp_path / "map.toml", *sorted(folder.iterdir())]
    (tmp_path / "map.toml").write_text("[classes]\n0 = 1\n")
    changed = manifest_of(run, maps)["evaluate"]
    assert [found[path] == changed[path] for path in found] == [False, True, True, True, True]


def test_a_map_from_each_class_to_itself_changes_nothing(tmp_path):
    (tmp_path / "map.toml").write_text("[classes]\n0 = 0\n1 = 1\n2 = 2\n3 = 3\n")
    scores, labels = scores_of(SOURCE)
    mapped = read_class_map(tmp_path / "map.toml", 4, 4)
    chosen = class_map.among(scores, mapped.known)
    assert top_error(chosen, mapped.labels(labels)) == top_error(scores, labels)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.toml", "[classes]\n7 = 0\n", "there is no class '7' of the images; they are 0 .. 3"),
        ("m.toml", "[classes]\n0 = 4\n", "'0' is 4, and the classifier's classes are 0 .. 3"),
        ("m.toml", "[classes]\n0 = 'a'\n", "'0' is a; give a class number or a list of some."),
        ("m.toml", "[clases]\n0 = 1\n", "needs one table, [classes]"),
        ("m.toml", "[classes\n", "is no TOML"),
        ("m.toml", "[classes]\n", "it maps no class"),
        ("m.csv", "a,b\n0,1\n", "line 1: is a,b; write class,training_class."),
        ("m.csv", "class,training_class\n0,x\n", "line 2: is 0,x; write a class of the images"),
        ("m.csv", "", "write class,training_class."),
        ("m.csv", f"class,training_class\n{'x' * 200_000},0\n", "is no CSV (field larger than"),
        ("l.json", "[[1]", "is no JSON"),
        ("l.json", "3", "is neither a list nor an object."),
        ("l.json", "[[1], [2]]", "has labels of 2 images, and there are 3."),
        ("l.json", "[[1], [2], [4]]", "image 2 has [4]; give a list of classes in 0 .. 3."),
        ("l.json", '[[1], [2], ["a"]]', "image 2 has ['a']; give"),
        ("l.json", '{"a.png": [1]}', "names files, and these images have no names"),
        ("l.json", "[[], [], []]", "no image has a label."),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    read = (read_labels, (4, 3)) if path.suffix == ".json" else (read_class_map, (4, 4))
    with pytest.raises(ValueError, match=name) as told:
        read[0](path, *read[1])
    assert said in str(told.value)


def study(tmp_path, more):
    path = tmp_path / "study.toml"
    path.write_text(GOOD + f'\n[[evaluate]]\nkind = "classify"\nname = "own"\n{more}\n')
    with pytest.raises(UserError) as told:
        read_study(path)
    return str(told.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            'measures = ["top2_error"]',
            'there is no "top2_error"; did you mean "top5_error" or "top1_error"?',
        ),
        ('among = "mapped"', 'among = "mapped" needs a class_map.'),
        ('labels = "a.json"\nclass_map = "b.csv"', "leave class_map or labels out."),
        ('labels = "no.json"', "no.json: cannot be read: No such file or directory."),
        ("data = { kind = 'digits', resolution = 8 }", "px where [data] has"),
        ("images = 10_000_000", "is more than the"),
    ],
)
def test_a_study_names_what_is_wrong_with_it(tmp_path, more, said):
    told = study(tmp_path, more)
    assert said in told
    assert "line " in told


def test_other_classes_than_the_head_s_need_a_class_map(tmp_path):
    images = np.zeros((6, 16, 16), np.uint8)
    labels = np.arange(6)
    np.savez(
        tmp_path / "six.npz",
        train_images=images, train_labels=labels, heldout_images=images, heldout_labels=labels,
    )  # fmt: skip
    each = Classification(name="x", data=Arrays(path=tmp_path / "six.npz", resolution=16))
    (fault,) = each.faults(each.data, 4)
    assert fault.words.startswith("the classifier knows 4 classes, and the images are of 6;")
    (tmp_path / "map.toml").write_text("[classes]\n5 = 1\n")
    mapped = each.model_copy(update={"class_map": tmp_path / "map.toml"})
    assert list(mapped.faults(each.data, 4)) == []
    assert mapped.measure(Colour(), objective=SOFTMAX, source=SOURCE)[0].n == 1


@pytest.mark.parametrize("classes", [2, 5])
def test_top5_of_five_classes_or_fewer_is_a_mistake_of_the_study(tmp_path, classes):
    text = GOOD.replace('kind = "procedural"', f'kind = "procedural"\nclasses = {classes}', 1)
    more = 'kind = "classify"\nname = "own"\nimages = 100\nmeasures = ["top5_error"]\n'
    path = tmp_path / "study.toml"
    path.write_text(f"{text}\n[[evaluate]]\n{more}")
    with pytest.raises(UserError) as told:
        read_study(path)
    assert "measures: top5_error is 0 of any classifier that chooses among" in str(told.value)
    assert f"among {classes} classes; it needs at least 6. Leave it out" in str(told.value)
    path.write_text(path.read_text().replace(f"classes = {classes}", "classes = 6", 1))
    study = read_study(path)
    assert "own_top5_error" in study.evaluate[-1].metrics
    few = text.replace(f"classes = {classes}", "classes = 6").replace(
        "[[grid]]\n", f"[[grid]]\nsubset = [{{ classes = {classes} }}]\n", 1
    )
    path.write_text(f"{few}\n[[evaluate]]\n{more}")
    with pytest.raises(UserError) as told:
        read_study(path)
    assert "grid[0].subset[0]: does not suit own_top5_error: top5_error is 0" in str(told.value)


def test_top5_among_mapped_classes_counts_those(tmp_path):
    names = ("top1_error", "top5_error")
    each = Classification(
        name="x", data=SOURCE, class_map=tmp_path / "map.toml", among="mapped", measures=names
    )
    for known, wrong in ((5, 1), (6, 0)):
        targets = list(range(known))
        each.class_map.write_text(f'[classes]\n"glyph 0" = {targets}\n')
        assert len(list(each.faults(each.data, 10))) == wrong
        everything = each.model_copy(update={"among": "all"})
        assert list(everything.faults(each.data, 10)) == []


def test_its_images_are_checked_before_training_and_named_in_the_manifest():
    from finished_runs import a_run

    run, own = a_run(), Procedural(classes=4, heldout_size=32)
    assert sources_of(run, [Classification(name="x", data=own)]) == [run.data, own]
    assert sources_of(run, [Classification(name="x"), Upstream()]) == [run.data]


def test_labels_that_do_not_suit_the_images_are_said_before_anything_is_trained(tmp_path):
    for split, name in (("train", "a"), ("test", "b")):
        (tmp_path / split / "cat").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / split / "cat" / f"{name}.png")
    folder = Folder(path=tmp_path, resolution=4)
    assert folder.heldout_names() == folder.heldout().names == ["cat/b.png"]
    each = Classification(name="x", labels=tmp_path / "real.json")
    for text, source, said in (
        ('{"a.png": [0]}', folder, "there is no image 'a.png'; did you mean 'b.png'?"),
        ('{"b.png": []}', folder, "no image has a label."),
        ('{"b.png": [0]}', SOURCE, "names files, and these images have no names"),
        ('{"b.png": [0]}', folder, None),
    ):
        (tmp_path / "real.json").write_text(text + " ")
        json_in.cache_clear()
        found = [fault.words for fault in each.faults(source, 4)]
        assert len(found) == (said is not None)
        assert all(said in words for words in found)


def test_labels_of_images_that_are_skipped_are_left_out_with_them(tmp_path):
    for split in ("train", "test"):
        for label in (0, 1):
            (tmp_path / split / str(label)).mkdir(parents=True)
            for name in "abc":
                file = tmp_path / split / str(label) / f"{label}{name}.png"
                Image.new("RGB", (4, 4), (100 * label, 0, 0)).save(file)
    (tmp_path / "test/0/0b.png").write_bytes(b"no image")
    source = Folder(path=tmp_path, resolution=4, skip_unreadable=1)
    images, each = source.heldout(), Classification(name="x", labels=tmp_path / "real.json")
    assert images.size == 5
    labels = {"0b.png": 1, "0c.png": 2, "1a.png": [3]}
    (tmp_path / "real.json").write_text(json.dumps(labels))
    assert list(each.faults(source, 4)) == []
    found = each._labels(source, images, 4)
    assert found[images.names.index("0/0c.png")].max() == 2
    assert found[images.names.index("1/1a.png")].max() == 3
    assert len(found) == 5


def test_labels_by_a_name_that_several_images_have_are_refused(tmp_path):
    file = tmp_path / "real.json"
    names = ["c0/0.jpg", "c1/0.jpg", "c1/1.jpg"]
    file.write_text('{"0.jpg": [2]}')
    with pytest.raises(ValueError, match=r"2 images are called '0.jpg'; write 'c0/0.jpg'"):
        read_labels(file, 3, 3, names)
    file = tmp_path / "full.json"
    file.write_text('{"c0/0.jpg": [2], "1.jpg": [1]}')
    assert read_labels(file, 3, 3, names).tolist() == [[2], [-1], [1]]


def images_named(root, names, split="test"):
    """Files of that many levels of red, by their names below the split."""
    for i, name in enumerate(names):
        file = root / split / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (i, 0, 0)).save(file)
    return Folder(path=root, resolution=4)


VALIDATION = [f"n{i % 3}/ILSVRC2012_val_{i + 1:08d}.png" for i in range(6)]


def test_real_s_list_is_applied_by_the_number_in_each_file_s_name(tmp_path):
    """A folder comes class by class; the published list goes by the numbers of the files."""
    source = images_named(tmp_path, VALIDATION)
    assert source.heldout_names() != VALIDATION
    (tmp_path / "real.json").write_text(json.dumps([[i] for i in range(10)]))
    each = Classification(name="x", labels=tmp_path / "real.json")
    found = each._labels(source, source.heldout(), 10)[:, 0]
    assert found.tolist() == [VALIDATION.index(name) for name in source.heldout_names()]
    assert list(each.faults(source, 10)) == []


@pytest.mark.parametrize(
    ("names", "count", "said"),
    [
        (["a/1.png", "a/2.png"], 2, "and these images have names, as 'a/1.png'; give an object"),
        (VALIDATION, 5, "has labels of 5 images, and there is 'n2/ILSVRC2012_val_00000006.png'"),
    ],
)
def test_a_list_is_refused_where_names_do_not_say_its_order(tmp_path, names, count, said):
    source = images_named(tmp_path, names)
    (tmp_path / "real.json").write_text(json.dumps([[0]] * count))
    each = Classification(name="x", labels=tmp_path / "real.json")
    (fault,) = each.faults(source, 4)
    assert said in fault.words


def test_labels_that_contradict_those_of_the_source_are_refused(tmp_path):
    """ReaL has the original label among those of most images: otherwise the order is another."""
    own = np.arange(40) % 4
    images = np.zeros((40, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", heldout_images=images, heldout_labels=own)
    source = Arrays(path=tmp_path / "a.npz", resolution=8)
    each = Classification(name="x", labels=tmp_path / "real.json", data=source)
    turned = [[int((label + (i < 21)) % 4), 0] for i, label in enumerate(own)]
    right = [[int(label), 0] if i % 2 else [] for i, label in enumerate(own)]
    for labels, wrong in ((sorted(own.tolist()), 1), (turned, 0), (right, 0)):
        each.labels.write_text(json.dumps(labels))
        json_in.cache_clear()
        found = list(each.faults(source, 4))
        assert len(found) == wrong
        if wrong:
            assert (
                "of 40 images that have a label there, 10 have that of the source" in found[0].words
            )
            with pytest.raises(ValueError, match="their order, or the numbers of the classes"):
                each.measure(Colour(), objective=SOFTMAX, source=SOURCE)
        else:
            each.measure(Colour(), objective=SOFTMAX, source=SOURCE)
    each.labels.write_text(json.dumps(sorted(own.tolist())))
    json_in.cache_clear()
    assert list(each.faults(source, 8)) == []  # a head of other classes, whose labels these are


def test_names_go_with_the_images_of_a_part_of_a_source(tmp_path):
    source = images_named(tmp_path, VALIDATION)
    (tmp_path / "parents").write_text("0 3\n")
    above = Hierarchy(of=source, parents=tmp_path / "parents", all_classes=4)
    assert above.heldout_names() == source.heldout_names()
    some = Subset(of=source, select=Selection(classes=2))
    images = some.heldout()
    reds = images.batch(np.arange(4))[0][:, 0, 0, 0]
    assert [VALIDATION[red] for red in reds] == some.heldout_names()
    labels = {name: i % 2 for i, name in enumerate(VALIDATION)}
    (tmp_path / "real.json").write_text(json.dumps(labels))
    each = Classification(name="x", labels=tmp_path / "real.json")
    assert list(each.faults(some, 2)) == []
    assert each._labels(some, images, 2)[:, 0].tolist() == [red % 2 for red in reds]


def test_the_classifier_chooses_among_the_classes_that_images_have(tmp_path):
    """As of ImageNet-R of TFDS, whose labels are those of ImageNet: 200 of 1,000 occur."""
    labels = np.array([0, 2, 2, 0])
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[..., 1] = 200  # class 1, which no image is of, has the largest score
    images[..., 0], images[..., 2] = 60, 30
    np.savez(
        tmp_path / "a.npz",
        train_images=images, train_labels=np.arange(4),
        heldout_images=images, heldout_labels=labels,
    )  # fmt: skip
    source = Arrays(path=tmp_path / "a.npz", resolution=8)
    fields = {"data": source, "measures": ("top1_error",)}
    assert measured(**fields)[0] == {"top1_error": 1.0}
    assert measured(**fields, among="present")[0] == {"top1_error": 0.5}
    each = Classification(name="x", data=source, among="present", measures=("top5_error",))
    (fault,) = each.faults(source, 4)
    assert "chooses among 2 classes" in fault.words
    with pytest.raises(ValueError, match=r"top5_error .* among 2 classes"):
        each.measure(Colour(), objective=SOFTMAX, source=SOURCE)


@pytest.mark.parametrize("kind", [Classification, Corruptions, Upstream])
def test_a_head_of_other_classes_of_the_same_number_is_refused(tmp_path, kind):
    names = ["ant", "bee", "cow"]
    one = images_named(tmp_path / "one", [f"{name}/0.png" for name in names])
    other = images_named(tmp_path / "other", [f"{name}/0.png" for name in ["ant", "cat", "dog"]])
    each = kind() if kind is Upstream else kind(name="x", data=other)
    (fault,) = each.faults(other, 3, one.class_names)
    assert fault.words.startswith(
        "the images are of other classes than those that the classifier was trained on: class 1 is "
        "'cat' and was 'bee', class 2 is 'dog' and was 'cow'; take images of the same classes, in "
        "the same order"
    )
    assert list(each.faults(one, 3, one.class_names)) == []
    assert list(each.faults(other, 3, None)) == []


@pytest.mark.parametrize("kind", [Upstream, Classification, Corruptions])
def test_folders_called_by_numbers_are_not_taken_in_the_order_of_text(tmp_path, kind):
    """As ImageNet-V2's, where nothing tells the names of the classifier's classes."""
    short = images_named(tmp_path / "short", [f"{k}/0.png" for k in range(12)])
    equal = images_named(tmp_path / "equal", [f"{k:02}/0.png" for k in range(12)])
    few = images_named(tmp_path / "few", [f"{k}/0.png" for k in range(1, 10)])
    each = kind() if kind is Upstream else kind(name="x", data=short)
    (fault,) = each.faults(short, 12)
    assert "sorted as text, so that class 2 is '10'" in fault.words
    assert ("or give a class_map" in fault.words) is (kind is Classification)
    assert list(each.faults(short, 12, short.class_names)) == []  # it was trained on these folders
    assert [*each.faults(equal, 12), *each.faults(few, 9)] == []


def test_a_class_map_says_what_other_names_mean(tmp_path):
    other = images_named(tmp_path / "other", ["ant/0.png", "cat/0.png"])
    (tmp_path / "map.toml").write_text("[classes]\nant = 0\ncat = 1\n")
    each = Classification(name="x", data=other)
    (fault,) = each.faults(other, 2, ["ant", "bee"])
    assert fault.words.endswith("in the same order, or give a class_map.")
    mapped = each.model_copy(update={"class_map": tmp_path / "map.toml"})
    assert list(mapped.faults(other, 2, ["ant", "bee"])) == []


def test_a_study_and_tasks_refuse_a_source_of_other_class_names(tmp_path):
    from scaling.study.tasks import Subject, read_tasks

    other = images_named(tmp_path / "other", [f"{name}/0.png" for name in "abcd"])
    data = f"data = {{ kind = 'folder', resolution = 16, path = '{other.path}' }}"
    text = GOOD.replace('kind = "procedural"', 'kind = "procedural"\nclasses = 4', 1)
    table = f'[[evaluate]]\nkind = "classify"\nname = "own"\n{data}\n'
    (tmp_path / "study.toml").write_text(f"{text}\n{table}")
    said = r"class 0 is 'a' and was 'glyph 0 of seed 0', .* and 1 more; take images of the same"
    with pytest.raises(UserError, match=said):
        read_study(tmp_path / "study.toml")
    (tmp_path / "tasks.toml").write_text(table)
    with pytest.raises(UserError, match=f"runs/a: .*{said}"):
        read_tasks(tmp_path / "tasks.toml", [Subject("runs/a", 16, 4, SOURCE)])


@pytest.mark.parametrize("select", [None, Selection(classes=3, seed=0)], ids=["whole", "subset"])
def test_glyphs_of_another_seed_are_other_classes(select):
    """A trunk of the demo under seed 1, measured on the demo, had an error near 1."""
    mine, other = (
        source if select is None else Subset(of=source, select=select)
        for source in (SOURCE, SOURCE.model_copy(update={"seed": 1}))
    )
    names = names_of(mine)
    for each in (Upstream(), Classification(name="x", data=other)):
        (fault,) = each.faults(other, other.classes, names)
        assert "glyph" in fault.words
        assert "of seed 1' and was 'glyph" in fault.words
        assert list(each.faults(mine, mine.classes, names)) == []


def test_with_several_targets_map_counts_an_image_once_for_each(tmp_path):
    (tmp_path / "map.toml").write_text('[classes]\n"glyph 0" = [0, 1]\n"glyph 1" = 2\n')
    scores, labels = (each[:90] for each in scores_of(SOURCE))
    kept = labels < 2
    rows = np.array([[0, 1], [2, -1]])[labels[kept]]
    found, _ = measured(class_map=tmp_path / "map.toml", measures=("map100",), images=90)
    relevant = [(rows == target).any(1) for target in range(3)]
    precision = [average_precision_score(r, scores[kept, c]) for c, r in enumerate(relevant)]
    assert sum(map(sum, relevant)) > kept.sum()
    assert found["map100"] == pytest.approx(np.average(precision, weights=[*map(sum, relevant)]))
