"""The earlier command line of reports; `python -m cem_bench report`, `claims` and `draws` do the same.

`python -m cem_bench.report experiment=denoise_ca [palette=safe] [formats=png,svg,pdf] [output=results]`;
`python -m cem_bench.report claims [output=results]`;
`python -m cem_bench.report keep [output=results]`, `restore [output=results]`: draws between store and `draws/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cem_bench.report.commands import judge, pack, redraw, unpack

USAGE = "expected experiment=NAME, claims, keep or restore, and of"
KEYS = {"experiment": "", "palette": "paper", "formats": "png", "output": "results"}
COMMANDS = {"claims": judge, "keep": pack, "restore": unpack}


def main(arguments: list[str]) -> None:
    """Redraw the page of one experiment, or of several named with commas; judge the claims; keep or restore draws."""
    command = COMMANDS.get(arguments[0]) if arguments else None
    given = {key: value for key, _, value in (text.partition("=") for text in arguments[command is not None :])}
    try:
        if command:
            output = Path(given.pop("output", KEYS["output"]))
            if given:
                sys.exit(f"cem_bench.report {arguments[0]}: got {', '.join(given)}; expected at most output=FOLDER")
            print(command(output))
            return
        if set(given) - set(KEYS) or not given.get("experiment"):
            sys.exit(f"cem_bench.report: got {' '.join(arguments) or 'nothing'}; {USAGE} {list(KEYS)}")
        settings = KEYS | given
        formats = settings["formats"].strip("[]").split(",")
        for experiment in settings["experiment"].split(","):
            print(redraw(experiment, Path(settings["output"]), palette=settings["palette"], formats=formats))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"cem_bench.report: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
