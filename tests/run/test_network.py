"""Nothing is fetched and nothing is reported unless a download was asked for: a cell with the network closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["scene.crop=[0,100,64,64]", "scene.roi=[16,16,32,32]", "sampling=smoke", "donors.count=50"]
# an audit hook sees every use of the network in this process, also one whose error is swallowed
CLOSED = """
import runpy, sys
used = open("used", "w")

def closed(event, arguments):
    if event.split(".")[0] in ("socket", "urllib", "http", "ftplib", "smtplib") and event not in ALLOWED:
        if event == "socket.__new__" and arguments[1] not in (2, 10):
            return  # no internet family
        used.write(f"{event} {arguments}\\n")
        used.flush()
        raise OSError(f"the network is closed: {event}")

ALLOWED = ("socket.gethostname",)
sys.addaudithook(closed)
sys.argv = ["cem_bench", *sys.argv[1:]]
runpy.run_module("cem_bench", run_name="__main__")
"""


def closed(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment = {key: value for key, value in environment.items() if not key.startswith("CEM_")}
    command = [sys.executable, "-c", CLOSED, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_a_cell_needs_no_network(tmp_path: Path) -> None:
    done = closed("+experiment=quickstart", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "used").read_text() == ""
    record = json.loads(next((tmp_path / "outputs" / "quickstart").glob("*.json")).read_text())
    assert record["session"]["new_draws"] > 0


def test_the_hook_sees_the_network(tmp_path: Path) -> None:
    code = CLOSED.replace('runpy.run_module("cem_bench", run_name="__main__")', "import urllib.request as r\n")
    fetch = "try:\n    r.urlopen('http://127.0.0.1:9/', timeout=1)\nexcept OSError:\n    pass\n"
    subprocess.run([sys.executable, "-c", code + fetch], cwd=tmp_path, check=True)
    assert "urllib.Request" in (tmp_path / "used").read_text()
