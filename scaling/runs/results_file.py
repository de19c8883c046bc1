"""results.jsonl and manifest.json: what was measured, and what confirms it.

A number counts once the manifest confirms it, by length and SHA-256 of results.jsonl; what lies
beyond the confirmed length is not read. Reading and the text to write; `HeldRun` writes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from scaling.base.config import Config, digest
from scaling.base.storage import is_object
from scaling.evaluate import Evaluation
from scaling.runs.damage import DamagedRun, text_of

if TYPE_CHECKING:
    from scaling.evaluate.measured import Measured

RESULTS, MANIFEST = "results.jsonl", "manifest.json"


class ResultRow(Config):
    """One number measured on a run: a line of results.jsonl."""

    evaluation: str
    """Digest of the `Evaluation` that measured it: other settings, another digest."""
    metric: str
    value: float = Field(allow_inf_nan=False)
    n: int = Field(gt=0, lt=2**63)
    """Number of images (or of other trials) that the value is a mean over."""


class _DataSize(BaseModel):
    train_size: int | None = Field(None, ge=0, lt=2**63, strict=True)


class _Known(BaseModel):
    """The keys of a manifest that are read again; whoever wrote the others, they are only shown."""

    results_bytes: int = Field(ge=0, lt=2**63, strict=True)
    results_sha256: str
    flops: float | None = Field(None, gt=0, allow_inf_nan=False, strict=True)
    data: list[_DataSize] | None = None
    seconds_here: float | None = Field(None, ge=0, allow_inf_nan=False, strict=True)
    seconds_beside: float | None = Field(None, allow_inf_nan=False, strict=True)
    images_per_second: float | None = Field(None, ge=0, allow_inf_nan=False, strict=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What decided the numbers; FileNotFoundError while there is none.

    Raises `DamagedRun` when the file is not what was written, or cannot be a manifest: its sum
    proves nothing of who wrote it.
    """
    path = folder / MANIFEST
    both = path, folder / RESULTS  # nothing confirms the one without the other
    try:
        manifest = json.loads(text_of(path))
        if manifest["sha256"] != _sha256({k: v for k, v in manifest.items() if k != "sha256"}):
            raise ValueError
        _Known.model_validate(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedRun(f"{path} is not what was written there.", *both) from None
    return manifest


def confirmed_text(folder: Path, manifest: Mapping[str, Any] | None) -> bytes:
    """The part of results.jsonl that the manifest confirms; empty while there is no manifest.

    Args:
      manifest: as `read_manifest` found it; None: there is none.

    Raises `DamagedRun` when the file is not what the manifest confirmed.
    """
    path, confirmation = folder / RESULTS, folder / MANIFEST
    if manifest is None:
        return b""
    try:
        confirmed = path.read_bytes()[: manifest["results_bytes"]]
    except OSError as error:
        if is_object(path) and not isinstance(error, FileNotFoundError):
            raise
        reason = f"{path} cannot be read ({error.strerror}), though the manifest confirms it."
        raise DamagedRun(reason, path, confirmation) from None
    if hashlib.sha256(confirmed).hexdigest() != manifest["results_sha256"]:
        reason = f"{path} is not what its manifest confirmed (SHA-256 differs)."
        raise DamagedRun(reason, path, confirmation)
    return confirmed


def confirmed_rows(folder: Path, manifest: Mapping[str, Any] | None) -> tuple[ResultRow, ...]:
    """The rows of `confirmed_text`; raises as that does, and when a line of it is no row."""
    path = folder / RESULTS
    try:
        return parse_rows(path, confirmed_text(folder, manifest))
    except DamagedRun as damage:
        if folder / MANIFEST in damage.paths:
            raise
        raise DamagedRun(str(damage), path, folder / MANIFEST) from None


@lru_cache(maxsize=64)
def expected(evaluate: tuple[Evaluation, ...]) -> frozenset[tuple[str, str]]:
    """Digest and metric of every number that evaluations measure."""
    return frozenset((digest(each), name) for each in evaluate for name in each.metrics)


def parse_rows(path: Path, text: bytes) -> tuple[ResultRow, ...]:
    """The rows of `text`, which stands in `path`; `DamagedRun` names a line that is none."""
    rows: dict[tuple[str, str], ResultRow] = {}
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        place = f"{path}, line {number}"
        if not line.endswith(b"\n"):
            raise DamagedRun(f"{place} is torn: it ends in the middle.", path)
        try:
            row = ResultRow.model_validate_json(line, strict=True)
        except ValueError:
            raise DamagedRun(f"{place} is not a result.", path) from None
        if rows.setdefault((row.evaluation, row.metric), row) is not row:
            raise DamagedRun(f"{place} measures {row.metric} a second time.", path)
    return tuple(rows.values())


def rows_text(measured: Iterable[tuple[Evaluation, Sequence[Measured]]]) -> bytes:
    """What each evaluation found, as lines of results.jsonl."""
    rows = (
        ResultRow(evaluation=digest(evaluation), metric=one.metric, value=one.value, n=one.n)
        for evaluation, found in measured
        for one in found
    )
    return "".join(row.model_dump_json() + "\n" for row in rows).encode()


def manifest_text(manifest: Mapping[str, Any], results: bytes) -> str:
    """manifest.json of a run whose confirmed results are `results`.

    Raises ValueError when `manifest` has a number that is not finite.
    """
    confirmation = {
        "results_bytes": len(results),
        "results_sha256": hashlib.sha256(results).hexdigest(),
    }
    record = {**manifest, **confirmation}
    record["sha256"] = _sha256(record)
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def _sha256(contents: Mapping[str, Any]) -> str:
    """Names plain JSON, whatever its layout."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
