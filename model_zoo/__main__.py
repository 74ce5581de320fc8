"""python -m model_zoo list | info NAME | verify [NAME...]: the zoo from the command line."""

import argparse
import csv
import sys
from dataclasses import fields
from pathlib import Path

from model_zoo import ZooError, card, list_models
from model_zoo.cards import Card
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


def run_verify(names: list[str], images: int, target: Path) -> int:
    """Measures the models named, or all whose weights are here and whose test set is known; writes the table."""
    from tqdm import tqdm

    from model_zoo.verify import COLUMNS, folder, measure

    known = names or [name for name in list_models() if find(card(name)) and folder(card(name)).is_dir()]
    done, failed = {}, []
    if target.is_file():
        with target.open(newline="", encoding="utf-8") as stream:
            done = {row[0]: tuple(row) for row in list(csv.reader(stream))[1:]}
    for name in tqdm(known, desc="verify", unit="model"):
        try:
            result = measure(card(name), images)
        except ZooError as error:
            failed.append(f"{name}: {error}")
            continue
        done[result.model] = result.row
        print("  ".join(result.row), flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *(done[name] for name in sorted(done))])
    print(f"written: {target}")
    for line in failed:
        print(f"not measured: {line}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line and does what it says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all models").add_argument("--task", choices=("SR", "DN", "DR"))
    commands.add_parser("info", help="every fact of one model").add_argument("name")
    verify = commands.add_parser("verify", help="measure PSNR with the weights that are here")
    verify.add_argument("names", nargs="*")
    verify.add_argument("--images", type=int, default=1000, help="at most so many images of each test set")
    verify.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "list":
            show_list(chosen.task)
        elif chosen.command == "info":
            show_info(chosen.name)
        else:
            return run_verify(chosen.names, chosen.images, chosen.out)
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
