"""Networks in ONNX files, run by ONNX Runtime: measured by plain forwards, as nothing in them can be seen.

Source: ONNX Runtime, https://onnxruntime.ai; it runs what `torch.onnx.export` and other frameworks write.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cem_bench.models.model import Model, as_model

INSTALL = 'ONNX files need ONNX Runtime: pip install "cem-bench[onnx]"'


class OnnxNetwork(nn.Module):
    """A network in an ONNX file, on the processor, with torch's number of threads."""

    def __init__(self, path: str | Path) -> None:
        """Read the file.

        Args:
            path: an ONNX file with one input, (b, c, h, w) float32; its first output is the answer.

        Raises:
            ImportError: if ONNX Runtime is not installed.
            ValueError: if the file cannot be read, or its network takes something else.
        """
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(INSTALL) from error
        self.path = str(path)
        content = Path(path).read_bytes()
        self.sha256, self.version = hashlib.sha256(content).hexdigest(), str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            words = (str(error).strip().splitlines() or [""])[0]
            raise ValueError(f"{path} is no ONNX file that ONNX Runtime {self.version} runs: {words}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            taken = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
            raise ValueError(f"{path} takes {taken}; expected one input, tensor(float) of (b, 3, h, w): export it so.")
        self._name = inputs[0].name

    def forward(self, images: Tensor) -> Tensor:
        """Restore (b, 3, h, w) float32."""
        given = images.detach().cpu().contiguous().numpy()
        return torch.from_numpy(self._session.run(None, {self._name: given})[0]).to(images.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        """Return the network of the file anew: a session cannot be copied."""
        return OnnxNetwork(self.path)


def onnx_model(path: str | Path, *, identity: str = "", **facts: Any) -> Model:
    """Make a model of an ONNX file, known by the sha256 of the file.

    The file must hold its weights: one that keeps them in files beside it is refused.

    Args:
        path: the file.
        identity: as `as_model`; by default the file's sha256 and the version of ONNX Runtime.
        facts: name, scale, value_range, tasks of `as_model`; the name is that of the file where none is given.

    Raises:
        ImportError: as `OnnxNetwork`.
        ValueError: as `OnnxNetwork` and `as_model`.
    """
    network = OnnxNetwork(path)
    identity = identity or f"onnx {network.sha256}, ONNX Runtime {network.version}"
    facts = {"name": Path(path).stem, **facts}
    return as_model(network, identity=identity, **facts)
