"""Cards: the facts about one checkpoint, read from the YAML files of `model_zoo/cards`."""

import csv
import difflib
import hashlib
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_zoo.errors import ZooError

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parent / "cards"
MEASURED = "measured.csv"  # in that folder: the figures `verify --keep` measured with a card's own weights
# what decides a network's numbers beside its weights; the sums of that for the cards that were there when keys began
DECISIVE = ("network", "options", "scale", "value_range", "noise_map", "pads", "luma_only")
FIRST = "first_keys.csv"


@dataclass(frozen=True)
class Card:
    """The facts about one checkpoint.

    Attributes:
        name: what it is called; case, "-" and "_" make no difference when it is looked up.
        network: "module:class" of the architecture.
        options: keyword arguments of that class.
        tasks: short names, as its degradations have them: SR, DN, DR, LL, CAR.
        scale: output pixels per input pixel.
        aliases: other names of the same checkpoint.
        value_range: white of input and output, 1 or 255. The loaded network takes and gives this range.
        size_multiple: input height and width must be multiples of it; 1 where the network pads by itself.
        size_minimum: smallest input height and width, in pixels.
        window: side of the attention window in input pixels, 0 where there is none.
        global_statistics: the kind of statistics over the whole image, "" where there are none.
        reach: farthest input pixel an output pixel depends on, in input pixels; None for the whole image
            (then global_statistics says why) or where it was not computed.
        parameters: number of learned numbers.
        pads: (multiple, mode) where the zoo pads the input at the bottom and right for a library's network that
            pads otherwise, empty elsewhere.
        noise_map: sigma, of 255, of a constant map the network gets beside the image; None where it gets none.
        luma_only: the checkpoint restores Y; an adapter upsamples Cb and Cr bicubically.
        library: whose code the network is.
        keys: (pattern, replacement) pairs that turn a checkpoint's tensor names into the module's, in order.
        computed: patterns of tensors a checkpoint may hold that the network computes by itself.
        paper: authors, title, year, DOI or arXiv number.
        training: training data.
        licence: licence of the weights.
        checkpoint: official file name.
        other_files: other file names of the same bytes.
        address: where a user gets the file; "" where there is no address.
        sha256: of the file; "" where it is not known.
        test: what the PSNR figures are for, e.g. "Set5 Y, border 4".
        claimed: published PSNR in dB, None where none is.
        measured: PSNR measured here in dB, None where none is; `python -m model_zoo verify --keep` writes it.
        measured_images: how many images of the test set that is the mean of.
        degradation: what makes an observation for it when nothing else is asked for, e.g. {"noise": 50}.
        follows: of the options and of noise_map, those that a degradation tells, e.g. {"sigma": "sigma"}: option to
            field of the degradation.
        levels: least and largest sigma of noise, of 255, that the weights are for; empty where it is the one sigma of
            `degradation` alone.
        note: what a user should know.
    """

    name: str
    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    scale: int = 1
    aliases: tuple[str, ...] = ()
    value_range: int = 1
    size_multiple: int = 1
    size_minimum: int = 1
    window: int = 0
    global_statistics: str = ""
    reach: int | None = None
    parameters: int = 0
    pads: tuple[int, str] | tuple[()] = ()
    noise_map: float | None = None
    luma_only: bool = False
    library: str = "model_zoo"
    keys: tuple[tuple[str, str], ...] = ()
    computed: tuple[str, ...] = ()
    paper: str = ""
    training: str = ""
    licence: str = ""
    checkpoint: str = ""
    other_files: tuple[str, ...] = ()
    address: str = ""
    sha256: str = ""
    test: str = ""
    claimed: float | None = None
    measured: float | None = None
    measured_images: int = 0
    degradation: Mapping[str, Any] = field(default_factory=dict)
    follows: Mapping[str, str] = field(default_factory=dict)
    levels: tuple[float, float] | tuple[()] = ()
    note: str = ""

    def __post_init__(self) -> None:
        """Refuses facts that cannot be."""
        if not all(map(str.isalpha, self.tasks)) or self.value_range not in (1, 255) or ":" not in self.network:
            raise ZooError(
                f"card {self.name}: tasks {self.tasks} (expected short names, as SR), value_range {self.value_range} "
                f"(expected 1 or 255), network {self.network!r} (expected 'module:class')"
            )

    @property
    def file_names(self) -> tuple[str, ...]:
        """Every name the checkpoint may lie under."""
        return (self.checkpoint, *self.other_files) if self.checkpoint else self.other_files


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def recorded(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """What was measured with the weights of the cards: name to {measured: dB, measured_images: count}."""
    if not (folder / MEASURED).is_file():
        return {}
    with (folder / MEASURED).open(newline="", encoding="utf-8") as stream:
        return {
            row["model"]: {"measured": float(row["measured_db"]), "measured_images": int(row["images"])}
            for row in csv.DictReader(stream)
        }


def _read(path: Path, figures: Mapping[str, Mapping[str, Any]]) -> Iterator[Card]:
    """The cards of one file: `family` holds what they share, `cards` what each says of its own."""
    import yaml

    known = {item.name for item in fields(Card)}
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    shared = content.get("family", {})
    for own in content.get("cards", []):
        options = {**shared.get("options", {}), **own.get("options", {})}
        facts = {**figures.get(own.get("name"), {}), **shared, **own, "options": options}
        unknown = sorted(set(facts) - known)
        if unknown or "name" not in own:
            fault = f"{path}: card {own.get('name', '?')}: unknown fields {unknown}, or no name"
            raise ZooError(f"{fault}; the fields are {sorted(known)}")
        yield Card(**{key: value if key == "options" else _frozen(value) for key, value in facts.items()})


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")


@cache
def registry(folder: Path = FOLDER) -> dict[str, Card]:
    """Every card under every name it answers to, in plain spelling.

    Args:
        folder: where the YAML files are.

    Returns:
        Plain name to card; a card with aliases occurs more than once.

    Raises:
        ZooError: for a name that two cards claim, or a card that cannot be.
    """
    cards: dict[str, Card] = {}
    figures = recorded(folder)
    for path in sorted(folder.glob("*.yaml")):
        for entry in _read(path, figures):
            for name in (entry.name, *entry.aliases):
                if _plain(name) in cards:
                    raise ZooError(f"{path}: two cards answer to {name!r}: {cards[_plain(name)].name} and {entry.name}")
                cards[_plain(name)] = entry
    return cards


def list_models(task: str | None = None) -> list[str]:
    """The names of all cards.

    Args:
        task: as "SR", "DN", "DR", "LL" or "CAR", for those of one task.

    Returns:
        Names in the order of the card files.
    """
    return list(dict.fromkeys(entry.name for entry in registry().values() if task in (None, *entry.tasks)))


def tasks_of_cards() -> list[str]:
    """The tasks that cards name, in the order of the card files."""
    return list(dict.fromkeys(task for entry in registry().values() for task in entry.tasks))


def card(name: str) -> Card:
    """The card of a name.

    Args:
        name: a card's name or alias; case, "-" and "_" make no difference.

    Returns:
        The card.

    Raises:
        ZooError: for a name no card answers to, with the nearest names.
    """
    entries = registry()
    if _plain(name) in entries:
        return entries[_plain(name)]
    near = [entries[key].name for key in difflib.get_close_matches(_plain(name), entries, n=5, cutoff=0.4)]
    raise ZooError(
        f"no model is called {name!r}; nearest: {', '.join(dict.fromkeys(near)) or 'none'}; "
        "model_zoo.list_models() names all, model_zoo.load_file(path) takes a checkpoint without a card"
    )


def architecture(entry: Card) -> "type[nn.Module]":
    """The class a card names, imported now.

    Args:
        entry: the card.

    Returns:
        The class of the network.
    """
    module, _, name = entry.network.partition(":")
    return getattr(importlib.import_module(module), name)


def computation(entry: Card) -> dict[str, Any]:
    """What a card says of what its network computes, weights apart, as it enters a run key.

    The first keys hashed the structure of a network but no options. A card that stands as it did then gives nothing
    here, so that draws stored under those keys are found; any other gives all its decisive facts.

    Args:
        entry: a card, also one with other options than the zoo's.

    Returns:
        Field to value; empty for a card that `first_keys.csv` lists with these facts.
    """
    facts = _plainly({name: getattr(entry, name) for name in DECISIVE})
    return {} if (entry.name, _sum(facts)) in _first() else facts


def configured(entry: Card, options: Mapping[str, Any]) -> Card:
    """A card with other options.

    Args:
        entry: the card.
        options: keyword arguments of the card's class; `noise_map` where the card has one.

    Returns:
        The card with these options in place of its own.

    Raises:
        ZooError: for an option that the network does not have, with those it has.
    """
    options = dict(options)
    level = options.pop("noise_map", entry.noise_map) if entry.noise_map is not None else None
    known = list(inspect.signature(architecture(entry)).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        has = [*known, *(["noise_map"] if entry.noise_map is not None else [])]
        raise ZooError(f"{entry.name} has no option {', '.join(unknown)}; it has {', '.join(has)}")
    return replace(entry, options={**entry.options, **options}, noise_map=level)


def _plainly(value: Any) -> Any:
    """A fact as JSON writes it: 25.0 and 25 are one number, tuples are lists."""
    if isinstance(value, Mapping):
        return {str(key): _plainly(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plainly(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@cache
def _first(folder: Path = FOLDER) -> frozenset[tuple[str, str]]:
    with (folder / FIRST).open(newline="", encoding="utf-8") as stream:
        return frozenset((row["model"], row["sha256"]) for row in csv.DictReader(stream))
