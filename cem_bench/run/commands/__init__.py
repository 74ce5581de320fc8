"""Everything on the command line that does not measure a cell: sub-commands of the same program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cem_bench.run.commands.arguments import OTHERS, RESULTS, Output, Palette
from cem_bench.run.commands.arguments import stop as _stop
from cem_bench.run.commands.own_networks import check, compare

app = typer.Typer(
    name="cem_bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Causal Effect Maps of image restoration networks.",
)
draws = typer.Typer(no_args_is_help=True)
app.add_typer(draws, name="draws", help="Move stored draws between this machine's store and the repository.")


@app.command()
def report(
    experiments: Annotated[list[str], typer.Argument(help="names, as denoise_ca sr_ca")],
    output: Output = RESULTS,
    palette: Palette = "paper",
    formats: Annotated[str, typer.Option(help="of the figures, with commas: png, svg, pdf")] = "png",
) -> None:
    """Write tables, figures and page of experiments again, from stored draws. No network runs."""
    from cem_bench.report.commands import redraw

    for experiment in experiments:
        try:
            typer.echo(redraw(experiment, output, palette=palette, formats=tuple(formats.split(","))))
        except (FileNotFoundError, ValueError) as error:
            raise _stop(error) from error


@app.command()
def claims(output: Output = RESULTS) -> None:
    """Judge the hypotheses of conf/claims.yaml by the tables of the experiments, and write their page."""
    from cem_bench.report.commands import judge

    typer.echo(judge(output))


@draws.command()
def keep(
    output: Output = RESULTS,
    models: Annotated[str, typer.Option(help="patterns of names, with commas, as IMDN,RCAN_DN_*; default: all")] = "",
) -> None:
    """Pack the store's draws into OUTPUT/draws, which git holds: at most 5 MB a file."""
    from cem_bench.report.commands import pack

    try:
        typer.echo(pack(output, [pattern for pattern in models.split(",") if pattern]))
    except (FileNotFoundError, ValueError) as error:
        raise _stop(error) from error


@draws.command()
def restore(output: Output = RESULTS) -> None:
    """Unpack OUTPUT/draws into the store; what is stored already stays."""
    from cem_bench.report.commands import unpack

    try:
        typer.echo(unpack(output))
    except (FileNotFoundError, ValueError) as error:
        raise _stop(error) from error


app.command(context_settings=OTHERS)(check)
app.command(context_settings=OTHERS)(compare)


@app.command(context_settings=OTHERS)
def status(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="name, as denoise_ca, and what the sweep was given, as seed=0,1")],
    output: Output = RESULTS,
) -> None:
    """Say how far a sweep is: cells planned, done, running and by whom, failed, and the time that is left."""
    from cem_bench.run.commands.checks import print_status

    try:
        print_status(output, experiment, context.args)
    except (FileNotFoundError, ValueError) as error:
        raise _stop(error) from error


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="of an experiment, as results/denoise_ca")],
    sample: Annotated[int, typer.Option(help="stored draws to make again on this machine")] = 20,
    sample_seed: Annotated[int, typer.Option("--sample-seed", "--seed", help="chooses them")] = 0,
) -> None:
    """Check an experiment: walk every hash to the root, compare the table, make a sample of draws again."""
    from cem_bench.run.commands.checks import print_verified

    try:
        holds = print_verified(folder, sample, sample_seed)
    except (FileNotFoundError, ValueError) as error:
        raise _stop(error) from error
    raise typer.Exit(0 if holds else 1)


