"""A reward function for TRL-style training: 1 for a completion whose program passes every test, else 0.

    python docs/reward_function.py

TRL calls a reward function with the prompts' completions and, by name, the other columns of the dataset, one value for
each completion. Here the column `problem_id` says which problem a completion answers. A completion is a text, or a list
of messages if the dataset's prompts are conversations. A verdict that says nothing about the program (an evaluator's
error) becomes None, which TRL leaves out of the advantage.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence

from taco_stream import (
    BlockingEvaluator,
    EvaluatorSettings,
    Problem,
    Status,
    UsageError,
    Verdict,
    extract_chat,
    open_dataset,
    open_evaluator,
)

Completion = str | Sequence[Mapping[str, object]]
Reward = Callable[..., list[float | None]]


def passing_reward(
    evaluator: BlockingEvaluator, problems: Mapping[str, Problem], *, share_of_tests: bool = False
) -> Reward:
    """The reward function, to be handed to a trainer (`reward_funcs=[…]`) while the evaluator is open.

    With `share_of_tests` a program that fails is worth the share of tests that it passes, for which the evaluator has
    to run them all: `EvaluatorSettings(full_results=True)`. Raises `UsageError` if it does not.
    """
    if share_of_tests and not evaluator.settings.full_results:
        raise UsageError(
            "the share of tests needs an evaluator that runs them all: EvaluatorSettings(full_results=True)"
        )

    def reward(completions: Sequence[Completion], problem_id: Sequence[str], **_: object) -> list[float | None]:
        answered = [find_problem(name, problems) for name in problem_id]
        texts = [answer_text(completion) for completion in completions]
        programs = [
            extract_chat(text, entry_point=problem.fn_name).program or ""
            for text, problem in zip(texts, answered, strict=True)
        ]
        verdicts = evaluator.judge_batch(list(zip(answered, programs, strict=True)))
        return [worth(verdict, share_of_tests=share_of_tests) for verdict in verdicts]

    return reward


def answer_text(completion: Completion) -> str:
    """The text of a completion: of messages, that of the last one by the assistant; empty if it has none."""
    if isinstance(completion, str):
        return completion
    contents = [message.get("content") for message in completion if message.get("role") == "assistant"]
    return str(contents[-1] or "") if contents else ""


def find_problem(name: str, problems: Mapping[str, Problem]) -> Problem:
    """The problem of that id. Raises `UsageError` that names the nearest id if there is none."""
    if name not in problems:
        close = difflib.get_close_matches(str(name), problems, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"the column problem_id names {name!r}, which is not among the {len(problems)} problems{hint}")
    return problems[name]


def worth(verdict: Verdict, *, share_of_tests: bool) -> float | None:
    """The reward of one verdict."""
    if not verdict.status.is_scored:
        return None
    if share_of_tests and verdict.test_statuses:
        return verdict.test_statuses.count(Status.PASSED) / len(verdict.test_statuses)
    return float(verdict.status is Status.PASSED)


if __name__ == "__main__":
    demo = {problem.problem_id: problem for problem in open_dataset("demo")}
    name = next(iter(demo))
    with open_evaluator(EvaluatorSettings(failures_first=True)) as opened:
        print(passing_reward(opened, demo)(["print(0)", "```python\nprint(1)\n```"], [name, name]))
