"""Redraw and judge from what is stored.

`python -m cem_bench.report experiment=denoise_ca [palette=safe] [formats=png,svg,pdf] [output=results]`;
`python -m cem_bench.report claims [output=results]`;
`python -m cem_bench.report keep [output=results]`, `restore [output=results]`: draws between store and `draws/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cem_bench.report.claims import write_claims
from cem_bench.report.index import write_dictionary
from cem_bench.report.write import write_report
from cem_bench.store.archive import keep, restore

USAGE = "expected experiment=NAME, claims, keep or restore, and of"
KEYS = {"experiment": "", "palette": "paper", "formats": "png", "output": "results"}
COMMANDS = ("claims", "keep", "restore")


def main(arguments: list[str]) -> None:
    """Redraw the page of one experiment, or of several named with commas; judge the claims; keep or restore draws."""
    try:
        if arguments and arguments[0] in COMMANDS:
            _command(arguments[0], _given(arguments[1:]))
        else:
            _redraw(arguments)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"cem_bench.report: {error}")


def _redraw(arguments: list[str]) -> None:
    given = _given(arguments)
    if set(given) - set(KEYS) or not given.get("experiment"):
        sys.exit(f"cem_bench.report: got {' '.join(arguments) or 'nothing'}; {USAGE} {list(KEYS)}")
    settings = KEYS | given
    formats = settings["formats"].strip("[]").split(",")
    for experiment in settings["experiment"].split(","):
        paths = write_report(experiment, Path(settings["output"]), palette=settings["palette"], formats=formats)
        print(f"{experiment}: {len(paths)} files in {paths[0].parent}")


def _command(command: str, given: dict[str, str]) -> None:
    output = Path(given.pop("output", KEYS["output"]))
    if given:
        sys.exit(f"cem_bench.report {command}: got {', '.join(given)}; expected at most output=FOLDER")
    if command == "claims":
        paths = write_claims(output)
        print(f"claims: {len(paths)} files, {paths[-1]} is the page; columns: {write_dictionary(output)}")
    elif command == "restore":
        print(f"{restore(output)} runs restored into {output / 'store'}")
    else:
        paths = keep(output)
        size = sum(path.stat().st_size for path in paths) / 1e6
        print(f"{len(paths) // 2} models in {output / 'draws'}, {size:.1f} MB")


def _given(arguments: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (argument.partition("=") for argument in arguments)}


if __name__ == "__main__":
    main(sys.argv[1:])
