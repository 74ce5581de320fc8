"""From the node `model` of a configuration to a network: of the zoo, of a file, or of one's own class."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

import model_zoo
from cem_bench.run.config import range_of
from cem_bench.run.references import TARGET, is_reference, node_of, reference_of

if TYPE_CHECKING:
    from torch import nn

    from cem_bench.inputs.degradations import Degradation
    from cem_bench.models.model import Model
    from model_zoo.contracts import Contract


def build_model(config: DictConfig, degradation: Degradation | None = None, *, forced: bool = False) -> Model:
    """Load the model of a configuration: zoo name, file, or class.

    Args:
        config: the node `model`.
        degradation: of the task, which a card's network may have to be told; None for the one that the card names.
        forced: whether a network is also taken for what it was not trained for.

    Raises:
        ValueError: if it is none of the three or more than one, the checkpoint is refused, or its weights are for
            another degradation.
    """
    ways = [way for way in ("path", "_target_") if config[way]] or (["name"] if config.name else [])
    if len(ways) != 1:
        raise ValueError(
            f"Got {', '.join(ways) or 'no model'}; expected exactly one of model=NAME (`python -m model_zoo list`), "
            "model=file.pth, model=file.py:Class,weights=file.pth, model=pkg.mod:Class."
        )
    contract = contract_of(config, degradation)
    if config.path:
        model = _file_model(config, contract)
    elif config["_target_"]:
        model = _own_model(config, contract)
    else:
        model = _zoo_model(config, contract, degradation, forced=forced)
    declared: dict[str, Any] = {"contract": contract.declared} if contract.declared else {}
    if contract.multiple > 1:  # padded to what it asks for
        declared["size_multiple"] = 1
    return replace(model, name=config.called or model.name, facts={**model.facts, **declared})


def contract_of(config: DictConfig, degradation: Degradation | None) -> Contract:
    """Return what a configuration says of what its network takes and gives.

    Args:
        config: the node `model`.
        degradation: of the task; gives `sigma` of a second input its value.

    Raises:
        ValueError: if an option cannot be.
    """
    from model_zoo.contracts import Contract

    low, high = range_of(config.value_range)
    beside = str(config.beside)
    if beside.endswith(":sigma"):
        level = getattr(degradation, "sigma", None)
        if level is None:
            raise ValueError(
                f"beside={beside} is the sigma of the task's noise, and the task has none: choose such a task, as "
                "task=dn25, or write the number, as beside=map:0.098."
            )
        beside = f"{beside.removesuffix('sigma')}{level / 255 * (high - low):.9g}"
    names = {item.name for item in dataclasses.fields(Contract)} - {"low", "high", "beside"}
    given = {name: config[name] for name in names}
    return Contract(**given, beside=beside, low=low, high=high)


def _wrapped(network: Any, config: DictConfig, contract: Contract, **known: Any) -> Model:
    """Return a network behind its contract as a model; `known` and the configuration say the rest."""
    from cem_bench.models.model import FromCallable, as_model
    from model_zoo.contracts import Contract, adapted

    scale = known.pop("scale", config.scale)
    if contract != Contract(high=contract.high):
        from torch import nn

        module = network if isinstance(network, nn.Module) else FromCallable(network)
        network = adapted(module, contract, scale)
    identity = known.pop("identity", config.identity)
    if identity and contract.declared:  # a name stands for the network inside; what is around it counts too
        identity = f"{identity}, {contract.declared}"
    white = 1.0 if contract.low else contract.high
    white = int(white) if float(white).is_integer() else white  # keys hash how it is spelled
    return as_model(network, scale=scale, value_range=white, identity=identity, **known)


def _zoo_model(config: DictConfig, contract: Contract, degradation: Degradation | None, *, forced: bool) -> Model:
    from cem_bench.run.strength import check_level, options_under
    from model_zoo.cards import computation

    card = model_zoo.card(config.name)
    if config.identity:
        raise ValueError(f"model.identity={config.identity}: {card.name} has an identity by its card; take it away.")
    if not (config.off_level or forced):
        check_level(card, degradation)
    changed = options_under(card, config.options, degradation)
    card = model_zoo.configured(card, changed)
    network = model_zoo.load(card.name, weights=config.weights, options=changed)
    if card.value_range != 1:
        contract = replace(contract, high=float(card.value_range))
    facts = facts_of(card)
    if contract.inference != "whole":  # how far a card's network reaches holds for the whole image alone
        facts |= {"reach": None, "global_statistics": ""}
    model = _wrapped(network, config, contract, name=card.name, scale=card.scale, tasks=card.tasks, facts=facts)
    return replace(model, card=computation(card))


def facts_of(card: Any) -> dict[str, Any]:
    """Return what the record says of a card, or of what was recognised in a file."""
    names = ("name", "network", "library", "value_range", "reach", "global_statistics", "parameters", "sha256")
    names = (*names, "size_multiple")
    return {key: getattr(card, key, None) for key in names}


def _file_model(config: DictConfig, contract: Contract) -> Model:
    """Load a file: scripted, exported, or one that spandrel recognises."""
    path = Path(config.path).expanduser()
    if not path.is_file():
        raise ValueError(f"There is no file {path}; expected one of a network, as model.path=folder/file.pth.")
    name, suffix = path.stem, path.suffix.lower()
    if suffix == ".onnx":
        from cem_bench.models.onnx import onnx_model

        given, tasks = onnx_model(path, identity=config.identity), tuple(config.tasks)
        facts, network = {"file": path.name}, given.restorer.network
        return _wrapped(network, config, contract, name=name, tasks=tasks, facts=facts, identity=given.given)
    if is_script(path):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {"network": "TorchScript", "sha256": digest}
        identity = config.identity or f"torchscript {digest}"
        tasks = tuple(config.tasks)
        return _wrapped(load_script(path), config, contract, name=name, tasks=tasks, facts=facts, identity=identity)
    network, recognised = model_zoo.load_file(path)
    # nothing in a file tells what it was trained for, but that it enlarges
    tasks = tuple(config.tasks) or (recognised.tasks if recognised.scale > 1 else ())
    facts, scale = facts_of(recognised), recognised.scale
    return _wrapped(network, config, contract, name=name, scale=scale, tasks=tasks, facts=facts)


def is_script(path: Path) -> bool:
    """Say whether a file is a TorchScript archive: a zip with code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def load_script(path: Path) -> nn.Module:
    """Load a scripted or traced network; its code runs in torch's own interpreter.

    Raises:
        ValueError: if it cannot be loaded.
    """
    import torch

    try:
        with warnings.catch_warnings():  # torch would have torch.export instead; users have these files
            warnings.simplefilter("ignore")
            return torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path} is no TorchScript file that this torch reads ({_first(error)}).") from error


