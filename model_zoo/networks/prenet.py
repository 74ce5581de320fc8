"""Progressive recurrent deraining: PReNet and, without memory, PRN."""

import torch
from torch import Tensor, nn

from model_zoo.networks.common import conv

GATES = {"i": nn.Sigmoid, "f": nn.Sigmoid, "g": nn.Tanh, "o": nn.Sigmoid}


class PReNet(nn.Module):
    """The same residual network applied again and again to the input and its last output.

    Args:
        features: channels.
        blocks: residual blocks of one pass.
        recurrences: passes.
        memory: carry a convolutional LSTM from pass to pass (PReNet) or nothing (PRN).

    Source: Ren et al. 2019, 10.1109/CVPR.2019.00406.
    """

    def __init__(self, *, features: int = 32, blocks: int = 5, recurrences: int = 6, memory: bool = True) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.recurrences, self.memory, self.blocks = recurrences, memory, blocks
        self.conv0 = nn.Sequential(conv(6, features), nn.ReLU())
        for index in range(1, blocks + 1):
            layers = (conv(features, features), nn.ReLU(), conv(features, features), nn.ReLU())
            self.add_module(f"res_conv{index}", nn.Sequential(*layers))
        for gate, activation in GATES.items() if memory else ():
            self.add_module(f"conv_{gate}", nn.Sequential(conv(2 * features, features), activation()))
        self.conv = nn.Sequential(conv(features, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out: the last pass's image."""
        out = x
        hidden = cell = None
        for _ in range(self.recurrences):
            features = self.conv0(torch.cat([x, out], 1))
            if self.memory:
                hidden, cell = self._remember(features, hidden, cell)
                features = hidden
            for index in range(1, self.blocks + 1):
                features = torch.relu(features + self.get_submodule(f"res_conv{index}")(features))
            out = x + self.conv(features)
        return out

    def _remember(self, features: Tensor, hidden: Tensor | None, cell: Tensor | None) -> tuple[Tensor, Tensor]:
        joined = torch.cat([features, torch.zeros_like(features) if hidden is None else hidden], 1)
        values = {gate: self.get_submodule(f"conv_{gate}")(joined) for gate in GATES}
        fresh = values["i"] * values["g"]
        memory = fresh if cell is None else values["f"] * cell + fresh
        return values["o"] * torch.tanh(memory), memory
