"""A run as a log of Inspect, read by Inspect."""

import contextlib
import json
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from foreign_files import (
    EXPECTED_SAMPLES,
    RECORDS,
    STRICT,
    few_examples,
    ids,
    problem_records,
    refused,
    samples,
    texts,
    write_run,
    written,
)
from hypothesis import given, settings
from hypothesis import strategies as st

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
    run = anyio.run(write_run, tmp_path / "run", RECORDS)
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
        run = anyio.run(write_run, Path(folder) / "run", records)
        prompts = [(problem.problem_id, problem.prompt) for problem in problems]
        (path,) = export(run, ExportFormat.INSPECT, run.path, prompts=lambda: prompts, mode=STRICT, ks=(1,))
        found = log.read_eval_log(str(path)).samples
        if records:
            assert sorted(samples(path)) == sorted((*each.key, each.program or "") for each in records)
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


def sample(problem_id: str | None, epoch: int, text: str, **others: Any) -> dict[str, Any]:
    """A sample as Inspect writes it, as far as anybody reads it here."""
    choices = [{"message": {"role": "assistant", "content": text}, "stop_reason": "stop"}]
    output = {"model": "m", "choices": choices, "completion": text}
    return {"id": problem_id, "epoch": epoch, "input": "q", "output": output, "attachments": {}} | others


def write_log(path: Path, listed: list[dict[str, Any]]) -> Path:
    """A log as older versions of Inspect compress one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", "{}")
        for number, each in enumerate(listed):
            archive.writestr(f"samples/{number}_epoch_{each['epoch']}.json", json.dumps(each))
        archive.writestr("header.json", json.dumps({"version": 2, "eval": {}}))
    return path


keys = st.tuples(ids, st.integers(1, 50))


@given(st.dictionaries(keys, texts, min_size=1, max_size=6))
@few_examples
def test_logs_read_back_as_they_were_written(folder: Path, answers: dict[tuple[str, int], str]) -> None:
    path = write_log(folder / "log.eval", [sample(name, epoch, text) for (name, epoch), text in answers.items()])
    assert samples(path) == [(name, epoch - 1, text) for (name, epoch), text in answers.items()]


def test_a_log_that_inspect_wrote_with_zstd_is_read() -> None:
    """Written by inspect_ai 0.3.285: an id that is a number, an answer in parts, one sample that failed."""
    found = samples(Path(__file__).with_name("zstd.eval"))
    assert found == [
        (name, epoch, text)
        for name, text in (("a/b c", "print(1)\n"), ("7", "print(2)\n\nprint(3)"), ("big", "x=1\n" * 200))
        for epoch in (0, 1)
    ]


@pytest.mark.parametrize("size", [10, 300, 1200])
def test_a_log_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.eval"
    path.write_bytes(Path(__file__).with_name("zstd.eval").read_bytes()[:size])
    refused(path, "cannot be read as a log of Inspect")


def test_a_damaged_log_is_refused(tmp_path: Path) -> None:
    """Each byte of the first two members is changed once; a change in what nobody reads may go unseen."""
    whole = Path(__file__).with_name("zstd.eval").read_bytes()
    path = tmp_path / "damaged.eval"
    expected = samples(Path(__file__).with_name("zstd.eval"))
    for place in range(400, 1000, 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(UsageError):
            assert samples(path) == expected


def test_a_sample_that_is_not_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    refused(write_log(path, [sample("a", 0, "x")]), "samples/0_epoch_0.json: epoch is 0")
    refused(write_log(path, [sample("a", 1, "x", output=None)]), "samples/0_epoch_1.json: output is not an object")
    refused(write_log(path, [sample(None, 1, "x")]), "samples/0_epoch_1.json: id is neither text nor an integer")
    refused(write_log(path, []), "holds no completions")
