"""A reward function for TRL-style training: 1 for a completion whose program passes every test, else 0.

    python docs/reward_function.py

TRL calls a reward function with the prompts' completions and, by name, the other columns of the dataset, one value for
each completion. Here the column `problem_id` says which problem a completion answers. A verdict that says nothing about
the program (an evaluator's error) becomes None, which TRL leaves out of the advantage.
"""

from collections.abc import Callable, Mapping, Sequence

from taco_stream import (
    BlockingEvaluator,
    EvaluatorSettings,
    Problem,
    Status,
    extract_chat,
    open_dataset,
    open_evaluator,
)

Reward = Callable[..., list[float | None]]


def passing_reward(evaluator: BlockingEvaluator, problems: Mapping[str, Problem]) -> Reward:
    """The reward function, to be handed to a trainer (`reward_funcs=[…]`) while the evaluator is open."""

    def reward(completions: Sequence[str], problem_id: Sequence[str], **_: object) -> list[float | None]:
        programs = [extract_chat(text).program or "" for text in completions]
        items = [(problems[name], program) for name, program in zip(problem_id, programs, strict=True)]
        verdicts = evaluator.judge_batch(items)
        return [float(each.status is Status.PASSED) if each.status.is_scored else None for each in verdicts]

    return reward


if __name__ == "__main__":
    demo = {problem.problem_id: problem for problem in open_dataset("demo")}
    name = next(iter(demo))
    with open_evaluator(EvaluatorSettings(failures_first=True)) as opened:
        print(passing_reward(opened, demo)(["print(0)", "```python\nprint(1)\n```"], [name, name]))
