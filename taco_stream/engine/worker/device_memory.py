"""How much memory a device has left, and whether an error means that there was too little."""

import torch

from taco_stream.machine import available_bytes

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""In the words of torch's CPU allocator, of CUDA's runtime and driver, and of the libraries that allocate by
themselves: with most of a device given to slots these are the first to find nothing left."""


def free_bytes(device: torch.device) -> int:
    """The bytes that can still be allocated on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_bytes()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory is used up; not all of them have a class of their own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)
