"""What the documents tell a reader to type is there, and what their pages of steps show runs, in a folder of its own."""

import http.server
import json
import os
import re
import runpy
import shlex
import shutil
import statistics
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import taco_stream
from taco_stream import EvaluatorSettings, open_dataset
from taco_stream.cli import app
from taco_stream.commands.run import DEMO_PRESET, default_name
from taco_stream.engine.libraries import LIBRARIES
from taco_stream.run.settings import RunSettings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HOW_TOS = tuple(sorted((DOCS / "how-to").glob("*.md")))
GUIDES = (ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted(DOCS.glob("*.md")), *HOW_TOS)
DESIGN = tuple(sorted((DOCS / "design").glob("*.md")))
EXECUTED = (ROOT / "README.zh-CN.md", DOCS / "index.md", DOCS / "tutorial.md", *HOW_TOS)
"""Pages of steps: all their blocks of `sh` and `python` are run in order, but for those that say why they are not."""

WITH_A_MODEL = ("index.md", "tutorial.md")
"""The pages whose steps run the demo's model. In those of the others, which use the same commands for something else, a
script answers in its place (`engine/scripted_worker`): a worker takes seconds to import torch."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ZENSICAL = shutil.which("zensical", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
DEMO_MODEL = Path(taco_stream.__file__).parent / "demo" / "model"
OTHER_PROGRAMS = {"hf", "mkdir", "tail", "python", "pip", "git", "cd", "docker", "source", "export", "ray", "curl"}
HARNESSES = {"inspect", "lm_eval"}
SERVERS = {"vllm", "llama-server", "transformers"}
"""What a reader has without taco-stream."""


class Block(NamedTuple):
    """A fenced block of a document; `why_not` is the reason that a comment before it gives for not executing it."""

    language: str
    body: str
    why_not: str


MISPLACED_FENCE = re.compile(r"^<!-- not executed: .+?-->[^\n]*\S", re.M)
FENCED = re.compile(r"(?:^<!-- not executed: (.+?) -->\n)?^```(\w*)\n(.*?)^```", re.S | re.M)


def fenced(path: Path) -> list[Block]:
    """The fenced blocks of a document."""
    return [Block(found[2], found[3], found[1] or "") for found in FENCED.finditer(path.read_text(encoding="utf-8"))]


def blocks(path: Path, *languages: str) -> Iterator[str]:
    """The fenced blocks of a document that are marked with one of the languages."""
    return (each.body for each in fenced(path) if each.language in languages)


def commands() -> Iterator[tuple[Path, str]]:
    """Every command line that a document shows and no test executes.

    In a `sh` block each line, in a `console` block those behind `$ `, and those in the text.
    """
    for path in (*GUIDES, *DESIGN):
        for block in fenced(path):
            if block.language == "sh" and (block.why_not or path not in EXECUTED):
                yield from ((path, line) for line in re.sub(r"\\\n\s*", "", block.body).splitlines() if line.strip())
            elif block.language == "console":
                yield from ((path, line[2:]) for line in block.body.splitlines() if line.startswith("$ "))
        yield from ((path, line) for line in re.findall(r"`((?:taco-stream|make) [^`]*)`", path.read_text("utf-8")))


def read_flags() -> dict[str, set[str]]:
    """The flags of every command of taco-stream."""
    group = typer.main.get_command(app)
    found = {"": {"--help", "--debug", *(flag for option in group.params for flag in option.opts)}}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        found[name] = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    return found


def run(script: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


EXAMPLE = ("batched_sampling.md", 0)
"""The Python block that a test of its own runs and reads the output of."""

PYTHON = [
    pytest.param(body, id=f"{path.name}-{number}")
    for path in GUIDES
    if path not in EXECUTED
    for number, body in enumerate(blocks(path, "python"))
    if (path.name, number) != EXAMPLE
]


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the first problem of the demo with two samples, of which the second is wrong."""
    folder = tmp_path_factory.mktemp("demo")
    right = json.loads(next(iter(open_dataset("demo"))).solutions)[0]
    completions = [{"problem_id": "demo/001", "text": text} for text in (right, "print(0)\n")]
    (folder / "samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in completions))
    line = ("evaluate", "samples.jsonl", "RUN", "--dataset", "demo", "--workers", "1")
    subprocess.run(
        [sys.executable, "-m", "taco_stream", *line],
        cwd=folder,
        capture_output=True,
        check=True,
        timeout=550,
    )
    return folder / "RUN"


@pytest.mark.parametrize("body", PYTHON)
def test_python_in_a_guide_runs_in_a_folder_that_holds_a_model_and_a_run(
    tmp_path: Path, body: str, demo_run: Path
) -> None:
    (tmp_path / "model").symlink_to(DEMO_MODEL)
    (tmp_path / "RUN").symlink_to(demo_run)
    (tmp_path / "block.py").write_text(body, encoding="utf-8")
    run(tmp_path / "block.py", tmp_path)


SHOW = [line for path, line in commands() if path.name == "how-to.md" and re.match("taco-stream show RUN demo/", line)]


@pytest.mark.parametrize("line", SHOW)
def test_a_sample_is_debugged_as_the_guide_says(tmp_path: Path, line: str, demo_run: Path) -> None:
    (tmp_path / "RUN").symlink_to(demo_run)
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(line.replace("taco-stream", "taco_stream"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=550,
    )
    assert "wrong_answer" in done.stdout
    assert ("judged again  the same verdicts" in done.stdout) == ("--rerun" in line)
    if "--save" in line:
        assert run(tmp_path / "sample" / "run.py", tmp_path) == "0\n"


def script(path: Path) -> str:
    """The blocks of a page of steps as one script."""
    # A page may leave a service running if one of its steps fails.
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for block in fenced(path):
        if block.language == "sh" and not block.why_not:
            lines.append(block.body)
        elif block.language == "python" and not block.why_not:
            lines.append(f"python -W error - <<'END_OF_PYTHON'\n{block.body}END_OF_PYTHON")
    return "\n".join(lines)


@pytest.fixture
def server_url() -> Iterator[str]:
    """The base URL of a server that answers OpenAI's chat completions, always with the same program."""

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"data": [{"id": "coder"}]} if self.path == "/v1/models" else {})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/chat/completions"
            assert asked["messages"][-1]["role"] == "user"
            answer = "```python\ninput()\nprint(sum(map(int, input().split())))\n```"
            message = {"role": "assistant", "content": answer}
            self.answer({"choices": [{"message": message, "finish_reason": "stop"}]})

        def answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.name)
