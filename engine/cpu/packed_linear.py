"""Float32 decoding on CPUs: a model's matrices in oneDNN's own order, in which small batches read them fastest.

torch multiplies by a matrix as it is stored, and arranges it anew for its kernel in every product, which costs most where rows
are few (docs/speed.md). Arranged once, products differ from torch's in the last bits. A packed model only decodes: it has no
gradients, no state dict of its matrices, and cannot be copied.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..models.float_models import read_floats
from ..models.tensors import FolderTensors


class PackedLinear(nn.Module):
    """A linear layer x [..., K] -> [..., N] with packed weights [N, K]."""

    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        self.register_buffer("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return out

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


@torch.no_grad()
def pack_linears_(model: nn.Module, folder: Path | None = None) -> None:
    """Replace every linear layer of `model` that is float32 and on the CPU, in place. Where torch lacks oneDNN nothing changes.

    Weights that are stored in `folder`, from which the model was loaded, are read from their files again, each by a mapping of
    its own that goes with it: transformers maps a file as a whole, so that what was read once from there would be held for good.
    One that is not in a file by its name (as an LM head that is tied to the embedding, whose table stays) is packed from memory.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    stored = None if folder is None else FolderTensors(folder)
    for name, module in reversed(list(model.named_modules())):  # the LM head, the largest, while little else is there
        if isinstance(module, nn.Linear) and module.weight.device.type == "cpu" and module.weight.dtype == torch.float32:
            own = f"{name}.weight"
            weight = module.weight
            if stored is not None and own in stored:
                weight = read_floats(stored, own, weight.shape, torch.float32)  # type: ignore[assignment]
            model.set_submodule(name, PackedLinear(weight, None if module.bias is None else module.bias.detach()))
