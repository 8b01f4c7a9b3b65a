"""What an audit leaves on disk, and what the next start makes of it."""

from pathlib import Path

import msgspec
import pytest

from taco_stream.audit.findings import Finding
from taco_stream.audit.ledger import Audited, Rules, open_ledger
from taco_stream.datasets.selection import read_selection
from taco_stream.datasets.settings import DatasetSettings
from taco_stream.errors import UsageError
from taco_stream.types import ComparisonMode

pytestmark = pytest.mark.anyio

RULES = Rules(
    dataset="d", split="test", mode=ComparisonMode.STRICT, solutions=5, time_limit_factor=2.0, memory_limit_bytes=1,
    full_results=False, special_judges=None, checkers_folder=None,
)  # fmt: skip


def audited(problem_id: str, finding: Finding = Finding.OK, *, infrastructure_errors: int = 0) -> Audited:
    return Audited(
        problem_id=problem_id,
        finding=finding,
        exclude=finding.is_excluded,
        rules=RULES,
        infrastructure_errors=infrastructure_errors,
    )


async def written(path: Path, *lines: Audited) -> None:
    async with open_ledger(path, RULES) as ledger:
        for line in lines:
            await ledger.append(line)


async def test_a_line_is_on_disk_when_its_problem_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with open_ledger(path, RULES) as ledger:
        await ledger.append(audited("a"))
        assert msgspec.json.decode(path.read_bytes(), type=Audited) == audited("a")


async def test_the_next_start_knows_what_is_finished(tmp_path: Path) -> None:
    await written(tmp_path / "audit.jsonl", audited("a"))
    async with open_ledger(tmp_path / "audit.jsonl", RULES) as ledger:
        assert (ledger.is_finished("a"), ledger.is_finished("b"), ledger.resumed) == (True, False, 1)


async def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await written(path, audited("a"), audited("b"))
    path.write_bytes(path.read_bytes()[:-20])
    await written(path, audited("c"))
    async with open_ledger(path, RULES) as ledger:
        assert list(ledger.audited) == ["a", "c"]


async def test_a_problem_on_which_the_evaluator_failed_is_judged_again_and_its_last_line_counts(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await written(path, audited("a", Finding.UNJUDGED, infrastructure_errors=1))
    async with open_ledger(path, RULES) as ledger:
        assert not ledger.is_finished("a")
        await ledger.append(audited("a"))
    async with open_ledger(path, RULES) as ledger:
        assert ledger.audited["a"].finding is Finding.OK


@pytest.mark.parametrize("content", ["3\n17\n", "17", '{"task_id": 1}\n'])
async def test_a_file_that_no_audit_wrote_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(content)
    with pytest.raises(UsageError, match="no audit wrote"):
        await written(path)
    assert path.read_text() == content


async def test_other_rules_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await written(path, audited("a"))
    with pytest.raises(UsageError, match="with mode strict, not spj"):
        async with open_ledger(path, msgspec.structs.replace(RULES, mode=ComparisonMode.SPJ)):
            pass


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with open_ledger(path, RULES):
        with pytest.raises(UsageError, match="by another audit"):
            await written(path)


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        await written(tmp_path / "nowhere" / "audit.jsonl")


async def test_a_run_leaves_out_what_the_audit_says(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await written(path, *(audited(finding, finding) for finding in Finding))
    excluded = set(read_selection(DatasetSettings(exclude=str(path))).excluded)
    assert excluded == {finding for finding in Finding if finding.is_excluded}
