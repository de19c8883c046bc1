"""No file of another's making ends a reader otherwise than in words."""

import random

import pytest
from untrusted import READERS, Place

FEW = 25


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_mistaken_file_is_refused_in_words_or_taken(name, tmp_path):
    place = Place(tmp_path / "runs")
    for seed in range(FEW):
        place.fresh()
        try:
            READERS[name](place, random.Random(seed))
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}") from error
