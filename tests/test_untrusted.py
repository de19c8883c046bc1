"""No file of another's making ends a reader otherwise than in words."""

import random

import pytest
from untrusted import READERS, Place
from untrusted_files import MORE_READERS

FEW = 25
ALL = READERS | MORE_READERS


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_mistaken_file_is_refused_in_words_or_taken(name, tmp_path):
    place = Place(tmp_path / "runs")
    for seed in range(FEW):
        place.fresh()
        try:
            ALL[name](place, random.Random(seed))
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}") from error
