"""open-instruct's requests as work for the evaluator, and verdicts as its answers."""

import base64
import json
import os
import pickle
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.errors import UsageError
from taco_stream.evaluator.blocking import BlockingEvaluator, open_evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.service.open_instruct import MAX_TESTS, OpenInstruct, decode_tests, find_entry_point, reply
from taco_stream.service.wire import JudgeWork, WireReply, WireRequest
from taco_stream.types import Status, Verdict

SETTINGS = EvaluatorSettings(workers=1, memory_limit=128, unsafe_no_sandbox=True)
FORMAT = OpenInstruct(SETTINGS)
ADD = "def add(a, b): return a + b"
ASSERTS = ["assert add(1, 2) == 3", "assert add(1, 2) == 4", "assert add('a', 'b') == 'ab'"]
STDIO = [{"input": "1 2\n", "output": "3\n"}, {"input": "1 2\n", "output": "4\n"}]


def encode_tests(tests: list[Any]) -> str:
    """As open-instruct's `code_utils.encode_tests` does it."""
    return base64.b64encode(zlib.compress(pickle.dumps(tests))).decode()


def body(program: str, tests: object, **fields: object) -> bytes:
    return json.dumps({"program": program, "tests": tests, **fields}).encode()


@pytest.fixture(scope="module")
def evaluator() -> Any:
    with open_evaluator(SETTINGS) as opened:
        yield opened


def answer(evaluator: BlockingEvaluator, path: str, sent: bytes) -> WireReply:
    """What an application does with a request."""
    (route,) = [route for route in FORMAT.routes if route.path == path]
    request = route.parse(sent)
    results = []
    for work in request.work:
        assert isinstance(work, JudgeWork)
        results.append(evaluator.judge(work.problem, work.program, limits=work.limits, full_results=work.full_results))
    return route.reply(request, results)


@pytest.mark.parametrize("form", [lambda tests: tests, json.dumps, encode_tests])
def test_every_test_has_a_result_in_whatever_form_tests_come(evaluator: BlockingEvaluator, form: Any) -> None:
    got = answer(evaluator, "/test_program", body(ADD, form(ASSERTS), max_execution_time=2.0))
    assert (got.status, got.body["results"]) == (200, [1, 0, 1])
    right, wrong, _ = got.body["runtimes"]
    assert wrong == -1.0 < 0 < right < 2.0
    program = "print(sum(map(int, input().split())))"
    got = answer(evaluator, "/test_program_stdio", body(program, form(STDIO)))
    assert (got.status, got.body["results"]) == (200, [1, 0])


@pytest.mark.parametrize(
    ("program", "asserts", "results"),
    [
        ("def add(a, b:", ASSERTS, [0, 0, 0]),
        ("def add(a, b): raise SystemExit(0)", ASSERTS, [0, 0, 0]),
        ("import os\ndef add(a, b): os._exit(0)", ASSERTS, [0, 0, 0]),
        ("import os; os._exit(0)", ASSERTS, [0, 0, 0]),
        ("class All:\n  def __eq__(self, _): return True\ndef add(a, b): return All()", ASSERTS, [0, 0, 0]),
        ("class Stack:\n  def __init__(self): self.size = 1", ["assert Stack().size == 1", "assert Stack()"], [1, 1]),
        ("def f(n):\n  yield from range(n)", ["assert list(f(2)) == [0, 1]", "assert not f(1)"], [1, 0]),
        ("def f(n): return n\ndef g(n): return f(n)", ["assert f(1) == g(1)", "assert f(g) is g"], [1, 1]),
        ("def f(n): return [n]", ["x = f(1)\nx.append(2)\nassert x == [1, 2]", "assert f(2)[0] == 2"], [1, 1]),
        ("def f(n): return n / 0", ["try:\n  f(1)\nexcept ZeroDivisionError:\n  pass\nelse:\n  assert 0"], [1]),
    ],
)
def test_assertions_are_judged_as_they_would_be_in_one_process(
    evaluator: BlockingEvaluator, program: str, asserts: list[str], results: list[int]
) -> None:
    assert answer(evaluator, "/test_program", body(program, asserts)).body["results"] == results


def test_the_time_of_a_test_is_exact(evaluator: BlockingEvaluator) -> None:
    program = "import time\nend = time.process_time() + float(input())\nwhile time.process_time() < end: pass"
    tests = [{"input": "0.05", "output": ""}, {"input": "0.7", "output": ""}]
    got = answer(evaluator, "/test_program_stdio", body(program, tests, max_execution_time=0.4))
    assert got.body["results"] == [1, 0]


@pytest.mark.parametrize("tests", [[], "", "[]", encode_tests([])])
@pytest.mark.parametrize("route", FORMAT.routes, ids=lambda route: route.path)
def test_no_tests_have_no_results(route: Any, tests: object) -> None:
    request = route.parse(body(ADD, tests))
    assert request.work == ()
    assert route.reply(request, []).body == {"results": [], "runtimes": []}


