"""The downloader against a real server on this machine."""

import hashlib
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import safetensors.torch
import torch

import model_zoo
from model_zoo import weights
from model_zoo.checkpoint import read

NAME = "FSRCNN"


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, with ranges as real hosts do, and keeps what was asked for."""

    asked: list[str | None]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range"))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content, start = path.read_bytes(), int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])


@pytest.fixture
def served(tmp_path, monkeypatch):
    """(folder of a server, its address, the Range headers it was asked with); caches and CEM_WEIGHTS are empty."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CEM_WEIGHTS", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    asked: list[str | None] = []
    handler = type("Here", (Handler,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def card(served):
    """A card whose checkpoint lies on the server."""
    folder, address, _ = served
    state = {key: value.clone() for key, value in model_zoo.build(NAME).state_dict().items()}
    safetensors.torch.save_file(state, folder / "net.safetensors")
    total = hashlib.sha256((folder / "net.safetensors").read_bytes()).hexdigest()
    where = f"{address}/net.safetensors"
    return replace(model_zoo.card(NAME), checkpoint="net.safetensors", address=where, sha256=total)


def test_a_file_is_fetched_once_checked_and_read(served, card):
    folder, _, asked = served
    assert weights.find(card) is None
    path = weights.obtain(card)
    assert path == weights.cache_folder() / "net.safetensors"
    assert path.read_bytes() == (folder / "net.safetensors").read_bytes()
    network = model_zoo.load(NAME, weights=path)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in read(path, card.sha256).items())
    assert weights.obtain(card) == path == weights.find(card)
    assert asked == [None]


def test_a_file_of_torch_save_too(served, card):
    folder, address, _ = served
    torch.save({"params": model_zoo.build(NAME).state_dict()}, folder / "net.pth")
    total = hashlib.sha256((folder / "net.pth").read_bytes()).hexdigest()
    path = weights.obtain(replace(card, checkpoint="net.pth", address=f"{address}/net.pth", sha256=total))
    assert not model_zoo.load(NAME, weights=path).training


def test_a_download_goes_on_where_it_was_cut_off(served, card):
    folder, _, asked = served
    whole = (folder / "net.safetensors").read_bytes()
    part = weights.cache_folder() / "net.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(whole[:1000])
    assert weights.obtain(card).read_bytes() == whole
    assert asked == ["bytes=1000-"]
    assert not part.exists()


def test_a_part_with_nothing_to_follow_it_is_fetched_anew(served, card):
    folder, _, asked = served
    whole = (folder / "net.safetensors").read_bytes()
    part = weights.cache_folder() / "net.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(whole)
    assert weights.obtain(card).read_bytes() == whole
    assert asked == [f"bytes={len(whole)}-", None]


def test_another_sum_is_refused_and_not_kept(served, card):
    wrong = replace(card, sha256="0" * 64)
    with pytest.raises(model_zoo.ZooError, match="another sha256") as refused:
        weights.obtain(wrong)
    assert "0" * 64 in str(refused.value)
    assert weights.find(wrong) is None
    assert not list(weights.cache_folder().glob("net.safetensors*"))


def test_a_part_of_another_file_does_not_stay_in_the_way(served, card):
    """What does not fit the sum is thrown away with its beginning, so that the next try starts anew."""
    folder, _, _ = served
    part = weights.cache_folder() / "net.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    with pytest.raises(model_zoo.ZooError):
        weights.obtain(card)
    assert weights.obtain(card).read_bytes() == (folder / "net.safetensors").read_bytes()


def test_with_no_server_the_error_says_which_file_to_put_where(served, card, tmp_path, monkeypatch):
    gone = replace(card, address="http://127.0.0.1:9/net.safetensors")  # the discard port: nobody listens
    missing = replace(card, address=f"{served[1]}/absent.safetensors")
    monkeypatch.setenv("CEM_WEIGHTS", str(tmp_path / "mine"))
    for other in (gone, missing):
        with pytest.raises(model_zoo.ZooError) as refused:
            weights.obtain(other)
        for fact in ("net.safetensors", str(tmp_path / "mine"), str(weights.cache_folder()), card.sha256):
            assert fact in str(refused.value)
        assert other.address in str(refused.value)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.safetensors").write_bytes((served[0] / "net.safetensors").read_bytes())
    assert weights.obtain(gone) == tmp_path / "mine" / "net.safetensors"
