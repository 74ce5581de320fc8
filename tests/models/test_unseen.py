"""What a walk over a network cannot see, and what it sees alike in every process and of every library."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_computation import DIFFERENT, Bound, Net
from torch import nn

from cem_bench import as_model
from cem_bench.models.identity import UnseenError, computation

ROOT = Path(__file__).resolve().parents[2]


def unsourced():
    space = {}
    exec("def function(x):\n    return x * 2", space)
    return space["function"]


class Foreign:
    """Keeps what it does in a thing that cannot be read."""

    def __init__(self):
        self.session = (part for part in [1, 2])

    def __call__(self, x):
        return x


class Meta(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyConv2d(3, 3)


UNSEEN = {
    "function made by exec": (lambda: unsourced(), "function has no source file"),
    "lambda made by eval": (lambda: eval("lambda x: x * 2"), "has no source file"),
    "network around it": (lambda: Net(unsourced()), "no source file"),
    "generator": (lambda: Foreign(), "keeps its state to itself"),
    "weights that are not there": (lambda: Meta(), "no values yet"),
    "compiled function": (lambda: torch.compile(Bound(1).restore), "compiled"),
    "compiled module": (lambda: torch.compile(Net()), "compiled"),
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_what_cannot_be_seen_has_no_identity(kind: str):
    make, message = UNSEEN[kind]
    thing = make()
    with pytest.raises(UnseenError, match=message):
        computation(thing)
    model = as_model(thing, name="unseen")
    assert message.split()[-1] in model.unseen()
    assert model.identity() != as_model(thing, name="unseen").identity(), "nothing stored can be known to be its own"
    named = [as_model(thing, name="unseen", identity=name) for name in ("mine-1", "mine-1", "mine-2")]
    assert named[0].identity() == named[1].identity() != named[2].identity()
    assert not named[0].unseen()


def test_scripted_and_traced_modules_cannot_be_seen(recwarn):
    net = Net(2).eval()
    for made in (torch.jit.script(net.conv), torch.jit.trace(net, torch.zeros(1, 3, 8, 8))):
        with pytest.raises(UnseenError, match="is compiled"):
            computation(made)


def test_a_traced_graph_is_seen():
    first, second = (torch.fx.symbolic_trace(Net(option)) for option in (2, 3))
    assert computation(first).sha256 != computation(second).sha256
    assert computation(first).sha256 == computation(torch.fx.symbolic_trace(Net(2))).sha256


SCRIPT = """
import sys
sys.path.insert(0, "tests/models")
import test_computation as kinds
from cem_bench.models.identity import computation
for name, pair in kinds.DIFFERENT.items():
    print(name, *(computation(thing).sha256 for thing in pair))
"""


def test_identities_are_the_same_in_every_process():
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment | {"PYTHONHASHSEED": seed}
        )
        for seed in ("1", "12345")
    ]
    first, second = (process.communicate()[0] for process in started)
    assert first == second
    assert len(first.splitlines()) == len(DIFFERENT)


def test_an_edited_file_is_another_network_and_an_edited_comment_is_not(tmp_path, monkeypatch):
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tools_of_mine.py").write_text("GAIN = 2\ndef double(x):\n    return x * GAIN\n")
    text = "import tools_of_mine\nclass Mine:\n    def __call__(self, x):\n        return tools_of_mine.double(x)\n"
    (tmp_path / "nets_of_mine.py").write_text(text)
    tools, nets = (importlib.import_module(name) for name in ("tools_of_mine", "nets_of_mine"))
    before = computation(nets.Mine()).sha256
    tools.GAIN = 3
    assert computation(nets.Mine()).sha256 != before
    for source, same in (
        ("# says twice\nGAIN = 2\n\n\ndef double(x):\n    return x * GAIN  # here\n", True),
        ("GAIN = 2\ndef double(x):\n    return x + GAIN\n", False),
    ):
        exec(compile(source, str(tmp_path / "tools_of_mine.py"), "exec", dont_inherit=True), vars(tools))
        assert (computation(nets.Mine()).sha256 == before) is same


def test_what_changes_no_number_changes_no_identity():
    net = Net(2)
    before = computation(net).sha256
    again = computation(Net(2)).sha256
    net.conv.weight.requires_grad_(False)
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    net.register_full_backward_hook(lambda module, given, back: None)
    net.register_state_dict_pre_hook(lambda *arguments: None)
    net.conv.to(memory_format=torch.channels_last)
    assert computation(net).sha256 == before == again
    assert computation(copy.deepcopy(Net(2))).sha256 == before
    assert as_model(Net(2), name="a").identity() == as_model(Net(2), name="b", tasks=("DN",)).identity()


def test_libraries_enter_by_version(monkeypatch):
    assert computation(Net()).libraries["torch"] == torch.__version__
    assert set(computation(Net()).libraries) >= {"python", "torch"}
