"""What of a run is published, through the real huggingface_hub, at a hub of this machine that takes what it is sent."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow
import pyarrow.parquet
import pytest
import yaml
from sample_values import record
from test_runs import write_run

from taco_stream.commands.push import TABLE, public_settings, push_run, write_folder
from taco_stream.commands.report import count_records, read_run, sum_up
from taco_stream.errors import StoreError, TrackerError, UsageError
from taco_stream.types import Status


class Hub(http.server.ThreadingHTTPServer):
    """The part of the hub's HTTP API that makes repositories and takes commits; `refuses` answers all with 403."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.made: list[dict[str, Any]] = []
        self.commits: list[tuple[str, dict[str, bytes]]] = []
        self.refuses = False


class HubHandler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = self.path
        if self.server.refuses:
            self.answer({"error": "no rights"}, 403)
        elif path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            self.answer({"url": f"http://{self.headers['Host']}/datasets/me/{json.loads(body)['name']}"})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [{"path": each["path"], "uploadMode": "regular"} for each in json.loads(body)["files"]]
            self.answer({"files": [{**each, "shouldIgnore": False} for each in files]})
        elif "/commit/" in path:
            lines = [json.loads(line) for line in body.decode().splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            self.server.commits.append((path, {each["path"]: base64.b64decode(each["content"]) for each in files}))
            is_request = "create_pr=1" in path
            commit = {
                "commitUrl": "https://huggingface.co/datasets/me/scores/commit/1",
                "commitOid": "0" * 40,
                "success": True,
                "hookOutput": "",
            }
            self.answer(
                {**commit, "pullRequestUrl": "https://huggingface.co/me/model/discussions/1" if is_request else None}
            )
        else:
            self.answer({"error": path}, 404)

    def do_GET(self) -> None:
        self.answer({"error": self.path}, 404)

    def answer(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield server
        server.shutdown()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    engine = "local:/home/me/model float32"
    records = [
        record("a", 0, engine=engine),
        record("a", 1, Status.WRONG_ANSWER, engine=engine),
        record("b", 0, engine=engine),
    ]
    private = {"server": "http://me:secret@host/v1", "api_key_env": "KEY", "verdict_cache": "/home/me/cache"}
    return write_run(tmp_path / "run", *records, model="/home/me/model", dataset="BAAI/TACO@main", **private)


def test_a_run_is_one_commit_of_a_card_scores_settings_and_a_table(hub: Hub, run: Path, tmp_path: Path) -> None:
    assert (
        push_run(run, "me/scores", private=True, with_programs=False, model=None)
        == "https://huggingface.co/datasets/me/scores/commit/1"
    )
    (made,) = hub.made
    assert (made["name"], made["organization"], made["type"]) == ("scores", "me", "dataset")
    assert made.get("visibility") == "private" or made.get("private") is True  # as versions of huggingface_hub say it
    ((where, files),) = hub.commits
    assert where.startswith("/api/datasets/me/scores/commit/main")
    assert set(files) == {"README.md", "run.json", "summary.json", TABLE}
    assert "| pass@1 | 0.7500 |" in files["README.md"].decode()
    assert json.loads(files["summary.json"])["statuses"] == {"passed": 2, "wrong_answer": 1}


@pytest.mark.parametrize("with_programs", [False, True])
def test_programs_are_published_only_if_asked_for(run: Path, tmp_path: Path, with_programs: bool) -> None:
    files, settings = read_run(run, None, ())
    (tmp_path / "folder").mkdir()
    summary = sum_up(count_records(files), files, settings)
    write_folder(files, summary, tmp_path / "folder", with_programs=with_programs)
    table = pyarrow.parquet.read_table(tmp_path / "folder" / TABLE)
    assert table.num_rows == 3
    private = {"program", "strict_output_head", "strict_detail"}
    assert private & set(table.column_names) == (private if with_programs else set())


def test_nothing_of_this_machine_is_published(hub: Hub, run: Path) -> None:
    push_run(run, "me/scores", private=False, with_programs=True, model=None)
    files = hub.commits[0][1]
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(files.pop(TABLE)))
    published = {name: content.decode() for name, content in files.items()} | {TABLE: str(table.to_pylist())}
    for name, text in published.items():
        assert not [word for word in ("secret", "/home/me", "KEY") if word in text], name


@pytest.mark.parametrize(
    ("setting", "published"),
    [
        ({"engine": "replay:/home/me/completions.jsonl"}, {"engine": "replay:completions.jsonl"}),
        ({"engine": "server"}, {"engine": "server"}),
        ({"dataset": "../me/problems.jsonl"}, {"dataset": "problems.jsonl"}),
        ({"dataset": "BAAI/TACO@main"}, {"dataset": "BAAI/TACO@main"}),
        ({"model": "demo"}, {"model": "demo"}),
        ({"exclude": "~/me/ids.txt", "reuse": "../me/run", "ray": "10.1.2.3:6379", "few_shot": "me.jsonl"}, {}),
        ({"system": "Answer in Python / C."}, {"system": "Answer in Python / C."}),
    ],
)
def test_a_setting_is_published_without_where_it_lies(setting: dict[str, str], published: dict[str, str]) -> None:
    assert public_settings(setting) == published


def test_a_hub_library_without_scores_is_refused_before_anything_is_published(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = huggingface_hub.__getattr__  # its names are imported when they are first used

    def find_others(name: str) -> Any:
        if name == "EvalResultEntry":
            raise AttributeError(name)
        return find(name)

    monkeypatch.setattr(huggingface_hub, "__getattr__", find_others)
    monkeypatch.delitem(vars(huggingface_hub), "EvalResultEntry", raising=False)
    with pytest.raises(UsageError, match="newer huggingface_hub"):
        push_run(run, "me/scores", private=False, with_programs=False, model="me/model")
    assert hub.commits == []


def test_the_score_is_proposed_to_a_model_and_never_written(hub: Hub, run: Path) -> None:
    push_run(run, "me/scores", private=False, with_programs=False, model="me/model")
    _, (where, files) = hub.commits
    assert where == "/api/models/me/model/commit/main?create_pr=1"
    ((name, content),) = files.items()
    assert name == ".eval_results/BAAI_TACO.yaml"
    (entry,) = yaml.safe_load(content)
    assert entry["dataset"] == {"id": "BAAI/TACO", "task_id": "pass@1"}
    assert entry["value"] == 0.75
    assert entry["source"]["url"].endswith("/datasets/me/scores")


def test_a_hub_that_refuses_or_is_gone_is_one_sentence(hub: Hub, run: Path) -> None:
    hub.refuses = True
    with pytest.raises(TrackerError, match="the hub was not written to: .*403"):
        push_run(run, "me/scores", private=False, with_programs=False, model=None)
    hub.shutdown()
    hub.server_close()
    with pytest.raises(TrackerError, match="the hub was not written to"):
        push_run(run, "me/scores", private=False, with_programs=False, model=None)


def test_a_run_without_a_score_is_refused(hub: Hub, tmp_path: Path) -> None:
    unscored = write_run(tmp_path / "run", record("a", 0, Status.INFRASTRUCTURE_ERROR))
    with pytest.raises(UsageError, match="no scored sample yet"):
        push_run(unscored, "me/scores", private=False, with_programs=False, model=None)
    with pytest.raises(StoreError):
        push_run(tmp_path, "me/scores", private=False, with_programs=False, model=None)
    assert hub.made == []


def test_a_score_on_problems_of_ones_own_is_not_proposed(hub: Hub, tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", record("a", 0), dataset="./mine.jsonl")
    with pytest.raises(UsageError, match="the run's problems are not one"):
        push_run(path, "me/scores", private=False, with_programs=False, model="me/model")
    assert hub.made == []
