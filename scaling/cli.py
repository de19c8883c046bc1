"""Scaling studies of vision models: from a study file to a fitted law.

\b
    scaling plan    demo     what it will cost: runs, parameters, FLOPs
    scaling launch  demo     train what is not trained yet; again, after any kill
    scaling work    demo     the same in this process, or in those of many hosts together
    scaling status  demo     how far it is
    scaling collect demo     one table of all results
    scaling report  demo     the fitted law and its figure
    scaling curves  demo     the learning curves of its runs, as one table
    scaling export  demo     the same to TensorBoard, Weights & Biases or trackio
    scaling kubernetes demo  a manifest that trains it on a cluster
    scaling logs    RUN      what the workers of a run have printed
    scaling clean   demo     free the disk of training states that nothing needs
    scaling sheet   demo     a contact sheet of its training images
    scaling duplicates demo  training images that look like those measured on
    scaling data ...         bring images of your own, look at them, check them all
    scaling models           the zoo: parameters and multiply-adds
    scaling convert IN OUT   weights from one layout to another, or out of a run
    scaling evaluate CHECKPOINT --on TASKS
                             measure any trained network, without a study

A study is the name of one that comes with the project (demo, cifar10, zhai2022) or the path of a
file of your own; docs/study-file.md says what such a file may hold.

\b
Written:      runs/       one folder a run, and logs/ of its workers, by launch and run
              results/    <study>.parquet, .csv, figures and .html, by collect, report and
                          sheet; tensorboard/, wandb/ and trackio/ by export
              OUT         by convert; for transformers a config.json beside it
              FILE        by evaluate --table
              data sets   by data prepare and data convert, where they are told
              ~/.cache/vit-scaling-laws/
                          decoded images of data of kind "folder", by launch, run and sheet;
                          below $XDG_CACHE_HOME where that is set
                          plans/, what a compiler said, by plan --on; xla/, compiled programs,
                          and calibration.jsonl, what steps took, by launch, run and work
Not written:  anything else by plan, status, models and launch --dry-run, save the files that
              --json and --table name; and a study file with mistakes stops every command
              before it writes.

\b
Exit status:  0    done
              1    some runs failed; each is named with its reason, the others are done;
                   or a file cannot be read or written, and it is named
              2    a mistake in the study file, in its data or on the command line, all of
                   them named
              130  stopped by Ctrl-C (143: by SIGTERM); launch again to go on
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fits.base.errors import UserError
from fits.base.printable import printable
from scaling import data_cli, evaluate_cli
from scaling.base.storage import place
from scaling.launch import options as training
from scaling.planning import options as planning
from scaling.zoo import options as networks

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(data_cli.app, name="data")
app.command("evaluate")(evaluate_cli.evaluate)

StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name of a built-in study, or path of a study file.")
]


def _places(words: list[str]) -> list[Path]:
    return [place(each) for each in words]


Runs = Annotated[
    Any,  # a Path, or what stands in for one in a bucket: typer would make a Path of that
    typer.Option(
        parser=str,
        callback=place,
        metavar="PATH|URL",
        help="Folder of run folders; studies may share it. Or s3://... or gs://...",
    ),
]
Out = Annotated[Path, typer.Option(help="Folder that tables and figures are written to.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="As JSON; - is standard output.")
]


@app.command("plan")
def plan_command(
    study: StudyName,
    json_file: Json = None,
    table: planning.Table = None,
    on: planning.On = None,
    images_per_device: planning.ImagesPerDevice = None,
    update: planning.Update = None,
    remat: planning.Rematerialise = None,
    fsdp: planning.Fsdp = None,
    tensor: planning.Tensor = None,
    closed_form: planning.ClosedForm = False,
    search: planning.Search = False,
    price: planning.Price = None,
) -> None:
    """What STUDY will cost, in closed form: nothing is trained, nothing written but FILEs named.

    FLOPs are those of training (2 a multiply-add, a backward pass twice the forward), once as it
    will be done, with trunks shared by runs that differ only in images_seen, and once as if each
    run were trained alone. GMACs are 1e9 multiply-adds of one image's forward pass, classifier
    included; params are those of the backbone, its pool included, classifier left out.

    With --on, every distinct step of the study is planned for those devices: its memory as their
    own compiler says, for TPUs, for GPUs where JAX's CUDA plugin is installed, neither of which
    needs the device, and for this machine's processor; predicted in closed form for all others. The
    first step that fits is chosen, in the order of their speed: plain; less kept for the backward
    pass; fused; the state split over all devices. What --update, --remat, --fsdp and --tensor name
    is not chosen; nothing is where the study has a [placement], which is what trains. Time is
    predicted from what was measured (calibration.jsonl, which training writes), published or
    assumed, and the plan says which. What a compiler said is kept below
    ~/.cache/vit-scaling-laws/plans. See docs/training/plan.md.
    """
    given = {"update": update, "remat": remat, "fsdp": fsdp, "tensor": tensor}
    chosen = {key: value for key, value in given.items() if value is not None}
    if on is not None:
        if table is not None:
            raise UserError([f"--table {table}: lists runs, and is for a plan without --on."])
        from scaling.planning.on_devices import plan_on

        found_on = plan_on(
            study,
            on,
            images_per_device,
            chosen,
            closed_form=closed_form,
            search=search,
            price=price,
            quiet=json_file == "-",
        )
        if json_file is not None:
            _write_json(found_on.as_json(), json_file)
        if json_file != "-":
            found_on.show()
        return
    if chosen or images_per_device is not None or closed_form or search or price is not None:
        raise UserError(
            [
                "--images-per-device, --update, --remat, --fsdp, --tensor, --closed-form, "
                "--search and --price are for --on: name the devices."
            ]
        )
    from scaling.planning.closed_form import as_csv, as_json, show_cost, study_cost
    from scaling.study.parse import read_study

    wanted = read_study(study, planned=True)
    found = study_cost(wanted)
    if table is not None:
        _write(as_csv(wanted), table)
    if json_file is not None:
        _write_json(as_json(found), json_file)
    elif table != "-":
        show_cost(found)


@app.command()
def launch(
    study: StudyName,
    runs: Runs = Path("runs"),
    on: training.Where = None,
    workers: training.Workers = None,
    devices_per_run: training.DevicesPerRun = None,
    runs_per_device: training.RunsPerDevice = None,
    address: training.Address = None,
    resource: training.Resource = None,
    hosts: training.Hosts = None,
    tpu: training.Tpu = None,
    update: training.Update = None,
    remat: training.Rematerialise = None,
    microbatches: training.Microbatches = None,
    fsdp: training.Fsdp = None,
    tensor: training.Tensor = None,
    only: training.Only = None,
    first: training.First = None,
    max_parallel: training.MaxParallel = None,
    budget: training.Spend = None,
    hang_after: training.HangAfter = None,
    stop: training.Stop = None,
    partition: training.Partition = None,
    account: training.Account = None,
    qos: training.Qos = None,
    time: training.Time = None,
    gpus: training.Gpus = None,
    cpus: training.Cpus = None,
    memory: training.Memory = None,
    constraint: training.Constraint = None,
    sbatch: training.Sbatch = None,
    requeue: training.Requeue = None,
    detach: training.Detach = None,
    retry: training.Retry = False,
    json_lines: training.JsonLines = False,
    dry_run: training.DryRun = False,
    json_file: training.DryRunJson = None,
) -> None:
    """Train and measure every run of STUDY that is not done.

    It may be stopped at any moment, by Ctrl-C or a kill. Launch again and each run resumes from its
    last checkpoint and ends with the same numbers, bit for bit. Any number of launches may share
    RUNS, from several machines too: each trains what nobody is at. SIGTERM and Ctrl-C make workers
    keep a checkpoint and leave. A run whose worker dies is tried again, three times in all. Writes
    RUNS/<run>/, RUNS/trunks/ and RUNS/logs/. Exit status 1 when a run failed: the reason is
    printed, and in RUNS/<run>/failed.txt.

    Each worker is shown the devices it may use and no others: a GPU or a TPU chip each, or as many
    as --devices-per-run says, else a core. How a run is computed is no part of its id, and may
    change between launches: docs/training/devices.md. On a cluster (--on slurm:
    docs/training/slurm.md) this asks for jobs, watches the folders and replaces jobs that end
    early.
    """
    if json_file is not None and not dry_run:
        raise UserError([f"--json {json_file}: is for --dry-run; add that, or leave it out."])
    from scaling.launch import launch as launching
    from scaling.launch.launch_spec import Budget, LaunchSpec
    from scaling.launch.protocol import launcher, placed
    from scaling.launch.stopping import rules_named
    from scaling.study.parse import read_study

    where = {
        "workers": workers,
        "runs_per_device": runs_per_device,
        "partition": partition,
        "account": account,
        "qos": qos,
        "time": time,
        "gpus": gpus,
        "cpus": cpus,
        "memory": memory,
        "constraint": constraint,
        "sbatch": sbatch or None,
        "requeue": requeue,
        "detach": detach,
        "address": address,
        "resource": resource or None,
        "hosts": hosts,
        "tpu": tpu,
    }
    given = {
        "update": update,
        "remat": remat,
        "microbatches": microbatches,
        "fsdp": fsdp,
        "tensor": tensor,
        "devices": devices_per_run,
    }
    spend = None if budget is None else Budget.parse(budget)
    spec = LaunchSpec(
        retry=retry,
        only=tuple(only or ()),
        first=tuple(first or ()),
        max_parallel=max_parallel,
        budget=spend,
        hang_after=hang_after,
        stop=rules_named(stop or ()),
        json_lines=json_lines,
    )
    wanted = placed(read_study(study), given)
    chosen = launcher(on, where, wanted.launcher)
    if dry_run:
        found = launching.dry_run(wanted, runs, spec, chosen)
        if json_file is not None:
            _write_json(found.as_json(), json_file)
        if json_file != "-":
            found.show()
        return
    done = launching.launch(wanted, runs, spec, chosen)
    raise typer.Exit(0 if done else 1)


@app.command()
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
    from scaling.launch.worker_process import TAKEN
    from scaling.training.leaving import leaving_on_signals
    from scaling.worker import Ended, work

    with leaving_on_signals() as leaving:
        ended = work(folders, wait=not no_wait, leaving=leaving)
    raise typer.Exit({Ended.DONE: 0, Ended.FAILED: 1, Ended.TAKEN: TAKEN}[ended])


@app.command("pool")
def pool_command(
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


@app.command("work")
def work_command(
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
    from scaling.launch.worker_process import TAKEN
    from scaling.training.leaving import leaving_on_signals

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
    raise typer.Exit({True: 0, False: 0 if exit_zero else 1, None: TAKEN}[done])


@app.command()
def status(
    study: StudyName,
    runs: Runs = Path("runs"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw the grid anew until every run is done or failed.")
    ] = False,
    json_file: Json = None,
) -> None:
    """The state of each run of STUDY: done, running, waiting or failed. Writes nothing.

    With --watch the grid as a picture, a mark a run, and what is at work, until every run is done
    or has failed (exit status 1), or Ctrl-C. With
    --json a list of {run, model, data_size, subset, images_seen, seed, state, step, steps, phase,
    images_per_second, mfu, seconds_left, error, seconds, trouble}.
    """
    from scaling.launch.status import as_json, show_status, watch_status
    from scaling.study.parse import read_study

    found = read_study(study, data_needed=False)
    if watch:
        raise typer.Exit(0 if watch_status(found, runs) else 1)
    if json_file is not None:
        _write_json(as_json(found, runs), json_file)
    else:
        show_status(found, runs)


@app.command("curves")
def curves_command(
    study: StudyName,
    runs: Runs = Path("runs"),
    only: training.Only = None,
    table: Annotated[
        str, typer.Option("--table", metavar="FILE|-", help="Where to; - is standard output.")
    ] = "-",
) -> None:
    """The learning curves of STUDY as CSV, as far as its runs are: a line about every second.

    Columns tell the run (run, model, params, data_size, batch, seed) and the look: step,
    images_seen, flops up to there, loss (nats, a mean since the line before), learning_rate,
    gradient_norm, images_per_second, mfu, memory_bytes, seconds. Steps of a shared trunk stand in
    the curve of every run that branches from it. Writes nothing but FILE.
    """
    from scaling.report.curves import as_csv
    from scaling.study.parse import read_study

    _write(as_csv(read_study(study, data_needed=False), runs, only or ()), table)


@app.command("kubernetes")
def kubernetes_command(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Built-in study, or a path within the pods.")
    ],
    image: Annotated[str, typer.Option(help="Container image that has this project.")],
    claim: Annotated[str, typer.Option(help="PersistentVolumeClaim with the folder of runs.")],
    name: Annotated[str, typer.Option(help="Of the Job or JobSet.")] = "scaling",
    queue: Annotated[str | None, typer.Option(help="Kueue's LocalQueue.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Pods, or groups of --hosts.")] = 1,
    hosts: Annotated[int, typer.Option(min=1, help="Pods that train a run together.")] = 1,
    gpus: Annotated[int, typer.Option(min=0, help="NVIDIA GPUs of a pod.")] = 0,
    tpu_accelerator: Annotated[
        str | None, typer.Option(help="GKE's name, as tpu-v5-lite-podslice.")
    ] = None,
    tpu_topology: Annotated[str | None, typer.Option(help="Of the slice, as 4x4.")] = None,
) -> None:
    """Print a Kubernetes manifest that trains STUDY, as JSON for `kubectl apply -f -`.

    A Job of equal pods that share the runs of a volume, or with --hosts a JobSet whose pods train
    a run together. Talks to no cluster and writes nothing: docs/training/kubernetes.md.
    """
    from scaling.kubernetes import KubernetesSpec, manifest

    spec = KubernetesSpec(
        name=name,
        study=study,
        image=image,
        claim=claim,
        queue=queue,
        workers=workers,
        hosts=hosts,
        gpus=gpus,
        tpu_accelerator=tpu_accelerator,
        tpu_topology=tpu_topology,
    )
    _write_json(manifest(spec), "-")


@app.command("export")
def export_command(
    study: StudyName,
    to: Annotated[str, typer.Option("--to", metavar="TOOL", help="tensorboard, wandb or trackio.")],
    runs: Runs = Path("runs"),
    out: Out = Path("results"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on every 30 s until all runs are done.")
    ] = False,
) -> None:
    """Tell TensorBoard, Weights & Biases or trackio of the learning curves and results of STUDY.

    Reads RUNS, writes OUT/TOOL/STUDY/, and tells each step once however often it is stopped and
    started again. Training knows nothing of it. Weights & Biases takes WANDB_API_KEY and
    WANDB_MODE=offline from the environment: docs/training/export.md.
    """
    from scaling.study.parse import read_study
    from scaling.writers.export import export

    export(read_study(study, data_needed=False), runs, to, out, watch=watch)


@app.command("logs")
def logs_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or how it begins.")],
    runs: Runs = Path("runs"),
    lines: Annotated[
        int | None, typer.Option("-n", "--lines", min=1, help="The last so many lines alone.")
    ] = None,
) -> None:
    """What the workers of a run have printed, the oldest first. Writes nothing."""
    from scaling.runs.logs import log_of

    text = log_of(runs, run)
    print("\n".join(text[-lines:] if lines else text))


@app.command("clean")
def clean_command(
    study: StudyName,
    runs: Runs = Path("runs"),
    ends: Annotated[
        bool,
        typer.Option(
            "--ends", help="Also the ends of runs, which convert and init need: numbers stay."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")
    ] = False,
) -> None:
    """Delete the training states of STUDY that nothing needs, and say how much that frees.

    Kept are the last point of every trunk, from which longer runs go on, the points from which runs
    in RUNS have still to start, and the ends of runs. What a worker is at is left alone. Results,
    metrics and logs stay.
    """
    from scaling.runs.clean import clean
    from scaling.study.parse import read_study

    found = clean(read_study(study, data_needed=False), runs, ends=ends, dry_run=dry_run)
    for each in found:
        print(f"{each.bytes / 2**20:10.1f} MiB  {each.path}")
    total = sum(each.bytes for each in found) / 2**20
    print(f"{total:.1f} MiB {'would be freed' if dry_run else 'freed'}: {len(found)} states.")


@app.command("collect")
def collect_command(
    study: StudyName, runs: Runs = Path("runs"), out: Out = Path("results")
) -> None:
    """Write the results of the finished runs into OUT/<study>.parquet and OUT/<study>.csv."""
    from scaling.study.parse import read_study

    found = read_study(study, data_needed=False)  # before the seconds that imports take
    from scaling.report.report import collect

    collect(found, runs, out)


@app.command("report")
def report_command(
    study: StudyName,
    runs: Runs = Path("runs"),
    out: Out = Path("results"),
    details: Annotated[
        bool, typer.Option("--details", help="Every fit in full, with every law's hold-out error.")
    ] = False,
    title: Annotated[str | None, typer.Option(metavar="WORDS", help="Title of the figure.")] = None,
    xlabel: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Label of its x axes.")
    ] = None,
    ylabel: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Label of its y axes.")
    ] = None,
) -> None:
    """Collect, fit the laws, print them and draw them into OUT/, and write a page of all of it.

    OUT/<study>.html needs no network: the frontier to explore, learning curves, laws, plan and
    cost, failures, provenance (docs/report.md). While runs are not done, all is provisional.
    """
    from scaling.study.parse import read_study

    found = read_study(study, data_needed=False)
    from scaling.report.report import Words, report

    words = Words(title=title, xlabel=xlabel, ylabel=ylabel)
    report(found, runs, out, details=details, words=words)


@app.command()
def sheet(study: StudyName, out: Out = Path("results")) -> None:
    """Draw training images of STUDY, a row a class, into OUT/<study>.sheet.png."""
    from scaling.data.contact_sheet import contact_sheet
    from scaling.study.parse import read_study

    found = read_study(study)
    path = out / f"{found.name}.sheet.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        contact_sheet(found.runs[0].data.train(), path)
    except ValueError as error:  # an image that cannot be decoded, a cache that cannot be kept
        raise UserError([str(error)]) from error
    print(path)


@app.command("duplicates")
def duplicates_command(
    study: StudyName,
    out: Out = Path("results"),
    distance: Annotated[
        int, typer.Option(min=0, max=32, help="Bits of 64 in which two hashes differ, at most.")
    ] = 4,
    network: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Compare features too, by the network of a finished run."),
    ] = None,
    cosine: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of two images' features, at least.")
    ] = 0.95,
) -> None:
    """Find training images of STUDY that look like images it is measured on.

    By a perceptual hash, mirrored or not, and with --network by features. Prints how many there are
    for each set, and writes OUT/<study>.duplicates-<digest>.json: data of kind "without" leaves
    those images out.
    """
    from scaling.base.console import note
    from scaling.duplicates import Alike, features_of, find, report
    from scaling.study.parse import read_study

    found = read_study(study)
    features = None if network is None else features_of(network)
    wanted = Alike(distance, features, cosine, None if network is None else str(network))
    left_out, rows = find(found, wanted, note)
    report(rows, left_out, left_out.write(out, f"{found.name}.duplicates") if rows else None)


@app.command()
def models(
    names: networks.Names = None,
    resolution: networks.Resolution = None,
    classes: networks.Classes = None,
    budget: networks.Budget = None,
    patch: networks.Patch = None,
    json_file: Json = None,
) -> None:
    """The zoo, with parameters and multiply-adds in closed form. Writes nothing.

    `params` has a ViT's pool, and the classifier if --classes is given; `params_trunk` has
    neither. `forward_gmacs` is for one image, in 1e9 multiply-adds (half as many as FLOPs), pool
    and any classifier included. The width of a BiT is that of its root; a - is no such number.

    With --budget, instead of the zoo: the shapes that SoViT's law of width, depth and MLP holds
    best for a 16th to 16 times the budget, rounded to what hardware tiles well. `images_seen` is
    what the budget itself buys of each; its FLOPs are those of training, backward passes included.
    """
    from scaling.zoo import catalogue

    if budget is not None:
        if names:
            raise UserError(
                [f"{names[0]}: with --budget there are no names; leave one of them out."]
            )
        proposed = catalogue.proposals(budget, patch, resolution, classes)
        if json_file is None:
            catalogue.show_proposals(proposed, budget)
        else:
            _write_json(proposed, json_file)
        return
    if patch is not None:
        raise UserError(
            [f"--patch {patch}: is for --budget; a model's name says its own: Ti/{patch}."]
        )
    rows = catalogue.rows(names or [], resolution, classes)
    if json_file is None:
        catalogue.show(rows)
    else:
        _write_json(rows, json_file)


@app.command("convert")
def convert_command(
    source: networks.Source,
    out: networks.Converted,
    to: networks.To = None,
    shape: networks.Shape = None,
    heads: networks.Heads = None,
    resolution: networks.Positions = None,
    sincos: networks.Sincos = False,
    dtype: networks.Dtype = None,
    dry_run: networks.DryRun = False,
) -> None:
    """Weights from one layout to another: ViT, BiT and Mixer, of big_vision, timm and others.

    What IN holds is judged by its names and shapes, text towers and optimizer states beside the
    image network are left out and named. A run's folder gives the parameters it ended with,
    classifier included. A name that is missing, too many or of the wrong shape: all of them are
    named, nothing is written, exit status 2. --to huggingface writes config.json beside OUT.
    """
    from models.weights.facts import About
    from scaling.zoo.convert import convert

    convert(
        source,
        out,
        to=to,
        shape=shape,
        resolution=resolution,
        given=About(heads=heads, sincos=sincos),
        dtype=dtype,
        dry_run=dry_run,
    )


def _write_json(value: Any, file: str) -> None:
    _write(json.dumps(value, indent=2) + "\n", file)


def _write(text: str, file: str) -> None:
    from fits.base.files import write_text

    if file == "-":
        print(text, end="")
    else:
        write_text(Path(file), text)


def main() -> None:
    """The command `scaling`. A user's mistake is said on standard error, without a traceback."""
    try:
        app(prog_name="scaling")
    except UserError as mistakes:
        print(mistakes, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        words = f"{error.filename}: {error.strerror}." if error.filename else str(error)
        print(printable(words), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
