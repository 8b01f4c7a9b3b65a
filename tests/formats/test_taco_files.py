"""The files of the original's scripts: their shapes, their values, and back again."""

import json
import math
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_files import (
    OFFICIAL,
    RECORDS,
    STRICT,
    WRONG,
    Write,
    few_examples,
    problem_records,
    samples,
    texts_in_order,
    write_run,
    written,
)
from hypothesis import given
from sample_values import record

from taco_stream.formats import ExportFormat, export
from taco_stream.formats.samples import ProblemRecords
from taco_stream.formats.taco_files import encode_verdict, to_task_id, write_generations
from taco_stream.metrics import DECIMALS, Tally
from taco_stream.store.run_directory import RunFiles
from taco_stream.types import Record, Status, Verdict

pytestmark = pytest.mark.anyio


@given(problem_records())
@few_examples
def test_generations_that_we_write_are_read_the_same(folder: Path, problems: list[ProblemRecords]) -> None:
    """All but indices, and whether there is no program or an empty one."""
    path = write_generations(problems, folder / "generations.json")
    assert samples(path) == texts_in_order(problems)
    entries = json.loads(path.read_text("ascii"))
    assert [(str(each["task_id"]), each["prompt"]) for each in entries] == [each[:2] for each in problems]


async def test_generations_have_the_original_shape_in_dataset_order(run: RunFiles) -> None:
    generations = json.loads(written(run, ExportFormat.TACO)[0].read_text())
    assert generations == [
        {"task_id": 0, "prompt": "q0", "output": ["a0 # é\n", 'a1 "quoted"']},
        {"task_id": 1, "prompt": "q1 é", "output": ["", "b1"]},
        {"task_id": "HumanEval/2", "prompt": "q2", "output": ["c0", "c1"]},
    ]


async def test_generations_are_written_byte_for_byte_as_json_dump_does(run: RunFiles) -> None:
    path = written(run, ExportFormat.TACO)[0]
    assert path.read_text() == json.dumps(json.loads(path.read_text()), indent=4)


async def test_a_problem_without_a_record_keeps_its_place(tmp_path: Path) -> None:
    """The original aligns outputs and problems by position, so a gap would shift all that follow."""
    run = await write_run(tmp_path / "run", [each for each in RECORDS if each.problem_id != "1"])
    generations = json.loads(written(run, ExportFormat.TACO)[0].read_text())
    assert [(each["task_id"], len(each["output"])) for each in generations] == [(0, 2), (1, 0), ("HumanEval/2", 2)]


def test_generations_of_the_original_mix_integers_and_text_as_ids(write: Write) -> None:
    path = write(
        [{"task_id": 0, "prompt": "q", "output": ["a", "b"]}, {"task_id": "1", "output": ["c"]}], name="g.json"
    )
    assert samples(path) == [("0", 0, "a"), ("0", 1, "b"), ("1", 0, "c")]


def test_a_task_that_comes_again_goes_on_counting(write: Write) -> None:
    path = write([{"task_id": 0, "output": ["a"]}, {"task_id": "0", "output": ["b"]}], name="g.json")
    assert samples(path) == [("0", 0, "a"), ("0", 1, "b")]


def graded(number: int, samples: int, passed: int) -> Iterator[Record]:
    """Records under two modes: `passed` of them pass officially, one less strictly."""
    for index in range(samples):
        yield record(
            str(number),
            index,
            verdicts={
                OFFICIAL: Verdict(status=Status.PASSED if index < passed else Status.TIME_LIMIT),
                STRICT: Verdict(status=Status.PASSED if index < passed - 1 else WRONG),
            },
        )


async def test_metrics_equal_the_original_formula_on_the_exported_verdicts(tmp_path: Path) -> None:
    """Computed twice: by us, and from `taco_results.json` as the original counts, in exact fractions."""
    counts = [(10, 10), (10, 3), (12, 1), (10, 0)]
    run = await write_run(tmp_path / "run", [each for n, (s, p) in enumerate(counts) for each in graded(n, s, p)])
    prompts = [(str(number), "") for number in range(len(counts))]
    _, results_path, metrics_path = export(
        run, ExportFormat.TACO, run.path, prompts=lambda: prompts, mode=OFFICIAL, ks=(1, 5, 10, 11)
    )
    results, metrics = json.loads(results_path.read_text()), json.loads(metrics_path.read_text())
    for k in (1, 5, 10):
        expected = {}
        for task_id, codes in results.items():
            right = sum(all(code > 0 for code in each) for each in codes)
            draws = math.comb(len(codes), k)
            expected[task_id] = float(Fraction(draws - math.comb(len(codes) - right, k), draws))
        assert metrics["detail"][f"pass@{k}"] == pytest.approx(expected)
        assert metrics[f"pass@{k}"] == pytest.approx(sum(expected.values()) / len(expected))
    assert set(metrics) == {"pass@1", "pass@5", "pass@10", "detail"}, "11 is over the samples of some problems"


def original_metrics(results: dict[str, list[list[bool | int]]], ks: Sequence[int]) -> dict[str, Any]:
    """`compute_metric.compute_metrics` of FlagOpen/TACO with its `estimate_pass_at_k`, shortened."""
    correct = np.array([sum(bool(np.all(np.array(codes) > 0)) for codes in samples) for samples in results.values()])
    total = np.array([len(samples) for samples in results.values()])

    def estimator(n: int, c: int, k: int) -> float:
        return 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))

    estimates = {
        f"pass@{k}": np.array([estimator(int(n), int(c), k) for n, c in zip(total, correct, strict=True)])
        for k in ks
        if (total >= k).all()
    }
    means = {name: values.mean() for name, values in estimates.items()}
    return means | {"detail": {name: dict(zip(results, v.tolist(), strict=True)) for name, v in estimates.items()}}


