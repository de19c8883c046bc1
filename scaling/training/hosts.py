"""What the processes of one training agree on. Decisions come from the first process alone."""

from __future__ import annotations

import jax
import numpy as np


def agreed(steps: int, yes: bool) -> tuple[int, bool]:
    """The first process's answers, on every process; all of them call this at the same step.

    A clock differs from process to process, and saving and reading the loss must not: whoever is
    alone in a collective waits for ever.
    """
    if jax.process_count() == 1:
        return steps, yes
    from jax.experimental.multihost_utils import broadcast_one_to_all

    first = broadcast_one_to_all(np.array([steps, yes], np.int32))
    return int(first[0]), bool(first[1])
