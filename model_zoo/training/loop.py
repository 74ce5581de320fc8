"""The training loop: one straight line, resumable, the same bits for the same recipe on the same machine."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from model_zoo.compat import basicsr


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
    accelerator = Accelerator(mixed_precision=recipe.precision)
    network.to(accelerator.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.0)
    schedule = CosineLRScheduler(
        optimiser, t_initial=recipe.iterations, lr_min=recipe.final_rate, warmup_t=recipe.warmup, t_in_epochs=False
    )
    ema = ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True)
    loss_of = getattr(basicsr("losses.basic_loss"), recipe.loss)()
    model, optimiser = accelerator.prepare(network, optimiser)
    accelerator.register_for_checkpointing(ema)
    state = _resume(accelerator, folder)

    bar = tqdm(total=recipe.iterations, initial=int(state["step"]), desc=folder.name, mininterval=2, smoothing=0.05)
    loader = _loader(crops, recipe, first=int(state["step"]))
    started = time.monotonic() - state["seconds"]
    for step, (observation, clean) in enumerate(loader, int(state["step"])):
        observation, clean = (x.to(accelerator.device, memory_format=torch.channels_last) for x in (observation, clean))
        restored = model(observation)
        loss = loss_of(restored, clean)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(network.parameters(), recipe.clip)
        schedule.step_update(step + 1)
        optimiser.step()
        optimiser.zero_grad()
        ema.update(network, step=step)
        state = _observe(state, step + 1, loss.detach(), restored.detach(), clean)
        state["seconds"] = time.monotonic() - started
        bar.update()
        bar.set_postfix(loss=f"{state['loss']:.4f}", psnr=f"{state['psnr']:.2f}", refresh=False)
        if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.iterations:
            _save(accelerator, folder, state)
    bar.close()
    accelerator.unwrap_model(model, keep_fp32_wrapper=False).load_state_dict(ema.module.state_dict())
    return state


def _loader(crops: Dataset, recipe: Recipe, first: int) -> DataLoader:
    numbers = range(first * recipe.batch, recipe.iterations * recipe.batch)
    return DataLoader(crops, batch_size=recipe.batch, sampler=numbers, num_workers=recipe.workers)


def _observe(state: dict[str, float], step: int, loss: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor):
    """Smoothed loss and PSNR (of the batch's mean squared error) for the progress bar and the record."""
    error = torch.mean((restored.float() - clean) ** 2)
    seen = {"loss": float(loss), "psnr": float(-10 * torch.log10(error))}
    keep = min(0.99, 1 - 1 / step)
    return {**state, "step": step, **{name: keep * state[name] + (1 - keep) * value for name, value in seen.items()}}


def _save(accelerator: Accelerator, folder: Path, state: dict[str, float]) -> None:
    """Write a checkpoint under another name, move it into place, and only then drop the older ones."""
    done = folder / f"step_{int(state['step']):08d}"
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    accelerator.save_state(str(partial))
    (partial / "state.json").write_text(json.dumps(state))
    partial.replace(done)
    for old in sorted(folder.glob("step_*"))[:-1]:
        shutil.rmtree(old)


def _resume(accelerator: Accelerator, folder: Path) -> dict[str, float]:
    """Load the newest checkpoint, or start from nothing."""
    found = sorted(folder.glob("step_*"))
    if not found:
        return {"step": 0, "seconds": 0.0, "loss": 0.0, "psnr": 0.0}
    accelerator.load_state(str(found[-1]))
    return json.loads((found[-1] / "state.json").read_text())
