"""A run in the shapes of FlagOpen/TACO's own scripts.

* `generations.json`, as `generation.py` writes it: `[{task_id, prompt, output: [program, …]}]` in dataset order, which
  is what `compute_metric.py` aligns problems by. A problem without a record has an empty `output`, so that the
  alignment holds; a sample without a program is an empty text.
* `taco_results.json`, what `compute_metric.evaluate_generations` returns: for each task and sample a list of codes,
  True passed, False wrong answer, -1 time limit, -2 not compiled, -3 any other failure. One code per test where the run
  kept per-test results (`--full-results`), else one for the sample.
* `taco_metrics.json`, to the last digit what `compute_metric.compute_metrics` returns for that file: `{"pass@k": mean,
  "detail": {"pass@k": {task_id: value}}}` for every k that all its problems have samples for.

Samples that could not be judged are in the first file and in neither of the others: the original has no word for them.
So are problems without a judged sample: one of them would leave the original, and so the third file, no score at all.
Ids that are decimal numbers are written as numbers, as the published example has them.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from taco_stream.formats.grouping import Group, Prompts, grouped
from taco_stream.formats.json_writing import write_json_array, write_json_object
from taco_stream.metrics import pass_at_k
from taco_stream.store.atomic import write_atomically
from taco_stream.store.run import RecordIndex, RunFiles
from taco_stream.types import ComparisonMode, Status, Verdict

CODES: dict[Status, bool | int] = {
    Status.PASSED: True,
    Status.WRONG_ANSWER: False,
    Status.TIME_LIMIT: -1,
    Status.COMPILE_ERROR: -2,
    Status.NO_PROGRAM: -2,
}
OTHER_FAILURE = -3


def write_all(
    run: RunFiles, index: RecordIndex, folder: Path, *, prompts: Prompts, mode: ComparisonMode, ks: Sequence[int]
) -> tuple[Path, ...]:
    """Writes the three files; their paths."""
    return (
        write_generations(grouped(index, prompts), folder / "generations.json"),
        write_results(grouped(index, prompts), mode, folder / "taco_results.json"),
        write_metrics(grouped(index, prompts), mode, ks, folder / "taco_metrics.json"),
    )


def write_generations(groups: Iterable[Group], path: Path) -> Path:
    """Writes `generations.json`; the path."""
    return write_json_array(
        (
            {
                "task_id": original_id(group.problem_id),
                "prompt": group.prompt,
                "output": [record.program or "" for record in group.records],
            }
            for group in groups
        ),
        path,
    )


def write_results(groups: Iterable[Group], mode: ComparisonMode, path: Path) -> Path:
    """Writes `taco_results.json`; the path."""
    results = ((group.problem_id, _codes_of(group, mode)) for group in groups)
    return write_json_object(((problem_id, codes) for problem_id, codes in results if codes), path)


def write_metrics(groups: Iterable[Group], mode: ComparisonMode, ks: Sequence[int], path: Path) -> Path:
    """Writes `taco_metrics.json`; the path."""
    import numpy as np  # its mean adds in pairs, which no other sum does to the last digit

    counts = {}
    for group in groups:
        if codes := _codes_of(group, mode):
            counts[group.problem_id] = len(codes), sum(all(code > 0 for code in of_sample) for of_sample in codes)
    fewest = min((samples for samples, _ in counts.values()), default=0)
    detail = {
        f"pass@{k}": {name: pass_at_k(samples, passed, k) for name, (samples, passed) in counts.items()}
        for k in ks
        if k <= fewest
    }
    means: dict[str, Any] = {name: float(np.mean(list(values.values()))) for name, values in detail.items()}
    write_atomically(path, json.dumps(means | {"detail": detail}, indent=4).encode("ascii"))
    return path


def result_codes(verdict: Verdict) -> list[bool | int]:
    """A verdict in the original's codes: one per test where the verdict has them, else one for all.

    A program that does not compile has one code whatever the number of tests, as in the original.
    """
    never_ran = verdict.status in (Status.COMPILE_ERROR, Status.NO_PROGRAM)
    statuses = (verdict.status,) if never_ran else verdict.test_statuses or (verdict.status,)
    return [CODES.get(status, OTHER_FAILURE) for status in statuses]


def original_id(problem_id: str) -> int | str:
    """The id as the original writes it: a number where it is one, and the number's only spelling."""
    if problem_id.isascii() and problem_id.isdecimal() and str(int(problem_id)) == problem_id:
        return int(problem_id)
    return problem_id


def _codes_of(group: Group, mode: ComparisonMode) -> list[list[bool | int]]:
    verdicts = (record.verdicts[mode] for record in group.records if mode in record.verdicts)
    return [result_codes(verdict) for verdict in verdicts if verdict.status.is_scored]
