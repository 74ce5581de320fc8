"""What sub-commands share: arguments, and how they end with an error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Output = Annotated[Path, typer.Option(help="folder of the results")]
Palette = Annotated[str, typer.Option(help="paper (seismic) or safe (for colour-blind readers)")]
# arguments that another parser reads: Hydra's overrides, the zoo's own command line
OTHERS = {"allow_extra_args": True, "ignore_unknown_options": True}
RESULTS = Path("results")


def stop(error: Exception) -> typer.Exit:
    """Say an error in one line; what is returned ends the program."""
    typer.echo(f"cem_bench: {error}", err=True)
    return typer.Exit(1)
