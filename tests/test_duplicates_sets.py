"""Which sets `scaling duplicates` compares, and that how a study shows images does not matter."""

import shutil

import numpy as np
import pytest
from PIL import Image

from scaling.cli.duplicates import duplicates
from scaling.data.file_ranges import FileRange, in_common
from scaling.duplicates import Alike, find
from scaling.study.parse import read_study

SIDE, TRAIN, HELDOUT = 48, 24, 8
UPSTREAM = '[[evaluate]]\nkind = "upstream"'
CENTRAL = "decode = { resize_to = 40 }"
STUDY = """
name = "sets"
question = "Which images were seen before?"

[data]
{data}

[models.nano]
patch = 8
width = 8
depth = 1
mlp = 16
heads = 1

[recipe]
warmup_steps = 1

{evaluations}

[[grid]]
model = "nano"
images_seen = 160
batch = 16
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def photographs(tmp_path):
    """Blurred coloured noise in two classes, a few of each split."""
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("test", HELDOUT), ("other", HELDOUT)):
        for i in range(count):
            folder = tmp_path / "photographs" / split / "ab"[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
            large = small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            large.save(folder / f"{i:02}.png")
    return tmp_path / "photographs"


def folder(root, train="train", heldout="test", more=""):
    words = [f'kind = "folder"\npath = "{root}"\nresolution = 32', more]
    words += [f'train_split = "{train}"\nheldout_split = "{heldout}"']
    return "\n".join(word for word in words if word)


def inline(data):
    return "{ " + data.replace("\n", ", ") + " }"


def fewshot(data, kind="fewshot"):
    return f'[[evaluate]]\nkind = "{kind}"\nname = "task"\ndata = {inline(data)}\n'


def found_in(tmp_path, data, evaluations, alike=None):
    """What is left out, the rows by name, and what was said."""
    path, said = tmp_path / "sets.toml", []
    path.write_text(STUDY.format(data=data, evaluations=evaluations))
    left_out, rows = find(read_study(str(path)), alike or Alike(), said.append)
    return left_out, {row.name: row for row in rows}, "\n".join(said)


def subset(data):
    return f'kind = "subset"\nselect = {{ classes = 2 }}\nof = {inline(data)}'


@pytest.mark.parametrize(
    ("of_study", "of_task"),
    [("", CENTRAL), (CENTRAL, ""), ("", "decode = { keep_aspect = true, resize_to = 44 }")],
)
@pytest.mark.parametrize("around", [lambda data: data, subset])
def test_all_images_are_found_again_however_the_two_sets_are_decoded(
    photographs, tmp_path, of_study, of_task, around
):
    task = around(folder(photographs, "other", "train", of_task))
    left_out, rows, _ = found_in(tmp_path, folder(photographs, more=of_study), fewshot(task))
    assert rows["task, held out"].seen == TRAIN
    assert rows["task, train"].seen == 0
    assert len(left_out.images) == TRAIN


def test_a_network_sees_the_images_as_the_study_shows_them(photographs, tmp_path):
    seen = []

    def features(images, numbers):
        seen.append((images.resolution, images.batch(numbers)[0]))
        return np.zeros((len(numbers), 2), np.float32)

    data = folder(photographs, more=CENTRAL)
    found_in(tmp_path, data, UPSTREAM, Alike(features=features))
    shown = read_study(str(tmp_path / "sets.toml")).runs[0].data
    assert [resolution for resolution, _ in seen] == [32, 32]
    for (_, images), is_shown in zip(seen, (shown.heldout(), shown.train()), strict=True):
        np.testing.assert_array_equal(images, is_shown.batch(np.arange(is_shown.size))[0])


def test_of_a_subset_of_the_studys_own_images_no_number_is_said_that_is_another(
    photographs, tmp_path
):
    for split in ("train", "test"):
        shutil.copytree(photographs / split / "a", photographs / split / "c")
    data = folder(photographs)
    said = found_in(tmp_path, data, fewshot(subset(data)))[2]  # two classes of three
    assert "task, train: all of its images are training images of the study itself" in said


@pytest.mark.parametrize("kind", ["fewshot", "linear_probe", "knn"])
def test_the_studys_own_training_images_are_no_finding(photographs, tmp_path, kind):
    task = subset(folder(photographs, heldout="other", more=CENTRAL))
    left_out, rows, said = found_in(tmp_path, folder(photographs), fewshot(task, kind))
    assert set(rows) == {"held-out images of [data]", "task, held out"}
    assert left_out.images == ()
    assert "task, train: all of its images are training images of the study" in said


def test_held_out_images_of_a_task_that_the_study_trains_on_are_a_finding(photographs, tmp_path):
    task = folder(photographs, "test", "train")
    left_out, rows, _ = found_in(tmp_path, folder(photographs, heldout="other"), fewshot(task))
    assert rows["task, held out"].seen == TRAIN
    assert len(left_out.images) == TRAIN


def test_training_images_of_an_evaluation_that_looks_at_none_are_not_compared(
    photographs, tmp_path
):
    own = '[[evaluate]]\nkind = "classify"\nname = "task"\ndata = '
    own += inline(folder(photographs, "train", "other")) + "\n"
    left_out, rows, said = found_in(tmp_path, folder(photographs), own)
    assert set(rows) == {"held-out images of [data]", "task, held out"}
    assert (left_out.images, "task, train" in said) == ((), False)


def test_a_file_that_would_leave_no_image_is_not_written(photographs, tmp_path, capsys):
    shutil.copytree(photographs, tmp_path / "copy")
    path = tmp_path / "sets.toml"
    evaluations = fewshot(folder(tmp_path / "copy", heldout="other"))
    path.write_text(STUDY.format(data=folder(photographs), evaluations=evaluations))
    duplicates(str(path), tmp_path / "results", 4, None, 0.95)
    assert "no file is written, as no training image would be left" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("around", ["plain", "hierarchy", "subset"])
def test_the_table_that_is_printed_takes_the_place_of_data_to_the_letter(
    photographs, tmp_path, capsys, around
):
    (photographs / "train/a/copy.png").write_bytes((photographs / "test/a/00.png").read_bytes())
    parents = tmp_path / 'of "all".txt'
    parents.write_text("0 2\n1 2\n")
    data = folder(photographs, heldout="test", more="decode = { resize_to = 40 }")
    if around == "hierarchy":
        data = f"kind = 'hierarchy'\nparents = '{parents}'\nall_classes = 3\nof = {inline(data)}"
    if around == "subset":
        data = subset(data)
    path = tmp_path / "sets.toml"
    path.write_text(STUDY.format(data=data, evaluations=UPSTREAM))
    before = read_study(str(path)).runs[0].data
    duplicates(str(path), tmp_path / "results", 4, None, 0.95)
    out = capsys.readouterr().out
    printed = out[out.index("[data]\n") + len("[data]\n") :]
    path.write_text(STUDY.format(data=printed, evaluations=UPSTREAM))
    (run,) = read_study(str(path)).runs
    assert run.data.train().size == TRAIN
    assert run.data.of == (before.of if around == "subset" else before)


def test_runs_on_the_same_images_at_several_resolutions_are_of_one_source(photographs, tmp_path):
    path = tmp_path / "sets.toml"
    path.write_text(STUDY.format(data=folder(photographs), evaluations=UPSTREAM))
    study = read_study(str(path))
    run = study.runs[0]
    other = run.model_copy(update={"data": run.data.model_copy(update={"resolution": 16})})
    both = study.model_copy(update={"runs": (run, other)})
    left_out, (row,) = find(both, Alike(), lambda line: None)
    assert (row.images, left_out.size) == (HELDOUT, TRAIN)


def test_slices_of_one_file_have_in_common_what_lies_in_both(tmp_path):
    def part(first, count, name="a"):
        return FileRange(str(tmp_path), name, "", first, count)

    whole = [part(0, 90), part(0, 50, "b")]
    assert in_common([part(90, 10)], whole) == 0
    assert in_common([part(80, 20)], whole) == 10
    assert in_common([part(0, 50, "b"), part(0, 10, "c")], whole) == 50
    (tmp_path / "link").symlink_to(tmp_path)
    assert in_common([part(0, 90)._replace(folder=str(tmp_path / "link"))], whole) == 90
