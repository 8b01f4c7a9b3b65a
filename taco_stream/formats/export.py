"""Writes a run in the format that is asked for."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from taco_stream.errors import StoreError
from taco_stream.formats import evalplus, inspect_log, livecodebench, parquet, taco
from taco_stream.formats.grouping import Prompts, grouped
from taco_stream.store.run import RecordIndex, RunFiles
from taco_stream.types import ComparisonMode


class ExportFormat(StrEnum):
    """What a run can be written as."""

    TACO = "taco"  # generations.json, taco_results.json and taco_metrics.json of the original scripts
    EVALPLUS = "evalplus"  # samples.jsonl
    LIVECODEBENCH = "livecodebench"  # its custom evaluator's output file
    PARQUET = "parquet"  # one row per sample
    INSPECT = "inspect"  # a log that `inspect view` opens; needs the extra `inspect`


def export(
    run: RunFiles,
    kind: ExportFormat,
    folder: Path,
    *,
    prompts: Prompts,
    mode: ComparisonMode,
    ks: Sequence[int],
) -> tuple[Path, ...]:
    """Writes the run's records into `folder`, which is made; the files written. `mode` is the verdict that counts.

    One problem's records are in memory at a time (for Inspect all of them, its writer takes a whole log). Raises
    `StoreError` where a file cannot be written or the run holds problems that `prompts` does not tell.
    """
    index = RecordIndex(run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made: {error.strerror}") from error
    match kind:
        case ExportFormat.TACO:
            return taco.write_all(run, index, folder, prompts=prompts, mode=mode, ks=ks)
        case ExportFormat.EVALPLUS:
            return (evalplus.write_samples(grouped(index, prompts), folder / "samples.jsonl"),)
        case ExportFormat.LIVECODEBENCH:
            return (livecodebench.write_codes(grouped(index, prompts), folder / "livecodebench.json"),)
        case ExportFormat.PARQUET:
            return (parquet.write_table(grouped(index, prompts), folder / "results.parquet"),)
        case ExportFormat.INSPECT:
            groups, path = grouped(index, prompts), folder / "inspect.eval"
            return (inspect_log.write_log(run, groups, path, mode=mode, ks=ks),)
