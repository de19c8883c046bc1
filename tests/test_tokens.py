"""Captions become tokens: the same ones in every process, padded, and never cut unasked."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from captions import CAPTIONS, Captions

from fits.base.errors import UserError
from scaling.data import tokens as tokens_module
from scaling.data.tokens import FileTokens, TrainedTokens

AGAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from captions import Captions
from scaling.data.tokens import TrainedTokens
print(TrainedTokens(vocabulary=300).tokenizer(Captions()).sha256)
"""


def test_a_text_is_its_tokens_then_zeros_and_the_last_is_always_zero():
    tokens = TrainedTokens(vocabulary=300, length=12)
    found = tokens.tokenizer(Captions()).encode(["a red square", "", "A RED SQUARE"])
    assert found.shape == (3, 12)
    assert found.dtype == np.int32
    assert (found[:, -1] == 0).all()
    assert (found[1] == 0).all()
    np.testing.assert_array_equal(found[0], found[2])  # texts are lower-cased
    ends = int(np.argmax(found[0] == 0))
    assert (found[0, :ends] > 0).all()
    assert (found[0, ends:] == 0).all()
    assert found.max() < tokens.size == 300


def test_common_words_become_one_token_and_no_text_is_unknown():
    tokenizer = TrainedTokens(vocabulary=400).tokenizer(Captions())
    assert tokenizer.lengths(["a red square"]) == [4]
    (known,) = tokenizer.encode(["Ünïcode \U0001f600 never seen"])
    assert (known[:10] > 0).all()


def test_other_processes_learn_the_same_tokenizer():
    here = TrainedTokens(vocabulary=300).tokenizer(Captions()).sha256
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", AGAIN, str(Path(__file__).parent)],
            env={"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here


def test_a_tokenizer_is_learnt_from_training_captions_and_once_a_process():
    tokens_module._trained.cache_clear()
    tokens = TrainedTokens(vocabulary=300, captions=50)
    first = tokens.tokenizer(Captions())
    tokens.tokenizer(Captions())
    assert tokens_module._trained.cache_info().misses == 1
    assert first.sha256 != TrainedTokens(vocabulary=301).tokenizer(Captions()).sha256


def test_a_file_gives_the_same_tokens_as_the_tokenizer_that_was_written(tmp_path):
    learnt = TrainedTokens(vocabulary=300).tokenizer(Captions())
    (tmp_path / "tokenizer.json").write_text(learnt._inner.to_str(), encoding="utf-8")
    read = FileTokens(path=tmp_path / "tokenizer.json")
    assert list(read.missing(Captions())) == []
    np.testing.assert_array_equal(
        read.tokenizer(Captions()).encode(CAPTIONS), learnt.encode(CAPTIONS)
    )
    assert read.size <= 300
    assert read.tokenizer(Captions()).sha256 == learnt.sha256


def test_padding_and_ends_that_a_file_asks_for_are_left_out(tmp_path):
    learnt = TrainedTokens(vocabulary=300).tokenizer(Captions())._inner
    learnt.enable_padding(length=50, pad_id=7)
    learnt.enable_truncation(2)
    learnt.save(str(tmp_path / "tokenizer.json"))
    learnt.no_padding()
    learnt.no_truncation()
    found = FileTokens(path=tmp_path / "tokenizer.json").tokenizer(Captions())
    expected = TrainedTokens(vocabulary=300).tokenizer(Captions())
    np.testing.assert_array_equal(found.encode(CAPTIONS), expected.encode(CAPTIONS))


def test_a_text_longer_than_the_tower_is_an_error_before_training_unless_it_is_to_be_cut():
    short = TrainedTokens(vocabulary=300, length=3)
    (words,) = short.missing(Captions())
    assert "training captions are longer than the text tower sees" in words
    assert "length = 3" in words
    assert "truncate = true" in words
    with pytest.raises(UserError, match="with the one that ends it"):
        short.tokenizer(Captions()).encode(CAPTIONS)
    cut = TrainedTokens(vocabulary=300, length=3, truncate=True)
    assert list(cut.missing(Captions())) == []
    whole = TrainedTokens(vocabulary=300).tokenizer(Captions()).encode(CAPTIONS)
    found = cut.tokenizer(Captions()).encode(CAPTIONS)
    np.testing.assert_array_equal(found[:, :2], whole[:, :2])
    assert (found[:, 2] == 0).all()


def test_one_caption_of_many_thousands_that_is_too_long_is_found_before_training():
    class Rare(Captions):
        def captions(self, count, heldout=False):
            assert not heldout  # evaluations cut them
            return [*CAPTIONS * 500, CAPTIONS[0] * 9, *CAPTIONS * 500][:count]

    (words,) = TrainedTokens(vocabulary=300, length=40).missing(Rare())
    assert words.startswith("1 of 16_001 training captions are longer than the text tower sees")


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "there is no"), ("{}", "no file of the package tokenizers"), ("x", "no file of")],
)
def test_a_file_that_is_none_is_named(tmp_path, text, words):
    path = tmp_path / "tokenizer.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    (found,) = FileTokens(path=path).missing(Captions())
    assert words in found
    assert "tokenizer.json" in found


def test_without_the_package_the_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    tokens_module._trained.cache_clear()
    (found,) = TrainedTokens(vocabulary=300).missing(Captions())
    assert "pip install 'vit-scaling-laws[text]'" in found
    with pytest.raises(UserError, match="pip install"):
        TrainedTokens(vocabulary=300).tokenizer(Captions())
