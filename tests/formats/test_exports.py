"""A run in other tools' formats: their shapes, their values, and back again."""

import json
import math
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from sample_values import manifest, record

from taco_stream.errors import StoreError, UsageError
from taco_stream.formats import ExportFormat, export, read_completions
from taco_stream.formats.json_writing import write_json_array
from taco_stream.formats.taco import original_id, result_codes
from taco_stream.metrics import DECIMALS, Tally
from taco_stream.store.run import RunFiles, open_run
from taco_stream.types import ComparisonMode, Record, Status, Verdict

pytestmark = pytest.mark.anyio

STRICT, OFFICIAL = ComparisonMode.STRICT, ComparisonMode.OFFICIAL
WRONG = Status.WRONG_ANSWER
PROMPTS = (("0", "q0"), ("1", "q1 é"), ("HumanEval/2", "q2"))

RECORDS = [
    record("1", 1, program="b1"),
    record("HumanEval/2", 0, WRONG, program="c0", difficulty="HARD", skills=("Sorting",)),
    record("0", 0, program="a0 # é\n"),
    record("1", 0, WRONG, program=None),
    record("0", 1, program='a1 "quoted"'),
    record("HumanEval/2", 1, program="c1"),
]


async def run_of(path: Path, records: Iterable[Record]) -> RunFiles:
    path.mkdir()  # so that a run without records stays
    async with open_run(path, manifest()) as run:
        await run.append(list(records))
    return RunFiles(path)


@pytest.fixture
async def run(tmp_path: Path) -> RunFiles:
    return await run_of(tmp_path / "run", RECORDS)


def written(run: RunFiles, kind: ExportFormat, mode: ComparisonMode = STRICT, ks: tuple[int, ...] = (1,)) -> list[Path]:
    return list(export(run, kind, run.path / "out", prompts=lambda: PROMPTS, mode=mode, ks=ks))


def samples(path: Path) -> list[tuple[str, int, str]]:
    return sorted((each.problem_id, each.sample_index, each.text) for each in read_completions(path))


EXPECTED_SAMPLES = sorted((each.problem_id, each.sample_index, each.program or "") for each in RECORDS)


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


def test_an_array_of_nothing_is_an_array(tmp_path: Path) -> None:
    assert json.loads(write_json_array([], tmp_path / "f").read_text()) == []


async def test_a_problem_without_a_record_keeps_its_place(tmp_path: Path) -> None:
    """The original aligns outputs and problems by position, so a gap would shift all that follow."""
    run = await run_of(tmp_path / "run", [each for each in RECORDS if each.problem_id != "1"])
    generations = json.loads(written(run, ExportFormat.TACO)[0].read_text())
    assert [(each["task_id"], len(each["output"])) for each in generations] == [(0, 2), (1, 0), ("HumanEval/2", 2)]


@pytest.mark.parametrize("kind", [ExportFormat.TACO, ExportFormat.EVALPLUS, ExportFormat.LIVECODEBENCH], ids=str)
async def test_what_is_exported_reads_back_the_same(run: RunFiles, kind: ExportFormat) -> None:
    assert samples(written(run, kind)[0]) == EXPECTED_SAMPLES


async def test_records_of_problems_the_dataset_lacks_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = await run_of(tmp_path / "run", [*RECORDS, record("stranger", 0)])
    with pytest.raises(StoreError, match="1 problems of the run are not in its dataset.*stranger"):
        written(run, ExportFormat.TACO)
    assert list((run.path / "out").iterdir()) == []


async def test_a_sample_that_stands_twice_is_exported_once(tmp_path: Path) -> None:
    run = await run_of(tmp_path / "run", [*RECORDS, *RECORDS])
    assert samples(written(run, ExportFormat.EVALPLUS)[0]) == EXPECTED_SAMPLES


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
    run = await run_of(tmp_path / "run", [each for n, (s, p) in enumerate(counts) for each in graded(n, s, p)])
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
    run = await run_of(tmp_path / "run", [each for n, (s, p) in enumerate(counts) for each in graded(n, s, p)])
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
    run = await run_of(tmp_path / "run", dice.sample(records, len(records)))
    prompts = [(str(number), "") for number in range(300)]
    paths = export(run, ExportFormat.TACO, run.path, prompts=lambda: prompts, mode=OFFICIAL, ks=(1, 5, 10))
    metrics, tally = json.loads(paths[2].read_text()), Tally()
    for each in records:
        tally.add(each)
    for k, estimate in tally.scores(OFFICIAL, (1, 5, 10)).overall.items():
        assert estimate.value == round(metrics[f"pass@{k}"], DECIMALS)


