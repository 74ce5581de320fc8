"""Adapters between RGB in 0..1 and what a network takes: each with a real network where one is at hand."""

import pytest
import torch
from torch import nn

import model_zoo
from model_zoo.contracts import Contract, adapted
from model_zoo.weights import find

GENERATOR = torch.Generator().manual_seed(5)
IMAGE = torch.rand(2, 3, 40, 48, generator=GENERATOR)


def real(name: str, **options: object) -> nn.Module:
    if not find(model_zoo.card(name)):
        pytest.skip(f"no weights of {name} here (CEM_WEIGHTS)")
    return model_zoo.load(name, options=options)


@torch.no_grad()
def apart(one: nn.Module, two: nn.Module, image: torch.Tensor = IMAGE) -> float:
    return float((one(image) - two(image)).abs().max())


class IATOfItsAuthors(nn.Module):
    """The authors' network answers factor, summand and image."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = real("IAT")

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        factor, summand = self.inner.local_net(x)
        return factor, summand, self.inner(x)


class Named(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        return {"stages": [self.network(x), x], "mask": x[:, :1]}


class Told(nn.Module):
    """FFDNet as its authors call it: the level beside the image."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        if self.shape is not None:
            assert tuple(level.shape) == (len(x), *self.shape)
        self.network.sigma = float(torch.as_tensor(level).flatten()[0]) * 255
        return self.network(x)


def test_one_of_several_outputs_of_iat():
    network = IATOfItsAuthors().eval()
    for output in ("-1", "2"):
        assert apart(adapted(network, Contract(output=output)), network.inner) == 0
    with pytest.raises(model_zoo.ZooError, match="output=7: the network answers 3 entries"):
        adapted(network, Contract(output="7"))(IMAGE)


def test_an_output_inside_a_named_one():
    inner = real("DnCNN")
    assert apart(adapted(Named(inner), Contract(output="stages.0")), inner) == 0
    with pytest.raises(model_zoo.ZooError, match="the names stages, mask; there is no 'image'"):
        adapted(Named(inner), Contract(output="image"))(IMAGE)


@pytest.mark.parametrize(
    ("form", "shape"), [("map", (1, 40, 48)), ("tensor", (1, 1, 1)), ("vector", ()), ("number", None)]
)
def test_ffdnet_is_told_its_level(form: str, shape: tuple[int, ...] | None):
    inner, wanted = real("FFDNet", sigma=15.0), real("FFDNet", sigma=25.0)
    told = adapted(Told(inner, shape), Contract(beside=f"{form}:{25 / 255!r}"))
    assert apart(told, wanted) < 1e-6


