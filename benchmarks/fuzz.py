"""Change what is read at random (store, archive, command lines, users' files) and count what reading comes to.

`python benchmarks/fuzz.py [--cases 10000]` writes `results/reliability/fuzz.csv`. A case has survived if what is read
is what was written, bit by bit, and is refused if the error is ours and says what to do; all else has failed.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import fuzz_inputs
import numpy as np
import pandas as pd
from tqdm import tqdm

from cem_bench.store.archive import keep, read_archive
from cem_bench.store.draws import DamagedError, Store, read_rows
from cem_bench.store.files import inside, write_atomically
from cem_bench.store.sums import write_sums

TABLE = Path(__file__).resolve().parents[1] / "results" / "reliability" / "fuzz.csv"
JUNK = (None, True, -1, 1e400, "", "../../x", "/etc/passwd", "\x00", [], {}, [[[]]], {"a": {}}, "0" * 64, 2**70)
Change = Callable[[bytes, np.random.Generator], bytes]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip up to eight bits."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut the end off, as a power cut does."""
    return content[: int(rng.integers(len(content)))]


def spliced(content: bytes, rng: np.random.Generator) -> bytes:
    """Put a piece of the file, or noise, somewhere else in it."""
    start, size, place = (int(value) for value in rng.integers(0, len(content), 3))
    piece = content[start : start + size] if rng.integers(2) else rng.bytes(min(size, 300))
    return content[:place] + piece + content[place + int(rng.integers(0, 40)) :]


def of_zeros(content: bytes, rng: np.random.Generator) -> bytes:
    """Fill a stretch with zeros, as some file systems do after a power cut."""
    start, end = sorted(int(value) for value in rng.integers(0, len(content) + 1, 2))
    return content[:start] + bytes(end - start) + content[end:]


def of_other_values(content: bytes, rng: np.random.Generator) -> bytes:
    """Put a value that cannot be somewhere in a JSON file."""
    try:
        tree = json.loads(content)
    except ValueError:
        return flipped(content, rng)
    node = tree
    while isinstance(node, dict) and node:
        key = list(node)[int(rng.integers(len(node)))]
        if not isinstance(node[key], dict) or not node[key] or rng.integers(2):
            node[key] = JUNK[int(rng.integers(len(JUNK)))]
            break
        node = node[key]
    return json.dumps(tree).encode()


CHANGES: dict[str, Change] = {
    "flipped bits": flipped,
    "truncated": truncated,
    "spliced": spliced,
    "zeros": of_zeros,
    "other values": of_other_values,
}


def _made(output: Path) -> Store:
    """Write a run of 60 draws, its entry and its archive."""
    store = Store(output / "store", {"model": "A", "seed": 0})
    block, k = np.repeat(np.arange(12), 5), np.tile(np.arange(5), 12)
    rng = np.random.default_rng(0)
    columns = {"block": block, "k": k, "donor": rng.integers(0, 40, 60), "stratum": np.zeros(60, int)}
    store.append(columns | {"psnr": rng.normal(30, 0.1, 60), "psnr_untouched": np.full(60, 30.0)})
    store.write_record({"model": "A"})
    entry = json.dumps({"key": store.key, "model": "A"}).encode()
    write_atomically(output / "store" / "experiments" / "made" / "a.json", entry)
    keep(output)
    return store


def _of_store(store: Store, expected: pd.DataFrame) -> str:
    """Read a run, then open it as a writer would; return survived, refused, or what failed."""
    try:
        same = read_rows(store.folder).equals(expected)
        answer = "survived" if same else "other rows were served"
    except DamagedError:
        answer = "refused"
    again = Store(store.root, store.identity)
    with again.claimed():
        rows = again.rows
    left = rows.merge(expected, how="inner")
    return answer if len(left) == len(rows) else "a writer took rows that nobody measured"


def _of_archive(output: Path, expected: pd.DataFrame) -> str:
    try:
        runs = read_archive(output, "A")
    except DamagedError:
        return "refused"
    rows = next(iter(runs.values())).draws
    return "survived" if rows.equals(expected) else "other rows were served"


def _case(before: dict[Path, bytes], target: Path, change: Change, rng: np.random.Generator) -> None:
    """Put everything back as it was, then change one file."""
    for path in {path.parent for path in before}:
        for file in path.iterdir():
            if file.is_file() and file not in before:
                file.unlink()
    for path, content in before.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    target.write_bytes(change(before[target], rng))


