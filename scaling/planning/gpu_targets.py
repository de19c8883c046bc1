"""What XLA's compiler for GPUs asks about a GPU, so that it compiles where none is. Knows no JAX.

It reads these facts from the driver of a GPU that is there. Where none is, they are handed to it as
a `stream_executor.GpuTargetConfigProto` in text form. What a step holds in memory hardly depends on
them; which kernels are written does.

Sources: A100, A6000, H100: what the driver tells, as OpenXLA keeps it in
xla/backends/gpu/target_config/specs; H200: the same, and H100's. RTX 3090 and 4090, and clocks of
L4 and L40S: tables of reviews and sellers after NVIDIA's. The cores of an L4 follow from its rate
in float32, 30.3 TFLOP/s; the cache of an L40S is its chip's whole one, of which it may have less.
Shared memory and threads by compute capability: the files of OpenXLA; 8.9 as 8.6.

T4 and V100 are left out: neither has bfloat16, nor does cuDNN's fused attention run there.
"""

from __future__ import annotations

from dataclasses import dataclass

THREADS_A_BLOCK = 1024  # of every GPU here, as are these:
THREADS_A_WARP = 32
SHARED_A_BLOCK = 48 * 2**10  # bytes, for a kernel that does not ask for more
REGISTERS = 65_536
BLOCKS_X, BLOCKS_YZ = 2**31 - 1, 2**16 - 1
CUDNN = (9, 10, 0)


@dataclass(frozen=True, kw_only=True)
class GpuTarget:
    """One kind of GPU, to the compiler.

    Fields:
      name: as the driver names it.
      capability: CUDA compute capability.
      cores: streaming multiprocessors.
      ghz: clock when boosted.
      bandwidth: bytes/s between the GPU and its memory.
      memory, l2: bytes of its memory, and of the cache in front of it.
    """

    name: str
    capability: tuple[int, int]
    cores: int
    ghz: float
    bandwidth: float
    memory: int
    l2: int

    @property
    def text(self) -> str:
        """The target as a text proto: one line a field."""
        fpus, threads, shared = _CAPABILITIES[self.capability]
        major, minor = self.capability
        accelerated = " feature_extension: ACCELERATED_FEATURES" if major >= 9 else ""
        facts = {
            "threads_per_block_limit": THREADS_A_BLOCK,
            "threads_per_warp": THREADS_A_WARP,
            "shared_memory_per_block": SHARED_A_BLOCK,
            "shared_memory_per_core": shared * 2**10,
            "shared_memory_per_block_optin": (shared - 1) * 2**10,  # the system keeps 1 KiB
            "threads_per_core_limit": threads,
            "core_count": self.cores,
            "fpus_per_core": fpus,
            "block_dim_limit_x": BLOCKS_X,
            "block_dim_limit_y": BLOCKS_YZ,
            "block_dim_limit_z": BLOCKS_YZ,
            "memory_bandwidth": int(self.bandwidth),
            "l2_cache_size": self.l2,
            "clock_rate_ghz": self.ghz,
            "device_memory_size": self.memory,
            "registers_per_core_limit": REGISTERS,
            "registers_per_block_limit": REGISTERS,
        }
        return "\n".join(
            [
                "gpu_device_info {",
                *(f"  {key}: {value}" for key, value in facts.items()),
                f"  cuda_compute_capability {{ major: {major} minor: {minor}{accelerated} }}",
                "}",
                'platform_name: "CUDA"',
                "dnn_version_info {{ major: {} minor: {} patch: {} }}".format(*CUDNN),
                f'device_description_str: "{self.name}"',
                "",
            ]
        )


# float32 units and threads of a core, KiB of shared memory of a core
_CAPABILITIES = {
    (8, 0): (64, 2048, 164),
    (8, 6): (128, 1536, 100),
    (8, 9): (128, 1536, 100),
    (9, 0): (128, 2048, 228),
}
_MIB = 2**20


def _target(
    name: str,
    capability: tuple[int, int],
    cores: int,
    ghz: float,
    gb_s: float,
    memory: int,
    l2_mib: int,
) -> GpuTarget:
    return GpuTarget(
        name=name,
        capability=capability,
        cores=cores,
        ghz=ghz,
        bandwidth=gb_s * 1e9,
        memory=memory,
        l2=l2_mib * _MIB,
    )


GPU_TARGETS = {  # by the names of `devices.GPUS`
    "a100-40g": _target("NVIDIA A100-SXM4-40GB", (8, 0), 108, 1.41, 1555.2, 42_331_013_120, 40),
    "a100": _target("NVIDIA A100-SXM4-80GB", (8, 0), 108, 1.41, 2039.04, 85_100_068_864, 40),
    "a6000": _target("NVIDIA RTX A6000", (8, 6), 84, 1.8, 768.096, 51_041_271_808, 6),
    "rtx3090": _target("NVIDIA GeForce RTX 3090", (8, 6), 82, 1.695, 936, 24 * 2**30, 6),
    "l4": _target("NVIDIA L4", (8, 9), 58, 2.04, 300, 24 * 2**30, 48),
    "l40s": _target("NVIDIA L40S", (8, 9), 142, 2.52, 864, 48 * 2**30, 96),
    "rtx4090": _target("NVIDIA GeForce RTX 4090", (8, 9), 128, 2.52, 1008, 24 * 2**30, 72),
    "h100-pcie": _target("NVIDIA H100 PCIe", (9, 0), 114, 1.755, 2039.04, 84_942_979_072, 50),
    "h100": _target("NVIDIA H100 80GB HBM3", (9, 0), 132, 1.98, 3352.32, 84_942_979_072, 50),
    "h200": _target("NVIDIA H200", (9, 0), 132, 1.98, 4800, 151_397_597_184, 50),
}
