"""A run that asks servers: what a person types, and what is written down of it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")

from engine.server.fake_server import FakeServer, serving

from taco_stream.commands.run import name_served_model
from taco_stream.engine.settings import Dtype, ModelSettings, ServerSettings
from taco_stream.errors import UsageError
from taco_stream.run.settings import RunSettings, SampleSettings
from taco_stream.terminal import stderr_console

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret"
ASKING = ("--engine", "server", "--dataset", "demo", "--limit", "3", "--samples", "2")


async def generate(folder: Path, *arguments: str, code: str = "") -> tuple[int, str]:
    """The exit code and the talk of `taco-stream generate`, started in a folder; `code` runs before it."""
    script = f"import sys; {code or 'pass'}; from taco_stream.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, "generate", *arguments,
        cwd=folder, env={**os.environ, "MY_KEY": KEY}, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output = await process.communicate()
    assert process.returncode is not None
    return process.returncode, b"".join(output).decode()


def served(server: FakeServer) -> tuple[str, ...]:
    return (*ASKING, "--server", server.url)


async def test_a_served_model_is_named_and_its_completions_are_written(tmp_path: Path) -> None:
    async with serving(key=KEY, model="coder/7b") as server:
        code, output = await generate(tmp_path, *served(server), "--api-key-env", "MY_KEY")
    assert code == 0, output
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("coder-7b-demo-")
    manifest = json.loads((run / "run.json").read_text())
    assert manifest["results"]["model"] == "coder/7b"
    assert manifest["settings"]["api_key_env"] == "MY_KEY"
    completions = [json.loads(line) for line in (run / "completions.jsonl").read_text().splitlines()]
    assert len(completions) == 6
    assert {completion["engine"] for completion in completions} == {"server:coder/7b root=/models/m fake-1"}
    kinds = [json.loads(line)["kind"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert kinds[:2] == ["run_started", "server_up"]
    for path in run.iterdir():
        assert KEY not in path.read_text(encoding="utf-8", errors="replace"), path
    assert KEY not in output


async def test_a_server_that_would_answer_greedily_is_a_usage_error(tmp_path: Path) -> None:
    async with serving(is_greedy=True) as server:
        code, output = await generate(tmp_path, *served(server))
    assert code == 2
    assert "ignores temperature" in output
    assert "Traceback" not in output


async def test_without_aiohttp_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    without = "sys.modules['aiohttp'] = None"
    code, output = await generate(tmp_path, *ASKING, "--server", "http://127.0.0.1:9", code=without)
    assert code == 2
    assert "pip install 'taco-stream[server]'" in output
    assert "Traceback" not in output


async def test_a_run_is_not_resumed_with_another_model(tmp_path: Path) -> None:
    async with serving() as server:
        code, _ = await generate(tmp_path, "run", *served(server))
        assert code == 0
        server.behaviour.model = "other"
        code, output = await generate(tmp_path, "run", *served(server))
    assert code == 2
    assert "model 'm', this start has 'other'" in output


def settings(engine: str, server: ServerSettings, **model: object) -> RunSettings:
    return RunSettings(samples=SampleSettings(engine=engine), server=server, model=ModelSettings(**model))  # type: ignore[arg-type]


def test_servers_need_their_engine() -> None:
    with pytest.raises(UsageError, match="need --engine server"):
        name_served_model(settings("local", ServerSettings(server="http://a")), stderr_console())


def test_the_engine_needs_a_server() -> None:
    with pytest.raises(UsageError, match="--engine server needs --server URL"):
        name_served_model(settings("server", ServerSettings()), stderr_console())


def test_flags_of_a_model_that_is_run_here_are_refused() -> None:
    wanted = settings("server", ServerSettings(server="http://a"), dtype=Dtype.FLOAT32)
    with pytest.raises(UsageError, match="--dtype is for a model that is run here"):
        name_served_model(wanted, stderr_console())
