"""How fast a device is at its best, by the name that JAX gives it. Knows no JAX."""

from __future__ import annotations

from scaling.planning.devices import KINDS

_TPUS = {
    "TPU v2": "v2",
    "TPU v3": "v3",
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
}
_GPUS = {  # TFLOP/s of dense bf16 products: NVIDIA's data sheets, which count sparse ones double
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,  # SXM
    "GH200": 989,
    "A100": 312,
    "A10G": 70,
    "L40S": 362,
    "L4": 121,
    "RTX 4090": 165,
    "RTX 3090": 71,
}


def peak_flops(device_kind: str) -> float | None:
    """FLOP/s of bf16 products of one device; None where it is not known, as of a CPU.

    Args:
      device_kind: as JAX says it, such as "TPU v5 lite" or "NVIDIA H100 80GB HBM3".
    """
    if device_kind in _TPUS:
        return KINDS[_TPUS[device_kind]].peak
    if not device_kind.startswith(("NVIDIA", "Tesla")):
        return None
    words = set(device_kind.replace("-", " ").split())
    found = [tflops for name, tflops in _GPUS.items() if set(name.split()) <= words]
    return found[0] * 1e12 if found else None