def test_the_steps_of_a_page_run_in_an_empty_folder(tmp_path: Path, server_url: str, path: Path) -> None:
    if path.name == "served-models.md":
        pytest.importorskip("aiohttp", reason="the extra `server` is not installed")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "SERVER": server_url,
    }
    if path.name not in WITH_A_MODEL:
        environment["PYTHONPATH"] = str(ROOT / "tests" / "engine" / "scripted_worker")
    done = subprocess.run(
        ["bash", "-x", "-c", script(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1150,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_the_example_of_batched_sampling_prints_every_sample_once(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(DEMO_MODEL)
    name, number = EXAMPLE
    example = list(blocks(DOCS / name, "python"))[number]
    (tmp_path / "block.py").write_text(example, encoding="utf-8")
    lines = run(tmp_path / "block.py", tmp_path).splitlines()
    keys = sorted(line[:3] for line in lines if re.match(r"\d \d (stop|stop_string|length) ['\"]", line))
    assert keys == [f"{problem} {sample}" for problem in range(3) for sample in range(4)]
    assert lines[-2].endswith(" tokens/s")


@pytest.mark.parametrize(("path", "line"), list(commands()), ids=lambda value: getattr(value, "name", value))
def test_a_command_in_a_document_exists_with_its_flags(path: Path, line: str) -> None:
    program, *words = shlex.split(line.partition(" | ")[0], comments=True)
    if "=" in program:
        return  # a variable of the shell
    if program == "make":
        assert {word.rstrip("…") for word in words} <= set(
            re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        )
    elif program == "taco-stream":
        flags = read_flags()
        command = words[0] if not words[0].startswith("-") else ""
        assert command in flags
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= flags[command]
    else:
        assert program in OTHER_PROGRAMS | SERVERS | HARNESSES


def test_the_readme_is_short_and_shows_what_a_run_prints_first() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 700
    assert EvaluatorSettings().worst_case in text
    assert f"new run runs/{default_name(RunSettings.resolve({}, DEMO_PRESET, {}))}\n" in text


@pytest.mark.parametrize("path", [*GUIDES, ROOT / "CONTRIBUTING.md", *DESIGN], ids=lambda path: path.name)
def test_files_that_a_document_names_exist(path: Path) -> None:
    named = re.findall(r"`((?:taco_stream|tests|docs|bench)/[\w./-]*)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda path: path.name)
def test_a_fence_begins_a_line(path: Path) -> None:
    """One behind its comment is a block that was wrapped as text, and that no test of the blocks sees."""
    assert MISPLACED_FENCE.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", ["commands", "records", "troubleshooting"])
def test_a_page_that_is_made_from_the_source_is_current(name: str) -> None:
    made = runpy.run_path(str(DOCS / f"make_{name}.py"))["reference"]()
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == made, f"stale: run python docs/make_{name}.py"


def links(path: Path) -> Iterator[str]:
    """The targets of a document's links, as they are written, without those in code."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


@pytest.mark.parametrize("path", [*GUIDES, *DESIGN, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_a_link_leads_to_a_file_and_stays_within_the_site(path: Path) -> None:
    for target in links(path):
        if "://" in target or target.startswith("#"):
            continue
        found = (path.parent / target.partition("#")[0]).resolve()
        assert found.exists(), target
        assert DOCS not in path.parents or DOCS in found.parents, (
            f"{target} is not in docs/, from which the site is made"
        )


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    settings = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    named = sorted(re.findall(r"'([\w/-]+\.md)'", repr(settings["project"]["nav"])))
    assert named == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


@pytest.mark.skipif(ZENSICAL is None, reason="needs zensical: make docs installs it")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    done = subprocess.run(
        [str(ZENSICAL), "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def figures(name: str) -> Any:
    """What a script of `bench/` measured."""
    return json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_figures_of_the_performance_page_are_those_that_were_measured() -> None:
    engines = figures("engine_two_threads")["results"]
    speed = {(each["engine"], each["rows"]): each["tokens_per_wall_second"] for each in engines}
    judging = figures("evaluator")
    cpu = {name: each["cpu_milliseconds"] for name, each in judging["per_test"].items()}
    strongest = cpu["ours (namespaces+landlock+seccomp+rlimits)"]
    end_to_end = figures("end_to_end")
    serial, ours = (
        statistics.median(each[side] for each in end_to_end["rounds"])
        for side in ("serial_seconds", "taco_stream_seconds")
    )
    by_workers = judging["tests_per_second_by_workers"]
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    for expected in (
        f"| {serial:.1f} s | {ours:.1f} s | {end_to_end['median_ratio']:.1f} times faster",
        (
            f"| {speed['one_at_a_time', 16]:.0f} | {speed['ours', 16]:.0f} | "
            f"{speed['ours', 16] / speed['one_at_a_time', 16]:.1f} times |"
        ),
        (
            f"| 64 | | {speed['static', 64]:.0f} | {speed['continuous', 64]:.0f} | {speed['vllm', 64]:.0f} "
            f"| {speed['ours', 64]:.0f} |"
        ),
        f"| {cpu['original']:.0f} ms | {strongest:.2f} ms | {cpu['original'] / strongest:.0f} times less |",
        f"fork, exit and wait of a warm interpreter: the floor | {cpu['floor']:.2f} ms |",
        (
            f"the {judging['shaped_workload']['tests_run']:,} tests that decide | "
            f"{judging['shaped_workload']['ratio']:,.0f} times less CPU |"
        ),
        (
            f"{by_workers['1']:.0f} tests per second with one,\n{by_workers['2']:,.0f} with two, "
            f"{by_workers['2'] / by_workers['1']:.2f} times"
        ),
    ):
        assert expected in text


def numbers(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?!\w)", text))


def test_no_other_figure_is_claimed_than_the_log_and_the_benchmarks_have() -> None:
    known = [ROOT / "bench" / "LOG.md", DOCS / "benchmarks.md", ROOT / "README.md"]
    measured = set().union(*(numbers(path.read_text(encoding="utf-8")) for path in known))
    medians = {"35.7", "6.7"}  # seconds of end_to_end.json, which the test above compares
    chinese = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8").partition("## 性能测试")[2].partition("\n## ")[0]
    assert "1.87" in chinese
    assert numbers((DOCS / "performance.md").read_text(encoding="utf-8")) | numbers(chinese) <= measured | medians


def test_what_the_readmes_name_is_in_the_source_distribution() -> None:
    included = set(PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    named = {
        target.partition("/")[0] for path in (ROOT / "README.md", ROOT / "README.zh-CN.md") for target in links(path)
    }
    assert {*named, "Makefile", "constraints.txt"} - included == set()
    assert [name for name in included if not (ROOT / name).exists()] == []


def test_judging_alone_installs_neither_torch_nor_transformers() -> None:
    names = {re.split(r"\W", each)[0] for each in PROJECT["project"]["dependencies"]}
    assert "msgspec" in names
    assert not names & set(LIBRARIES)
    assert {re.split(r"\W", each)[0] for each in PROJECT["project"]["optional-dependencies"]["local"]} == set(LIBRARIES)


def test_an_image_is_made_of_files_that_are_sent_to_the_builder() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"}
    assert set(copied) == sent
    assert {"README.md", "LICENSE"} <= sent  # the build needs both
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_every_flag_that_the_readme_names_belongs_to_a_command() -> None:
    named = set(re.findall(r"(?<=[`\s(])--[a-z][a-z-]+", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert "--samples" in named
    assert named <= set().union(*read_flags().values())
