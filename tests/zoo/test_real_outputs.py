"""Real checkpoints, and what the official code answers with them (../shared/signatures/real_outputs.npz).

The list is made of the data: every answer whose file a card of the zoo names.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import model_zoo
from model_zoo.checkpoint import read
from model_zoo.networks.haesr import seen_pixels

ANSWERS = Path(__file__).resolve().parents[3] / "shared" / "signatures" / "real_outputs.npz"


def cases() -> dict[str, str]:
    """Names of answers to names of cards."""
    if not ANSWERS.is_file():
        return {}
    cards = {file: name for name in model_zoo.list_models() for file in model_zoo.card(name).file_names}
    return {file: cards[file] for file in np.load(ANSWERS).files if file in cards}


CASES = cases()


def last(answer: torch.Tensor | list | tuple) -> torch.Tensor:
    """The image of a network that gives several: the last."""
    return answer if isinstance(answer, torch.Tensor) else answer[-1]


@pytest.mark.parametrize("file", CASES or ["absent"])
def test_the_network_answers_as_the_official_code(shared, file):
    """Within 1e-4 of the official answer to a real image, every second row and column, with the real weights."""
    stored = np.load(ANSWERS)
    with torch.no_grad():
        answer = last(model_zoo.load(CASES[file])(torch.from_numpy(stored["input"])))
    assert np.abs(answer[0, :, ::2, ::2].numpy() - stored[file]).max() < 1e-4


@pytest.mark.parametrize("file", CASES or ["absent"])
def test_an_image_that_is_not_square_comes_out_at_its_size(shared, file):
    """Height and width are not taken for each other, and what the card calls the smallest size is taken."""
    card = model_zoo.card(CASES[file])
    step = card.size_multiple
    low = -(-card.size_minimum // step) * step
    x = torch.rand(1, 3, low, low + max(step, 5), generator=torch.Generator().manual_seed(7))
    x = x if step > 1 else torch.rand(1, 3, max(low, 19), max(low, 26), generator=torch.Generator().manual_seed(7))
    network = model_zoo.load(card.name)
    with torch.no_grad():
        answer = last(network(x))
        smallest = last(network(x[..., :low, :low]))
    assert answer.shape == (1, 3, x.shape[2] * card.scale, x.shape[3] * card.scale)
    assert smallest.shape == (1, 3, low * card.scale, low * card.scale)
    assert answer.isfinite().all()


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_figures_around_a_window_are_those_of_the_checkpoint(shared, stage):
    """HAESR computes which pixels it looks at; its checkpoint lists them."""
    stored = read(shared / "weights" / "haesr_x4.pth")
    listed = stored[f"block0.residual_layer.0.SLA{stage}.attn.ext_unfold.sample_indices"]
    assert torch.equal(seen_pixels(stage), listed)
