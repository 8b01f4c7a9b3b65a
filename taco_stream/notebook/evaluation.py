"""Judging completions from Python in one call, in a script or in a notebook, whose event loop is running already."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.selection import nearest_ids
from taco_stream.errors import EvaluatorError, UsageError
from taco_stream.evaluator.pool import Evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.extraction import Extraction, extract_base, extract_chat
from taco_stream.formats.parquet_table import records_table
from taco_stream.metrics import Scores, Tally, settled_ks
from taco_stream.run.judge import judge_completion
from taco_stream.types import ComparisonMode, Completion, FinishReason, Problem, Record

if TYPE_CHECKING:
    import pyarrow

Completions = Mapping[str, Sequence[str]] | Iterable[Completion]
"""Texts by problem, or completions as an engine generates them."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of `evaluate`.

    `records` are by problem, in the dataset's order, and by sample. `scores` are those of `mode`, over the problems
    that have completions. `statuses` counts the samples, and `missing` names the problems without a completion.
    """

    mode: ComparisonMode
    records: tuple[Record, ...]
    scores: Scores
    statuses: Mapping[str, int]
    missing: tuple[str, ...]

    def to_arrow(self) -> "pyarrow.Table":
        """The records as a table, as `LoadedRun.to_arrow` has it."""
        return records_table(self.records)


async def evaluate(
    completions: Completions,
    problems: str | Iterable[Problem] = "demo",
    *,
    chat: bool = False,
    k: Sequence[int] = (),
    evaluator: Evaluator | EvaluatorSettings = EvaluatorSettings(),  # noqa: B008 (immutable)
) -> Evaluation:
    """Judges completions of problems, and scores them.

    `completions` are texts by problem (`{"demo/001": ["print(1)"]}`) or `Completion` values; those that were cancelled
    are left out. `problems` is a dataset's name, as for `open_dataset`, or the problems themselves. With `chat` a text
    is an answer that holds a program somewhere (`extract_chat`), otherwise it is the program. `k` are the k of pass@k,
    by default 1, 10 and 100 as far as every problem has samples. `evaluator` is one that is open, and stays so, or the
    settings of one that is opened for this call.

    Runs in any running event loop of asyncio or trio; `evaluate_blocking` is the same for code that is not
    asynchronous. Raises `UsageError` if a completion is of no problem, a sample comes twice or a k is over the samples,
    `DatasetError` if the problems cannot be read, and `EvaluatorError` if programs cannot be judged here.
    """
    chosen, missing = await to_thread.run_sync(_chosen, completions, problems)
    fewest = min((len(each) for _, each in chosen), default=0)
    if chosen and max(k, default=0) > fewest:
        raise UsageError(f"pass@{max(k)} needs at least {max(k)} samples of each problem, and one has {fewest}")
    ks = settled_ks(k, fewest) if chosen else ()
    items = [(problem, each) for problem, its in chosen for each in its]
    if isinstance(evaluator, Evaluator):
        mode, records = evaluator.settings.mode, await _judge(items, evaluator, chat=chat)
    else:
        async with Evaluator(evaluator) as opened:
            mode, records = evaluator.mode, await _judge(items, opened, chat=chat)
    tally = Tally()
    for record in records:
        tally.add(record)
    return Evaluation(
        mode=mode,
        records=tuple(records),
        scores=tally.scores(mode, ks),
        statuses=dict(tally.statuses[mode].most_common()),
        missing=tuple(missing),
    )


def evaluate_blocking(
    completions: Completions,
    problems: str | Iterable[Problem] = "demo",
    *,
    chat: bool = False,
    k: Sequence[int] = (),
    settings: EvaluatorSettings = EvaluatorSettings(),  # noqa: B008 (immutable)
) -> Evaluation:
    """Like `evaluate`, in an event loop of its own, so that it may be called while another is running.

    Blocks until it is done. Raises the same errors.
    """
    with start_blocking_portal() as portal:
        return portal.call(partial(evaluate, completions, problems, chat=chat, k=k, evaluator=settings))


def _chosen(
    completions: Completions, problems: str | Iterable[Problem]
) -> tuple[list[tuple[Problem, list[Completion]]], list[str]]:
    """The problems that have completions, each with its own by index; and the ids of the others."""
    held: dict[str, dict[int, Completion]] = {}
    for completion in _as_values(completions):
        if completion.finish_reason is FinishReason.CANCELLED:
            continue  # its run was stopped: the model has not answered
        samples = held.setdefault(completion.problem_id, {})
        if completion.sample_index in samples:
            raise UsageError(f"sample {completion.sample_index} of {completion.problem_id} comes twice")
        samples[completion.sample_index] = completion
    chosen, missing = [], []
    for problem in open_dataset(problems) if isinstance(problems, str) else problems:
        if samples := held.pop(problem.problem_id, {}):
            chosen.append((problem, [samples[index] for index in sorted(samples)]))
        else:
            missing.append(problem.problem_id)
    if held:
        stranger = next(iter(held))
        close = nearest_ids(stranger, [*missing, *(problem.problem_id for problem, _ in chosen)])
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise UsageError(f"there is no problem {stranger}, of which there are completions{hint}")
    return chosen, missing


def _as_values(completions: Completions) -> Iterator[Completion]:
    if not isinstance(completions, Mapping):
        yield from completions
        return
    for problem_id, texts in completions.items():
        if not isinstance(problem_id, str):
            raise UsageError(f"the problem {problem_id!r} is not named by its id, a text such as 'demo/001'")
        if isinstance(texts, str):
            raise UsageError(f"the completions of {problem_id} are one text: give a list of texts")
        for index, text in enumerate(texts):
            yield Completion(problem_id=problem_id, sample_index=index, text=text, finish_reason=FinishReason.STOP)


async def _judge(items: Sequence[tuple[Problem, Completion]], evaluator: Evaluator, *, chat: bool) -> list[Record]:
    """The records, in the order of the items."""

    def extract(completion: Completion, problem: Problem) -> Extraction:
        return extract_chat(completion.text, entry_point=problem.fn_name) if chat else extract_base(completion.text)

    records: dict[int, Record] = {}
    waiting = iter(enumerate(items))

    async def judge_each() -> None:
        for number, (problem, completion) in waiting:
            records[number] = await judge_completion(completion, problem, extract=extract, evaluator=evaluator)

    try:
        async with anyio.create_task_group() as judges:
            # Two per worker: while one is judged the next is already there.
            for _ in range(2 * evaluator.statistics().workers):
                judges.start_soon(judge_each)
    except* EvaluatorError as group:
        raise group.exceptions[0] from None  # when the evaluator fails, every task fails of the same
    return [records[number] for number in range(len(items))]
