"""The functions of the tasks `taco.yaml` and `taco_base.yaml` of lm-evaluation-harness (seen: 0.4.13).

The harness looks for tasks in folders (`--include_path`) and loads this file from beside them; `python -m
taco_stream.harnesses.lm_eval_tasks.taco_lm_eval` prints the folder. Its filters see all answers at once, its scoring
one problem at a time. So the filter judges everything, on all cores, and scoring asks for verdicts that are known.

A problem whose answers could not be judged has no `pass@1` (nanmean leaves it out); `unjudged` is the share of such
answers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.selection import Selection
from taco_stream.extraction import extract_base, extract_chat
from taco_stream.metrics import pass_at_k
from taco_stream.prompting import PromptSettings, build_prompting
from taco_stream.rewards.program_reward import DEFAULT_SETTINGS
from taco_stream.rewards.shared_evaluators import find_evaluator
from taco_stream.types import ChatPrompt, Problem, Status

KS = (1, 10, 100)

_problems: dict[tuple[str, str], Problem] = {}
"""By dataset and id. The harness hands rows of plain values around."""


def read_problems(dataset: str = "BAAI/TACO", split: str = "test", prompt: str = "chat", **_: Any) -> Mapping[str, Any]:
    """The rows of the task, a `datasets.Dataset` by split.

    `--metadata '{"dataset": …}'` names another dataset: anything that `taco-stream run --dataset` takes.
    """
    from datasets import Dataset  # a dependency of the harness

    prompting = build_prompting(PromptSettings(prompt=prompt))
    rows = []
    for problem in open_dataset(dataset, selection=Selection(split=split)):
        _problems[dataset, problem.problem_id] = problem
        built = prompting.build(problem)
        text = built.messages[-1].content if isinstance(built, ChatPrompt) else built.text
        rows.append(
            {
                "id": problem.problem_id,
                "dataset": dataset,
                "prompt": text,
                "is_chat": prompting.is_chat,
                "stops": list(prompting.stop_strings),
                "difficulty": problem.difficulty,
            }
        )
    return {"test": Dataset.from_list(rows)}


def find_programs(resps: Iterable[Sequence[str]], docs: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The program of every answer; and all of them are judged."""
    rows = list(docs)
    programs = [[_find_program(answer, doc) for answer in answers] for answers, doc in zip(resps, rows, strict=True)]
    items = [(_problem(doc), each) for doc, its in zip(rows, programs, strict=True) for each in its]
    find_evaluator(DEFAULT_SETTINGS).judge_batch(items)
    return programs


def score(doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """The numbers of one problem; pass@10 and pass@100 if the task repeats often enough."""
    (programs,) = results
    verdicts = find_evaluator(DEFAULT_SETTINGS).judge_batch([(_problem(doc), program) for program in programs])
    scored = [verdict for verdict in verdicts if verdict.status.is_scored]
    passed = sum(verdict.status is Status.PASSED for verdict in scored)
    numbers = {
        f"pass@{k}": pass_at_k(len(scored), passed, k) if k <= len(scored) else math.nan
        for k in KS
        if k <= max(1, len(programs))
    }
    return {**numbers, "unjudged": 1 - len(scored) / len(programs)}


def _find_program(answer: str, doc: Mapping[str, Any]) -> str:
    if doc["is_chat"]:
        return extract_chat(answer, entry_point=_problem(doc).fn_name).program or ""
    return extract_base(answer, doc["stops"]).program or ""


def _problem(doc: Mapping[str, Any]) -> Problem:
    return _problems[doc["dataset"], doc["id"]]


if __name__ == "__main__":
    print(Path(__file__).parent)
