"""Watches a decode step that is computed on `meta` tensors, which stand for a device that is not there.

A captured CUDA graph must neither wait for the device nor touch host memory. Both can be seen from the operations alone,
and so can how many of them would be a kernel. How kernels themselves behave under capture cannot.
"""

import traceback
from collections import Counter
from typing import Any
from unittest.mock import patch

import torch
from engine.tiny_models import ARCHITECTURES, COMMON
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from taco_stream.engine.worker import attention
from taco_stream.engine.worker.attention import FlashRows, Group, SlotAttention
from taco_stream.engine.worker.fixed_decode import FixedDecode, _Shape
from taco_stream.engine.worker.model_runner import ModelRunner

META = torch.device("meta")
ROWS = 8
NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "alias", "_unsafe_view", "lift_fresh"}
"""Operations of aten that neither compute nor are marked as views."""


class StepChecker(TorchDispatchMode):
    """Counts `kernels` by operation, and collects `flags`: what a captured step must not do, and the line that does."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.flags: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:
            # Into what reaches a device: a composite operation hides whether it waits.
            decomposed = func.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        name = func.name().removeprefix("aten::").split(".")[0]
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        has_mask = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in given[1:])
        is_shaped_by_data = torch.Tag.dynamic_output_shape in func.tags and (name != "index" or has_mask)
        indices = tree_leaves(args[1]) if name.startswith("index_put") else []
        is_masked = any(isinstance(index, Tensor) and index.dtype is torch.bool for index in indices)
        if torch.Tag.data_dependent_output in func.tags or is_shaped_by_data or is_masked:
            self._flag("waits for data", name)
        made = func(*args, **kwargs)
        out = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        kinds = {tensor.device.type for tensor in [*out, *given] if tensor.dim()}
        if len(kinds) > 1 or (name == "_to_copy" and given[0].device != out[0].device):
            self._flag("reaches host memory", name)
        if not func.is_view and name not in NO_KERNEL:
            self.kernels[name] += 1
        return made

    def _flag(self, what: str, operation: str) -> None:
        lines = [
            f"{frame.filename}:{frame.lineno}"
            for frame in traceback.extract_stack()
            if "/taco_stream/" in frame.filename or "/transformers/" in frame.filename
        ]
        self.flags.append(f"{operation} {what} at {lines[-1] if lines else 'an unknown line'}")


def captured_step(architecture: str) -> StepChecker:
    """The step of a model in bfloat16, as on a device with flash attention."""

    def has_flash(queries: Tensor, values: Tensor) -> bool:
        return queries.shape[-1] == values.shape[-1] and queries.shape[-1] % 8 == 0

    def one_group(fixed: FixedDecode, longest: int, lengths: Tensor) -> list[Group]:
        everyone = slice(0, len(lengths))
        group = Group(everyone, everyone, longest=longest, shortest=0, lengths=lengths)
        group.flash = FlashRows.from_lengths(lengths, fixed._cache.stride)
        return [group]

    with patch.object(attention, "has_flash", has_flash), patch.object(FixedDecode, "_groups", one_group):
        config = CONFIG_MAPPING[architecture](**(COMMON | {"vocab_size": 20_000} | ARCHITECTURES[architecture]))
        with META:
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        slots = SlotAttention()
        runner = ModelRunner(model, slots, device=META, fixed_shapes=True, reads_late=True)
        slots.attach(model)
        runner.probe()
        runner.allocate(ROWS, 200)
        fixed = runner._fixed
        assert fixed is not None
        shape = _Shape(fixed._idle(ROWS).to(META), 200)  # uploaded outside what is captured
        checker = StepChecker()
        with torch.inference_mode(), checker:
            fixed._compute(shape)
    return checker
