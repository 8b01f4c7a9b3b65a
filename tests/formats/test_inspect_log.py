"""A run as a log of Inspect, read by Inspect."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from foreign_files import EXPECTED_SAMPLES, RECORDS, STRICT, few_examples, problem_records, run_of, written
from hypothesis import given, settings

from taco_stream.errors import UsageError
from taco_stream.formats import ExportFormat, export
from taco_stream.formats.samples import ProblemRecords
from taco_stream.store.run_directory import RunFiles
from taco_stream.types import FinishReason, Status

pytestmark = pytest.mark.anyio


async def test_without_inspect_its_log_is_refused_with_what_to_install(
    run: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(UsageError, match=r"pip install 'taco-stream\[inspect\]'"):
        written(run, ExportFormat.INSPECT)


def test_inspect_reads_its_log(tmp_path: Path) -> None:
    """Outside any event loop, as the command line exports: Inspect's writer starts one of its own."""
    log = pytest.importorskip("inspect_ai.log", reason="inspect_ai is an extra")
    run = anyio.run(run_of, tmp_path / "run", RECORDS)
    (path,) = written(run, ExportFormat.INSPECT)
    read = log.read_eval_log(str(path))
    found = [(each.id, each.epoch - 1, each.output.completion) for each in read.samples]
    assert sorted(found) == EXPECTED_SAMPLES
    assert [score.metrics["pass@1"].value for score in read.results.scores] == [pytest.approx(2 / 3)]
    assert {each.id: each.scores["taco_stream_strict"].value for each in read.samples if each.epoch == 1} == {
        "0": "C",
        "1": "I",
        "HumanEval/2": "I",
    }


@given(problem_records())
@settings(few_examples, max_examples=15)
def test_logs_hold_every_sample_with_its_score(problems: list[ProblemRecords]) -> None:
    """All but problems without samples, and whether there is no program or an empty one."""
    log = pytest.importorskip("inspect_ai.log", reason="inspect_ai is an extra")
    records = [record for problem in problems for record in problem.records]
    with TemporaryDirectory() as folder:
        run = anyio.run(run_of, Path(folder) / "run", records)
        prompts = [(problem.problem_id, problem.prompt) for problem in problems]
        (path,) = export(run, ExportFormat.INSPECT, run.path, prompts=lambda: prompts, mode=STRICT, ks=(1,))
        found = log.read_eval_log(str(path)).samples
    passed = {True: "C", False: "I"}
    assert sorted(
        (each.id, each.epoch - 1, each.input, each.output.completion, each.output.stop_reason) for each in found
    ) == sorted(
        (
            problem.problem_id,
            record.sample_index,
            problem.prompt,
            record.program or "",
            "max_tokens" if record.finish_reason is FinishReason.LENGTH else "stop",
        )
        for problem in problems
        for record in problem.records
    )
    assert {(each.id, each.epoch - 1): [score.value for score in each.scores.values()] for each in found} == {
        tuple(record.key): [passed[verdict.status is Status.PASSED]] if verdict.status.is_scored else []
        for record in records
        for verdict in [record.verdicts[STRICT]]
    }
