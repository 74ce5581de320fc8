"""Results are whole or not there: one helper writes them, also in scripts and benchmarks."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# ways to write a file in place; in memory (BytesIO, text) they are fine
IN_PLACE = re.compile(
    r"\.write_text\(|\.write_bytes\(|\.open\(\"[wax]|\bopen\([^)]*\"[wax]b?\"|\.to_(csv|parquet|json|markdown)\((?!index|\)|$|\s*$)"
    r"|np\.savez?(_compressed)?\((?!file|content)|\.savefig\((?!content|picture)"
)
# what damages files on purpose, or writes folders that are renamed when they are whole
APART = {"benchmarks/damages.py", "benchmarks/faults.py", "benchmarks/fuzz.py", "benchmarks/fuzz_inputs.py"}
APART |= {"cem_bench/store/journal.py"}  # every line carries its own hash
FILES = [
    str(path.relative_to(ROOT))
    for folder in ("scripts", "benchmarks", "cem_bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


@pytest.mark.parametrize("name", [name for name in FILES if name not in APART])
def test_no_file_is_written_in_place(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wrong = [f"{at}: {line.strip()}" for at, line in enumerate(lines, 1) if IN_PLACE.search(line)]
    assert wrong == []


@pytest.mark.parametrize(
    "line", ['x.write_text("a")', "table.to_csv(path, index=False)", 'with path.open("w") as f:', "np.savez(path, a=1)"]
)
def test_the_pattern_sees_them(line: str) -> None:
    assert IN_PLACE.search(line)