async def test_a_problem_without_a_judged_sample_is_in_neither_results_nor_metrics(tmp_path: Path) -> None:
    """The original computes nothing at all where one problem has no samples."""
    run = await run_of(tmp_path / "run", [record("0", 0), record("1", 0, Status.INFRASTRUCTURE_ERROR)])
    prompts = (("0", ""), ("1", ""), ("2", ""))
    paths = export(run, ExportFormat.TACO, run.path, prompts=lambda: prompts, mode=STRICT, ks=(1, 2))
    assert json.loads(paths[1].read_text()) == {"0": [[True]]}
    assert json.loads(paths[2].read_text()) == {"pass@1": 1.0, "detail": {"pass@1": {"0": 1.0}}}


async def test_the_mode_asked_for_is_the_one_exported(tmp_path: Path) -> None:
    run = await run_of(tmp_path / "run", graded(0, 4, 2))
    values = []
    for mode in (OFFICIAL, STRICT):
        paths = export(run, ExportFormat.TACO, run.path, prompts=lambda: [("0", "")], mode=mode, ks=(1,))
        values.append(json.loads(paths[2].read_text())["pass@1"])
    assert values == [pytest.approx(0.5), pytest.approx(0.25)]


async def test_samples_that_could_not_be_judged_are_in_no_score(tmp_path: Path) -> None:
    run = await run_of(tmp_path / "run", [record("0", 0), record("0", 1, Status.INFRASTRUCTURE_ERROR)])
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
    assert result_codes(Verdict(status=status)) == [code]
    assert type(result_codes(Verdict(status=status))[0]) is type(code)


def test_per_test_results_are_a_code_each() -> None:
    statuses = (Status.PASSED, WRONG, Status.TIME_LIMIT)
    assert result_codes(Verdict(status=WRONG, test_statuses=statuses)) == [True, False, -1]


def test_a_program_that_does_not_compile_has_one_code_for_all_tests() -> None:
    verdict = Verdict(status=Status.COMPILE_ERROR, test_statuses=(Status.COMPILE_ERROR,) * 5)
    assert result_codes(verdict) == [-2]


@pytest.mark.parametrize(("name", "expected"), [("0", 0), ("17", 17), ("017", "017"), ("taco/1", "taco/1"), ("²", "²")])
def test_ids_are_numbers_where_that_loses_nothing(name: str, expected: int | str) -> None:
    assert original_id(name) == expected


async def test_parquet_has_a_row_per_sample_with_every_mode(run: RunFiles) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pytest.importorskip("pyarrow.parquet").read_table(written(run, ExportFormat.PARQUET)[0])
    assert isinstance(table, pyarrow.Table)
    rows = table.to_pylist()
    found = [(row["problem_id"], row["sample_index"], row["program"], row["strict_status"]) for row in rows]
    expected = [(each.problem_id, each.sample_index, each.program, each.verdicts[STRICT].status) for each in RECORDS]
    assert sorted(found, key=str) == sorted(expected, key=str)
    hard = next(row for row in rows if row["problem_id"] == "HumanEval/2" and row["sample_index"] == 0)
    assert (hard["difficulty"], hard["skills"], hard["official_status"]) == ("HARD", ["Sorting"], "wrong_answer")


async def test_parquet_has_what_was_cut_away_and_the_beginning_of_a_wrong_answer(tmp_path: Path) -> None:
    verdict = Verdict(status=WRONG, output_head="4", detail="line 1: printed 4 where 5 was expected")
    judged = record("0", 0, verdicts={STRICT: verdict}, cut_before=10, cut_after=4)
    (path,) = written(await run_of(tmp_path / "run", [judged]), ExportFormat.PARQUET)
    (row,) = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    assert (row["cut_before"], row["cut_after"], row["strict_output_head"]) == (10, 4, "4")


async def test_parquet_of_an_empty_run_has_the_columns(tmp_path: Path) -> None:
    run = await run_of(tmp_path / "run", [])
    (path,) = export(run, ExportFormat.PARQUET, run.path, prompts=lambda: PROMPTS, mode=STRICT, ks=(1,))
    table = pytest.importorskip("pyarrow.parquet").read_table(path)
    assert table.num_rows == 0
    assert "spj_status" in table.column_names


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


def test_the_exports_load_nothing_heavy_before_they_are_asked() -> None:
    code = "import sys, taco_stream.formats; print({'pyarrow', 'inspect_ai', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


async def test_a_folder_that_cannot_be_made_is_told(run: RunFiles) -> None:
    with pytest.raises(StoreError, match="the folder /proc/out cannot be made"):
        export(run, ExportFormat.TACO, Path("/proc/out"), prompts=lambda: PROMPTS, mode=STRICT, ks=(1,))
