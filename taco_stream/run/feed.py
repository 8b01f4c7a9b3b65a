"""The first stage: problems become requests, as far as their samples are not on disk."""

from anyio import to_thread
from anyio.abc import ObjectSendStream

from taco_stream.run.progress import Progress
from taco_stream.run.task import ProblemsInFlight, Store, Task
from taco_stream.types import Completion, Request, SampleKey


async def feed(
    task: Task,
    requests: ObjectSendStream[Request],
    generated: ObjectSendStream[Completion],
    backlog: ObjectSendStream[Completion],
    *,
    store: Store,
    in_flight: ProblemsInFlight,
    progress: Progress,
    is_judged: bool,
) -> None:
    """Asks for every sample that is missing, problem by problem.

    Samples on disk without a verdict go to `backlog` if the run judges, and samples that exist already, of a run that
    generates nothing, to `generated`. Raises the dataset's errors.
    """
    async with requests, generated, backlog:
        # A row may be megabytes to read and to parse, so that is done in a thread.
        problems = iter(task.problems())
        while (problem := await to_thread.run_sync(next, problems, None)) is not None:
            wanted = sorted(set(task.sample_indices(problem)))
            missing = [index for index in wanted if not store.is_generated(SampleKey(problem.problem_id, index))]
            unjudged = store.unjudged(problem.problem_id) if is_judged else ()
            left_over = [each for each in unjudged if each.sample_index in wanted]
            progress.resumed += len(wanted) - len(missing) - len(left_over)
            progress.left_over += len(left_over)
            if not missing and not left_over:
                continue
            # Before anything is sent: a completion may come back before `send` has returned.
            in_flight.enter(problem, len(missing) + len(left_over))
            progress.asked += len(missing) + len(left_over)
            for completion in left_over:
                progress.waiting.change(+1)
                await backlog.send(completion)
            if missing and task.existing is None:
                reused = await to_thread.run_sync(task.reuse, problem.problem_id, missing) if task.reuse else []
                for completion in reused:
                    await generated.send(completion)
                had = {completion.sample_index for completion in reused}
                if rest := [index for index in missing if index not in had]:
                    await requests.send(task.request(problem, rest))
            elif task.existing is not None:
                for index in missing:
                    await generated.send(task.existing.completion(problem, index))
        progress.is_fed = True
