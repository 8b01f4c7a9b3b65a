"""TACO as a task of inspect_ai (seen: 0.3.285), whose models answer and whose log has the verdicts.

inspect_ai finds this module by its entry point: `inspect eval taco_stream/taco --model …`. An answer on which the
evaluator failed has no score, so it counts for nothing; Inspect's own failures are retried by Inspect.
"""

from collections.abc import Mapping
from functools import lru_cache

import anyio
from anyio import to_thread
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageUser
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, grouped, scorer, stderr
from inspect_ai.solver import TaskState, generate

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.selection import Selection
from taco_stream.errors import UsageError
from taco_stream.extraction import extract_chat
from taco_stream.prompting import chat_prompt
from taco_stream.rewards.program_reward import ProgramReward
from taco_stream.types import Problem, Status, Verdict

SCORES_AT_ONCE = 256
"""Threads that wait for verdicts: more than programs are judged at once, so that the evaluator always has some."""


@task
def taco(dataset: str = "BAAI/TACO", split: str = "test", difficulty: str | None = None) -> Task:
    """The problems of a dataset, which is anything that `taco-stream run --dataset` takes, or those of a difficulty.

    `--epochs` asks for more samples of each; Inspect's reducers `pass_at_k` then make pass@k of them.
    """
    problems = _read(dataset, split)
    selection = Selection(difficulties=(difficulty,) if difficulty else ())
    chosen = [each for each in problems.values() if selection.admits(each)]
    if not chosen:
        raise UsageError(f"the dataset {dataset} has no problem of the difficulty {difficulty!r}")
    return Task(
        dataset=MemoryDataset([_sample(problem) for problem in chosen], name=dataset),
        solver=generate(),
        scorer=taco_verdict(dataset, split),
    )


@scorer(metrics=[accuracy(), stderr(), grouped(accuracy(), "difficulty", all=False)])
def taco_verdict(dataset: str = "BAAI/TACO", split: str = "test") -> Scorer:
    """Whether the program in an answer passes every test of the problem with the sample's id."""
    reward = ProgramReward(_read(dataset, split).values())
    limiter = anyio.CapacityLimiter(SCORES_AT_ONCE)

    async def score(state: TaskState, target: Target) -> Score | None:
        problem = reward.find_problem(state.sample_id)

        def judge() -> Verdict:
            return reward.submit([problem], [state.output.completion]).result()[0]

        verdict = await to_thread.run_sync(judge, limiter=limiter, abandon_on_cancel=True)
        if not verdict.status.is_scored:
            return None
        return Score(
            value=CORRECT if verdict.status is Status.PASSED else INCORRECT,
            answer=extract_chat(state.output.completion, entry_point=problem.fn_name).program,
            explanation=f"{verdict.status} {verdict.detail}".strip(),
        )

    return score


@lru_cache(maxsize=2)  # the task and its scorer read the same one
def _read(dataset: str, split: str) -> Mapping[str, Problem]:
    return {problem.problem_id: problem for problem in open_dataset(dataset, selection=Selection(split=split))}


def _sample(problem: Problem) -> Sample:
    messages: list[ChatMessage] = [ChatMessageUser(content=each.content) for each in chat_prompt(problem).messages]
    metadata = {"difficulty": problem.difficulty, "skills": list(problem.skills)}
    return Sample(id=problem.problem_id, input=messages, metadata=metadata)
