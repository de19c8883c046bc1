"""What runs cost together: each on its own, or those of one trunk its longest part but once.

Runs that differ only in their duration may share a trunk: it is trained once, and each of them
leaves it for a cooldown of its own. A longer duration then costs its difference, and its cooldown.
This file knows no table and no law.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fits.base.numbers import Array, Indices

LEAST = 1e-9  # of the cost of a run trained alone: what one that costs nothing more is divided by


@dataclass(frozen=True, kw_only=True, eq=False)
class Costs:
    """Of runs that may be launched, some of which share trunks.

    A run that is repeated has another seed: its k-th repetition stands on the k-th trunk of its
    kind. From a trunk that is there already runs may leave where others have left it, and are
    trained on from the last such place.

    Fields:
      alone: of each run if trained alone, > 0, [candidates].
      shared: part of it that is its trunk's, in [0, alone], [candidates].
      trunk: number of its trunk, [candidates].
      done: how often each has been run on its trunk, [candidates].
      branches: for each trunk, by its number, and each seed of it, what had been spent where runs
        have left it, rising.
    """

    alone: Array
    shared: Array
    trunk: Indices
    done: Indices
    branches: dict[int, list[Array]]

    @classmethod
    def apart(cls, alone: Array) -> Costs:
        """Of runs that share nothing."""
        none = np.zeros(len(alone))
        each = np.arange(len(alone), dtype=np.int64)
        return cls(alone=alone, shared=none, trunk=each, done=0 * each, branches={})

    def __len__(self) -> int:
        return len(self.alone)

    @cached_property
    def own(self) -> Array:
        """What no other run has, [candidates]."""
        return self.alone - self.shared

    def of(self, times: Indices) -> float:
        """Of all together, each run so many times, [candidates]."""
        if not self.shared.any():
            return float(self.alone @ times)
        found = float(self.own @ times)
        total = self.done + times
        for seed in range(int(total.max(initial=0))):
            mine = np.flatnonzero((self.done <= seed) & (seed < total))
            start, reach = self._start(seed)[mine], self._reach(seed, mine)
            _, first = np.unique(self._part(seed)[mine], return_index=True)
            found += float((reach[mine] - start)[first].sum())
        return found

    def of_one_more(self, times: Indices) -> Array:
        """What each run would add, [candidates]."""
        if not self.shared.any():
            return self.alone
        total = self.done + times
        found = self.own.copy()
        for seed in np.unique(total).tolist():
            mine = np.flatnonzero((self.done <= seed) & (seed < total))
            next_ones = np.flatnonzero(total == seed)
            reach = self._reach(seed, mine)
            found[next_ones] += np.maximum(self.shared - reach, 0)[next_ones]
        return np.maximum(found, LEAST * self.alone)

    def _reach(self, seed: int, runs: Indices) -> Array:
        """How far the part of the trunk that each candidate needs is trained for these runs."""
        part = self._part(seed)
        reach = np.full(part.max() + 1, -np.inf)
        np.maximum.at(reach, part[runs], self.shared[runs])
        return np.maximum(reach[part], self._start(seed))

    def _start(self, seed: int) -> Array:
        """Where each candidate begins to be trained on a trunk of this seed, [candidates]."""
        return self._laid_out(seed)[0]

    def _part(self, seed: int) -> Indices:
        """Number of the part of a trunk that lies behind there, [candidates]."""
        return self._laid_out(seed)[1]

    def _laid_out(self, seed: int) -> tuple[Array, Indices]:
        if seed not in self._known:
            start = np.zeros(len(self))
            for trunk, seeds in self.branches.items():
                if seed < len(seeds):
                    mine = self.trunk == trunk
                    places = np.concatenate([[0.0], seeds[seed]])
                    last = np.searchsorted(places, self.shared[mine] * (1 + 1e-9), "right") - 1
                    start[mine] = np.minimum(places[last], self.shared[mine])
            both = np.stack([self.trunk.astype(float), start])
            part = np.unique(both, axis=1, return_inverse=True)[1].ravel()
            self._known[seed] = start, part.astype(np.int64)
        return self._known[seed]

    @cached_property
    def _known(self) -> dict[int, tuple[Array, Indices]]:
        return {}
