"""Wiring: the one place where configuration, zoo and method meet. Each function turns one node into one object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

import model_zoo
from cem_bench.run.compose import CONF
from cem_bench.run.config import Config, options_of
from cem_bench.run.data import plain_words, register_resolver
from cem_bench.run.networks import build_model, why_no_model
from cem_bench.run.references import node_kept
from cem_bench.run.sweep import Sweep, rois_beside, table_scenes

if TYPE_CHECKING:
    from torch import nn

    from cem_bench.inputs.degradations import Degradation
    from cem_bench.inputs.donors import DonorPool
    from cem_bench.inputs.geometry import Rect
    from cem_bench.inputs.scene import Scene
    from cem_bench.measuring.cell import Cell
    from cem_bench.models.model import Model


def register() -> None:
    """Make the schema and one option of the group `model` for every name and alias of the zoo known to Hydra."""
    register_resolver()
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="model", name="custom", node={})
    for name in model_zoo.list_models():
        for alias in (name, *model_zoo.card(name).aliases):
            store.store(group="model", name=alias, node={"name": name})
    for name, node in table_scenes(CONF / "scene_table.csv").items():
        store.store(group="scene", name=name, node=node)


def asked_degradation(config: DictConfig) -> Degradation | None:
    """Return the degradation that the task names, with the operator of `physics`; None for that of the model's card.

    Raises:
        ValueError: if `physics` is given and the task takes no operator.
    """
    node = config.task.degradation
    if config.physics:
        if node is None or "operator" not in node:
            raise ValueError(
                f"physics={OmegaConf.to_container(config.physics)} names an operator of deepinv, which this task takes "
                "none of: write task=physics."
            )
        node = OmegaConf.create({**OmegaConf.to_container(node), "operator": OmegaConf.to_container(config.physics)})  # pyright: ignore
    return None if node is None else instantiate(node)


def build_degradation(model: Model) -> Degradation:
    """Return the degradation that a model's card names.

    Raises:
        ValueError: if it names none.
    """
    from cem_bench.inputs.degradations import kinds

    known = model.facts.get("name") in model_zoo.list_models()
    named = model_zoo.card(model.facts["name"]).degradation if known else {}
    of_card = [kind for kind in kinds() if kind.word in named]
    of_task = [kind for kind in kinds() if model.tasks == (kind.task,)]
    if len(suiting := of_card or of_task) == 1:
        return suiting[0].usual(named, model.scale)  # pyright: ignore[reportReturnType] - all kinds are degradations
    tasks = f"restores {', '.join(model.tasks)}" if model.tasks else "does not say its task"
    raise ValueError(f"{model.name} {tasks}: choose one, as task=dn50, task=rain_medium or task=sr_x4_same_size.")


def is_trained_for(model: Model | model_zoo.Card, degradation: Degradation) -> bool:
    """Say whether a network is said to be trained for a degradation's task, at its upscale."""
    return degradation.scale == model.scale and degradation.task in model.tasks


def check_task(model: Model, degradation: Degradation) -> None:
    """Refuse a network under a task that it is said not to be trained for; of one that says nothing, nothing is known.

    Raises:
        ValueError: naming its tasks and the option that measures it all the same.
    """
    same_size = degradation.scale == model.scale  # else measuring refuses it, with the task to choose
    if same_size and model.tasks and degradation.task not in model.tasks:
        raise ValueError(
            f"{model.name} is trained for {', '.join(model.tasks)}, and the task is {degradation.task} "
            f"({type(degradation).__name__}): choose a task of its own, or measure it all the same with force=true, "
            "which the page will say."
        )


def parts_of(sweep: Sweep) -> list[Sweep]:
    """Return a sweep in parts of which every combination is a cell: with `trained_tasks_only` one a task."""
    if not sweep.trained_tasks_only:
        return [sweep] if sweep.cells else []
    parts = []
    for task in sweep.axes["task"]:
        degradation = instantiate(OmegaConf.load(CONF / "task" / f"{task}.yaml").degradation)
        able = tuple(name for name in sweep.axes["model"] if _may_run(name, degradation))
        parts.append(replace(sweep, axes={**sweep.axes, "task": (task,), "model": able}))
    return [part for part in parts if part.cells]


def _may_run(name: str, degradation: Degradation) -> bool:
    """Say whether a choice of the group `model` is trained for a degradation; of one's own, whether it may be."""
    node = node_kept(name)
    if node is None or node.get("name"):
        return is_trained_for(model_zoo.card(node["name"] if node else name), degradation)
    return node.get("scale", 1) == degradation.scale and degradation.task in node.get("tasks", [degradation.task])


def wanted(sweep: Sweep) -> list[dict[str, str]]:
    """Return the cells of a sweep."""
    return [cell for part in parts_of(sweep) for cell in part.cells]


