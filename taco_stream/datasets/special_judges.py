"""The published list of TACO's test problems that need a special judge (`output_spj.jsonl`)."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from taco_stream.datasets.rows import RowError
from taco_stream.datasets.taco import parse_special_judge
from taco_stream.errors import NOT_DECODED, DatasetError, UsageError
from taco_stream.readable_file import read_small_file
from taco_stream.types import SpecialJudge


class _SpecialJudgeLine(msgspec.Struct):
    idx: int
    special_judge: bool
    case: int


def read_special_judges(path: Path) -> Mapping[int, SpecialJudge]:
    """The class of each problem by its row in the test split.

    Raises `UsageError` if the file cannot be read, `DatasetError` that names a line that is not one of the list.
    """
    classes: dict[int, SpecialJudge] = {}
    try:
        lines = read_small_file(path).splitlines()
    except OSError as error:
        raise UsageError(f"the list of special judges {path} cannot be read: {error.strerror}") from error
    for number, content in enumerate(lines, start=1):
        if not content.strip():
            continue
        try:
            line = msgspec.json.decode(content, type=_SpecialJudgeLine)
            classes[line.idx] = parse_special_judge(line.case, is_special=line.special_judge)
        except (RowError, *NOT_DECODED) as error:
            raise DatasetError(
                f"{path}:{number} is not a line of the published list (idx, special_judge, case): {error}"
            ) from error
    return classes