class Calls:
    """Pickled, a call of `os.system`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 7",)


def deflated(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


SHARED = "x" * (1 << 20)


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        (encode_tests([Calls()]), "a global"),
        (deflated(b"\x80\x04" + bytes(70 << 20)), "more than 64 MiB when they are decompressed"),
        (encode_tests([SHARED] * 100), "more than 64 MiB"),
        (encode_tests(["assert f()"] * (MAX_TESTS + 1)), "10,001 tests"),
        (deflated(b"\x80\x04N."), "another form"),
        (encode_tests([{"a": 1}]), "another form"),
        (base64.b64encode(zlib.compress(pickle.dumps(["x"] * 99))[:-9]).decode(), "in the middle"),
        ("neither", "neither JSON nor base64"),
        ("bmVpdGhlcg==", "neither JSON nor base64"),
        ("[" * 100_000, "neither JSON nor base64"),
        ({"a": 1}, "another form"),
        (7, "another form"),
        ([7], "another form"),
        ([{"input": "1"}], "another form"),
    ],
)
@pytest.mark.parametrize("parse", [FORMAT.parse_assertions, FORMAT.parse_stdio])
def test_tests_that_cannot_be_read_are_an_error(parse: Any, tests: object, says: str) -> None:
    """And never no tests, which would be a reward of 0."""
    with pytest.raises(UsageError, match="another form|" + says):
        parse(body(ADD, tests))


def test_a_memo_makes_no_list_that_is_walked_for_ever() -> None:
    value: list[Any] = ["assert f()"]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(UsageError, match="another form"):
        FORMAT.parse_assertions(body(ADD, encode_tests(value)))


@pytest.mark.parametrize(
    "sent",
    [b"", b"[]", b"{}", b'{"program": 7, "tests": []}', b'{"program": "\xff", "tests": []}', b"[" * 99_999],
)
@pytest.mark.parametrize("parse", [FORMAT.parse_assertions, FORMAT.parse_stdio])
def test_a_body_of_another_form_is_an_error(parse: Any, sent: bytes) -> None:
    with pytest.raises(UsageError, match="not a request of open-instruct's"):
        parse(sent)


@pytest.mark.parametrize("seconds", [0, -1, 1e9])
def test_a_time_that_no_test_can_have_is_an_error(seconds: float) -> None:
    with pytest.raises(UsageError, match="cpu_seconds"):
        FORMAT.parse_stdio(body(ADD, STDIO, max_execution_time=seconds))


def test_tests_that_are_not_python_are_an_error() -> None:
    with pytest.raises(UsageError, match="not Python"):
        FORMAT.parse_assertions(body(ADD, ["assert add(1, 2) ="]))


@pytest.mark.parametrize(("seconds", "deadline"), [(1.0, 28.0), (10.0, 98.0), (100.0, 298.0)])
def test_the_deadline_is_before_the_caller_gives_up(seconds: float, deadline: float) -> None:
    assert FORMAT.parse_stdio(body(ADD, STDIO, max_execution_time=seconds)).deadline_seconds == deadline


FAILED = Verdict(status=Status.INFRASTRUCTURE_ERROR, detail="the evaluator failed twice")


@pytest.mark.parametrize(
    "verdict",
    [
        FAILED,
        Verdict(status=Status.WRONG_ANSWER, test_statuses=(Status.WRONG_ANSWER, Status.INFRASTRUCTURE_ERROR)),
        Verdict(status=Status.NO_CHECKER, test_statuses=(Status.PASSED, Status.NO_CHECKER)),
    ],
)
def test_what_could_not_be_judged_is_never_a_zero(verdict: Verdict) -> None:
    got = reply(WireRequest((), context=2), [verdict])
    assert got.status == 500
    assert got.body["detail"]


@pytest.mark.parametrize(
    ("statements", "entry_point"),
    [
        (ASSERTS, "add"),
        (["assert math.isclose(f(2), 1.4)", "import re\nassert re.match('a', f(1))"], "f"),
        (["assert ''.join(sorted(f(2))) == 'a'"], "f"),
        (["assert f(1) == 1 == g(1)"], ""),
        (["assert Point(1) == Point(1)"], ""),
        (["assert f(1).x == 1"], ""),
        (["p = f(1)\nassert p.x == 1"], ""),
        (["assert [p.x for p in f(1)] == [1]"], ""),
        (["assert list(map(f, [1])) == [1]"], ""),
        (["assert 1 == 1"], ""),
    ],
)
def test_tests_are_run_apart_from_the_program_if_they_call_one_function(
    statements: list[str], entry_point: str
) -> None:
    assert find_entry_point(statements) == entry_point


tests = st.lists(st.fixed_dictionaries({"input": st.text(max_size=9), "output": st.text(max_size=9)}), max_size=4)


@given(tests)
def test_the_three_forms_are_the_same_tests(given_tests: list[dict[str, str]]) -> None:
    as_json = msgspec.json.encode(given_tests).decode()
    assert decode_tests(given_tests) == decode_tests(as_json) == decode_tests(encode_tests(given_tests)) == given_tests


def test_its_requests_wait_because_its_client_asks_only_once() -> None:
    """A 503 with `Retry-After` would be a 0: urllib3 does not repeat a POST."""
    assert all(route.is_patient and route.is_slow for route in OpenInstruct(EvaluatorSettings()).routes)
