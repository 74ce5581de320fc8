"""What a comparison was asked for: its name, its command line, its scenes, and the file that its report reads."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.photos import Framing, Photo
from cem_bench.run.references import is_reference, node_of
from cem_bench.store.files import file_name, write_atomically

if TYPE_CHECKING:
    from cem_bench.models.model import Model

SHOWN = 3  # networks in the name of a comparison's question


@dataclass(frozen=True)
class Asked:
    """What a comparison was asked for.

    Attributes:
        networks: references, or models made in Python; the first is compared with each of the others.
        photos: files and folders.
        tasks: of the group `task`.
        framing: part and regions of a photo.
        force: also measure a network under a task that it is not trained for.
        palette: of the figures.
        overrides: of the configuration, for every cell.
    """

    networks: tuple[str | Model, ...]
    photos: tuple[str, ...]
    tasks: tuple[str, ...]
    framing: Framing = field(default_factory=Framing)
    force: bool = False
    palette: str = "paper"
    overrides: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """What the networks are called."""
        return [name_of(network) for network in self.networks]

    @property
    def common(self) -> list[str]:
        """Overrides that hold for every cell."""
        return [*self.overrides, *(["force=true"] if self.force else [])]

    def facts(self) -> dict[str, Any]:
        """Return what makes this comparison another than others."""
        networks = [text if isinstance(text, str) else text.name for text in self.networks]
        plain = {"networks": networks, "photos": self.photos, "tasks": self.tasks, "framing": repr(self.framing)}
        return plain | {"force": self.force, "palette": self.palette, "overrides": self.overrides}

    def folder(self) -> str:
        """Return a name that no other comparison has."""
        digest = hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()
        return f"compare_{file_name('_'.join(self.tasks))}_{digest[:8]}"


def name_of(network: str | Model) -> str:
    """Return what a network is called on the page."""
    if not isinstance(network, str):
        return network.name
    return node_of(network)["called"] if is_reference(network) else network


def scene_overrides(photo: Photo, scene: str) -> list[str]:
    """Return the overrides that make a scene of a photo."""
    part, roi = photo.part, photo.scenes[scene]

    def place(rect: Rect) -> str:
        return f"[{rect.top},{rect.left},{rect.height},{rect.width}]"

    texts = [f"scene.name={quoted(scene)}", f"scene.source={quoted(photo.source)}"]
    return ["scene=file", *texts, f"scene.crop={place(part)}", f"scene.roi={place(roi)}"]


def quoted(text: str) -> str:
    """Return a text as a value of Hydra's command line, whatever it holds."""
    # a backslash is itself, but before a quote and at the end
    inner = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", inner) + "'"


def write_settings(asked: Asked, photos: Sequence[Photo], left_out: Sequence[str], output: Path, name: str) -> None:
    """Write the file that the report reads, and refuse a folder that holds another comparison.

    Raises:
        ValueError: naming the folder.
    """
    from cem_bench.report.experiment import OWN_FILE

    path, facts = output / name / OWN_FILE, json.loads(json.dumps(asked.facts()))
    held = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if (held and held.get("asked") != facts) or (not held and (output / name / "cells.csv").is_file()):
        raise ValueError(f"{output / name} holds another run: choose another name (--name), or leave it out.")
    content = {
        "experiment": name,
        "asked": facts,
        "question": question(asked, photos),
        "hydra": {"sweeper": {"params": {"model": ",".join(asked.names)}}},
        "report": {
            "photos": [dict(_lines(photo)) for photo in photos],
            "pairs": [[asked.names[0], second] for second in asked.names[1:]],
            "left_out": list(left_out),
            "forced": asked.force,
            "command": command(asked, name),
        },
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_atomically(path, text.encode())


def question(asked: Asked, photos: Sequence[Photo]) -> str:
    """Return what a comparison asks, in a sentence."""
    names = asked.names if len(asked.names) <= SHOWN else [*asked.names[:SHOWN], f"{len(asked.names) - SHOWN} more"]
    listed = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    count = "one photo" if len(photos) == 1 else f"{len(photos)} photos"
    return f"What do {listed} look at on {count}, under {', '.join(asked.tasks)}?"


def _lines(photo: Photo) -> Iterator[tuple[str, str]]:
    """Yield what the page says of a photo."""
    part = photo.part
    yield "photo", photo.name
    yield "file", Path(photo.source).name + (f" ({photo.held})" if photo.held else "")
    yield "pixels", f"{photo.size[0]}x{photo.size[1]}"
    yield "part used", f"{part.height}x{part.width} at row {part.top}, column {part.left}: {photo.how}"
    yield (
        "regions (top, left, height, width)",
        "; ".join(f"{r.top}, {r.left}, {r.height}, {r.width}" for r in photo.rois),
    )


def command(asked: Asked, name: str) -> str:
    """Return the command line of a comparison; models made in Python stand by their names."""
    framing, plain = asked.framing, Framing()
    words = [
        "python",
        "-m",
        "cem_bench",
        "compare",
        *(text if isinstance(text, str) else text.name for text in asked.networks),
    ]
    words += [word for photo in asked.photos for word in ("--photos", photo)]
    words += ["--task", ",".join(asked.tasks)]
    rects = [("--crop", framing.crop)] if framing.crop else []
    rects += [("--roi", roi) for roi in framing.rois]
    words += [word for flag, rect in rects for word in (flag, f"{rect.top},{rect.left},{rect.height},{rect.width}")]
    numbers = {"--rois": "count", "--side": "side", "--roi-seed": "roi_seed", "--largest": "largest"}
    for flag, item in numbers.items():
        if getattr(framing, item) != getattr(plain, item):
            words += [flag, str(getattr(framing, item))]
    words += ["--force"] if asked.force else []
    words += ["--palette", asked.palette] if asked.palette != "paper" else []
    words += ["--name", name] if name != asked.folder() else []
    return shlex.join([*words, *asked.overrides])