def test_an_index_beside_the_image_chooses_a_prompt():
    class Prompted(nn.Module):
        def forward(self, x: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
            assert prompt.dtype == torch.int64
            return x * torch.tensor([1.0, 2.0, 3.0])[prompt][:, None, None, None]

    assert torch.equal(adapted(Prompted(), Contract(beside="index:2"))(IMAGE), IMAGE * 3)


def test_grey_dncnn_given_the_colours_one_by_one():
    whole = real("DnCNN_grey")
    grey = adapted(whole.one_channel, Contract(channels="grey"))
    assert apart(grey, whole) == 0


def test_luma_alone_leaves_the_colours():
    one = real("DnCNN_grey").one_channel
    answer = adapted(one, Contract(channels="y"))(IMAGE).detach()
    weights = torch.tensor([65.481, 128.553, 24.966])[:, None, None] / 255
    luma = (IMAGE * weights).sum(1, keepdim=True) + 16 / 255
    with torch.no_grad():
        assert ((answer * weights).sum(1, keepdim=True) + 16 / 255 - one(luma)).abs().max() < 1e-5
    blue = torch.tensor([-37.797, -74.203, 112.0])[:, None, None] / 255
    assert (((answer - IMAGE) * blue).sum(1)).abs().max() < 1e-5


def test_bgr_and_more_channels():
    network = real("DnCNN")
    with torch.no_grad():
        assert torch.equal(adapted(network, Contract(channels="bgr"))(IMAGE), network(IMAGE.flip(1)).flip(1))

    class Seven(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[1] == 7 and not x[:, 3:].any()
            return x * 2

    assert torch.equal(adapted(Seven(), Contract(channels="7"))(IMAGE), IMAGE * 2)


def test_a_range_about_zero_and_one_in_255():
    network = real("DnCNN")

    class Centred(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return network((x + 1) / 2) * 2 - 1

    assert apart(adapted(Centred(), Contract(low=-1.0, high=1.0)), network) < 1e-6


def test_sides_are_padded_by_reflection():
    class Quarters(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[2] % 16 == 0 and x.shape[3] % 16 == 0
            return x

    image = IMAGE[:, :, :37, :41]
    assert torch.equal(adapted(Quarters(), Contract(multiple=16))(image), image)


@pytest.mark.parametrize(("dtype", "bound"), [("half", 0.005), ("bfloat16", 0.05)])  # 11 and 8 bits of a number
def test_half_precision_is_near_the_full_one(dtype: str, bound: float):
    whole, half = real("DnCNN"), adapted(real("DnCNN"), Contract(dtype=dtype))
    image = IMAGE[:, :, :16, :16]  # few processors are fast in fp16
    with torch.no_grad():
        answer = half(image)
        assert answer.dtype == torch.float32
        assert 0 < float((answer - whole(image)).abs().max()) < bound


def test_tiles_as_large_as_the_image_and_tiles_of_a_local_network():
    network = real("DnCNN")
    assert apart(adapted(network, Contract(inference="tiles:64")), network) == 0
    with torch.no_grad():
        difference = (adapted(network, Contract(inference="tiles:24:8"))(IMAGE) - network(IMAGE)).abs()
    assert 0 < difference.max() < 0.5
    assert adapted(real("IMDN"), Contract(inference="tiles:24:8"), 4)(IMAGE).shape == (2, 3, 160, 192)


def test_pooling_over_windows_of_the_image_is_pooling_over_it():
    network = real("RCAN_DN_ca")
    assert apart(adapted(network, Contract(inference="local:48")), network) < 1e-6  # the larger side
    assert apart(adapted(network, Contract(inference="local:16")), network) > 1e-4


@pytest.mark.parametrize("over", [nn.AdaptiveAvgPool2d(1), lambda x: x.mean((2, 3), keepdim=True)])
def test_both_spellings_of_a_pool_become_local(over):
    class Gate(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * over(x)

    local = adapted(Gate(), Contract(inference="local:9"))(IMAGE)
    middle = IMAGE[:, :, 16:25, 20:29].mean((2, 3)) * IMAGE[:, :, 20, 24]
    assert torch.allclose(local[:, :, 20, 24], middle, atol=1e-6)


def test_a_network_that_pools_nowhere_is_no_local_one():
    with pytest.raises(model_zoo.ZooError, match="averages over no whole image"):
        adapted(real("DnCNN"), Contract(inference="local:32"))(IMAGE)


def test_nothing_asked_for_changes_nothing():
    network = nn.Identity()
    assert adapted(network, Contract()) is network
    assert Contract().declared == {}
    assert Contract(output="-1", high=255.0).declared == {"output": "-1", "value_range": "0..255"}
    assert Contract(low=-1.0).declared == {"value_range": "-1..1"}


def test_every_option_shows_in_the_structure_that_keys_hash():
    contracts = [
        Contract(output="1"),
        Contract(beside="map:0.1"),
        Contract(channels="bgr"),
        Contract(low=-1.0),
        Contract(dtype="half"),
        Contract(inference="tiles:32"),
        Contract(inference="local:32"),
    ]
    changed = [Contract(output="2"), Contract(beside="map:0.2"), Contract(channels="grey")]
    texts = [repr(adapted(nn.Conv2d(3, 3, 1), contract)) for contract in contracts]
    assert len({*texts}) == len(contracts)
    others = [repr(adapted(nn.Conv2d(3, 3, 1), contract)) for contract in changed]
    assert not {*texts} & {*others}


@pytest.mark.parametrize(
    "wrong",
    [
        {"beside": "maps:0.1"},
        {"beside": "map:x"},
        {"channels": "2"},
        {"dtype": "int8"},
        {"low": 2.0},
        {"multiple": 0},
        {"inference": "tiles"},
        {"inference": "tiles:8:8"},
        {"inference": "local:0"},
    ],
)
def test_what_no_network_can_mean_is_refused(wrong: dict):
    with pytest.raises(model_zoo.ZooError, match=r"expected|must be"):
        Contract(**wrong)
