"""What holds for every format alike, and the samples that a file and a dataset share."""

import subprocess
import sys
from pathlib import Path

import pytest
from foreign_files import EXPECTED_SAMPLES, PROMPTS, RECORDS, STRICT, samples, write_run, written
from sample_values import record

from taco_stream.errors import StoreError, UsageError
from taco_stream.formats import ExportFormat, export, match_ids
from taco_stream.store.run_directory import RunFiles
from taco_stream.types import SampleKey

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", [ExportFormat.TACO, ExportFormat.EVALPLUS, ExportFormat.LIVECODEBENCH], ids=str)
async def test_what_is_exported_reads_back_the_same(run: RunFiles, kind: ExportFormat) -> None:
    assert sorted(samples(written(run, kind)[0])) == EXPECTED_SAMPLES


async def test_records_of_problems_the_dataset_lacks_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = await write_run(tmp_path / "run", [*RECORDS, record("stranger", 0)])
    with pytest.raises(StoreError, match="1 problems of the run are not in its dataset.*stranger"):
        written(run, ExportFormat.TACO)
    assert list((run.path / "out").iterdir()) == []


async def test_a_sample_that_stands_twice_is_exported_once(tmp_path: Path) -> None:
    run = await write_run(tmp_path / "run", [*RECORDS, *RECORDS])
    assert sorted(samples(written(run, ExportFormat.EVALPLUS)[0])) == EXPECTED_SAMPLES


def test_the_exports_load_nothing_heavy_before_they_are_asked() -> None:
    code = "import sys, taco_stream.formats; print({'pyarrow', 'inspect_ai', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


async def test_a_folder_that_cannot_be_made_is_told(run: RunFiles) -> None:
    with pytest.raises(StoreError, match="the folder /proc/out cannot be made"):
        export(run, ExportFormat.TACO, Path("/proc/out"), prompts=lambda: PROMPTS, mode=STRICT, ks=(1,))


def test_completions_of_another_dataset_altogether_are_refused() -> None:
    with pytest.raises(UsageError, match=r"they are of a, b, c … \(4 problems\), the dataset has x, y \(--dataset"):
        match_ids(dict.fromkeys("abcd", 1), ["x", "y"])


def test_matching_ids_say_nothing_where_all_fits() -> None:
    assert match_ids({"a": 2, "b": 2}, ["a", "b"]) == ()


def test_gaps_are_told_with_counts_and_the_first_ten_names() -> None:
    held = {f"s{number}": 1 for number in range(12)} | {"a": 3, "b": 1}
    strangers, missing, short, repeated = match_ids(
        held, ["a", "b", "c"], repeated=[SampleKey("a", 0), SampleKey("a", 2)]
    )
    assert strangers == "12 problems of the completions were not asked for: " + ", ".join(
        f"s{number}" for number in range(10)
    )
    assert missing == "1 problems have no completion: c"
    assert short == "1 problems have fewer than 3 samples: b (1)"
    assert repeated == "2 completions repeat a sample, and the first of each counts: a (sample 0), a (sample 2)"
