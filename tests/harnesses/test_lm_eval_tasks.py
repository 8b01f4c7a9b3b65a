"""TACO as a task of lm-evaluation-harness: its folder, its functions, and the real harness where it is installed."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taco_stream.harnesses.lm_eval_tasks import taco_lm_eval
from taco_stream.harnesses.lm_eval_tasks.taco_lm_eval import find_programs, score
from taco_stream.rewards.shared_evaluators import close_evaluators
from taco_stream.types import Problem

TESTS = json.dumps({"inputs": ["2", "3"], "outputs": ["4", "6"]})
RIGHT, WRONG = "```python\nprint(2 * int(input()))\n```", "```python\nprint(4)\n```"
DOC = {"id": "double", "dataset": "mine", "is_chat": True, "stops": []}
BROKEN = {**DOC, "id": "broken"}


@pytest.fixture(autouse=True)
def problems(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = {
        ("mine", "double"): Problem(problem_id="double", position=0, question="?", tests=TESTS),
        ("mine", "broken"): Problem(problem_id="broken", position=1, question="?", tests='{"inputs": 5}'),
    }
    monkeypatch.setattr(taco_lm_eval, "_problems", known)
    yield
    close_evaluators()


def test_the_module_prints_the_folder_of_the_tasks() -> None:
    command = [sys.executable, "-m", "taco_stream.harnesses.lm_eval_tasks.taco_lm_eval"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.strip()
    assert {path.name for path in Path(printed).glob("*.yaml")} == {"taco.yaml", "taco_base.yaml"}


def test_the_filter_finds_programs_in_answers_and_continuations() -> None:
    base = {**DOC, "is_chat": False, "stops": ["\nQUESTION"]}
    found = find_programs([[RIGHT, WRONG], ["print(4)\nQUESTION"]], [DOC, base])
    assert found == [["print(2 * int(input()))\n", "print(4)\n"], ["print(4)"]]


def test_repeats_make_pass_at_k() -> None:
    right, wrong = "print(2 * int(input()))", "print(4)"
    assert score(DOC, [[right]]) == {"pass@1": 1.0, "unjudged": 0.0}
    assert score(DOC, [[right] + [wrong] * 9]) == {"pass@1": pytest.approx(0.1), "pass@10": 1.0, "unjudged": 0.0}


def test_a_problem_that_cannot_be_judged_has_no_score() -> None:
    found = score(BROKEN, [["print(4)"]])
    assert math.isnan(found["pass@1"])
    assert found["unjudged"] == 1.0


# The harness warns of things of its own, so it has a process of its own. The model is one of its kind of model, whose
# answers are given: the harness's own dummy always says the same.
EVALUATE = """
import json, sys
import lm_eval
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

class Given(LM):
    loglikelihood = loglikelihood_rolling = None
    def generate_until(self, requests):
        return [answers[request.doc["id"]] for request in requests]

LM.__abstractmethods__ = Given.__abstractmethods__ = frozenset()
task, folder, dataset, answers = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
tasks = TaskManager(include_path=folder, metadata={"dataset": dataset})
found = lm_eval.simple_evaluate(model=Given(), tasks=[task], task_manager=tasks, log_samples=True)
print(json.dumps({name: value for name, value in found["results"][task].items() if isinstance(value, float)}))
"""


@pytest.mark.parametrize("task", ["taco", "taco_base"])
def test_the_harness_runs_the_task(tmp_path: Path, task: str) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    rows = [{"id": name, "question": "?", "input_output": TESTS} for name in ("right", "wrong")]
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers: dict[str, Any] = {"right": RIGHT, "wrong": WRONG}
    if task == "taco_base":
        answers = {"right": "print(2 * int(input()))", "wrong": "print(4)"}
    folder = str(Path(taco_lm_eval.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", EVALUATE, task, folder, str(tmp_path / "two.jsonl"), json.dumps(answers)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["pass@1,programs"] == 0.5
    assert found["unjudged,programs"] == 0.0
