"""What users hand over, changed at random: overrides, images, checkpoints, donor pools, scene files, notes of a sweep.

Each kind makes real files once, changes one of them per case, and asks the function that reads it in a run. A case has
survived if it is read, is refused if the error is ours and says something, and has failed if anything else is raised.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from safetensors.torch import save

from cem_bench.inputs.donors import pool_from_array, pool_from_images
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.scene import load_scene
from cem_bench.run.build import register
from cem_bench.run.overrides import check_overrides
from cem_bench.run.progress import status
from cem_bench.store.entries import entry_stem
from cem_bench.store.failures import note_failure
from cem_bench.store.files import write_atomically
from cem_bench.store.states import State, write_state
from model_zoo.checkpoint import read

Read = Callable[[Path], object]
REFUSED = (ValueError, OSError)
WORDS = (
    *("model=DnCNN", "model=custom", "model.path=x.pth", "model._target_=a.b", "model.tasks=[DN]", "model.scale=2"),
    *("task=dn50", "task=auto", "task.degradation.sigma=25", "scene=coffee", "scene=file", "scene.source=a.png"),
    *("scene.roi=[24,24,16,16]", "scene.crop=[0,0,64,64]", "scene.block=8", "donors=shipped", "donors.count=50"),
    *("sampling=uniform", "sampling.n=4", "sampling=sequential", "tol=0.02", "outcome=ssim", "seed=0,1,2", "fdr=by"),
    *("memory_gb=1.5", "stochastic=8", "engine=full", "device=cpu", "palette=safe", "workers=2", "include_roi=true"),
    *("+experiment=denoise_ca", "intervention=reference", "bgr=true", "roi=grid", "output=out", "compile=false"),
)
PIECES = (
    *("", "=", "==", ",", ".", "..", "~", "+", "++", "-", "[", "]", "{", "}", "(", ")", "'", '"', "\\", "/", "@", ":"),
    *("null", "true", "nan", "inf", "-1", "0", "1e400", "0x10", "2**70", "9" * 400, "${x}", "${oc.env:HOME}", "${"),
    *(
        "glob(*)",
        "range(1,3)",
        "choice(1,2)",
        "interval(0,1)",
        "sort(2,1)",
        "\x00",
        "\n",
        "\t",
        " ",
        "ä",
        "𝛼",
        "%",
        "*",
    ),
    *("[[[[]]]]", "{a:{b:1}}", "../../x", "/etc/passwd", "x" * 3000, "hydra.run.dir=x", "_target_=os.system", "___"),
)


@dataclass(frozen=True)
class Kind:
    """Files of one kind and who reads them.

    Attributes:
        name: in the table.
        files: name to content, as they are made.
        read: the function under test; it is handed the changed file, in a folder with the others.
        fast: whether it takes milliseconds.
    """

    name: str
    files: Mapping[str, bytes]
    read: Read
    fast: bool = True


def images() -> dict[str, bytes]:
    """Return one picture in many formats and modes."""
    rng, files = np.random.default_rng(1), {}
    rows, columns = np.mgrid[:48, :56]
    waves = np.stack([127 + 60 * np.sin(rows / 7 + i) + 40 * np.cos(columns / 5) for i in range(3)], axis=-1)
    picture = Image.fromarray((waves + rng.normal(0, 5, waves.shape)).clip(0, 255).astype(np.uint8))
    kinds = {"PNG": ("RGB", "RGBA", "P", "L", "1", "I;16"), "JPEG": ("RGB", "L", "CMYK"), "BMP": ("RGB", "P")}
    kinds |= {"TIFF": ("RGB", "CMYK", "I;16"), "GIF": ("P",), "WEBP": ("RGB", "RGBA"), "PPM": ("RGB",), "TGA": ("RGB",)}
    for form, modes in kinds.items():
        for mode in modes:
            content = io.BytesIO()
            shown = picture.convert("L").convert("I").point(lambda value: value * 200) if mode == "I;16" else picture
            shown.convert("I;16" if mode == "I;16" else mode).save(content, form)
            files[f"{form}-{mode.replace(';', '')}.{form.lower()}"] = content.getvalue()
    return files


def checkpoints() -> dict[str, bytes]:
    """Return one state dict in many wrappers, as torch and safetensors write it."""
    state = {"body.0.weight": torch.randn(4, 3, 3, 3), "body.0.bias": torch.zeros(4), "step": torch.tensor(3)}
    wrapped = {"plain": state, "params": {"params": state}, "module": {f"module.{key}": state[key] for key in state}}
    wrapped |= {"trained": {"state_dict": state, "epoch": 3, "lr": 1e-4}, "list": [state], "empty": {}}
    files = {"weights.safetensors": save(state)}
    for name, content in wrapped.items():
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            files[f"{name}-{'zip' if new else 'old'}.pth"] = file.getvalue()
    return files | {"pickle.pth": pickle.dumps({"a": [1, 2]})}


def pools() -> dict[str, bytes]:
    """Return donor pools as arrays: with names and strata, of wrong shapes and types, and as plain arrays."""
    rng, files = np.random.default_rng(2), {}
    patches = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    arrays = {"plain": {"patches": patches}, "named": {"patches": patches, "names": np.arange(30).astype(str)}}
    arrays |= {"strata": {"patches": patches, "strata": np.arange(30) % 3}, "grey": {"patches": patches[..., 0]}}
    arrays |= {"float": {"patches": patches / 255.0}, "objects": {"patches": np.array([None, 1], object)}}
    for name, content in arrays.items():
        for write in (np.savez, np.savez_compressed):
            file = io.BytesIO()
            write(file, **content)  # pyright: ignore[reportArgumentType]
            files[f"{name}-{write.__name__}.npz"] = file.getvalue()
    file = io.BytesIO()
    np.save(file, patches)
    return files | {"array.npy": file.getvalue()}


SCENE = """\
name: mine
source: skimage:data/coffee.png
crop: [0, 100, 64, 64]
roi: [24, 24, 16, 16]
block: 8
"""


def scene_from(path: Path) -> object:
    """Compose a run with a scene of one's own folder."""
    return answered(check_overrides([f"hydra.searchpath=[file://{path.parents[1]}]", f"scene={path.stem}"]))


