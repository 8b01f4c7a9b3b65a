"""What it costs to run assertions apart from the program: CPU time per sample, beside running them in its process.

    python bench/assertion_cost.py HumanEval.jsonl.gz mbpp.jsonl …

Judges the reference solution of every problem both ways, one after the other, with one worker. Counted is the CPU time
of all processes from the evaluator's start to its end: the worker, its zygotes and every test.
"""

import json
import resource
import sys

import anyio
import msgspec

from taco_stream.datasets.open import open_dataset
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem, Status


def main() -> None:
    for source in sys.argv[1:]:
        apart = list(open_dataset(source))
        within = [msgspec.structs.replace(problem, tests=in_program(problem.tests)) for problem in apart]
        seconds = [anyio.run(judge_references, problems) for problems in (within, apart)]
        inside, outside = (1000 * each / len(apart) for each in seconds)
        print(f"{source}: {len(apart)} samples, CPU time of each in the program's process {inside:.1f} ms", end=", ")
        print(f"apart {outside:.1f} ms, ratio {outside / inside:.2f}", flush=True)


def in_program(tests: str) -> str:
    """The same tests without an entry point, so that their code can only run in the program's process."""
    decoded = json.loads(tests)
    decoded["assertions"]["entry_point"] = ""
    return json.dumps(decoded)


async def judge_references(problems: list[Problem]) -> float:
    """The CPU seconds that judging the first solution of each problem takes."""
    before = cpu_seconds_of_children()
    async with Evaluator(EvaluatorSettings(workers=1)) as evaluator:
        verdicts = await evaluator.judge_batch([(each, json.loads(each.solutions)[0]) for each in problems])
    failed = [
        each.problem_id for each, verdict in zip(problems, verdicts, strict=True) if verdict.status is not Status.PASSED
    ]
    if failed:
        print(f"did not pass: {failed}")
    return cpu_seconds_of_children() - before


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
