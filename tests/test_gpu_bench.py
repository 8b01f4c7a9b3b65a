"""The benchmarks for GPUs, which have to be right the first time that they meet one: proofs, limits, records, parts."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[1] / "bench"
sys.path.append(str(BENCH))  # at the end: both folders have an `engine`

from gpu import Measurement, Results, Setup, carry_out, limits, plan  # noqa: E402

TINY = ["--shapes", "tiny", "--device", "cpu", "--dtype", "float32", "--rows", "4", "--lengths", "16", "64"]


def provoke(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    """In a process of its own: what the measurement's `way` says."""
    if measurement.way == "raise":
        raise ValueError("the first line\nthe second line")
    if measurement.way == "die":
        os._exit(3)
    if measurement.way == "hang":
        time.sleep(600)
    return {"tokens_per_second": 1.0}


def set_up(folder: Path, budget_seconds: float = 60, limit_seconds: float = 30) -> Setup:
    return Setup("cpu", folder, 16, 64, budget_seconds, limit_seconds)


def read_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "gpu.jsonl").read_text(encoding="utf-8").splitlines()]


def ways(*names: str) -> list[Measurement]:
    return [Measurement("rivals", "tiny", "float32", 4, way=name) for name in names]


def test_a_failure_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    results = Results(tmp_path / "gpu.jsonl")
    carry_out(ways("raise", "die", "ours"), provoke, set_up(tmp_path), results)
    raised, died, ours = read_lines(tmp_path)
    assert raised["error"] == "ValueError: the first line"
    assert "in provoke" in raised["traceback"]
    assert died["error"] == "the process ended with 3"
    assert ours["tokens_per_second"] == 1.0


def test_a_hang_is_ended_and_the_rest_goes_on(tmp_path: Path) -> None:
    results = Results(tmp_path / "gpu.jsonl")
    measurements = ways("hang", "ours")
    carry_out(measurements[:1], provoke, set_up(tmp_path, limit_seconds=0.2), results)
    carry_out(measurements[1:], provoke, set_up(tmp_path), results)
    hung, ours = read_lines(tmp_path)
    assert "timed_out" in hung
    assert hung["seconds"] < 30
    assert ours["tokens_per_second"] == 1.0


def test_a_measurement_that_cannot_end_within_the_budget_is_not_begun(tmp_path: Path) -> None:
    results = Results(tmp_path / "gpu.jsonl")
    carry_out(ways("hang"), provoke, set_up(tmp_path, budget_seconds=5), results)
    assert [line["skipped"] for line in read_lines(tmp_path)] == ["5 s of the budget are left"]


@pytest.mark.parametrize(
    ("proofs", "is_proven"),
    [
        ({"float32": True, "bfloat16": True}, True),
        ({"float32": False, "bfloat16": True}, False),
        ({"float32": True}, False),
        ({}, False),
    ],
)
def test_timings_are_proven_if_all_proofs_of_their_shape_succeeded(
    tmp_path: Path, proofs: dict[str, bool], is_proven: bool
) -> None:
    results = Results(tmp_path / "gpu.jsonl")
    for dtype, is_right in proofs.items():
        results.add(Measurement("proof", "7B", dtype), {"is_right": is_right})
    results.add(Measurement("proof", "0.5B", "bfloat16"), {"is_right": True})
    results.add(Measurement("decode", "7B", "bfloat16"), {"tokens_per_second": 1.0})
    assert results.lines[-1]["proven"] is is_proven


@pytest.mark.parametrize(("rows", "roof"), [(10, 10 / (1 + 0.5)), (1000, 1000 / (2 + 0.5))])
def test_the_roof_is_reading_the_weights_or_computing_with_them_and_reading_the_cache(rows: int, roof: float) -> None:
    line = {"rows": rows, "tokens_per_second": roof / 2, "step_weight_bytes": 100, "step_cache_bytes": 50}
    reached = limits(
        line | {"step_parameters": 50}, {"copy_bytes_per_second": 100.0, "operations_per_second": 50_000.0}
    )
    assert reached["roof"] == pytest.approx(roof)
    assert reached["memory_limit"] == pytest.approx(rows / 1.5)
    assert reached["share_of_roof"] == pytest.approx(0.5)


def test_proofs_come_before_the_timings_of_their_shape() -> None:
    options = argparse.Namespace(
        parts=["proof", "decode", "nano", "rivals"],
        shapes=["1.5B"],
        rows=[64, 1024],
        samples_per_prompt=[16, 1],
        temperatures=[0.2, 0.8],
        dtype="bfloat16",
        device="cuda:0",
    )
    measurements = plan(options)
    assert measurements[0].part == "roofs"
    for shape in ("1.5B", "0.6B"):
        proofs = [each.part == "proof" for each in measurements if each.shape == shape]
        assert proofs[:2] == [True, True]
        assert not any(proofs[2:])
    decoded = {(each.rows, each.samples_per_prompt, each.temperature) for each in measurements if each.part == "decode"}
    assert len(decoded) == 8


def test_all_of_it_runs_on_a_cpu_and_a_second_call_appends(tmp_path: Path) -> None:
    earlier = '{"part": "of an earlier call"}\n'
    (tmp_path / "gpu.jsonl").write_text(earlier, encoding="utf-8")
    command = [sys.executable, str(BENCH / "gpu.py"), "--out", str(tmp_path), *TINY, "--parts", "proof", "decode"]
    command += ["--samples-per-prompt", "2", "--temperatures", "0.8"]
    environment = os.environ | {"PYTHONPATH": str(BENCH.parent)}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
    before, roofs, proof, decode = read_lines(tmp_path)
    assert before == json.loads(earlier)
    assert roofs["operations_per_second"] > 0
    assert proof["is_right"]
    assert decode["proven"]
    assert decode["captured_shapes"]
    assert decode["events"] == []
    assert (decode["device_milliseconds"], decode["peak_bytes"]) == (None, None)
    assert 0 < decode["host_milliseconds"] < decode["step_milliseconds"]
    assert 0 < decode["share_of_roof"] <= decode["share_of_memory_limit"]


def test_a_core_that_computes_something_else_is_not_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_measurements
    import torch

    from taco_stream.engine.worker.kv_cache import SlotCache

    def copy_half(cache: SlotCache, source: int, target: int, length: int) -> None:
        copy(cache, source, target, length // 2)

    copy, threads = SlotCache.copy, torch.get_num_threads()
    monkeypatch.setattr(SlotCache, "copy", copy_half)
    monkeypatch.setattr(gpu_measurements, "PROVEN_SAMPLES", 4)
    try:
        proof = gpu_measurements.measure(set_up(tmp_path), Measurement("proof", "tiny", "float32"))
    finally:
        torch.set_num_threads(threads)
    assert not proof["is_right"]


def test_the_host_is_measured_without_a_device() -> None:
    import host_step
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    figures = host_step.measure("turnover", 16, 10)
    torch.set_num_threads(threads)
    parts = [figures[part] for part in host_step.PARTS]
    assert min(parts) > 0
    assert figures["whole step"] < 100
