"""The training loop: one straight line, resumable, the same bits for the same recipe on the same machine."""

import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from model_zoo.compat import basicsr, training_library

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Recipe:
    """What a training does, apart from network and data.

    Attributes:
        iterations: optimiser steps.
        batch: crops a step.
        rate: peak learning rate of AdamW; a cosine takes it to `final_rate`.
        final_rate: learning rate at the end.
        warmup: steps of linear rise to `rate`.
        clip: largest gradient norm.
        ema_decay: largest decay of the weight average, which is what is kept.
        loss: a class of basicsr's basic losses.
        precision: "no" (float32), "bf16" or "fp16" (accelerate's mixed precision).
        workers: processes that make crops; 0 makes them in the training process.
        checkpoint_every: steps between checkpoints.
    """

    iterations: int
    batch: int = 8
    rate: float = 1e-3
    final_rate: float = 1e-6
    warmup: int = 200
    clip: float = 1.0
    ema_decay: float = 0.999
    loss: str = "L1Loss"
    precision: str = "bf16"
    workers: int = 0
    checkpoint_every: int = 500


@dataclass(frozen=True)
class _Training:
    """What one training is made of, ready on its device."""

    accelerator: "Accelerator"
    model: nn.Module
    optimiser: Any
    schedule: CosineLRScheduler
    ema: ModelEmaV3
    loss: nn.Module
    clip: float


def train(network: nn.Module, crops: Dataset, recipe: Recipe, folder: Path) -> dict[str, float]:
    """Train a network, from its last checkpoint if there is one, and leave the averaged weights in it.

    Args:
        network: restorer of (B, 3, h, w) in [0, 1]; its weights are replaced by their average at the end.
        crops: pairs of observation and clean crop by number.
        recipe: what to do.
        folder: where checkpoints are kept.

    Returns:
        The last checkpoint's facts: step, seconds spent, loss and training PSNR in dB (both smoothed).
    """
    training = _prepare(network, recipe)
    state = _resume(training.accelerator, folder)
    first = int(state["step"])
    bar = tqdm(total=recipe.iterations, initial=first, desc=folder.name, mininterval=2, smoothing=0.05)
    started = time.monotonic() - state["seconds"]
    for step, (observation, clean) in enumerate(_loader(crops, recipe, first), first + 1):
        state = _observe(state, step, *_step(training, step, observation, clean))
        state["seconds"] = time.monotonic() - started
        bar.set_postfix(loss=f"{state['loss']:.4f}", psnr=f"{state['psnr']:.2f}", refresh=False)
        bar.update()
        if step % recipe.checkpoint_every == 0 or step == recipe.iterations:
            _save(training.accelerator, folder, state)
    bar.close()
    plain = training.accelerator.unwrap_model(training.model, keep_fp32_wrapper=False)
    plain.load_state_dict(training.ema.module.state_dict())
    return state


def _prepare(network: nn.Module, recipe: Recipe) -> _Training:
    accelerator = training_library("accelerate").Accelerator(mixed_precision=recipe.precision)
    network.to(accelerator.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.0)
    schedule = CosineLRScheduler(
        optimiser, t_initial=recipe.iterations, lr_min=recipe.final_rate, warmup_t=recipe.warmup, t_in_epochs=False
    )
    ema = ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True)
    loss = getattr(basicsr("losses.basic_loss"), recipe.loss)()
    model, prepared = accelerator.prepare(network, optimiser)
    accelerator.register_for_checkpointing(ema)
    return _Training(accelerator, model, prepared, schedule, ema, loss, recipe.clip)


def _step(training: _Training, step: int, observation: Tensor, clean: Tensor) -> tuple[float, float]:
    """One optimiser step, counted from 1; returns the loss and the mean squared error of the batch."""
    device = training.accelerator.device
    clean = clean.to(device, memory_format=torch.channels_last)
    restored = training.model(observation.to(device, memory_format=torch.channels_last))
    loss = training.loss(restored, clean)
    training.accelerator.backward(loss)
    training.accelerator.clip_grad_norm_(training.model.parameters(), training.clip)
    training.schedule.step_update(step)
    training.optimiser.step()
    training.optimiser.zero_grad()
    training.ema.update(training.model, step=step)
    return float(loss.detach()), float(torch.mean((restored.detach() - clean) ** 2))


def _loader(crops: Dataset, recipe: Recipe, first: int) -> DataLoader:
    numbers = range(first * recipe.batch, recipe.iterations * recipe.batch)
    start = "fork" if recipe.workers else None  # said, since under joblib the default cannot start processes
    return DataLoader(
        crops, batch_size=recipe.batch, sampler=numbers, num_workers=recipe.workers, multiprocessing_context=start
    )


def _observe(state: dict[str, float], step: int, loss: float, error: float) -> dict[str, float]:
    """Smoothed loss and PSNR (of a batch's mean squared error) for the progress bar and the record."""
    keep = min(0.99, 1 - 1 / step)
    seen = {"loss": loss, "psnr": -10 * math.log10(error)}
    return {**state, "step": step, **{name: keep * state[name] + (1 - keep) * value for name, value in seen.items()}}


def _save(accelerator: "Accelerator", folder: Path, state: dict[str, float]) -> None:
    """Write a checkpoint under another name, move it into place, and only then drop the older ones."""
    done = folder / f"step_{int(state['step']):08d}"
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    accelerator.save_state(str(partial))
    (partial / "state.json").write_text(json.dumps(state))
    partial.replace(done)
    for old in sorted(folder.glob("step_*"))[:-1]:
        shutil.rmtree(old)


def _resume(accelerator: "Accelerator", folder: Path) -> dict[str, float]:
    """Load the newest checkpoint, or start from nothing."""
    checkpoints = sorted(folder.glob("step_*"))
    if not checkpoints:
        return {"step": 0, "seconds": 0.0, "loss": 0.0, "psnr": 0.0}
    accelerator.load_state(str(checkpoints[-1]))
    return json.loads((checkpoints[-1] / "state.json").read_text())
