"""The page as a person has it: in a browser, by keys, on a phone, in the dark, live, and without an error.

Needs Playwright's client and a Chromium or Chrome of the machine; nothing is downloaded.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from sample_values import completion, finished, gauges, manifest, record

from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.events import Event, RunStarted
from taco_stream.report.html import write_html
from taco_stream.statistics import EngineStatistics
from taco_stream.store.run_directory import open_run
from taco_stream.types import ComparisonMode, Completion, Problem, Record, Status, Verdict

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'taco-stream[view]'")
pytest.importorskip("starlette", reason="starlette is not installed: pip install 'taco-stream[view]'")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 300_000
"""Milliseconds that a busy machine may take for what takes it a tenth of a second when it is not."""

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no chromium: apt install chromium"),
    pytest.mark.timeout(900),
]

ATTACK = "<img src=x onerror=alert(1)>"


def failed(name: str, index: int, test: int, **others: Any) -> Record:
    verdict = Verdict(
        status=Status.WRONG_ANSWER,
        failed_test=test,
        tests_run=test + 1,
        tests_total=10,
        detail="line 1: printed 1, expected 2",
        output_head="1\n",
    )
    return record(name, index, verdicts=dict.fromkeys(ComparisonMode, verdict), program=ATTACK, **others)


RECORDS = [
    *(record("solved", index, difficulty="EASY", completion_tokens=20 + index) for index in range(4)),
    *(failed("almost", index, 8, difficulty="HARD", completion_tokens=50) for index in range(4)),
    *(failed("far", index, 1, difficulty="HARD") for index in range(4)),
    *(record(ATTACK, index, Status.TIME_LIMIT, difficulty="HARD", skills=(ATTACK,)) for index in range(4)),
    *(record(f"a problem with a name that is longer than a phone is wide {'x' * 60}", index) for index in range(4)),
]
EVENTS: list[Event] = [
    RunStarted(),
    gauges(elapsed_seconds=5, generating_seconds=4, engine=EngineStatistics(completion_tokens=100)),
    gauges(elapsed_seconds=10, generating_seconds=8, judging_seconds=2, engine=EngineStatistics(completion_tokens=300)),
]
TESTS = json.dumps({"inputs": ["1\n"] * 10, "outputs": ["2\n"] * 10})
PROBLEMS = [Problem(problem_id=name, position=0, question=f"How {name}?", tests=TESTS) for name in ("almost", "far")]


def write(path: Path, entries: Sequence[Completion | Record | Event]) -> None:
    async def append() -> None:
        async with open_run(path, manifest()) as run:
            await run.append(entries)

    with ThreadPoolExecutor(1) as pool:  # in this thread the browser's driver has an event loop
        pool.submit(anyio.run, append).result()


def complete(records: Sequence[Record]) -> list[Completion | Record | Event]:
    return [*(completion(each.problem_id, each.sample_index, each.program or "") for each in records), *records]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # The browser's own sandbox needs namespaces that root of a container does not have; the page is our own.
    arguments = ["--disable-gpu", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=arguments, timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a window of its own; in the end nothing may have been complained about."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_one(address: str, *, width: int = 1200, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.on("response", lambda reply: reply.status >= 400 and complaints.append(f"{reply.status} {reply.url}"))
        page.goto(address)
        page.wait_for_selector("h1")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report in a file."""
    folder = tmp_path_factory.mktemp("report")
    write(
        folder / "run",
        [*complete(RECORDS), *EVENTS, finished(elapsed_seconds=12, generating_seconds=8, samples_expected=20)],
    )
    write_html(folder / "run", folder / "report.html", EvaluatorSettings(), (), problems=lambda: iter(PROBLEMS))
    return (folder / "report.html").as_uri()


def rows(page: Any) -> list[str]:
    """The problems in the table, in its order."""
    return list(page.locator("tr.go td:first-child a").all_text_contents())


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_overview_has_scores_and_charts(report: str, open_page: Callable[..., Any]) -> None:
    page = open_page(report)
    assert page.locator(".score").first.inner_text().split("\n")[1].replace("\xa0", " ") == "40.0 %"
    titles = page.locator("main .card h2").all_text_contents()
    assert titles[:2] == ["pass@k", "Samples that passed, by problem"]
    assert {"Why programs failed", "Tests that most samples failed first", "Length of completions, in tokens"} <= set(
        titles
    )
    assert page.locator("main svg").count() == 3
    page.keyboard.press("3")
    page.wait_for_selector("text=Both stages over time")
    assert page.locator("main svg path").count() >= 4


def test_problems_are_filtered_sorted_and_found_again_by_address(report: str, open_page: Callable[..., Any]) -> None:
    page = open_page(report)
    page.keyboard.press("/")
    page.keyboard.type("FAR")
    eventually(lambda: rows(page) == ["far"])
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.press("Escape")
    eventually(lambda: len(rows(page)) == 5)
    page.select_option("[aria-label=difficulty]", "HARD")
    page.select_option("[aria-label=sort]", "almost")
    eventually(lambda: rows(page) == ["almost", "far", ATTACK])
    page.select_option("[aria-label=status]", "time_limit")
    eventually(lambda: rows(page) == [ATTACK])
    page.reload()
    eventually(lambda: rows(page) == [ATTACK])