@app.command(context_settings=OTHERS)
def sbatch(
    overrides: Annotated[list[str], typer.Argument(help="of a sweep, as +experiment=denoise_ca seed=0,1")],
    context: typer.Context,
    tasks: Annotated[int, typer.Option(min=1, help="identical workers: each measures what no other holds")] = 4,
    cpus: Annotated[int, typer.Option(min=1, help="cores per worker")] = 4,
    gpus: Annotated[int, typer.Option(min=0, max=1, help="GPUs per worker; 1 also needs device=cuda")] = 0,
    minutes: Annotated[int, typer.Option(min=5, help="time limit of a worker; it is queued again before that")] = 240,
) -> None:
    """Print a script for SLURM's sbatch that measures a sweep with an array of identical workers; runs nothing."""
    from cem_bench.run.commands.checks import print_script

    try:
        print_script([*overrides, *context.args], tasks=tasks, cpus=cpus, gpus=gpus, minutes=minutes)
    except ValueError as error:
        raise _stop(error) from error


@app.command(context_settings=OTHERS)
def validity(
    context: typer.Context,
    overrides: Annotated[list[str], typer.Argument(help="of one cell, as model=DnCNN scene=coffee [sampling.n=16]")],
) -> None:
    """Ask whether a map is the network's at all: shuffled weights, blocks together, other donors and noise fields.

    Writes page, table and figure into results/validity/MODEL_SCENE; what is stored is not measured again.
    """
    from cem_bench.run.commands.write_validity import write_validity

    try:
        paths = write_validity([*overrides, *context.args])
    except (ValueError, OSError, RuntimeError) as error:
        raise _stop(error) from error
    typer.echo("\n".join(str(path) for path in paths))


@app.command(context_settings=OTHERS)
def paths(
    context: typer.Context,
    overrides: Annotated[list[str], typer.Argument(help="of one cell, as model=RCAN_DN_ca scene=coffee")],
    cheap: Annotated[int, typer.Option(help="draws per block of the cheap levels; 0: as many as of the network")] = 0,
) -> None:
    """Split a map by path: along the pixels, through what is pooled over the whole image, and pool by pool.

    Writes page, tables and figure into results/paths/MODEL_SCENE; what is stored is not measured again.
    """
    from cem_bench.run.commands.write_paths import write_paths

    try:
        files = write_paths([*overrides, *context.args], cheap=cheap)
    except (ValueError, OSError, RuntimeError) as error:
        raise _stop(error) from error
    typer.echo("\n".join(str(path) for path in files))


@app.command()
def joint(
    experiments: Annotated[list[str], typer.Argument(help="names, as sr_receptive_field denoise_ca")],
    models: Annotated[str, typer.Option(help="patterns of names, with commas, as IMDN,RCAN_DN_*; default: all")] = "",
    scenes: Annotated[str, typer.Option(help="patterns of names, with commas, as shipped_*; default: all")] = "",
    draws: Annotated[int, typer.Option(min=2, help="of every set of blocks")] = 10,
    verdicts: Annotated[bool, typer.Option("--verdicts", help="also all blocks that help, and all that harm")] = False,
    output: Output = RESULTS,
) -> None:
    """Replace whole sets of blocks at once in the stored cells of experiments, and report; no map is drawn again.

    The sets: all surroundings of the region, what lies beyond 16 px, and every ring of distance.
    """
    from cem_bench.report import write_report
    from cem_bench.run.joint_cells import Wanted, measure_joint

    named, shown = ([pattern for pattern in text.split(",") if pattern] for text in (models, scenes))
    wanted = Wanted(named, shown, verdicts)
    for experiment in experiments:
        try:
            done, failed = measure_joint(output, experiment, wanted, draws)
            paths = write_report(experiment, output)
        except (FileNotFoundError, ValueError) as error:
            raise _stop(error) from error
        for line in failed:
            typer.echo(f"not measured: {line}", err=True)
        typer.echo(f"{experiment}: joint effects of {done} cells; {len(paths)} files in {paths[0].parent}")


