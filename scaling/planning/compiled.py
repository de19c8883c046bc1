"""Training steps compiled for devices that are not there, and what the compiler says of them.

For slices of TPUs, for GPUs, and for this machine's processor.

The program is the one that trains: the same functions, with the same places pinned, lowered on
abstract values. A verdict is kept on disk under a hash of all that decides it: the program's text,
the topology and the versions of JAX and of the compiler.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from fits.base.errors import UserError
from fits.base.files import write_text
from models.precision import precision_for
from scaling.base.machine import ONE_THREAD_XLA, installed_version
from scaling.planning import gpu_compiler
from scaling.planning.devices import GIB, Platform, Topology
from scaling.planning.slices import near_slices
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

ENVIRONMENT = {  # for a compiler that is to look for no TPU
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v3-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
    "JAX_PLATFORMS": "cpu",
}
CHIPS = {"v4": {"chip_config_name": "megacore"}}  # whose two cores are one device, as JAX has them
# packages whose version a verdict depends on
DECIDING = {
    "cpu": ("jax", "jaxlib"),
    "tpu": ("jax", "jaxlib", "libtpu"),
    "gpu": ("jax", "jaxlib", *gpu_compiler.DECIDING),
}
OUT_OF_MEMORY = (  # of the program, and where temporaries alone are too many, of those
    re.compile(r"Used ([\d.]+)([KMG]) of [\d.]+[KMG] hbm"),
    re.compile(r"\(([\d.]+)([KMG])\) exceeds available HBM"),
)
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


Basis: TypeAlias = Literal["compiled", "closed form"]


@dataclass(frozen=True)
class Verdict:
    """What the compiler says of one step.

    Fields:
      bytes: most memory of a device that is in use at once, arguments included.
      fits: whether the devices have as much.
      basis: whether a compiler says so or the closed form.
    """

    bytes: float
    fits: bool
    basis: Basis = "compiled"

    @property
    def gib(self) -> float:
        return self.bytes / GIB


class Compiled(NamedTuple):
    """Bytes of a device that a compiled step takes, as its compiler counts them.

    Fields:
      arguments: the state and the batch.
      outputs: beside those that take the place of arguments.
      temporary: everything between.
    """

    arguments: int
    outputs: int
    temporary: int


Compiler: TypeAlias = Callable[[Run, Topology, PlacementSpec, Path | None], Verdict]


def compiler_of(topology: Topology) -> Compiler | None:
    """What compiles for such devices here; None: nothing does, as for GPUs without JAX's plugin.

    Raises:
      UserError: the compiler for TPUs is not installed.
    """
    if topology.kind.platform == "gpu" and not gpu_compiler.can_compile(topology):
        return None
    if topology.kind.platform == "tpu":
        _check_libtpu(topology)
    return compile_step


def compile_step(
    run: Run, topology: Topology, spec: PlacementSpec, cache: Path | None = None
) -> Verdict:
    """Compile the step of `run` for `topology`, or read what was found before.

    Args:
      run: its batch is that of all devices together.
      spec: how the step is computed.
      cache: folder of verdicts; None: none is kept.

    Raises:
      UserError: there is no compiler for such devices here, or they make no such slice.
    """
    lowered = _lowered(run, topology, spec)
    path = None if cache is None else _kept_at(cache, topology, lowered)
    if path is not None and (found := _read(path)) is not None:
        return found
    verdict = _verdict(lowered, topology.kind.hbm, topology.kind.platform)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"bytes": verdict.bytes, "fits": verdict.fits}))
    return verdict


def compiled_parts(run: Run, topology: Topology, spec: PlacementSpec) -> Compiled:
    """What a step takes, part by part; compiled anew.

    Raises:
      UserError: as of `compile_step`.
    """
    found = _lowered(run, topology, spec).compile().memory_analysis()
    return Compiled(
        found.argument_size_in_bytes,
        found.output_size_in_bytes - found.alias_size_in_bytes,
        found.temp_size_in_bytes,
    )


def remembered(run: Run, topology: Topology, spec: PlacementSpec, cache: Path) -> Verdict | None:
    """What `compile_step` found before; None: nothing, and nothing is compiled."""
    return _read(_kept_at(cache, topology, _lowered(run, topology, spec)))


def _read(path: Path) -> Verdict | None:
    """A verdict that was kept; None: there is none, or its file is damaged."""
    try:
        found = json.loads(path.read_text())
        return Verdict(float(found["bytes"]), bool(found["fits"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _kept_at(cache: Path, topology: Topology, lowered: Any) -> Path:
    platform = topology.kind.platform
    deciding = [
        topology.name,
        *(f"{name} {installed_version(name)}" for name in DECIDING[platform]),
    ]
    if platform == "gpu":
        deciding += [gpu_compiler.target(topology), json.dumps(gpu_compiler.OPTIONS)]
    deciding.append(lowered.as_text())
    name = hashlib.sha256("\n".join(deciding).encode()).hexdigest()[:24]
    return cache / f"{name}.json"


def _lowered(run: Run, topology: Topology, spec: PlacementSpec) -> Any:
    devices = _devices(topology)  # first: it sets what JAX reads when it is loaded
    import jax
    import numpy as np

    from scaling.training.assembly import assemble
    from scaling.training.step import abstract_batch

    kind = topology.kind
    precision = precision_for(kind.platform, run.compute, spec.remat, device=kind.name)
    on_gpu = kind.platform == "gpu"
    with gpu_compiler.cudnn_pretended() if on_gpu else nullcontext():
        whole = assemble(run, spec, precision, devices=devices).jitted
        rate, number = (jax.ShapeDtypeStruct((), dtype) for dtype in (np.float32, np.uint32))
        return whole.step.lower(whole.state, abstract_batch(run), rate, number, number)


def _verdict(lowered: Any, hbm: float, platform: Platform) -> Verdict:
    import jax

    options = dict(gpu_compiler.OPTIONS) if platform == "gpu" else None
    try:
        compiled = lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        used = out_of_memory(str(error))
        if used is None:
            raise
        return Verdict(used, False)
    peak = peak_bytes(compiled, platform)
    return Verdict(peak, peak <= hbm)


def peak_bytes(compiled: Any, platform: str) -> float:
    """Most memory of a device that a compiled program has in use at once, arguments included.

    The compiler for CPUs names a peak without its work space; there it is the sum of all.
    """
    found = compiled.memory_analysis()
    if platform == "tpu":
        return float(found.peak_memory_in_bytes)
    own = found.output_size_in_bytes - found.alias_size_in_bytes
    return float(found.argument_size_in_bytes + own + found.temp_size_in_bytes)


def out_of_memory(message: str) -> float | None:
    """Bytes that a program would have needed, from what the TPU's compiler says; None: it says
    something else."""
    for pattern in OUT_OF_MEMORY:
        if found := pattern.search(message):
            return float(found[1]) * UNITS[found[2]]
    return None


def _check_libtpu(topology: Topology) -> None:
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            [
                f"--on {topology.name}: the TPU compiler is not installed. It needs no TPU: pip "
                "install 'vit-scaling-laws[tpu]'; or plan without it, by --closed-form."
            ]
        )


def _devices(topology: Topology) -> list[Any]:
    if topology.kind.platform == "cpu":
        return _cpu_devices()
    os.environ.update(ENVIRONMENT)
    if topology.kind.platform == "gpu":
        return gpu_compiler.gpu_devices(topology)
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(
            platform="tpu",
            topology_name=topology.name,
            **CHIPS.get(topology.kind.name, {}),
        )
    except Exception as error:  # whatever the compiler says of an impossible slice
        reason = str(error).splitlines()[0]
        near = " or ".join(near_slices(topology.name, topology.kind.pod))
        raise UserError(
            [f"--on: {topology.name} is no slice of TPUs ({reason}). Try {near}."]
        ) from None
    return list(found.devices)


def _cpu_devices() -> list[Any]:
    """This machine's processor. What is compiled for it is kept, as a worker of `scaling launch`
    will look for it: a worker's flags are a part of what a compiled program is known by."""
    flags = os.environ.get("XLA_FLAGS", "")
    if ONE_THREAD_XLA not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {ONE_THREAD_XLA}".strip()
    import jax

    from scaling.training.compilation_cache import use_compilation_cache

    use_compilation_cache()
    return jax.devices("cpu")[:1]
