"""python -m model_zoo list | info NAME | verify [NAME...]: the zoo from the command line."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from model_zoo import ZooError, card, list_models
from model_zoo.cards import FOLDER, MEASURED, Card, tasks_of_cards
from model_zoo.listing import HERE, MISSING, Wanted, select
from model_zoo.weights import find

RESULTS = Path("results") / "zoo" / "measured.csv"


def _reach(entry: Card) -> str:
    if entry.reach is not None:
        return f"{entry.reach} px"
    return "global" if entry.global_statistics else "not computed"


def show_list(wanted: Wanted) -> None:
    """Prints one line per card: task, scale, parameters, reach, global statistics, licence, where the weights are."""
    from rich.console import Console
    from rich.table import Table

    entries = select(wanted)
    if not entries:
        print("no model has all of that; leave a filter out (python -m model_zoo list --help)")
        return
    table = Table("model", "task", "scale", "parameters", "reach", "global statistics", "licence", "weights")
    for entry in entries:
        local = find(entry)
        where = str(local) if local else f"not here: {entry.address or entry.paper}"
        facts = (f"x{entry.scale}", f"{entry.parameters / 1e6:.3f} M", _reach(entry), entry.global_statistics or "none")
        table.add_row(entry.name, " ".join(entry.tasks), *facts, entry.licence, where)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def show_info(name: str) -> None:
    """Prints every fact of one card."""
    entry = card(name)
    for item in fields(entry):
        value = getattr(entry, item.name)
        if value not in ("", (), {}, None) or item.name == "reach":
            print(f"{item.name:>18}: {_reach(entry) if item.name == 'reach' else value}")
    print(f"{'weights':>18}: {find(entry) or 'not here'}")


def run_verify(names: list[str], images: int, target: Path, keep: bool) -> int:
    """Measures the models named, or all whose weights are here and whose test set is known; writes the table.

    Args:
        names: models; empty for all.
        images: at most so many images of each test set.
        target: the table, written anew after each model; lines of other models stay.
        keep: write the table into the package too, where the cards take their measured figure from.

    Returns:
        1 where a model could not be measured, else 0.
    """
    from tqdm import tqdm

    from model_zoo.published_psnr import can_measure, measure, read_table, write_table

    known = names or [name for name in list_models() if find(card(name)) and can_measure(card(name))]
    if not known:
        print("nothing to measure: CEM_WEIGHTS and CEM_DATA name no folder with weights and their test set")
        return 0
    done, failed = read_table(target), []
    before = len(done)
    for name in tqdm(known, desc="verify", unit="model"):
        try:
            done.append(measure(card(name), images))
        except (ZooError, OSError, ValueError, ImportError) as error:
            failed.append(f"{name}: {error}")
            continue
        write_table(target, done)
        print(f"{done[-1].model}  {done[-1].measured:.4f} dB  {done[-1].images} images", flush=True)
    targets = (target, FOLDER / MEASURED) if keep else (target,)
    for path in targets if len(done) > before else ():  # nothing measured: no file is touched
        write_table(path, done)
        print(f"written: {path}")
    for line in failed:
        print(f"not measured: {line}", file=sys.stderr)
    return 1 if failed else 0


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=tasks_of_cards(), help="trained for this task")
    parser.add_argument("--reach", type=int, metavar="PX", help="looks at most so many input pixels far")
    parser.add_argument(
        "--global",
        dest="statistics",
        metavar="KIND",
        help="statistics of the whole image: none, any, or a part of the kind's name, as 'channel attention'",
    )
    parser.add_argument("--licence", metavar="TEXT", help="a part of the weights' licence, as MIT")
    parser.add_argument("--weights", choices=(HERE, MISSING), help="the checkpoint is on this machine, or is not")


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line and does what it says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_list(commands.add_parser("list", help="all models, or those with the facts asked for"))
    commands.add_parser("info", help="every fact of one model").add_argument("name")
    verify = commands.add_parser("verify", help="measure PSNR with the weights that are here")
    verify.add_argument("names", nargs="*")
    verify.add_argument("--images", type=int, default=1000, help="at most so many images of each test set")
    verify.add_argument("--out", type=Path, default=RESULTS, help=f"the table; default {RESULTS}")
    verify.add_argument("--keep", action="store_true", help="also write the figures into the package's cards")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "list":
            show_list(Wanted(chosen.task, chosen.reach, chosen.statistics, chosen.licence, chosen.weights))
        elif chosen.command == "info":
            show_info(chosen.name)
        else:
            return run_verify(chosen.names, chosen.images, chosen.out, chosen.keep)
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
