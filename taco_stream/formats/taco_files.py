"""The files of FlagOpen/TACO's own scripts: one is read and written, the results and metrics are only written.

* `generations.json`, as `generation.py` writes it: `[{task_id, prompt, output: [program, …]}]` in dataset order, which
  is the key by which `compute_metric.py` aligns problems. A problem without a record has an empty `output`, so that the
  alignment holds; a sample without a program is an empty text. The format cannot hold a sample's index.
* `taco_results.json`, the result of `compute_metric.evaluate_generations`: for each task and sample a list of codes,
  True passed, False wrong answer, -1 time limit, -2 not compiled, -3 any other failure. One code per test if the run
  kept per-test results (`--full-results`), else one for the sample.
* `taco_metrics.json`, to the last digit the result of `compute_metric.compute_metrics` for that file: `{"pass@k": mean,
  "detail": {"pass@k": {task_id: value}}}` for every k that all its problems have samples for.

Samples that could not be judged are in the first file and in neither of the others: the original has no word for them.
So are problems without a judged sample: one of them would leave the original, and so the third file, no score at all.
Ids that are decimal numbers are written as numbers, as the published example has them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from taco_stream.formats.json_files import Entry, write_json_array, write_json_object
from taco_stream.formats.samples import ProblemRecords, SampleText
from taco_stream.metrics import pass_at_k
from taco_stream.store.atomic import write_atomically
from taco_stream.types import ComparisonMode, Status, Verdict

CODES: dict[Status, bool | int] = {
    Status.PASSED: True,
    Status.WRONG_ANSWER: False,
    Status.TIME_LIMIT: -1,
    Status.COMPILE_ERROR: -2,
    Status.NO_PROGRAM: -2,
}
OTHER_FAILURE = -3


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is `generations.json`."""
    return {"task_id", "output"} <= first.keys()


def read_generations(entries: Iterable[Entry]) -> Iterator[SampleText]:
    """A sample for each text of each output."""
    for entry in entries:
        for text in entry.read_texts("output"):
            yield SampleText(entry.read_id("task_id"), text)


def write_generations(problems: Iterable[ProblemRecords], path: Path) -> Path:
    """Writes `generations.json`; the path."""
    return write_json_array(
        (
            {
                "task_id": to_task_id(problem.problem_id),
                "prompt": problem.prompt,
                "output": [record.program or "" for record in problem.records],
            }
            for problem in problems
        ),
        path,
    )


def write_results(problems: Iterable[ProblemRecords], mode: ComparisonMode, path: Path) -> Path:
    """Writes `taco_results.json`; the path."""
    results = ((problem.problem_id, _encode_samples(problem, mode)) for problem in problems)
    return write_json_object(((problem_id, codes) for problem_id, codes in results if codes), path)


def write_metrics(problems: Iterable[ProblemRecords], mode: ComparisonMode, ks: Sequence[int], path: Path) -> Path:
    """Writes `taco_metrics.json`; the path."""
    import numpy as np  # its mean adds in pairs, which no other sum does to the last digit

    counts = {}
    for problem in problems:
        if codes := _encode_samples(problem, mode):
            counts[problem.problem_id] = len(codes), sum(all(code > 0 for code in each) for each in codes)
    min_samples = min((samples for samples, _ in counts.values()), default=0)
    detail = {
        f"pass@{k}": {name: pass_at_k(samples, passed, k) for name, (samples, passed) in counts.items()}
        for k in ks
        if k <= min_samples
    }
    means: dict[str, Any] = {name: float(np.mean(list(values.values()))) for name, values in detail.items()}
    write_atomically(path, json.dumps(means | {"detail": detail}, indent=4).encode("ascii"))
    return path


def encode_verdict(verdict: Verdict) -> list[bool | int]:
    """A verdict in the original's codes: one per test if the verdict has them, else one for all.

    A program that does not compile has one code whatever the number of tests, as in the original.
    """
    never_ran = verdict.status in (Status.COMPILE_ERROR, Status.NO_PROGRAM)
    statuses = (verdict.status,) if never_ran else verdict.test_statuses or (verdict.status,)
    return [CODES.get(status, OTHER_FAILURE) for status in statuses]


def to_task_id(problem_id: str) -> int | str:
    """The id as the original writes it: a number if it is one in its only spelling."""
    if problem_id.isascii() and problem_id.isdecimal() and str(int(problem_id)) == problem_id:
        return int(problem_id)
    return problem_id


def _encode_samples(problem: ProblemRecords, mode: ComparisonMode) -> list[list[bool | int]]:
    verdicts = (record.verdicts[mode] for record in problem.records if mode in record.verdicts)
    return [encode_verdict(verdict) for verdict in verdicts if verdict.status.is_scored]