@app.command(context_settings=OTHERS)
def quadtree(
    context: typer.Context,
    overrides: Annotated[list[str], typer.Argument(help="of one cell, as model=DnCNN scene=coffee")],
    draws: Annotated[int, typer.Option(help="of every square, an even number: half divide, half judge")] = 20,
    coarsest: Annotated[int, typer.Option(help="blocks along the side of the largest squares, a power of two")] = 4,
) -> None:
    """Measure a map in squares of mixed size: one is divided where replacing all of it has an effect of tol or more.

    Writes table, figure and record into results/quadtree; what is stored is not measured again.
    """
    from cem_bench.run.commands.squares import write_quadtree

    try:
        paths = write_quadtree([*overrides, *context.args], draws, coarsest)
    except (ValueError, OSError, RuntimeError) as error:
        raise _stop(error) from error
    typer.echo("\n".join(str(path) for path in paths))


@app.command()
def replay(
    recording: Annotated[Path, typer.Argument(help="recorded run (.npz), or the folder of all")],
    model: Annotated[str, typer.Option(help="zoo name; a folder needs none")] = "",
    weights: Annotated[str, typer.Option(help="checkpoint file; default: found by the model's card")] = "",
    engine: Annotated[str, typer.Option(help="auto, cone, crop or full")] = "auto",
    draws: Annotated[int, typer.Option(help="replay a random subset of this size; 0 for all")] = 0,
    sample_seed: Annotated[int, typer.Option("--sample-seed", "--seed", help="chooses the subset")] = 0,
    table: Annotated[Path | None, typer.Option(help="also keep the rows in this csv")] = None,
) -> None:
    """Feed recorded runs of the reference code through our model, engine and outcome, and compare the PSNR."""
    from cem_bench.run.commands.replay import replay_all

    try:
        passed = replay_all(
            recording,
            model,
            weights=weights or None,
            engine=engine,
            draws=draws or None,
            sample_seed=sample_seed,
            table=table,
        )
    except (ValueError, OSError) as error:
        raise _stop(error) from error
    raise typer.Exit(0 if passed else 1)


@app.command(context_settings=OTHERS)
def explore(
    context: typer.Context,
    overrides: Annotated[list[str] | None, typer.Argument(help="to begin with, as model=DnCNN task=dn50")] = None,
    port: Annotated[int, typer.Option(help="of the page on this machine")] = 7861,
) -> None:
    """Open a page on this machine to click a place in a photograph and see its map; needs the extra `explore`."""
    try:
        from cem_bench.run.explore.server import serve
    except ModuleNotFoundError as error:
        raise _stop(ValueError(f"the explorer needs {error.name}: pip install 'cem-bench[explore]'")) from error
    try:
        serve([*(overrides or ()), *context.args], port)
    except (ValueError, OSError) as error:
        raise _stop(error) from error


@app.command(context_settings={**OTHERS, "help_option_names": []})
def zoo(context: typer.Context) -> None:
    """List models, show their facts, measure their PSNR: list, info NAME, verify [NAME ...]."""
    from cem_bench.run.build import zoo_command

    raise typer.Exit(zoo_command(context.args))


@app.command()
def reproduce(
    plan: Annotated[bool, typer.Option("--plan", help="only say what it will take")] = False, output: Output = RESULTS
) -> None:
    """Run every experiment of the paper from nothing, or go on from what is stored; says first what it will take."""
    from cem_bench.run.commands.reproduce import reproduce_all

    raise typer.Exit(reproduce_all(output, plan_only=plan))


@app.command(context_settings={**OTHERS, "help_option_names": []})
def bench(context: typer.Context) -> None:
    """Measure what the engines save against plain full forwards; needs a checkout (benchmarks/speed.py)."""
    import runpy
    import sys

    script = Path(__file__).resolve().parents[3] / "benchmarks" / "speed.py"
    if not script.is_file():
        raise _stop(FileNotFoundError(f"{script} is not there: the benchmark is part of the repository, clone it"))
    sys.path.insert(0, str(script.parent))
    sys.argv = ["cem_bench bench", *context.args]
    runpy.run_path(str(script), run_name="__main__")


NAMES = frozenset({*(command.callback.__name__ for command in app.registered_commands if command.callback), "draws"})
