"""Redraw and judge from what is stored.

`python -m cem_bench.report experiment=denoise_ca [palette=safe] [output=results]`, or
`python -m cem_bench.report claims [output=results] [readme=README.md]`: the file's quotes of claims are written again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cem_bench.report.claims import write_claims
from cem_bench.report.dictionary import write_dictionary
from cem_bench.report.quotes import requote
from cem_bench.report.write import write_report

KEYS = {"experiment": "", "palette": "paper", "output": "results"}


def main(arguments: list[str]) -> None:
    """Redraw tables, figures and page of one experiment, or of several named with commas; or judge the claims."""
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
        sys.exit(
            f"cem_bench.report: got {' '.join(arguments) or 'nothing'}; expected experiment=NAME, and of {list(KEYS)}"
        )
    said = KEYS | given
    for experiment in said["experiment"].split(","):
        try:
            paths = write_report(experiment, Path(said["output"]), palette=said["palette"])
        except (FileNotFoundError, ValueError) as error:
            sys.exit(f"cem_bench.report: {error}")
        print(f"{experiment}: {len(paths)} files in {paths[0].parent}")


def _given(arguments: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (argument.partition("=") for argument in arguments)}


if __name__ == "__main__":
    main(sys.argv[1:])
