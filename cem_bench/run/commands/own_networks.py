"""Sub-commands on networks of one's own: look at one, compare several on photos."""

from __future__ import annotations

from typing import Annotated

import typer

from cem_bench.run.commands.arguments import RESULTS, Output, Palette, stop


def check(
    context: typer.Context,
    network: Annotated[str, typer.Argument(help="a reference, as mine.py:Net,weights=my.pth, file.pth or DnCNN")],
    task: Annotated[str, typer.Option(help="as dn25; default: that of its card, else dn25")] = "",
) -> None:
    """Look at a network before measuring: what it takes and gives, engine, reach, time, and the line to write.

    Options of a reference are weights, name, scale, value_range (255, -1..1), tasks, output (-1, image), beside
    (map:0.1, channel:sigma, index:2), channels (bgr, grey, y, 4), multiple, dtype (half), inference (tiles:64,
    local:48) and identity; all others go to the class.
    """
    from cem_bench.run.commands.check import print_check

    try:
        ready = print_check(network, task, context.args)
    except (ValueError, OSError) as error:
        raise stop(error) from error
    raise typer.Exit(0 if ready else 1)


def compare(
    context: typer.Context,
    networks: Annotated[list[str], typer.Argument(help="references, and KEY=VALUE for every cell, as sampling.n=8")],
    photos: Annotated[list[str], typer.Option(help="file or folder; several times, or folder/*.jpg")],
    task: Annotated[str, typer.Option(help="what is restored, as dn25; several with commas")],
    name: Annotated[str, typer.Option(help="of the folder; default: one that no other comparison has")] = "",
    crop: Annotated[str, typer.Option(help="part of every photo: top,left,height,width")] = "",
    roi: Annotated[list[str] | None, typer.Option(help="region in the part: top,left,size; may be several")] = None,
    rois: Annotated[int, typer.Option(help="regions per photo by the seeded rule, where no --roi is given")] = 1,
    side: Annotated[int, typer.Option(help="of a region by the rule, pixels")] = 32,
    roi_seed: Annotated[int, typer.Option(help="names the places of the rule")] = 0,
    largest: Annotated[int, typer.Option(help="longest side of the part, pixels; 0: no limit")] = 512,
    force: Annotated[bool, typer.Option("--force", help="also under tasks that a network is not trained for")] = False,
    palette: Palette = "paper",
    output: Output = RESULTS,
) -> None:
    """Compare networks on your photos: one folder with a page, maps, differences, tables, LaTeX and PDF.

    A network is a zoo name, a file, `mine.py:Class` or `pkg.mod:Class`, with options behind commas.
    """
    from cem_bench.run.commands.comparing import print_comparison

    framing = {"crop": crop, "roi": roi or (), "rois": rois, "side": side, "roi_seed": roi_seed, "largest": largest}
    rest = {"output": output, "name": name, "force": force, "palette": palette, **framing}
    try:
        whole = print_comparison([*networks, *context.args], photos, task.split(","), rest)
    except (ValueError, OSError) as error:
        raise stop(error) from error
    raise typer.Exit(0 if whole else 1)
