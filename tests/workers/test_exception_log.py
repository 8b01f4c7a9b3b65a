"""The reason that a log gives for a process's end."""

import pytest

from taco_stream.workers.exception_log import last_exception

DEVICE_ASSERT = """torch.AcceleratorError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""
NO_MODULE = "/usr/bin/python: No module named taco_stream.engine.worker"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("Loading weights: 100%|████| 30/30 [00:00<00:00, 9000it/s]", None),
        ("/lib/torch/x.py:3: UserWarning: a RuntimeError: perhaps\n  warnings.warn(", None),
        ("[transformers] `loss_type=None` was set in the config but it is unrecognized.", None),
        ("", None),
        ("Traceback (most recent call last):\n  …\nIndexError: index out of range\n", "IndexError: index out of range"),
        (DEVICE_ASSERT, "torch.AcceleratorError: CUDA error: device-side assert triggered"),
        ("ValueError: first\nOSError: last\nLoading weights: 10%|█   |\n", "OSError: last"),
        (NO_MODULE, NO_MODULE),
    ],
)
def test_only_an_exception_is_a_reason(log: str, reason: str | None) -> None:
    assert last_exception(log) == reason
