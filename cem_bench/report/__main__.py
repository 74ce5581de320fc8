"""Redraw and judge from what is stored.

`python -m cem_bench.report experiment=denoise_ca [palette=safe] [formats=png,svg,pdf] [output=results]`, or
`python -m cem_bench.report claims [output=results] [readme=README.md]`: the file's quotes of claims are written again;
`python -m cem_bench.report keep [output=results]`, `restore [output=results]`: draws between store and `draws/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cem_bench.report.claims import write_claims
from cem_bench.report.dictionary import write_dictionary
from cem_bench.report.quotes import requote
from cem_bench.report.write import write_report
from cem_bench.store.archive import keep, restore

USAGE = "expected experiment=NAME, claims, keep or restore, and of"
KEYS = {"experiment": "", "palette": "paper", "formats": "png", "output": "results"}


def main(arguments: list[str]) -> None:
    """Redraw the page of one experiment, or of several named with commas; judge the claims; keep or restore draws."""
    if arguments and arguments[0] in ("keep", "restore"):
        _move_draws(arguments[0], _given(arguments[1:]))
        return
    if "claims" in arguments:
        rest = _given([argument for argument in arguments if argument != "claims"])
        paths = write_claims(Path(rest.get("output", KEYS["output"])))
        print(f"claims: {len(paths)} files, {paths[-1]} is the page; columns: {write_dictionary(paths[0].parent)}")
        if "readme" in rest:
            print(f"{requote(Path(rest['readme']), paths[0])}: numbers written again; now read the words around them")
        return
    given = _given(arguments)
    unknown = sorted(set(given) - set(KEYS))
    if unknown or not given.get("experiment"):
        sys.exit(f"cem_bench.report: got {' '.join(arguments) or 'nothing'}; {USAGE} {list(KEYS)}")
    said = KEYS | given
    for experiment in said["experiment"].split(","):
        try:
            formats = said["formats"].strip("[]").split(",")
            paths = write_report(experiment, Path(said["output"]), palette=said["palette"], formats=formats)
        except (FileNotFoundError, ValueError) as error:
            sys.exit(f"cem_bench.report: {error}")
        print(f"{experiment}: {len(paths)} files in {paths[0].parent}")


def _move_draws(command: str, given: dict[str, str]) -> None:
    output = Path(given.pop("output", KEYS["output"]))
    if given:
        sys.exit(f"cem_bench.report {command}: got {', '.join(given)}; expected at most output=FOLDER")
    try:
        if command == "restore":
            print(f"{restore(output)} runs restored into {output / 'store'}")
            return
        paths = keep(output)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"cem_bench.report: {error}")
    size = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{len(paths) // 2} models in {output / 'draws'}, {size:.1f} MB")


def _given(arguments: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (argument.partition("=") for argument in arguments)}


if __name__ == "__main__":
    main(sys.argv[1:])
