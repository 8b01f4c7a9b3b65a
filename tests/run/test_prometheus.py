"""The figures of a run as Prometheus scrapes them."""

import re
import socket

import anyio
import msgspec
import pytest
from sample_values import statistics

from taco_stream.errors import UsageError
from taco_stream.exposition import render
from taco_stream.run.prometheus import serve_metrics
from taco_stream.statistics import DeviceStatistics, EngineStatistics, Tail

SEEN = statistics(
    generated=3,
    loading=True,
    startup_seconds=1.5,
    peak_process_bytes={"main": 100, "generation worker": 250},
    devices=(DeviceStatistics(name="A", memory_bytes=9, peak_memory_bytes=5, utilisation=0.5),),
    engine=EngineStatistics(completion_tokens=7),
    tail=Tail(seconds=2.0, mean_rows=1.5, problem_id='a "b"', sample_index=1, completion_tokens=9),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_every_number_is_a_figure() -> None:
    lines = render("taco_stream", SEEN).splitlines()
    assert "taco_stream_generated 3.0" in lines
    assert "taco_stream_loading 1.0" in lines
    assert "taco_stream_startup_seconds 1.5" in lines
    assert "taco_stream_engine_completion_tokens 7.0" in lines
    assert "taco_stream_tail_mean_rows 1.5" in lines
    assert 'taco_stream_peak_process_bytes{process="generation worker"} 250.0' in lines
    assert 'taco_stream_device_utilisation{device="0"} 0.5' in lines


def test_the_lines_of_a_metric_follow_each_other_for_all_devices() -> None:
    devices = (SEEN.devices[0], msgspec.structs.replace(SEEN.devices[0], memory_bytes=8))
    lines = render("taco_stream", msgspec.structs.replace(SEEN, devices=devices)).splitlines()
    first = lines.index('taco_stream_device_memory_bytes{device="0"} 9.0')
    assert lines[first + 1] == 'taco_stream_device_memory_bytes{device="1"} 8.0'


def test_what_is_not_known_is_left_out() -> None:
    page = render("taco_stream", SEEN)
    assert "samples_expected" not in page
    assert "evaluator" not in page
    assert "problem_id" not in page


def test_the_page_follows_the_text_format() -> None:
    """Every line is a figure or says a figure's type, once and before it, and the last one ends too."""
    page = render("taco_stream", SEEN)
    assert page.endswith("\n")
    typed: set[str] = set()
    for line in page.splitlines():
        if match := re.fullmatch(r"# TYPE ([a-z_]+) gauge", line):
            assert match[1] not in typed
            typed.add(match[1])
        else:
            found = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"]*"\})? -?[0-9.e+-]+', line)
            assert found, line
            assert found[1] in typed


@pytest.mark.anyio
@pytest.mark.both_loops
async def test_the_page_is_served_to_whoever_asks_on_this_machine() -> None:
    port = free_port()
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_metrics, port, lambda: SEEN)
        for _ in range(2):
            async with await anyio.connect_tcp("127.0.0.1", port) as client:
                await client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
                await client.send(b"\r\n")
                answer = b""
                with anyio.fail_after(60):
                    try:
                        while True:
                            answer += await client.receive()
                    except anyio.EndOfStream:
                        pass
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert body.decode() == render("taco_stream", SEEN)
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_port_that_is_taken_is_an_error_of_usage() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="metrics-port"):
            await serve_metrics(taken.getsockname()[1], lambda: SEEN)
