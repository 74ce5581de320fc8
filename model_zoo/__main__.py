"""python -m model_zoo list | info NAME | verify [NAME...]: the zoo from the command line."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from model_zoo import ZooError, card, list_models
from model_zoo.cards import FOLDER, MEASURED, TASKS, Card
from model_zoo.weights import find

RESULTS = Path("results") / "zoo" / "measured.csv"


def _reach(entry: Card) -> str:
    if entry.reach is not None:
        return f"{entry.reach} px"
    return "global" if entry.global_statistics else "not computed"


def show_list(task: str | None) -> None:
    """Prints one line a card: task, parameters, reach, global statistics, where the weights are."""
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "task", "scale", "parameters", "reach", "global statistics", "weights")
    for name in list_models(task):
        entry = card(name)
        local = find(entry)
        where = str(local) if local else f"not here: {entry.address or entry.paper}"
        size = f"{entry.parameters / 1e6:.3f} M"
        statistics = entry.global_statistics or "none"
        table.add_row(name, " ".join(entry.tasks), f"x{entry.scale}", size, _reach(entry), statistics, where)
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

    from model_zoo.verify import can_measure, measure, read_table, write_table

    known = names or [name for name in list_models() if find(card(name)) and can_measure(card(name))]
    done, failed = read_table(target), []
    for name in tqdm(known, desc="verify", unit="model"):
        try:
            done.append(measure(card(name), images))
        except (ZooError, OSError, ValueError, ImportError) as error:
            failed.append(f"{name}: {error}")
            continue
        write_table(target, done)
        print(f"{done[-1].model}  {done[-1].measured:.4f} dB  {done[-1].images} images", flush=True)
    for path in (target, FOLDER / MEASURED) if keep else (target,):
        write_table(path, done)
        print(f"written: {path}")
    for line in failed:
        print(f"not measured: {line}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line and does what it says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all models").add_argument("--task", choices=TASKS)
    commands.add_parser("info", help="every fact of one model").add_argument("name")
    verify = commands.add_parser("verify", help="measure PSNR with the weights that are here")
    verify.add_argument("names", nargs="*")
    verify.add_argument("--images", type=int, default=1000, help="at most so many images of each test set")
    verify.add_argument("--out", type=Path, default=RESULTS, help=f"the table; default {RESULTS}")
    verify.add_argument("--keep", action="store_true", help="also write the figures into the package's cards")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "list":
            show_list(chosen.task)
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
