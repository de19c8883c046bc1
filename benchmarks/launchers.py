"""One study brought to its end by each launcher; are the tables the same, byte for byte?

    python benchmarks/launchers.py [--write]

A study of two small networks is launched on this machine, by two launches at once that share a
folder, on a Slurm cluster of two nodes and on a Ray cluster of two nodes, which are started here
and listen on loopback alone. Prints the SHA-256 of both tables of each; exit status 1 where they
differ. `--write` puts that into docs/reliability.md. Needs root, the Debian packages that
.ci/packages names, and the extras slurm and ray.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reliability_page import versions, write_section
from small_study import small_study

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from slurm_cluster import SlurmCluster
from test_ray import ON_LOOPBACK, Cluster

SCALING = [sys.executable, "-P", "-m", "scaling"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    rows = []
    with tempfile.TemporaryDirectory(prefix="launch-") as temporary:
        place = Path(temporary)
        (place / "small.toml").write_text(small_study([2_560, 5_120], seeds=(0, 1)))
        with slurm() as on_slurm, ray() as (address, on_ray):
            launches: list[tuple[str, list[list[str]], Mapping[str, str]]] = [
                ("local", [["--on", "local"]], {}),
                ("two launches at once", [["--workers", "1"], ["--workers", "1"]], {}),
                ("slurm, two nodes", [["--on", "slurm"]], on_slurm),
                ("ray, two nodes", [["--on", "ray", "--address", address]], on_ray),
            ]
            for number, (name, options, environment) in enumerate(launches):
                runs = f"runs{number}"
                begun = [launch(place, runs, each, environment) for each in options]
                for process in begun:
                    if process.wait():
                        sys.exit(f"{name}: exit status {process.returncode}")
                rows.append((name, *tables(place, runs)))
                print(*rows[-1], flush=True)
    same = len({(csv, parquet) for _, csv, parquet in rows}) == 1
    if write:
        lines = ["| launched | SHA-256 of the CSV | of the Parquet file |", "|---|---|---|"]
        lines += [f"| {name} | `{csv[:16]}` | `{parquet[:16]}` |" for name, csv, parquet in rows]
        end = "All the same." if same else "They differ."
        packages = versions("jax", "ray", "submitit")
        write_section("launchers", "\n".join(lines) + f"\n\n{end} Eight runs. {packages}")
    sys.exit(0 if same else 1)


@contextmanager
def slurm() -> Iterator[Mapping[str, str]]:
    """A cluster; yields the environment that finds it."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, SlurmCluster(Path(folder)) as it:
        yield {"SLURM_CONF": it.environment["SLURM_CONF"]}


@contextmanager
def ray() -> Iterator[tuple[str, Mapping[str, str]]]:
    """A cluster of two nodes; yields its address and an environment."""
    cluster = Cluster()
    try:
        cluster.add()
        cluster.add()
        yield cluster.address, ON_LOOPBACK
    finally:
        cluster.stop()


def launch(
    place: Path, runs: str, options: list[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*SCALING, "launch", "small.toml", "--runs", runs, *options],
        cwd=place,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.DEVNULL,
    )


def tables(place: Path, runs: str) -> tuple[str, str]:
    """SHA-256 of both."""
    words = ["collect", "small.toml", "--runs", runs, "--out", f"out-{runs}"]
    subprocess.run([*SCALING, *words], cwd=place, check=True, stdout=subprocess.DEVNULL)
    out = place / f"out-{runs}"
    return tuple(  # type: ignore[return-value]
        hashlib.sha256((out / f"small.{kind}").read_bytes()).hexdigest()
        for kind in ("csv", "parquet")
    )


if __name__ == "__main__":
    main()
