"""The command `scaling plan`: it parses and prints; `scaling.planning` finds what a study costs."""

from __future__ import annotations

from fits.base.errors import UserError
from scaling.cli.options import Json, StudyName
from scaling.cli.output import write, write_json
from scaling.planning import options as planning


def plan(
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
    run were trained alone; each objective's, two views or a teacher included. GMACs are 1e9
    multiply-adds of one image's forward pass under a classifier, whatever the objective; params are
    those of the backbone, its pool included, classifier left out. Where the study has several
    objectives, augmentations, batches or recipes, each model has a line for each, its `variant`.

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
            write_json(found_on.as_json(), json_file)
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
    from scaling.launch.protocol import launcher
    from scaling.planning.closed_form import as_csv, as_json, show_cost, study_cost
    from scaling.study.parse import read_study

    wanted = read_study(study, planned=True)
    launcher(None, {}, wanted.launcher)  # raises where that table has mistakes
    found = study_cost(wanted)
    if table is not None:
        write(as_csv(wanted), table)
    if json_file is not None:
        write_json(as_json(found), json_file)
    elif table != "-":
        show_cost(found)
