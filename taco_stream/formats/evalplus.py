"""EvalPlus's `samples.jsonl`: `{"task_id": …, "solution": …}`, a line per sample.

`evalplus.evaluate --samples` reads it; `solution` is a program by itself, unlike `completion`, which its reader puts
behind the prompt.
"""

from collections.abc import Iterable
from pathlib import Path

from taco_stream.formats.grouping import Group
from taco_stream.formats.json_writing import write_json_lines


def write_samples(groups: Iterable[Group], path: Path) -> Path:
    """Writes the file; the path. A sample without a program is an empty solution."""
    return write_json_lines(
        (
            {"task_id": group.problem_id, "solution": record.program or ""}
            for group in groups
            for record in group.records
        ),
        path,
    )
