"""The output file of LiveCodeBench's custom evaluator: `[{"question_id": …, "code_list": […]}]`.

`python -m lcb_runner.runner.custom_evaluator --custom_output_file` reads it. It wants an entry for every problem of its
benchmark and sorts both sides by id, so a problem without a record has an empty list.
"""

from collections.abc import Iterable
from pathlib import Path

from taco_stream.formats.grouping import Group
from taco_stream.formats.json_writing import write_json_array


def write_codes(groups: Iterable[Group], path: Path) -> Path:
    """Writes the file; the path. A sample without a program is an empty text."""
    return write_json_array(
        (
            {"question_id": group.problem_id, "code_list": [record.program or "" for record in group.records]}
            for group in groups
        ),
        path,
    )
