"""Rules that stop a run before its end, off unless asked for: `scaling launch --stop RULE`.

    diverged    its loss has stayed above the loss it began with for a tenth of the steps made
    behind      predictive termination (Domhan, Springenberg and Hutter 2015): the probability that
                it reaches the frontier is below 5 %. A race of two (`fits.decisions.racing`), one
                of which is the frontier as it was measured

A loss that is not finite needs no rule: that run has failed. Of a rule's verdict a launcher writes
rule.json into the run's folder; whoever trains the run, anywhere, then gives it up, and the reason
stands in its failed.txt.

Losses are compared where they can be, before any run cools down: among runs of the same data, data
size, objective, augmentation, dropout and stochastic depth, that all begin with trained weights or
all without, and of the same batch where a loss is one among its images, as SimCLR's is. There the
frontier is the lowest loss that another model has come to with no more compute than this run will
have spent where it leaves its trunk.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.base.config import digest
from scaling.runs.metrics_file import MetricsLine, read_lines
from scaling.runs.rule_file import Verdict, write_verdict
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder
from scaling.training.run import Run

RULES = ("diverged", "behind")
SECONDS_BETWEEN_VERDICTS = 30.0
DELTA = 0.05  # probability below which a run is given up
LINES = 20  # of a curve, before anything is said of it
PART = 0.25  # of the way to its branch, before which no curve is continued
SUSTAINED = 0.1  # of the steps made, for which a diverged loss has stayed high
SMOOTHED = 0.2  # of the compute, over which a loss is averaged


def rules_named(names: Iterable[str]) -> tuple[str, ...]:
    """The rules, if there are such.

    Raises:
      UserError: there is none of a name; names the near ones.
    """
    names = tuple(dict.fromkeys(names))
    if wrong := [name for name in names if name not in RULES]:
        known = f"There is {' and '.join(RULES)}."
        raise UserError(
            [f"--stop {name}: no such rule. {did_you_mean(name, RULES)}{known}" for name in wrong]
        )
    return names


class Stopping:
    """Judges the runs of a launch by the curves in their folders."""

    def __init__(self, rules: Sequence[str], runs: Sequence[Run], folder: Path):
        """
        Args:
          runs: of the whole study: those that are done are part of the frontier.
          folder: of run folders.
        """
        self._rules, self._folder = rules, folder
        self._comparable: dict[str, list[Run]] = defaultdict(list)
        for run in runs:
            self._comparable[_kind(run)].append(run)
        self._judged = time.monotonic()
        self._seen: dict[str, int] = {}  # lines of a curve when its run was last judged

    def judge(self, at_work: Iterable[Run]) -> list[tuple[Run, str]]:
        """Write a verdict on each run that a rule stops; returns those runs, with the reason.

        Args:
          at_work: runs that are being trained.
        """
        if not self._rules or time.monotonic() - self._judged < SECONDS_BETWEEN_VERDICTS:
            return []
        found = []
        for run in at_work:
            verdict = self.verdict(run)
            if verdict is not None:
                write_verdict(self._folder / run.id, verdict)
                found.append((run, verdict.reason))
        self._judged = time.monotonic()
        return found

    def verdict(self, run: Run) -> Verdict | None:
        """What the first rule that stops the run says; None where none does."""
        lines = self._of_trunk(run)
        if len(lines) < LINES or self._seen.get(run.id) == len(lines):
            return None
        self._seen[run.id] = len(lines)
        for rule in self._rules:
            reason = _diverged(lines, run) if rule == "diverged" else self._behind(lines, run)
            if reason is not None:
                return Verdict(rule=rule, step=lines[-1].step, reason=reason)
        return None

    def _behind(self, lines: Sequence[MetricsLine], run: Run) -> str | None:
        """Why the run cannot reach the frontier."""
        branch = run.branch_step
        if not PART * branch <= lines[-1].step < branch:
            return None
        best = self._best_of_others(run)
        if best is None:
            return None
        import numpy as np

        from fits.decisions.racing import end_of, stopped_by, undercut

        given = [(line.step, line.loss) for line in lines if line.loss and line.step > _warm(run)]
        if len(given) < LINES:
            return None
        steps, losses = zip(*given, strict=True)
        loss, model = best
        end = middle, low, _ = end_of(steps, losses, float(branch))
        if not stopped_by(undercut(np.array([end, (loss, loss, loss)])), delta=DELTA)[0]:
            return None
        return (
            f"at step {branch:_}, where it leaves its trunk, its loss is predicted to be "
            f"{middle:.4g}, at least {low:.4g} with 95 % probability, and {model} "
            f"has come to {loss:.4g} with no more compute."
        )

    def _best_of_others(self, run: Run) -> tuple[float, str] | None:
        """The lowest loss of other models with no more compute than the run has at its branch."""
        budget = _flops(run, run.branch_step)
        found = []
        trunks = {each.trunk: each for each in self._comparable[_kind(run)]}
        for each in trunks.values():
            if each.model_name == run.model_name:
                continue
            lines = [x for x in self._of_trunk(each) if x.loss and _flops(each, x.step) <= budget]
            if len(lines) >= LINES:
                since = (1 - SMOOTHED) * lines[-1].step
                loss = fmean(x.loss for x in lines if x.loss and x.step > since)
                found.append((loss, each.model_name))
        return min(found, default=None)

    def _of_trunk(self, run: Run) -> list[MetricsLine]:
        """The curve before the cooldown, of whatever run of the trunk came farthest."""
        folder = RunFolder(self._folder / run.id)
        return read_lines(TrunkFolder.of(folder, run).path)


def _diverged(lines: Sequence[MetricsLine], run: Run) -> str | None:
    """Why the run counts as diverged."""
    began = next((line.loss for line in lines if line.loss is not None), None)
    last = lines[-1].step
    since = last - SUSTAINED * last
    late = [line.loss for line in lines if line.step > max(since, _warm(run))]
    losses = [loss for loss in late if loss is not None]
    if began is None or len(losses) < 2 or min(losses) <= began:
        return None
    return (
        f"from step {int(since):_} to {last:_} its loss was never below {min(losses):.4g}, and it "
        f"began with {began:.4g}: training diverged."
    )


def _warm(run: Run) -> int:
    """The step before which a loss says nothing."""
    return run.recipe.warmup_steps


def _flops(run: Run, step: int) -> float:
    """Of training, up to a step."""
    return run.flops * step / run.steps


def _kind(run: Run) -> str:
    """Names what runs have in common whose losses can be compared."""
    measured = [run.data, run.data_size, run.resample, run.objective, run.augment]
    raised_by = [run.recipe.dropout, run.recipe.stochastic_depth]  # in training alone
    among = run.batch if run.objective.couples_examples else None  # images of one loss
    return digest([*measured, *raised_by, among, run.init is not None])
