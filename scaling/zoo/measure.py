"""Measures trained networks of any origin, as a worker measures those it has trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from fits.base.errors import UserError
from fits.data.results import Result
from models.build import build
from models.precision import Precision, precision_for
from models.shapes import Shape
from models.weights.ours import BACKBONE
from scaling.base.console import note
from scaling.data.pixels.decode import UnreadableImages, together
from scaling.data.source import SourceConfig
from scaling.evaluate import Evaluation
from scaling.evaluate.frozen.passes import Passes
from scaling.evaluate.frozen.reads_text import ReadsText
from scaling.evaluate.measured import Measured
from scaling.evaluate.measuring import measured
from scaling.evaluate.trained.trainings import host_arrays
from scaling.evaluate.trained.trains import Trains
from scaling.evaluate.upstream import Upstream
from scaling.image_check import check_labels
from scaling.objectives import DEFAULT, Objective
from scaling.objectives.protocol import Learned
from scaling.planning.out_of_memory import is_out_of_memory
from scaling.study.tasks import Subject, Tasks, read_tasks
from scaling.training.hosts import platform
from scaling.training.margin import unseen_margin
from scaling.training.placement import data_parallel
from scaling.training.run import RunData
from scaling.zoo.trained import Asked, Trained, trained
from scaling.zoo.tuning import fine_tuned


class Backbone(nnx.Module):
    """A network without a classifier, as evaluations of features look at one."""

    def __init__(self, backbone: nnx.Module):
        self.backbone = backbone


def prepare(
    checkpoints: Sequence[Path], tasks: str | Path, asked: Asked
) -> tuple[list[Trained], Tasks]:
    """All that is to be measured, looked at before anything is.

    Raises:
      UserError: all that is wrong with the checkpoints, or else with the tasks.
    """
    found, mistakes = [], []
    for path in checkpoints:
        try:
            found.append(trained(path, asked))
        except UserError as error:
            mistakes.append(error.mistakes)
    if mistakes:
        raise UserError(*mistakes)
    subjects = [
        Subject(
            t.label,
            t.shape.resolution,
            t.classes,
            t.trained_on,
            reads_text=_reads_text(t),
            loss_known=t.objective is not None,
            upstream=None if t.variant else t.upstream,
        )
        for t in found
    ]
    return found, read_tasks(tasks, subjects)


def _reads_text(network: Trained) -> bool:
    return network.objective is not None and network.objective.reads_text


def measure(network: Trained, tasks: Tasks, work: Path | None = None) -> Iterator[Result]:
    """Every number that the tasks ask for, as each evaluation ends: in their order, but those that
    train come last.

    Args:
      work: where trainings are kept; None: the tasks train nothing.

    Raises:
      UserError: images or weights cannot be read, or a number is none.
    """
    for words in _remarks(network, tasks):
        note(words)
    _check_images(network, tasks)
    for found in _numbers(network, tasks, work):
        if not math.isfinite(found.value):
            raise UserError(
                [
                    f"{network.label}: {found.metric} is {found.value}: its weights or its "
                    "features are no finite numbers."
                ]
            )
        yield Result(
            study=tasks.name,
            run=network.run,
            model=network.model,
            params=network.params,
            flops=network.flops,
            images_seen=network.images_seen,
            data_size=network.data_size,
            seed=network.seed,
            metric=found.metric,
            value=found.value,
            n=found.n,
            subset=network.subset,
            variant=network.variant,
        )


def _remarks(network: Trained, tasks: Tasks) -> Iterator[str]:
    """What a person must know of the numbers, each once."""
    trains = [each for each in tasks.evaluate if isinstance(each, Trains)]
    if len(trains) < len(tasks.evaluate) and (lost := unseen_margin(network.shape)):
        yield lost
    if _loss_assumed(network, tasks):
        yield (
            f"{network.label}: nothing says which loss its classifier was trained with; "
            "upstream_loss is that of a sigmoid. [objective] says another."
        )
    if network.of_pixels:
        yield f"{network.label}: {network.of_pixels}."
    transfers = (one for each in trains for one in each.transfers(network.upstream))
    yield from dict.fromkeys(words for each in transfers for words in each.remarks())


def _loss_assumed(network: Trained, tasks: Tasks) -> bool:
    known = network.objective is not None or tasks.objective is not None
    return not known and any(isinstance(each, Upstream) for each in tasks.evaluate)


def _numbers(network: Trained, tasks: Tasks, work: Path | None) -> Iterator[Measured]:
    module, objective = _module(network, tasks.objective)
    passes = Passes(module, None, objective)
    for evaluation in tasks.evaluate:
        if isinstance(evaluation, Trains):
            continue
        source = tasks.data or network.trained_on
        if isinstance(evaluation, ReadsText):  # its tokens are those of what it was trained on
            evaluation = evaluation.model_copy(update={"data": evaluation.source(tasks.data)})
            source = network.trained_on
        yield from _measured(evaluation, passes, source, network.label)
    if train_too := [each for each in tasks.evaluate if isinstance(each, Trains)]:
        assert work is not None  # the command asks for a folder
        params = host_arrays(module)
        del module, passes  # devices have no memory for two
        yield from fine_tuned(network, train_too, params, work)


def _measured(evaluation: Evaluation, passes: Passes, source: Any, label: str) -> list[Measured]:
    try:
        return measured(evaluation, passes, source)
    except UserError:
        raise
    except ValueError as error:
        raise UserError([f"{label}: {error}"]) from error
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            [f"{label} does not fit into the device's memory; measure it on another."]
        ) from error


def _module(network: Trained, objective: Objective | None) -> tuple[nnx.Module, Objective]:
    """The network on all devices, computed as a worker would, and what its head was trained by."""
    kind, device = platform()
    precision = precision_for(kind, network.compute, device=device)
    minimised = network.objective or objective or DEFAULT
    state = network.read()
    placed = data_parallel().whole(state)
    if network.classes is None and BACKBONE in state["params"] and not minimised.reads_text:
        return _bare(network.shape, precision, placed["params"][BACKBONE]), minimised
    built = minimised.build(network.shape, network.classes or 0, precision)
    return built.module(Learned(placed["params"], placed["frozen"], placed["state"])), minimised


def _bare(shape: Shape, precision: Precision, params: Any) -> Backbone:
    def new() -> Backbone:
        return Backbone(build(shape, precision, rngs=nnx.Rngs(0)))

    graph, variables = nnx.split(nnx.eval_shape(new))
    nnx.replace_by_pure_dict(variables, {"backbone": params})
    return nnx.merge(graph, variables)


def _check_images(network: Trained, tasks: Tasks) -> None:
    """Decode what will be looked at, that of each source once."""
    unreadable: list[UnreadableImages] = []
    for source in dict.fromkeys(_sources(network, tasks)):
        try:
            source.check(note)
        except UnreadableImages as error:
            unreadable.append(error)
        except ValueError as error:
            raise UserError([str(error)]) from error
    if unreadable:
        raise UserError([str(together(unreadable))])
    check_labels(tasks.evaluate)


def _sources(network: Trained, tasks: Tasks) -> Iterator[SourceConfig]:
    shared: RunData | None = tasks.data or network.trained_on
    for each in tasks.evaluate:
        if isinstance(each, Trains):
            yield from each.sources(network.upstream)
            continue
        found = each.source(shared)
        if found is not None:
            yield found
