"""Processes with so many simulated devices, for tests of what several of them do together."""

import os


def simulated(devices: int = 1, **more: str) -> dict[str, str]:
    """The environment of such a process; programs are compiled as quickly as in the tests."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} "
    flags += f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", **more}
