"""Zero-shot classification and retrieval of a network whose vectors are known."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest
from captions import CAPTIONS, COLOURS, KINDS, PLACES, Captions
from flax import nnx
from objective_cases import NANO, TOKENS, small
from study_texts import GOOD
from weights_cases import random_params

from fits.base.errors import UserError
from models.weights.writing import write
from scaling.cli.main import main
from scaling.data.arrays import Digits
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Retrieval, ZeroShot
from scaling.evaluate.retrieval import ranks
from scaling.objectives.clip import Clip
from scaling.objectives.lit import Lit
from scaling.objectives.siglip import SigLip
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.study.parse import read_study
from scaling.training.initial import Init
from scaling.worker import Ended, work

CLIP = Clip(tokens=TOKENS.model_copy(update={"length": 16}))
PROMPTS = tuple(f"a {{}} square at the {place}" for place in PLACES)


class Corners(nnx.Module):
    """The mean colour of each quarter of an image: [batch, 12]."""

    def __call__(self, images, noise=None):
        quarters = images.reshape(len(images), 2, 8, 2, 8, 3).mean((2, 4))
        return quarters.reshape(len(images), -1)


class Knows(nnx.Module):
    """Texts that it knows become a code each, images the code of the picture most like them."""

    def __init__(self, texts=CAPTIONS, turn=0):
        pictures, _ = Captions().train().batch(np.arange(16))
        self.backbone = Corners()
        self.pictures = nnx.Param(self.backbone(jnp.asarray(pictures, jnp.float32) / 127.5 - 1))
        self.texts = nnx.Param(jnp.asarray(CLIP.tokenizer(Captions()).encode_cut(texts)))
        self.codes = nnx.Param(jnp.roll(jnp.eye(16), turn, axis=0))

    def of_features(self, features):
        apart = jnp.square(features[:, None] - self.pictures[...]).sum(-1)
        return jnp.eye(16)[apart.argmin(-1)]

    def of_texts(self, tokens):
        known = (tokens[:, None] == self.texts[...]).all(-1)
        return self.codes[...][known.argmax(-1)]


class Same(Knows):
    """All vectors are alike."""

    def of_features(self, features):
        return jnp.ones((len(features), 1))

    def of_texts(self, tokens):
        return jnp.ones((len(tokens), 1))


def measured(evaluation, module):
    found = evaluation.measure(module, objective=CLIP, source=Captions())
    assert tuple(each.metric for each in found) == evaluation.metrics == evaluation.errors
    assert {each.n for each in found} == {64}
    return [each.value for each in found]


def test_a_network_that_knows_the_prompts_makes_no_mistake_and_one_that_errs_is_always_wrong():
    zeroshot = ZeroShot(name="zs", prompts=PROMPTS)
    assert measured(zeroshot, Knows()) == [0.0]
    assert measured(zeroshot, Knows(turn=4)) == [1.0]  # the code of another colour


def test_prompts_are_averaged_after_they_have_length_one():
    """Of one prompt a network knows one place alone: the other places' images have no colour."""
    zeroshot = ZeroShot(name="zs", prompts=PROMPTS[:1])
    (error,) = measured(zeroshot, Knows())
    # a quarter is found by its place; of the rest all scores are 0, and the first class is chosen
    assert error == pytest.approx(0.75 * 0.75)


def test_names_of_one_s_own_take_the_place_of_the_source_s():
    names = tuple(f"{colour} square at the top left" for colour in COLOURS)
    own = ZeroShot(name="zs", prompts=("a {}",), class_names=names)
    assert measured(own, Knows()) == [pytest.approx(0.75 * 0.75)]
    swapped = ZeroShot(name="zs", prompts=PROMPTS, class_names=tuple(COLOURS)[::-1])
    assert measured(swapped, Knows()) == [1.0]


def test_every_caption_is_found_and_none_by_a_network_that_tells_nothing_apart():
    """64 images have 16 captions; images of the same caption are right for each other's."""
    retrieval = Retrieval(name="r")
    assert measured(retrieval, Knows()) == [0.0] * 6
    assert measured(retrieval, Same()) == [1.0] * 6
    assert measured(retrieval, Knows(turn=1)) == [1.0] * 6


def test_ranks_by_hand():
    images = np.eye(3, dtype=np.float32)
    texts = np.array([[0.6, 0.8, 0], [0, 1, 0], [0.8, 0, 0.6]], np.float32)
    found = ranks(images, texts, ["a", "b", "c"])
    assert found["image_to_text"].tolist() == [1, 0, 0]
    assert found["text_to_image"].tolist() == [1, 0, 1]
    found = ranks(images, texts, ["a", "b", "a"])
    assert found["image_to_text"].tolist() == [0, 0, 0]
    assert found["text_to_image"].tolist() == [1, 0, 0]


