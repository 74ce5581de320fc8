"""Checkpoint files: wrappers, damage, code, strangers; where weights are looked for."""

import os
import pickle
import subprocess
import sys

import pytest
import safetensors.torch
import torch

import model_zoo
from model_zoo import weights
from model_zoo.checkpoint import fill, read
from model_zoo.loading import build_card

NAME = "FSRCNN"


@pytest.fixture
def state():
    return {name: value.clone() for name, value in model_zoo.build(NAME).state_dict().items()}


def _same(network, state):
    return all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("wrapper", ["params_ema", "params", "state_dict", "model"])
def test_wrappers_and_module_prefix_are_taken_off(state, wrapper, tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"epoch": 3, wrapper: {f"module.{name}": value for name, value in state.items()}}, path)
    assert _same(model_zoo.load(NAME, weights=path), state)


def test_averaged_weights_win_over_plain_ones(state, tmp_path):
    other = {name: value + 1 for name, value in state.items()}
    torch.save({"params": other, "params_ema": state}, tmp_path / "net.pth")
    assert _same(model_zoo.load(NAME, weights=tmp_path / "net.pth"), state)


def test_safetensors(state, tmp_path):
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")
    network = model_zoo.load(NAME, weights=str(tmp_path / "net.safetensors"))
    assert _same(network, state)
    assert not network.training


