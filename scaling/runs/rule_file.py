"""rule.json: that a rule stops a run. A launcher writes it, without a lease; who trains the run
reads it, and gives the run up."""

from __future__ import annotations

from pathlib import Path

from scaling.base.config import Config
from scaling.base.storage import publish
from scaling.runs.damage import DamagedRun, text_of

RULE = "rule.json"


class Verdict(Config):
    """The contents of rule.json."""

    rule: str
    """Its name: `scaling.launch.stopping`."""
    step: int
    """The last step that was looked at."""
    reason: str


class StoppedByRule(Exception):
    """A rule has stopped the run."""


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Into a run's folder."""
    publish(folder / RULE, (verdict.model_dump_json() + "\n").encode())


def check_rules(folder: Path) -> None:
    """Raise `StoppedByRule` where there is a verdict that can be read."""
    try:
        verdict = Verdict.model_validate_json(text_of(folder / RULE), strict=True)
    except (FileNotFoundError, DamagedRun, ValueError):
        return
    raise StoppedByRule(f"stopped by the rule '{verdict.rule}': {verdict.reason}")