def build_scene(config: DictConfig) -> Scene:
    """Read the scene of a configuration."""
    from cem_bench.inputs.geometry import Rect
    from cem_bench.inputs.images import locate, read_rgb
    from cem_bench.inputs.photos import Framing, fitted
    from cem_bench.inputs.scene import load_scene

    crop = None if config.crop is None else Rect(*config.crop)
    if crop is None and config.fit:
        size = read_rgb(locate(config.source)).shape[:2]
        crop, how = fitted(size, Framing(multiple=config.block, largest=0), config.source)  # pyright: ignore[reportArgumentType]
        if (crop.height, crop.width) != size:
            tqdm.write(f"{config.source}: {crop.height}x{crop.width} pixels of {size[0]}x{size[1]}, {how}")
    name = config.name or Path(config.source).stem
    division = {"block": config.block, "segments": config.segments}
    return load_scene(name, config.source, Rect(*config.roi), crop=crop, **division)  # pyright: ignore[reportArgumentType]


def build_pool(config: DictConfig, scene: Scene) -> DonorPool:
    """Build the donor pool of a configuration; the scene's own image gives none but where that is asked for."""
    from cem_bench.inputs.donors import pool_from_array, pool_from_images, shipped_donors, stratify
    from cem_bench.inputs.own_donors import matched, same_image_donors

    origin = {"source": config.source, "licence": config.licence}
    if config.kind == "array":
        pool = pool_from_array(config.path, **origin).fit(scene.donor_side)
    elif config.kind == "images":
        sources = [config.path] if config.path else [source for source in config.sources if source != scene.source]
        pool = pool_from_images(sources, scene.donor_side, count=config.count, pool_seed=config.pool_seed, **origin)
    elif config.kind == "shipped":
        pool = shipped_donors(scene.donor_side, count=config.count, pool_seed=config.pool_seed, leave_out=scene.source)
    elif config.kind == "same_image":
        pool = same_image_donors(scene, count=config.count, pool_seed=config.pool_seed, licence=config.licence)
    else:
        raise ValueError(f"donors.kind is {config.kind!r}; expected array, images, shipped or same_image.")
    if config.strata and pool.choices is not None:
        raise ValueError("donors=same_image with donors.strata: each block has its own donors; leave strata at 0.")
    pool = stratify(pool, config.strata, pool_seed=config.pool_seed) if config.strata else pool
    return matched(pool, scene, config.match, config.nearest) if config.match else pool


def build_cell(config: DictConfig, model: Model | None = None) -> Cell:
    """Build the whole cell of a configuration.

    Args:
        config: resolved.
        model: in place of the one that the configuration names; None to load that.
    """
    from cem_bench.measuring.cell import Cell

    asked = asked_degradation(config)
    model = model or build_model(config.model, asked, forced=config.force)
    scene = build_scene(config.scene)
    options = options_of(config)
    degradation = build_degradation(model) if asked is None else asked
    if not config.force:
        check_task(model, degradation)
    return Cell(model, scene, degradation, build_pool(config.donors, scene), instantiate(config.sampling), options)


def known_models() -> set[str]:
    """Return the names of the zoo, aliases too, and of the members that are still to be trained."""
    cards = [model_zoo.card(name) for name in model_zoo.list_models()]
    specs: list[Any] = [OmegaConf.load(path) for path in (CONF / "train").glob("*.yaml")]
    members = {str(spec.get("name")) for spec in specs}
    trainings = {f"{name}_seed{training}" for name in members for training in (1, 2)}
    return {name for card in cards for name in (card.name, *card.aliases)} | members | trainings | {"custom"}


def networks() -> list[dict[str, Any]]:
    """Return every network of the zoo: its name, the tasks it is trained for, and why it cannot run here."""
    nodes = {path.stem: OmegaConf.load(path).degradation for path in sorted((CONF / "task").glob("*.yaml"))}
    tasks = {task: instantiate(node) for task, node in nodes.items() if node is not None}
    rows = []
    for name in model_zoo.list_models():
        card = model_zoo.card(name)
        able = [task for task, degradation in tasks.items() if is_trained_for(card, degradation)]
        rows.append({"name": name, "tasks": ["auto", *able], "missing": why_no_model(name)})
    return sorted(rows, key=lambda row: bool(row["missing"]))


def why_no_scene(name: str) -> str:
    """Say why a scene cannot run here and what to do; "" if it can."""
    table = table_scenes(CONF / "scene_table.csv")
    node = OmegaConf.create(table[name]) if name in table else OmegaConf.load(CONF / "scene" / f"{name}.yaml")
    try:
        source = str(OmegaConf.select(node, "source"))
    except OmegaConfBaseException as error:
        return plain_words(error)
    here = ":" in source or Path(source).is_file()
    return "" if here else f"{source} is not there; results/README.md says where to get it"


def rois_beside_scene(name: str) -> list[Rect]:
    """Return the other ROIs that the table of scenes has on a scene's image."""
    return rois_beside(CONF / "scene_table.csv", name)


def zoo_network(name: str, weights: str | None = None) -> nn.Module:
    """Load a network of the zoo by name, with the weights that its card finds or those of a file."""
    return model_zoo.load(name, weights=weights)


def zoo_command(arguments: list[str]) -> int:
    """Run the zoo's own command line; returns its exit code."""
    from model_zoo.__main__ import main

    return main(arguments)
