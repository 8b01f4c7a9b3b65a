"""A zygote, or a program process, that dies by a fault of ours: the error says by which."""

import struct
from pathlib import Path

import pytest

from taco_stream.evaluator import execution
from taco_stream.evaluator.execution import ENVIRONMENT, Zygote, ZygoteError
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox.plan import RLIMITS_ONLY

LIMITS = Limits(cpu_seconds=2, wall_seconds=10, memory_bytes=1 << 30, output_bytes=1 << 20)


class UnreadableTest:
    """Packs tests whose function's name is no text."""

    @staticmethod
    def pack(*fields: float) -> bytes:
        return struct.pack("=BB?dd", *fields) + b"\xff"


def test_a_zygote_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queue.py").write_text("raise OSError('the disk is gone')\n")
    monkeypatch.setattr(execution, "ENVIRONMENT", {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)})
    with pytest.raises(ZygoteError, match=r"^the zygote did not start: OSError: the disk is gone$"):
        Zygote(RLIMITS_ONLY)


def test_a_program_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    zygote = Zygote(RLIMITS_ONLY)
    monkeypatch.setattr(execution, "PACKED_TEST", UnreadableTest)
    with (
        zygote.program(["print(1)"], LIMITS) as program,
        pytest.raises(ZygoteError, match=r"ended: UnicodeDecodeError"),
    ):
        program.run(b"", LIMITS)
    zygote.close()
