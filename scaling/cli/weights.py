"""The commands for networks and their weights, without a study: `scaling models` and `convert`."""

from __future__ import annotations

from fits.base.errors import UserError
from scaling.cli.options import Json
from scaling.cli.output import write_json
from scaling.zoo import options as networks


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
            write_json(proposed, json_file)
        return
    if patch is not None:
        raise UserError(
            [f"--patch {patch}: is for --budget; a model's name says its own: Ti/{patch}."]
        )
    rows = catalogue.rows(names or [], resolution, classes)
    if json_file is None:
        catalogue.show(rows)
    else:
        write_json(rows, json_file)


def convert(
    source: networks.Source,
    out: networks.Converted,
    to: networks.To = None,
    shape: networks.Shape = None,
    heads: networks.Heads = None,
    resolution: networks.Positions = None,
    sincos: networks.Sincos = False,
    mean: networks.Mean = None,
    std: networks.Std = None,
    dtype: networks.Dtype = None,
    dry_run: networks.DryRun = False,
) -> None:
    """Weights from one layout to another: ViT, BiT and Mixer, of big_vision, timm and others.

    What IN holds is judged by its names and shapes, text towers and optimizer states beside the
    image network are left out and named. A run's folder gives the parameters it ended with,
    classifier included. A mean and std of pixels, in the config.json beside IN or given, are folded
    into the patch embedding: OUT sees pixels of -1 .. 1. A name that is missing, too many or of the
    wrong shape: all of them are named, nothing is written, exit status 2. --to huggingface writes
    config.json beside OUT.
    """
    from scaling.zoo import convert as converting

    converting.convert(
        source,
        out,
        to=to,
        shape=shape,
        resolution=resolution,
        given=networks.about(heads, sincos, mean, std),
        dtype=dtype,
        dry_run=dry_run,
    )
