"""DnCNN of one channel in the zoo, which gives pictures of three."""

import pytest
import torch
from spandrel.architectures.DnCNN import DnCNN

import model_zoo
from model_zoo.checkpoint import read
from model_zoo.published_psnr import pairs, psnr

GREY = {"DnCNN-S": 17, "DnCNN-B": 20, "DnCNN-3": 20}


@pytest.mark.parametrize("name", GREY)
def test_equal_channels_give_what_the_network_of_one_channel_gives(shared, name):
    card = model_zoo.card(name)
    alone = DnCNN(in_nc=1, out_nc=1, nc=64, nb=GREY[name], act_mode="R", mode="DnCNN")
    alone.load_state_dict(read(shared / "weights" / card.checkpoint))
    x = torch.rand(2, 1, 17, 29, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        answer = model_zoo.load(name)(x.expand(-1, 3, -1, -1))
        expected = alone.eval()(x)
    for channel in answer.unbind(1):
        assert (channel - expected[:, 0]).abs().max() < 1e-6


@pytest.mark.parametrize("name, gain", [("DnCNN-S", 8.0), ("DnCNN-B", 8.0), ("DnCNN-3", 1.0)])
def test_a_corner_of_a_test_image_is_restored(shared, name, gain):
    """The pairs of `verify` are grey, and the network takes off most of the noise, part of the blur."""
    card = model_zoo.card(name)
    observation, clean = next(pairs(card, 1))
    assert observation.shape == clean.shape
    assert (observation[..., :1] == observation).all() and (clean[..., :1] == clean).all()
    observation, clean = observation[:96, :96], clean[:96, :96]
    x = torch.from_numpy(observation.transpose(2, 0, 1)[None] / 255).float()
    with torch.no_grad():
        restored = 255 * model_zoo.load(name)(x)[0].permute(1, 2, 0).numpy()
    assert psnr(restored, clean, 4) - psnr(observation, clean, 4) > gain
