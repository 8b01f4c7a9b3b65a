"""The HTML report: one file by itself, nothing executed that comes from a run, nothing fetched from elsewhere."""

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from sample_values import completion, finished, gauges, manifest, record

from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.events import Event, RunStarted
from taco_stream.report.html import PAGE, SCRIPTS, write_html
from taco_stream.store.run_directory import open_run
from taco_stream.types import Record, Status

RECORDS = [
    record("p2", 0, difficulty="EASY", skills=("Sorting",)),
    record("p2", 1, Status.WRONG_ANSWER, difficulty="EASY", skills=("Sorting",)),
]
EVENTS = [RunStarted(), gauges(elapsed_seconds=5), finished(elapsed_seconds=10)]


def read_page(path: Path, records: list[Record], events: list[Event]) -> str:
    async def write() -> None:
        async with open_run(path / "run", manifest()) as run:
            completions = [completion(each.problem_id, each.sample_index, each.program or "") for each in records]
            await run.append([*completions, *records, *events])

    (path / "run").mkdir(parents=True)  # one that is made by the run is removed again if nothing is written
    anyio.run(write)
    write_html(path / "run", path / "report.html", EvaluatorSettings(), (1, 2), problems=None)
    return (path / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def page(tmp_path: Path) -> str:
    return read_page(tmp_path, RECORDS, EVENTS)


def test_a_run_has_the_name_of_its_folder_also_from_within(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "run")
    write_html(Path(), Path("report.html"), EvaluatorSettings(), (), problems=None)
    assert '"name":"run"' in Path("report.html").read_text(encoding="utf-8")


class Reader(html.parser.HTMLParser):
    """The elements that a browser would meet, and whether each is closed."""

    VOID = ("meta", "link", "input", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def document(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    built: dict[str, Any] = json.loads(found[1])
    return built


def test_every_element_is_closed_and_none_asks_for_anything_from_elsewhere(page: str) -> None:
    reader = read(page)
    assert reader.open == []
    assert reader.addresses == ["data:,", "#main"]
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", page)


def test_the_document_stands_in_the_page_with_its_samples(page: str) -> None:
    built = document(page)
    assert built["summary"]["pass_at_k"]["1"]["value"] == 0.5
    assert built["state"] == "failed"
    assert built["embedded"]["samples"]["p2"]["1"]["program"] == "print(1)\n"
    assert built["embedded"]["left_out"] == 0


def test_the_policy_allows_the_scripts_and_the_style_of_the_page_and_nothing_else(page: str) -> None:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found
    directives = dict(each.split(" ", 1) for each in found[1].split("; "))
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in found[1]
    assert len(re.findall(r"'sha256-[^']*'", directives["script-src"])) == len(SCRIPTS)
    assert len(re.findall(r"'sha256-[^']*'", directives["style-src"])) == 1


@pytest.mark.parametrize(
    "attack", ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--", "]]>", "\u2028"]
)
def test_nothing_that_comes_from_a_run_becomes_markup(tmp_path: Path, attack: str) -> None:
    page = read_page(tmp_path, [record(attack, 0, difficulty=attack, skills=(attack,), program=attack)], [])
    reader = read(page)
    assert len(reader.scripts) == 1 + len(SCRIPTS)
    problem = document(page)["problems"][0]
    assert (problem["problem_id"], problem["difficulty"], problem["skills"]) == (attack, attack, [attack])
    assert document(page)["embedded"]["samples"][attack]["0"]["program"] == attack


def test_a_run_without_a_result_has_a_report(tmp_path: Path) -> None:
    assert document(read_page(tmp_path / "begun", [record("a")], []))["problems"]
    assert document(read_page(tmp_path / "empty", [], [RunStarted()]))["problems"] == []


def test_the_page_makes_no_markup_from_text_and_ends_no_script_early() -> None:
    """What programs wrote reaches the page through text nodes and attributes alone."""
    for name in SCRIPTS:
        script = (PAGE / name).read_text("utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc", script
        )
        assert "</script" not in script
        assert "<!--" not in script
