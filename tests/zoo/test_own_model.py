"""model_zoo/README.md says a model is added in two files: here they are taken from the page and added."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import model_zoo

PACKAGE = Path(model_zoo.__file__).parent

SCRIPT = """
import torch, model_zoo
state = {name.replace("body.", "net."): value for name, value in model_zoo.build("Mine").state_dict().items()}
torch.save(state, "mine.pth")
network = model_zoo.load("mine")
x = torch.rand(1, 3, 9, 14)
assert network(x).shape == x.shape
for name in ("Mine", "Mine-wide"):
    assert sum(p.numel() for p in model_zoo.build(name).parameters()) == model_zoo.card(name).parameters
assert "Mine" in model_zoo.list_models("DN")
"""


def test_the_two_files_of_the_page_are_enough(tmp_path, monkeypatch):
    page = (PACKAGE / "README.md").read_text(encoding="utf-8")
    network = next(block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "class Mine" in block)
    (card,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    copy = tmp_path / "model_zoo"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("weights", "__pycache__", "*.safetensors"))
    (copy / "networks" / "mine.py").write_text(network, encoding="utf-8")
    (copy / "cards" / "mine.yaml").write_text(card, encoding="utf-8")
    monkeypatch.setenv("CEM_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
