"""JAX's compiler for NVIDIA's GPUs, asked on a machine that may have none.

It is in JAX's CUDA plugin, which needs none of NVIDIA's libraries to compile. Nothing is measured
while it compiles: there is no GPU to tune matrix products on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from fits.base.errors import UserError
from scaling.base.machine import installed_version
from scaling.planning.devices import Topology
from scaling.planning.gpu_targets import CUDNN, GPU_TARGETS

PLUGINS = "jax-cuda12-plugin", "jax-cuda13-plugin"
DECIDING = tuple(name.replace("plugin", part) for name in PLUGINS for part in ("plugin", "pjrt"))
A_HOST = 8  # GPUs of one machine
OPTIONS = {
    "xla_gpu_autotune_level": 0,
    # products by cuBLAS, with its work space: what tuning on a GPU chooses for most
    "xla_gpu_enable_triton_gemm": False,
}


def can_compile(topology: Topology) -> bool:
    """Whether a step can be compiled for these GPUs here."""
    return topology.kind.name in GPU_TARGETS and _plugin() is not None


def why_not(topology: Topology) -> str | None:
    """Why steps are not compiled for these GPUs here, in a line; None: they are."""
    kind = topology.kind
    if kind.name not in GPU_TARGETS:
        return f"Steps for {kind.name} are not compiled: it has no bfloat16 and no fused attention."
    if _plugin() is not None:
        return None
    return f"To have it compiled, which needs no GPU: pip install '{PLUGINS[0]}=={version('jax')}'."


def _plugin() -> str | None:
    """The plugin of the version that this JAX takes; None: there is none."""
    here = version("jax")
    return next((name for name in PLUGINS if installed_version(name) == here), None)


def target(topology: Topology) -> str:
    """The GPUs as the compiler is told of them, and a part of what decides its verdict."""
    return GPU_TARGETS[topology.kind.name].text


def gpu_devices(topology: Topology) -> list[Any]:
    """GPUs to compile for: of one machine, or of machines of eight each.

    Raises:
      UserError: JAX was started before, and on a machine without a GPU left the plugin out.
    """
    hosts = topology.devices // A_HOST if topology.devices % A_HOST == 0 else 1
    shape = f"1x{hosts}x{topology.devices // hosts}"
    with _no_drivers_missed():
        from jax.experimental import topologies

        try:
            found = topologies.get_topology_desc(
                platform="cuda", target_config=target(topology), topology=shape
            )
        except NotImplementedError:
            raise UserError(
                [
                    f"--on {topology.name}: JAX was started in this process without its CUDA "
                    "plugin. Set JAX_PLATFORMS=cpu before, or plan by --closed-form."
                ]
            ) from None
    return list(found.devices)


@contextmanager
def _no_drivers_missed() -> Iterator[None]:
    """Keeps the plugin from saying, each time a library of it is loaded, that no GPU is here.

    It writes that before anybody can tell it not to; errors are exceptions, and get through.
    """
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


@contextmanager
def cudnn_pretended() -> Iterator[None]:
    """JAX traces cuDNN's attention, though that library is not here.

    JAX asks the library for its version before it writes the call into a program, and for nothing
    else; the compiler takes the call as it is. How much memory the kernel works in is known to the
    library alone, and is not counted.

    Raises:
      UserError: this version of JAX asks in another way.
    """
    try:
        from jax._src.cudnn import fused_attention_stablehlo as fused_attention

        asked = fused_attention.check_cudnn_version
    except (ImportError, AttributeError):
        raise UserError(
            [
                f"--on: JAX {version('jax')} asks for cuDNN in a way that is not known here; plan "
                "by --closed-form."
            ]
        ) from None
    major, minor, patch = CUDNN
    fused_attention.check_cudnn_version = lambda: 10_000 * major + 100 * minor + patch
    try:
        yield
    finally:
        fused_attention.check_cudnn_version = asked