def test_every_caption_of_an_image_is_right_for_it_and_looks_for_it():
    """Four texts of three images: "b" is said of two of them."""
    images = np.eye(3, dtype=np.float32)
    texts = np.array([[0, 1, 0], [0.6, 0, 0.8], [0, 0.6, 0.8], [0, 0, 1]], np.float32)
    found = ranks(images, texts, [("a", "b"), "c", ("b",)])
    assert found["image_to_text"].tolist() == [0, 1, 0]
    assert found["text_to_image"].tolist() == [2, 0, 1, 0]
    rng = np.random.default_rng(0)
    many, words = rng.normal(size=(7, 4)), rng.normal(size=(21, 4))
    said = [tuple(f"{i} {k}" for k in range(3)) for i in range(7)]
    cosines = many @ words.T
    found = ranks(many, words, said)
    for i in range(7):  # by the definition
        own = slice(3 * i, 3 * i + 3)
        others = np.delete(cosines[i], own)
        assert found["image_to_text"][i] == (others >= cosines[i, own].max()).sum()
        for j in range(3 * i, 3 * i + 3):
            wrong = np.delete(cosines[:, j], i)
            assert found["text_to_image"][j] == (wrong >= cosines[i, j]).sum()


def test_texts_longer_than_the_tower_are_cut_and_counted(capsys):
    zeroshot = ZeroShot(name="zs", prompts=(*PROMPTS[:3], "{} " + "and so on " * 20))
    zeroshot.measure(Knows(), objective=CLIP, source=Captions())
    assert "zs: 4 of 16 texts have more than 16 tokens: cut." in capsys.readouterr().err


def test_what_cannot_be_measured_is_said():
    def words(evaluation, source=None):
        return [each.words for each in evaluation.faults(source or Captions(), 4)]

    assert words(ZeroShot(name="z")) == words(Retrieval(name="r")) == []
    (found,) = words(ZeroShot(name="z", class_names=("a", "b")))
    assert "are 2 names, and the images are of 4 classes" in found
    (found,) = words(ZeroShot(name="z", measures=("top5_error",)))
    assert "top5_error is 0 of any choice among 4 classes" in found
    (found,) = words(Retrieval(name="r", k=(64,)))
    assert "64 of 64 captions leave none out" in found
    found = words(Retrieval(name="r"), Digits(resolution=16))
    assert "no captions to be found" in found[0]
    with pytest.raises(ValueError, match=r"is to have \{\} once"):
        ZeroShot(name="z", prompts=("a photo",))
    assert len(KINDS) == 16


TASK = f"""
[[evaluate]]
kind = "zeroshot"
name = "of_text"
class_names = {[f"glyph {number}" for number in range(64)]}
"""


def test_a_study_that_trains_no_text_tower_cannot_measure_by_text(tmp_path):
    (tmp_path / "study.toml").write_text(GOOD + TASK, encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_study(tmp_path / "study.toml")
    words = str(error.value)
    assert "trains no text tower, which of_text_top1_error is measured of" in words
    assert "train clip, siglip or lit" in words


def test_a_study_that_reads_captions_needs_images_that_have_some(tmp_path):
    start, end = GOOD.index("[data]"), GOOD.index("[models.nano]")
    study = GOOD[:start] + '[data]\nkind = "digits"\nresolution = 16\n\n' + GOOD[end:]
    study += '\n[objective]\nkind = "clip"\n'
    (tmp_path / "study.toml").write_text(study, encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_study(tmp_path / "study.toml")
    assert "clip reads captions, and the images of [data] have none" in str(error.value)


RUN_WITH_TEXT = small(data=Procedural(classes=4, heldout_size=64))
BOTH = """\
[[evaluate]]
kind = "zeroshot"
name = "named"
prompts = ["a {}"]

[[evaluate]]
kind = "retrieval"
name = "found"
k = [1, 5]
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Clip, SigLip, Lit])
def test_towers_are_measured_by_a_worker_and_by_evaluate_alike(kind, tmp_path, monkeypatch):
    init = {}
    if kind is Lit:
        write(tmp_path / "nano.npz", random_params(NANO, 4), NANO)
        init["init"] = Init(from_=tmp_path / "nano.npz")
    objective = kind(tokens=TOKENS.model_copy(update={"length": 40}))
    run = RUN_WITH_TEXT.model_copy(update={"objective": objective, **init})
    evaluations = ZeroShot(name="named", prompts=("a {}",)), Retrieval(name="found", k=(1, 5))
    write_run_file(tmp_path / run.id, run, evaluations, print)
    folder = RunFolder(tmp_path / run.id)
    assert work([folder.path]) == Ended.DONE
    found = {row.metric: row.value for row in folder.results()}
    assert found.keys() == {each for evaluation in evaluations for each in evaluation.metrics}
    assert all(0 < value < 1 for value in found.values())
    tasks, table = tmp_path / "tasks.toml", tmp_path / "again.csv"
    tasks.write_text(BOTH)
    words = ["scaling", "evaluate", folder.path, "--on", tasks, "--table", table]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    with table.open() as file:
        again = {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}
    assert again == pytest.approx(found, abs=1e-9)
