"""Which errors mean that a device's memory is used up."""

import pytest
import torch

from taco_stream.engine.worker.device_memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_out_of_memory_is_known_in_every_librarys_words(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("text", ["CUDA error: an illegal memory access was encountered", "index out of range in self"])
def test_other_errors_are_not_out_of_memory(text: str) -> None:
    assert not is_out_of_memory(RuntimeError(text))