class Trap:
    """Unpickled with code allowed, it would make a folder."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_pickle_with_code_is_refused_by_name_and_not_run(tmp_path):
    target = tmp_path / "ran"
    torch.save({"state_dict": Trap(target)}, tmp_path / "trap.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Trap(target)))
    with pytest.raises(model_zoo.ZooError, match=r"refused, the pickle asks for (posix|nt).mkdir"):
        model_zoo.load(NAME, weights=tmp_path / "trap.pth")
    with pytest.raises(model_zoo.ZooError):
        model_zoo.load(NAME, weights=tmp_path / "bare.pth")
    assert not target.exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_truncated_file_is_one_clear_error(state, tmp_path, suffix):
    path = tmp_path / f"net.{suffix}"
    save = safetensors.torch.save_file if suffix == "safetensors" else torch.save
    save(state, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(model_zoo.ZooError, match="damaged"):
        model_zoo.load(NAME, weights=path)


def test_what_is_no_checkpoint(tmp_path):
    torch.save({"loss": 0.5}, tmp_path / "log.pth")
    with pytest.raises(model_zoo.ZooError, match="expected names and tensors only"):
        model_zoo.load(NAME, weights=tmp_path / "log.pth")
    with pytest.raises(model_zoo.ZooError, match="no checkpoint at"):
        model_zoo.load(NAME, weights=tmp_path / "absent.pth")


def test_another_architecture_names_tensor_and_shapes(state):
    with pytest.raises(model_zoo.ZooError, match=r"mid_part\.0\.weight has shape \(12, 56, 1, 1\), expected \(48, "):
        model_zoo.load("FSRCNN-48-4", weights=state)


def test_another_sum_is_refused(state, tmp_path):
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(model_zoo.ZooError, match="sha256 is"):
        read(tmp_path / "net.pth", "0" * 64)


def test_weights_are_looked_for_in_every_folder_named_and_by_sum(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    monkeypatch.setenv("CEM_WEIGHTS", f"{first}:{second}")
    card = model_zoo.card("PAN")
    (first / card.checkpoint).write_bytes(b"another file of that name")
    assert weights.find(card) is None
    with pytest.raises(model_zoo.ZooError, match=card.sha256) as refused:
        model_zoo.load("PAN")
    assert card.checkpoint in str(refused.value)
    assert str(second) in str(refused.value)


def test_unknown_names_answer_with_the_nearest_and_spelling_is_free():
    with pytest.raises(model_zoo.ZooError, match="SwinIR_DN"):
        model_zoo.card("SwinR_DN")
    assert model_zoo.card("edsr").name == model_zoo.card("EDSR_64-16").name == "EDSR-64-16"
    assert issubclass(model_zoo.ZooError, ValueError)


@pytest.mark.parametrize(
    "name", ["HAT-L", "SwinIR-for-HAT", "RCAN_half_ca", "SRResNet_MIO", "EDSR-64-10", "FSRCNN-48-6"]
)
def test_names_of_the_reference_list(name):
    assert model_zoo.card(name.swapcase()).name == name


def test_the_package_imports_fast_and_loads_no_network():
    """Under 2 s of processor time, which other work on the machine does not stretch; alone it is about 0.1 s."""
    code = (
        "import sys, time; start = time.process_time(); import model_zoo; model_zoo.list_models();"
        "print(time.process_time() - start);"
        "heavy = {'torch', 'torchvision', 'spandrel', 'basicsr', 'timm', 'numpy', 'pooch', 'requests', 'rich', 'PIL'};"
        "print(sorted(heavy & set(sys.modules)), [name for name in sys.modules if 'model_zoo.networks' in name])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert float(out[0]) < 2
    assert out[1] == "[] []"


def test_every_card_builds_what_it_says_and_the_input_is_not_changed():
    for name in model_zoo.list_models():
        card = model_zoo.card(name)
        if card.parameters > 1e6:
            continue
        network = build_card(card).eval()
        assert sum(parameter.numel() for parameter in network.parameters()) == card.parameters, name
        side = -(-max(card.size_minimum, 16) // card.size_multiple) * card.size_multiple
        x = torch.rand(1, 3, side, side + card.size_multiple, generator=torch.Generator().manual_seed(1))
        before = x.clone()
        with torch.no_grad():
            out = network(x)
        assert out.shape == (1, 3, side * card.scale, (side + card.size_multiple) * card.scale), name
        assert torch.equal(x, before), f"{name} writes on its input"


def test_real_files_load_and_spandrel_is_looked_at_twice(shared):
    for name in ("DnCNN", "IMDN", "RFDN", "PAN_x3", "CARN-M", "PReNet", "ADNet", "BSRN", "RLFN", "FSRCNN-Y"):
        model_zoo.load(name)
    with pytest.raises(model_zoo.ZooError, match="FFDNet"):
        model_zoo.load_file(shared / "weights" / "ffdnet_color.pth")
    network, facts = model_zoo.load_file(shared / "weights" / "dncnn_color_sigma50.pth")
    assert (facts.architecture, facts.scale, facts.parameters) == ("DnCNN", 1, 668227)
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        assert torch.equal(network(x), model_zoo.load("DnCNN_sigma50")(x))
    with pytest.raises(model_zoo.ZooError, match="does not recognise"):
        model_zoo.load_file(shared / "weights" / "pan_x4.pth")


def test_subnormal_weights_become_zero_and_nothing_else_changes():
    tensors = {
        "weight": torch.tensor([[1e-40, -1e-41, -0.0, 1.2e-38, 0.5]]),
        "bias": torch.tensor([-1e-39], dtype=torch.float32),
    }
    network = torch.nn.Linear(5, 1)
    fill(network, tensors, model_zoo.Card(name="mine", network="torch.nn:Linear"))
    assert network.weight.tolist() == [[0.0, 0.0, -0.0, float(torch.tensor(1.2e-38)), 0.5]]
    assert torch.signbit(network.weight[0, 2])
    assert network.bias.item() == 0.0


def test_a_few_subnormal_weights_stay_since_keys_hash_them():
    """Draws of nearly every shipped network lie under keys of files with some hundred of them."""
    weight = torch.full((1, 400), 0.5)
    weight[0, :3] = 1e-40
    network = torch.nn.Linear(400, 1, bias=False)
    fill(network, {"weight": weight}, model_zoo.Card(name="mine", network="torch.nn:Linear"))
    assert torch.equal(network.weight, weight)