def _paths(cases: int, rng: np.random.Generator) -> Counter[str]:
    """Ask for names made of parts that lead out and parts that do not."""
    parts = ["..", ".", "a", "b c", "", "~", "\\", "ä", "store", "...", "%2e%2e", "-"]
    answers: Counter[str] = Counter()
    folder = Path("/tmp/results").resolve()
    for _ in range(cases):
        name = "/".join(parts[int(at)] for at in rng.integers(0, len(parts), int(rng.integers(1, 7))))
        try:
            path = inside(folder, name)
        except ValueError:
            answers["refused"] += 1
            continue
        answers["survived" if str(path.resolve()).startswith(f"{folder}/") else "led out"] += 1
    return answers


def _of_stores(cases: int, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    """Yield a row for every file of a run and an archive, and every change."""
    with tempfile.TemporaryDirectory() as name:
        output = Path(name)
        store = _made(output)
        expected, archived = read_rows(store.folder), next(iter(read_archive(output, "A").values())).draws
        write_sums(output / "draws")
        files = [path for path in (*store.folder.iterdir(), *(output / "draws").iterdir()) if path.is_file()]
        before = {path: path.read_bytes() for path in files}
        # a run is opened to write too: one case for eight of the archive
        in_store = sum(path.parent == store.folder for path in files)
        each = -(-cases // (len(CHANGES) * (8 * (len(files) - in_store) + in_store)))
        for target in files:
            label = "draws-HASH.parquet" if target.name.startswith("draws-") else target.name
            for kind, change in CHANGES.items():
                started = time.perf_counter()
                answers: Counter[str] = Counter()
                for _ in tqdm(range(_cases(target, store, each)), desc=f"{label}, {kind}", leave=False, mininterval=5):
                    _case(before, target, change, rng)
                    of_run = target.parent == store.folder
                    answers[_of_store(store, expected) if of_run else _of_archive(output, archived)] += 1
                yield _row(label, kind, answers, time.perf_counter() - started)


def _of_inputs(cases: int, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    """Yield a row for every kind of file that users hand over, and every change; `cases` of a kind, fewer if slow."""
    for kind in fuzz_inputs.kinds():
        each = -(-(cases if kind.fast else cases // 4) // len(CHANGES))
        with tempfile.TemporaryDirectory() as name:
            paths = [Path(name) / file for file in kind.files]
            for path, content in zip(paths, kind.files.values(), strict=True):
                write_atomically(path, content, durable=False)
            for label, change in CHANGES.items():
                started, answers = time.perf_counter(), Counter()
                for _ in tqdm(range(each), desc=f"{kind.name}, {label}", leave=False, mininterval=5):
                    path, content = list(zip(paths, kind.files.values(), strict=True))[rng.integers(len(paths))]
                    path.write_bytes(change(content, rng))
                    answers[fuzz_inputs.answer(lambda path=path, kind=kind: kind.read(path))] += 1
                    path.write_bytes(content)
                yield _row(kind.name, label, answers, time.perf_counter() - started)


def _timed(file: str, kind: str, answers: Iterable[str]) -> dict[str, object]:
    started = time.perf_counter()
    return _row(file, kind, Counter(answers), time.perf_counter() - started)


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rng, tenth = np.random.default_rng(0), -(-given.cases // 10)
    lines = tqdm(fuzz_inputs.override_answers(tenth, rng), total=tenth, desc="overrides", leave=False, mininterval=5)
    rows = [
        _timed("overrides", "pieces of others, signs", lines),
        *_of_inputs(2 * tenth, rng),
        *_of_stores(tenth, rng),
        _timed("names of files", "parts that lead out", _paths(tenth, rng).elements()),
    ]
    write_atomically(given.out, pd.DataFrame(rows).to_csv(index=False).encode())
    print(pd.DataFrame(rows).to_string(index=False))


def _cases(target: Path, store: Store, each: int) -> int:
    return each if target.parent == store.folder else 8 * each


def _row(file: str, kind: str, answers: Counter[str], seconds: float) -> dict[str, object]:
    failed = {answer: number for answer, number in answers.items() if answer not in ("survived", "refused")}
    return {
        "file": file,
        "change": kind,
        "cases": answers.total(),
        "survived": answers["survived"],
        "refused": answers["refused"],
        "failed": sum(failed.values()),
        "why": "; ".join(failed),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
