"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_five_lines_for_ones_own_model(tmp_path, monkeypatch, capsys, rng, tiny):
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code
    monkeypatch.chdir(tmp_path)
    given = {
        "my_network": tiny(),
        "clean_uint8": rng.integers(0, 256, (128, 128, 3), dtype=np.uint8),
        "patches_uint8": rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8),
        "names": np.arange(20).astype(str),
    }
    exec(code[1], given)
    assert capsys.readouterr().out.count("[") == 17, "a map of 16 rows is printed"


def test_every_local_link_and_picture_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