def test_keys_lead_to_a_sample_and_back(report: str, open_page: Callable[..., Any]) -> None:
    page = open_page(f"{report}#view=problems&sort=almost")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Failing test 8 of 10, counted from 0")
    panes = dict(
        zip(page.locator(".pane h3").all_text_contents(), page.locator(".pane pre").all_inner_texts(), strict=True)
    )
    assert {name: text.strip() for name, text in panes.items()} == {"standard input": "1", "expected": "2", "got": "1"}
    assert page.locator("pre.code").inner_text().strip() == ATTACK
    assert page.locator(".pane mark").all_text_contents() == ["2", "1"]
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("article[aria-label='sample 1']")
    page.keyboard.press("n")
    page.wait_for_selector("h1:text-is('far')")
    page.keyboard.press("Escape")
    page.wait_for_selector("tr.go")
    assert page.evaluate("document.activeElement.textContent") == "far"
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Samples that passed, by problem")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    report: str, open_page: Callable[..., Any], scheme: str
) -> None:
    for place in ("", "#view=problems", "#view=time", "#view=setup", "#problem=almost", f"#problem={ATTACK}"):
        page = open_page(report + place, width=390, scheme=scheme)
        page.wait_for_timeout(100)
        wide = page.evaluate(
            "[...document.querySelectorAll('body *')].filter(each => !each.closest('pre, .skip, thead')"
            " && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 80))"
        )
        assert wide == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if place == "#view=problems":  # every figure of a wide table is there, with its name
            assert "pass@1" in page.locator("tr.go").first.evaluate(
                "row => [...row.cells].map(each => each.dataset.label).join()"
            )


def luminance(color: str) -> float:
    """The relative luminance of an `rgb(…)` (WCAG 2.1)."""
    parts = [int(part) / 255 for part in color[4:-1].split(",")]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(report: str, open_page: Callable[..., Any], scheme: str) -> None:
    """4.5 to 1, which WCAG 2.1 asks of text at level AA; and the dark page is dark."""
    page = open_page(report, scheme=scheme)
    pairs = page.evaluate(
        """() => [...document.querySelectorAll('p, h1, h2, td, th, .soft, a, .notes')].map(each => {
            let ground = each;
            while (ground && getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
            return [getComputedStyle(each).color, getComputedStyle(ground ?? document.body).backgroundColor];
        })"""
    )
    assert len(pairs) > 20
    for ink, ground in {tuple(pair) for pair in pairs}:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
    assert (luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.1) is (scheme == "dark")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder with a run that is being written, and the address of its page."""
    from test_page_server import serving

    from taco_stream.commands.view_page import RunsOfFolder
    from taco_stream.report.page_server import build_app

    write(tmp_path / "runs" / "one", [*complete(RECORDS[:8]), *EVENTS])
    with serving(build_app(RunsOfFolder(tmp_path / "runs"))) as client:
        yield tmp_path / "runs", f"http://127.0.0.1:{client.port}/"


def test_a_page_follows_the_run_while_it_is_written_and_keeps_its_place(
    served: tuple[Path, str], open_page: Callable[..., Any]
) -> None:
    folder, address = served
    page = open_page(f"{address}#view=problems")
    assert sorted(rows(page)) == ["almost", "solved"]
    page.locator("input[type=search]").fill("hard")
    eventually(lambda: rows(page) == ["almost"])
    write(folder / "one", complete(RECORDS[8:12]))
    eventually(lambda: rows(page) == ["almost", "far"])
    assert page.evaluate("[document.activeElement.type, document.activeElement.value]") == ["search", "hard"]
    write(folder / "one", [finished(samples_expected=12)])
    page.wait_for_selector(".state.complete")


def test_two_runs_are_compared_down_to_their_programs(served: tuple[Path, str], open_page: Callable[..., Any]) -> None:
    folder, address = served
    write(folder / "two", complete([*(failed("solved", index, 0) for index in range(4)), *RECORDS[4:8]]))
    page = open_page(address)
    page.get_by_label("compare one with another run").click()
    page.locator("text=with this").click()
    page.wait_for_selector("h1:text('against')")
    assert page.locator("tr.go").count() == 1
    assert page.locator("tr.go td").last.inner_text() in ("lost", "gained")
    page.locator("tr.go a").first.click()
    page.wait_for_selector(".pair .half >> nth=1")
    programs = page.locator(".pair pre.code").all_inner_texts()
    assert sorted(program.strip() for program in programs) == [ATTACK, "print(1)"]
    page.keyboard.press("Escape")
    page.wait_for_selector("h1:text('against')")
