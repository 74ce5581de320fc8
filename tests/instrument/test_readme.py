"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_lines_for_ones_own_model_run_as_printed(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code
    assert len([line for line in code[1].splitlines() if line]) <= 8
    monkeypatch.chdir(tmp_path)
    exec(code[1], {})
    shown = capsys.readouterr().out
    assert "verdict" in shown
    assert shown.count("measured") == 3
    assert (tmp_path / "map.png").is_file()


def test_every_local_link_and_picture_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_somebody_with_five_minutes_can_read_it():
    assert len(README.read_text().split()) <= 900