async def test_metrics_are_to_the_last_digit_what_the_original_makes_of_the_results(tmp_path: Path) -> None:
    """300 problems: numpy adds by eights and in halves, so any other sum ends in other digits. One has no sample."""
    dice = random.Random(5)
    counts = [(12, dice.randrange(13)) for _ in range(300)]
    run = await write_run(tmp_path / "run", [each for n, (s, p) in enumerate(counts) for each in graded(n, s, p)])
    prompts = [(str(number), "") for number in dice.sample(range(301), 301)]
    paths = export(run, ExportFormat.TACO, run.path, prompts=lambda: prompts, mode=OFFICIAL, ks=(1, 5, 10, 13))
    results = json.loads(paths[1].read_text())
    assert paths[2].read_text() == json.dumps(original_metrics(results, (1, 5, 10, 13)), indent=4)
    values = list(json.loads(paths[2].read_text())["detail"]["pass@5"].values())
    assert sum(values) / len(values) != np.mean(values), "the order of addition does not matter here: a weak test"


async def test_metrics_and_summary_agree_in_all_digits_of_the_summary(tmp_path: Path) -> None:
    dice = random.Random(6)
    counts = [(12, dice.randrange(13)) for _ in range(300)]
    records = [each for n, (s, p) in enumerate(counts) for each in graded(n, s, p)]
    run = await write_run(tmp_path / "run", dice.sample(records, len(records)))
    prompts = [(str(number), "") for number in range(300)]
    paths = export(run, ExportFormat.TACO, run.path, prompts=lambda: prompts, mode=OFFICIAL, ks=(1, 5, 10))
    metrics, tally = json.loads(paths[2].read_text()), Tally()
    for each in records:
        tally.add(each)
    for k, estimate in tally.scores(OFFICIAL, (1, 5, 10)).overall.items():
        assert estimate.value == round(metrics[f"pass@{k}"], DECIMALS)


async def test_a_problem_without_a_judged_sample_is_in_neither_results_nor_metrics(tmp_path: Path) -> None:
    """The original computes nothing at all where one problem has no samples."""
    run = await write_run(tmp_path / "run", [record("0", 0), record("1", 0, Status.INFRASTRUCTURE_ERROR)])
    prompts = (("0", ""), ("1", ""), ("2", ""))
    paths = export(run, ExportFormat.TACO, run.path, prompts=lambda: prompts, mode=STRICT, ks=(1, 2))
    assert json.loads(paths[1].read_text()) == {"0": [[True]]}
    assert json.loads(paths[2].read_text()) == {"pass@1": 1.0, "detail": {"pass@1": {"0": 1.0}}}


async def test_the_mode_asked_for_is_the_one_exported(tmp_path: Path) -> None:
    run = await write_run(tmp_path / "run", graded(0, 4, 2))
    values = []
    for mode in (OFFICIAL, STRICT):
        paths = export(run, ExportFormat.TACO, run.path, prompts=lambda: [("0", "")], mode=mode, ks=(1,))
        values.append(json.loads(paths[2].read_text())["pass@1"])
    assert values == [pytest.approx(0.5), pytest.approx(0.25)]


async def test_samples_that_could_not_be_judged_are_in_no_score(tmp_path: Path) -> None:
    run = await write_run(tmp_path / "run", [record("0", 0), record("0", 1, Status.INFRASTRUCTURE_ERROR)])
    paths = export(run, ExportFormat.TACO, run.path, prompts=lambda: [("0", "")], mode=STRICT, ks=(1, 2))
    assert json.loads(paths[1].read_text()) == {"0": [[True]]}
    assert json.loads(paths[2].read_text()) == {"pass@1": 1.0, "detail": {"pass@1": {"0": 1.0}}}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.PASSED, True),
        (WRONG, False),
        (Status.TIME_LIMIT, -1),
        (Status.COMPILE_ERROR, -2),
        (Status.NO_PROGRAM, -2),
        (Status.RUNTIME_ERROR, -3),
        (Status.MEMORY_LIMIT, -3),
        (Status.OUTPUT_LIMIT, -3),
        (Status.SANDBOX_VIOLATION, -3),
    ],
)
def test_statuses_have_the_codes_of_the_original(status: Status, code: bool | int) -> None:
    assert encode_verdict(Verdict(status=status)) == [code]
    assert type(encode_verdict(Verdict(status=status))[0]) is type(code)


def test_per_test_results_are_a_code_each() -> None:
    statuses = (Status.PASSED, WRONG, Status.TIME_LIMIT)
    assert encode_verdict(Verdict(status=WRONG, test_statuses=statuses)) == [True, False, -1]


def test_a_program_that_does_not_compile_has_one_code_for_all_tests() -> None:
    verdict = Verdict(status=Status.COMPILE_ERROR, test_statuses=(Status.COMPILE_ERROR,) * 5)
    assert encode_verdict(verdict) == [-2]


@pytest.mark.parametrize(("name", "expected"), [("0", 0), ("17", 17), ("017", "017"), ("taco/1", "taco/1"), ("²", "²")])
def test_ids_are_numbers_where_that_loses_nothing(name: str, expected: int | str) -> None:
    assert to_task_id(name) == expected