def answered(problem: str) -> None:
    """Turn a line of `check_overrides` into a refusal; it must be one line."""
    if problem:
        if "\n" in problem.strip() or "Traceback" in problem:
            raise RuntimeError(f"more than a line: {problem[:80]!r}")
        raise ValueError(problem)


def notes() -> dict[str, bytes]:
    """Return what a sweep keeps beside its draws: a state, a failure, an entry."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        output, texts = Path(name), ("+experiment=made", "model=A", "scene=one")
        write_state(output, State(texts, "turn", 1.0, 9.0, 60))
        note_failure(output, texts, "it broke")
        entry = output / "store" / "experiments" / "made" / f"{entry_stem({'model': 'A', 'scene': 'one'})}.json"
        write_atomically(entry, b'{"session": {"seconds": 3.0, "new_draws": 60}, "key": "0"}')
        return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*.json")}


def status_of(path: Path) -> object:
    """Ask how far the sweep is."""
    output = next(folder for folder in path.parents if (folder / "store").is_dir())
    cells = [{"model": "A", "scene": "one"}, {"model": "A", "scene": "two"}]
    return status(output, "made", cells)


def kinds() -> list[Kind]:
    """Return every kind of file."""
    register()
    return [
        Kind(
            "image of a scene", images(), lambda path: load_scene("x", str(path), Rect(8, 8, 8, 8), crop=None, block=8)
        ),
        Kind("image of donors", images(), lambda path: pool_from_images([str(path)], 8, count=5)),
        Kind("checkpoint", checkpoints(), read),
        Kind("donor pool", pools(), lambda path: pool_from_array(str(path))),
        Kind("notes of a sweep", notes(), status_of),
        Kind("scene file", {"scene/mine.yaml": SCENE.encode()}, scene_from, fast=False),
    ]


def answer(call: Callable[[], object]) -> str:
    """Return survived, refused, or what was raised that is none of ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except REFUSED as error:
        return "refused" if str(error).strip() else f"{type(error).__name__} without a word"
    except (OmegaConfBaseException, Exception) as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {str(error)[:60]}"
    return "survived"


def command_line(rng: np.random.Generator) -> list[str]:
    """Return a few overrides, most of them broken somewhere."""
    chosen = [WORDS[int(at)] for at in rng.integers(0, len(WORDS), int(rng.integers(1, 4)))]
    return [broken(text, rng) if rng.integers(4) else text for text in chosen]


def broken(text: str, rng: np.random.Generator) -> str:
    """Change an override: a piece put in or for another, two halves of different ones, signs doubled."""
    for _ in range(int(rng.integers(1, 4))):
        at, end = sorted(int(place) for place in rng.integers(0, len(text) + 1, 2))
        override = WORDS[int(rng.integers(len(WORDS)))]
        piece = PIECES[int(rng.integers(len(PIECES)))]
        parts = (
            text[:at] + piece + text[end:],
            text[:at] + piece + text[at:],
            text[:at] + override[at:],
            text[at:end] * 2,
        )
        text = parts[int(rng.integers(len(parts)))][:5000]
    return text


def override_answers(cases: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield what checking random command lines comes to."""
    register()
    for _ in range(cases):
        line = command_line(rng)
        yield answer(lambda line=line: answered(check_overrides(line)))
