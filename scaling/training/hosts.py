"""What the processes of one training agree on: whatever a clock or a disk decides, the first does.

A clock differs from process to process, and so may what a shared disk shows; whoever is alone in a
collective waits for ever. Every function here is a collective: all processes call it at the same
point of the same training, and all get the same answer. Only the first process writes.
"""

from __future__ import annotations

import jax
import numpy as np


def is_first() -> bool:
    """Whether this process writes and decides."""
    return jax.process_index() == 0


def agreed(steps: int, yes: bool) -> tuple[int, bool]:
    """The first process's answers, on every process."""
    if jax.process_count() == 1:
        return steps, yes
    first = _from_the_first(np.array([steps, yes], np.int32))
    return int(first[0]), bool(first[1])


def agreed_word(word: str) -> str:
    """The first process's word, on every process; the others' is not used."""
    if jax.process_count() == 1:
        return word
    encoded = np.array(list(word.encode()), np.uint8)
    size = int(_from_the_first(np.array(len(encoded), np.int32)))
    if not size:
        return ""
    padded = encoded if is_first() else np.zeros(size, np.uint8)
    return _from_the_first(padded).astype(np.uint8).tobytes().decode()


def all_processes(yes: bool) -> bool:
    """Whether every process says yes."""
    if jax.process_count() == 1:
        return yes
    from jax.experimental.multihost_utils import process_allgather

    return bool(np.all(process_allgather(np.array([yes]))))


def _from_the_first(value: np.ndarray) -> np.ndarray:
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return np.asarray(broadcast_one_to_all(value))