def _own_model(config: DictConfig, contract: Contract) -> Model:
    from torch import nn

    from model_zoo.checkpoint import fill, read

    target = imported(config["_target_"])
    network: Any = built(target, config) if isinstance(target, type) or config.options else target
    if config.weights:
        if not isinstance(network, nn.Module):
            raise ValueError(f"model.weights needs a torch.nn.Module, but {config['_target_']} is not one.")
        entry = model_zoo.Card(name=config["_target_"], network="own:network")
        fill(network, read(Path(config.weights).expanduser()), entry, config.weights)
    name = place_and_name(config["_target_"])[1].rpartition(".")[2]
    facts = {"target": config["_target_"], "weights": config.weights}
    return _wrapped(network, config, contract, name=name, tasks=tuple(config.tasks), facts=facts)


def built(target: Callable[..., Any], config: DictConfig) -> Any:
    """Call a class, or a function that makes a network, with the options of a configuration.

    Raises:
        ValueError: if it takes other options, with those given.
    """
    options: Any = OmegaConf.to_container(config.options, resolve=True)
    try:
        return target(**options)
    except TypeError as error:
        given = ", ".join(f"{name}={value}" for name, value in options.items()) or "no options"
        raise ValueError(
            f"{config['_target_']} was called with {given}: {_first(error)}. Options that are not among "
            "`python -m cem_bench check --help` go to the class, as ...,features=32."
        ) from error


def place_and_name(target: str) -> tuple[str, str]:
    """Return place and name of a target: `file.py:Class`, `pkg.mod:Class` or, as Hydra writes it, `pkg.mod.Class`."""
    match = TARGET.fullmatch(target)
    place, _, name = target.rpartition(".")
    return (match[1], match[2]) if match else (place, name)


def imported(target: str) -> Any:
    """Import a class or function of one's own.

    Args:
        target: `file.py:Class`, `pkg.mod:Class` or `pkg.mod.Class`.

    Raises:
        ValueError: if it cannot be imported, saying why.
    """
    place, name = place_and_name(target)
    try:
        target_object: Any = _from_file(Path(place).expanduser()) if place.endswith(".py") else _module(place)
        for part in name.split("."):
            target_object = getattr(target_object, part)
    except Exception as error:
        raise ValueError(f"{target} cannot be imported: {type(error).__name__}: {_first(error)}.") from error
    return target_object


def _module(place: str) -> Any:
    sys.path.insert(0, "")  # a class in the current folder needs no installation
    return importlib.import_module(place)


def _from_file(path: Path) -> Any:
    """Run a file as a module of its stem's name; the files beside it can be imported by it."""
    path = path.resolve(strict=True)
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    # a module of that name that is another file keeps its name
    name = path.stem if known is None else f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def why_no_model(name: str) -> str:
    """Say why a network cannot run here and what to do; "" if it can.

    Args:
        name: of the zoo, or a reference.
    """
    from model_zoo import weights

    name = reference_of(name)
    if is_reference(name):
        node = node_of(name)
        return "" if not node.get("name") or node.get("weights") else why_no_model(node["name"])
    try:
        card = model_zoo.card(name)
    except model_zoo.ZooError:
        return "not in the zoo yet: it is a trained member, see conf/train and `python scripts/train.py`"
    if weights.find(card):
        return ""
    files = " or ".join(card.file_names) or f"{card.name}.safetensors"
    where = card.address or card.paper or "its authors"
    return f"no weights here: put {files} into a folder of CEM_WEIGHTS (from {where})"


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
