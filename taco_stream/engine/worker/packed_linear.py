"""Linear layers of a CPU model with their weights in the order that oneDNN multiplies them in.

torch's `linear` re-orders a bfloat16 weight for the processor's matrix units at every call, which for the few rows of a
decoding batch costs as much as the product itself: 104 µs against 54 for 16 rows of 512 by 1,408, 669 against 465 for
an output layer of 8,192 (one core with AMX). The products are bitwise the same. In float32 the gain is smaller and the
rounding differs, so float32 models are left alone: they are compared with `generate`.
"""

from functools import partial

import torch
from torch import Tensor, nn

MEMORY_SHARE = 0.25
"""Packed weights are held beside the model's own, which embeddings may share, so free memory must be plentiful."""


def pack_linears(model: nn.Module, rows: int, free_bytes: int) -> bool:
    """Makes the bfloat16 linear layers of `model` multiply with packed weights, laid out for `rows` rows.

    False, and nothing changed, if this build of torch or the memory does not allow it. The modules and their
    parameters stay the same; only how they compute changes.
    """
    # Exactly these types: a subclass (a quantised layer, a LoRA) multiplies in a way of its own.
    linears = [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and type(module.weight.data) is Tensor
        and module.weight.device.type == "cpu"
        and module.weight.dtype is torch.bfloat16
    ]
    size = sum(module.weight.nbytes for module in linears)
    has_mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not linears or size > MEMORY_SHARE * free_bytes or not has_mkldnn:
        return False
    for module in linears:
        # The order depends on the number of rows, so the layer packs for that of a full batch; others compute as well.
        packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), rows)
        module.forward = partial(_multiply, packed, module.bias)  # type: ignore[method-assign]
    return True


def _multiply(packed: Tensor, bias: Tensor | None, rows: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise.default(rows, packed, bias, "none", [], "")
    return product
