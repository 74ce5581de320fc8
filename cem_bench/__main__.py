"""`python -m cem_bench`: cells and sweeps by Hydra's overrides, everything else by sub-commands."""

from __future__ import annotations

import sys

HELP = ("--help", "-h", "--version")


def main() -> None:
    """Run a sub-command, or measure what the overrides ask for."""
    from cem_bench.run.commands import NAMES, app

    arguments = sys.argv[1:]
    if arguments and arguments[0] in NAMES:
        app()
        return
    if set(arguments) & set(HELP):
        from cem_bench.run.commands.overview import print_overview

        print_overview(only_version="--version" in arguments)
        return
    from cem_bench.run.launch import run
    from cem_bench.run.stopping import guarded

    code = guarded(lambda: run(arguments))
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
