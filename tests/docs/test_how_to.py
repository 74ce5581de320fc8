"""The files that the how-to pages print are taken as they are, by a stranger: they must compose."""

import re
from pathlib import Path

import pytest

from cem_bench.run.build import register
from cem_bench.run.overrides import check_overrides
from cem_bench.run.sweep import plan

ROOT = Path(__file__).resolve().parents[2]


def printed(page: str, kind: str) -> list[str]:
    """Return the blocks of code of one kind on a page."""
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / "docs" / "how-to" / page).read_text(), re.S)


@pytest.mark.parametrize(
    ("page", "file", "override"),
    [
        ("own-experiment.md", "experiment/mine.yaml", "+experiment=mine"),
        ("own-task.md", "task/defocus.yaml", "task=defocus"),
    ],
)
def test_a_file_of_a_page_composes(page: str, file: str, override: str, tmp_path: Path):
    register()
    [content] = printed(page, "yaml")
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(content)
    assert check_overrides([override, f"hydra.searchpath=[file://{tmp_path}]"]) == ""
    if "experiment" in file:
        sweep = plan([f"--config-dir={tmp_path}", override], {})
        assert sweep and len(sweep.cells) == 4
        assert sweep.experiment == "mine"
