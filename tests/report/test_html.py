"""The HTML report: one file by itself, everything escaped, what the summary says and nothing else."""

import html.parser
import re
from pathlib import Path

import anyio
import pytest
from sample_values import finished, gauges, manifest, record
from test_summary import count_records, summarise_records

from taco_stream.events import Event, RunStarted
from taco_stream.report.html import render, write_html
from taco_stream.statistics import EngineStatistics
from taco_stream.store.run_directory import RunFiles, open_run
from taco_stream.types import Record, Status

RECORDS = [
    record("p2", 0, difficulty="EASY", skills=("Sorting",)),
    record("p2", 1, Status.WRONG_ANSWER, difficulty="EASY", skills=("Sorting",)),
    record("p10", 0, Status.TIME_LIMIT, difficulty="HARD", skills=("Greedy algorithms",)),
    record("p10", 1, Status.WRONG_ANSWER, difficulty="HARD", skills=("Greedy algorithms",)),
]
EVENTS = [
    RunStarted(),
    gauges(elapsed_seconds=5, engine=EngineStatistics(rows_busy=2, rows_total=4, completion_tokens=100)),
    finished(elapsed_seconds=10, generating_seconds=8, engine=EngineStatistics(rows_total=4, completion_tokens=300)),
]


def page_of(path: Path, records: list[Record], events: list[Event]) -> str:
    async def write() -> None:
        async with open_run(path, manifest()) as run:
            await run.append([*records, *events])

    path.mkdir()
    anyio.run(write)
    return render(RunFiles(path), summarise_records(records, events, ks=(1, 2)), count_records(records))


@pytest.fixture
def page(tmp_path: Path) -> str:
    return page_of(tmp_path / "run", RECORDS, EVENTS)


class Reader(html.parser.HTMLParser):
    """The elements a browser would meet, and whether each is closed."""

    VOID = ("meta", "input", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_element_is_closed_and_none_asks_for_anything_from_elsewhere(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.addresses == []
    assert not re.search(r"@import|url\(|https?://", page)


def cells(page: str) -> list[list[list[str]]]:
    """The words of each cell of each row of all tables."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [re.sub(r"<[^>]*>|\s+", " ", cell).split() for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)]
        for row in rows
    ]


def test_the_scores_stand_in_the_page(page: str) -> None:
    assert "<strong>25.0 %</strong>" in page
    assert "<strong>50.0 %</strong>" in page


def test_problems_stand_in_the_order_of_their_numbers(page: str) -> None:
    problems = [row for row in cells(page) if row and row[0] in (["p2"], ["p10"])]
    assert problems == [
        [["p2"], ["EASY"], ["Sorting"], ["2"], ["1"], ["50.0", "%"], ["100.0", "%"]],
        [["p10"], ["HARD"], ["Greedy", "algorithms"], ["2"], ["0"], ["0.0", "%"], ["0.0", "%"]],
    ]


def test_statuses_stand_with_their_counts(page: str) -> None:
    assert [["wrong_answer"], [], ["2"], ["50.0", "%"]] in cells(page)


def test_the_run_over_time_is_drawn(page: str) -> None:
    assert page.count("<svg") == 2  # tokens per second and batch rows; nothing waited, no worker was busy
    assert "0:00:10" in page


def test_what_comes_from_a_run_is_escaped(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    page = page_of(tmp_path / "run", [record(attack, 0, difficulty=attack, skills=(attack,))], [])
    assert attack not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_run_without_a_result_has_a_report(tmp_path: Path) -> None:
    assert "Nothing has been judged yet" in page_of(tmp_path / "run", [], [])


def test_the_report_is_written_as_one_file(tmp_path: Path, page: str) -> None:
    run = RunFiles(tmp_path / "run")
    write_html(run, summarise_records(RECORDS, EVENTS, ks=(1, 2)), count_records(RECORDS), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
