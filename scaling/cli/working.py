"""The commands that train, which launchers start: `scaling run` and `work` in this process,
`scaling pool` in worker processes of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fits.base.errors import UserError
from scaling.base.storage import place
from scaling.cli.options import Runs
from scaling.launch import options as training


def _places(words: list[str]) -> list[Path]:
    return [place(each) for each in words]


def run(
    folders: Annotated[
        list[Any],
        typer.Argument(
            parser=str,
            callback=_places,
            metavar="RUNS/ID...",
            help="Folders that launch has written.",
        ),
    ],
    no_wait: training.NoWait = False,
) -> None:
    """Train and measure single runs in this process, one that nobody is at after another.

    Launchers start this; a path is all that they pass. A run that another process trains is waited
    for. Writes into the given folders, and into trunks/ beside them. SIGTERM and SIGINT make it
    keep a checkpoint and leave. Exit status 1 when a run failed.
    """
    absent = [folder for folder in folders if not (folder / "run.json").exists()]
    if absent:
        raise UserError(
            *([f"{folder} has no run.json; `scaling launch` writes it."] for folder in absent)
        )
    from scaling.training.leaving import TRY_AGAIN, leaving_on_signals
    from scaling.worker import Ended, work

    with leaving_on_signals() as leaving:
        ended = work(folders, wait=not no_wait, leaving=leaving)
    raise typer.Exit({Ended.DONE: 0, Ended.FAILED: 1, Ended.TAKEN: TRY_AGAIN}[ended])


def pool(
    launch_file: Annotated[
        Any,
        typer.Argument(
            parser=str,
            callback=place,
            metavar="RUNS/launches/NAME.json",
            help="What launch has written.",
        ),
    ],
    workers: training.Workers = None,
    runs_per_device: training.RunsPerDevice = None,
    pin: Annotated[
        bool, typer.Option(help="Each worker on a core of its own, where this machine is ours.")
    ] = True,
) -> None:
    """Work on a launch on this machine's devices, in worker processes, as long as there is
    something to do.

    Launchers on clusters start this in their jobs; a path is all that they pass. Any number of
    pools divide a launch. Ends, with status 75, when others are at all that is left. SIGTERM,
    SIGINT, SIGHUP and SIGUSR2 make the workers keep a checkpoint and leave. Exit status 1 when a
    run failed.
    """
    from scaling.launch.node import work_on

    raise typer.Exit(work_on(launch_file, workers, runs_per_device or 1, pin=pin))


def work(
    what: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|RUNS|LAUNCH",
            help="A study; a folder of run folders; or a file RUNS/launches/NAME.json.",
        ),
    ],
    runs: Runs = Path("runs"),
    cluster: training.Cluster = None,
    coordinator: training.Coordinator = None,
    processes: training.Processes = None,
    process: training.Process = None,
    update: training.Update = None,
    remat: training.Rematerialise = None,
    microbatches: training.Microbatches = None,
    fsdp: training.Fsdp = None,
    tensor: training.Tensor = None,
    retry: training.Retry = False,
    no_wait: training.NoWait = False,
    hang_after: training.HangAfter = None,
    exit_zero: training.ExitZero = False,
) -> None:
    """Train and measure runs, one after another, on all devices of this process.

    Those of a study, of a launch, or all that a folder holds and that are not done. With several
    hosts, one such command on each of them makes one training, which shares its devices: under srun
    with --cluster slurm, on each host of a TPU slice with --cluster tpu, else by --coordinator,
    --processes and --process. RUNS is a folder that all of them see. The first process alone
    writes. Exit status 1 when a run failed.
    """
    from scaling.launch.devices import compute_as_workers_do
    from scaling.launch.here import meant, together, train_here
    from scaling.launch.protocol import placed
    from scaling.training.leaving import TRY_AGAIN, leaving_on_signals

    given = {"update": update, "remat": remat, "microbatches": microbatches}
    compute_as_workers_do()
    found = meant(what, runs)
    hang_after = hang_after or found.hang_after
    wanted = placed(found.study, {**given, "fsdp": fsdp, "tensor": tensor})
    with leaving_on_signals() as leaving:
        together(cluster, coordinator, processes, process)
        done = train_here(
            wanted,
            found.runs,
            leaving,
            retry=retry,
            wait=not no_wait,
            hang_after=hang_after,
        )
    raise typer.Exit({True: 0, False: 0 if exit_zero else 1, None: TRY_AGAIN}[done])
