"""The command `serve`: opens the evaluator, listens, and ends in good order.

The first signal that asks to stop (SIGINT, SIGTERM, SIGHUP) lets accepted work finish: nothing more is admitted,
`/health` says 503 so that a balancer looks elsewhere, and after `DRAIN_SECONDS` what is left is answered with 503. A
second signal kills this process; workers end with the pipes to it.
"""

import ipaddress
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from anyio.abc import ObjectReceiveStream
from rich.console import Console

from taco_stream.errors import UsageError
from taco_stream.evaluator.pool import Evaluator
from taco_stream.events import EvaluatorEvent, EvaluatorRestarted, JudgingFailed
from taco_stream.run.problems import problem_source, with_readable_dataset
from taco_stream.run.settings import SETTINGS, RunSettings
from taco_stream.run.watching import under_signals
from taco_stream.service.dispatcher import Dispatcher
from taco_stream.service.open_instruct import OpenInstruct
from taco_stream.service.sandbox_fusion import SandboxFusion
from taco_stream.settings import resolve
from taco_stream.terminal import stderr_console
from taco_stream.types import Problem

DRAIN_SECONDS = 30.0
"""How long accepted work may take after the first signal: orchestrators kill after 30 seconds, too."""

ANSWER_SECONDS = 2
"""How long answers may take to be sent after that."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays: longer than balancers and clients keep theirs (60 seconds), so that none sends a
request into a connection that is being closed."""

MAX_DESCRIPTORS, KEPT_DESCRIPTORS = 1 << 16, 256
"""Descriptors for connections, and those kept for the evaluator, which needs a few for each worker. The usual limit of
1,024 is less than a trainer's batch with a connection for each program."""

MAX_EVENTS = 64
"""Events of the evaluator that may wait to be printed, which takes no time."""


class Serving(NamedTuple):
    """Where to listen, for whom, and how much to take on. `token_env` names a variable of the environment."""

    host: str
    port: int
    token_env: str | None
    max_waiting: int
    max_wait_seconds: float
    max_body_bytes: int


def serve(flags: Mapping[str, Any], config: Path | None, serving: Serving) -> int:
    """Serves until a signal; 0. Raises `UsageError` if the address cannot be listened to or must not be."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"serve needs the package {error.name}: pip install 'taco-stream[serve]'") from error
    given = resolve(SETTINGS, flags, config)
    settings = RunSettings.from_values(**given)
    token = _read_token(serving.token_env)
    console = stderr_console()
    with ExitStack() as opened:
        listening = opened.enter_context(listen(serving.host, serving.port, has_token=token is not None))
        problems: dict[str, Problem] = {}
        if "dataset" in given:
            dataset = with_readable_dataset(settings.dataset, opened)
            problems = {problem.problem_id: problem for problem in problem_source(dataset, console)()}
        work = partial(_serve, settings, problems, serving, listening=listening, token=token, console=console)
        anyio.run(work, backend_options={"use_uvloop": True})
    return 0


@contextmanager
def listen(host: str, port: int, *, has_token: bool) -> Iterator[socket.socket]:
    """A socket that listens there. Raises `UsageError` if that fails, or is open to others without a token."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if not (has_token or ipaddress.ip_address(address[0]).is_loopback):
            raise UsageError(
                f"--host {host} lets other machines run programs here: --token-env NAME names a variable of the "
                "environment with a token that they need"
            )
        listening = socket.create_server(address, family=family)
    except OSError as error:
        raise UsageError(f"--host {host} --port {port} cannot be listened to: {error.strerror}") from error
    with listening:
        yield listening


def _read_token(name: str | None) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name, "")
    if not token:
        raise UsageError(f"--token-env {name}: the environment has no such variable, or an empty one")
    return token


async def _serve(
    settings: RunSettings,
    problems: Mapping[str, Problem],
    serving: Serving,
    *,
    listening: socket.socket,
    token: str | None,
    console: Console,
) -> None:
    """Opens the evaluator and serves until a signal."""
    from taco_stream.service.application import Service

    stopping = anyio.Event()
    say = partial(console.print, soft_wrap=True, style="dim")

    def stop(number: int) -> None:
        if stopping.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stopping.set()

    async def work() -> None:
        events, to_print = anyio.create_memory_object_stream[EvaluatorEvent](MAX_EVENTS)
        async with events, to_print, Evaluator(settings.evaluator, events=events) as evaluator:
            dispatcher = Dispatcher(
                evaluator, max_waiting=serving.max_waiting, max_wait_seconds=serving.max_wait_seconds
            )
            service = Service(
                evaluator,
                dispatcher,
                problems=problems,
                settings=settings.evaluator,
                sandbox_tier=evaluator.sandbox_tier,
                dataset=settings.dataset.dataset if problems else None,
                routes=(*SandboxFusion(settings.evaluator).routes, *OpenInstruct(settings.evaluator).routes),
                max_body_bytes=serving.max_body_bytes,
                token=token,
                report=say,
            )
            server = _build_server(service.app())

            async def drain() -> None:
                await stopping.wait()
                say("finishing what was accepted; a second signal ends it at once")
                await dispatcher.close(DRAIN_SECONDS)
                server.should_exit = True

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(drain)
                tasks.start_soon(_print_events, to_print, say)
                say(_start_line(evaluator, settings, problems))
                print(f"http://{_format_address(listening)}", flush=True)
                await server.serve(sockets=[listening])
                tasks.cancel_scope.cancel()

    await under_signals(work, stop)


async def _print_events(events: ObjectReceiveStream[EvaluatorEvent], say: Callable[[str], None]) -> None:
    """Prints what happens to the evaluator. Reasons of failures are left out: they may quote a program."""
    async for event in events:
        match event:
            case EvaluatorRestarted():
                say("an evaluator worker ended and was replaced")
            case JudgingFailed():
                say("the evaluator failed on a program")
            case _:
                say(event.message)


def _start_line(evaluator: Evaluator, settings: RunSettings, problems: Mapping[str, Problem]) -> str:
    count = evaluator.statistics().workers
    workers = "1 worker" if count == 1 else f"{count} workers"
    dataset = f"{len(problems):,} problems of {settings.dataset.dataset}" if problems else "no dataset"
    return f"sandbox {evaluator.sandbox_tier}; {workers}; {dataset}; {settings.evaluator.worst_case}"


def _build_server(app: Any) -> Any:
    """A server whose signals are handled here: uvicorn's own handling would end the process by the signal."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="critical",  # its errors quote exceptions, and those may quote programs
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,  # they would rename connections, which take turns by their names
        limit_concurrency=max(1, raise_descriptors() - KEPT_DESCRIPTORS),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ANSWER_SECONDS,
    )
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals
    return server


def raise_descriptors() -> int:
    """Allows this process as many descriptors as it may have, or enough of them; the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


@contextmanager
def _no_signals() -> Iterator[None]:
    yield


def _format_address(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
