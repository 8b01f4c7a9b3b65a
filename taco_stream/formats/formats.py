"""All formats together: finds out which one a file of completions has, and writes a run in the one asked for."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from taco_stream.errors import StoreError, UsageError
from taco_stream.formats import (
    bigcode,
    evalplus,
    inspect_log,
    livecodebench,
    lm_eval,
    named_fields,
    own,
    parquet_table,
    taco_files,
)
from taco_stream.formats.json_files import read_entries
from taco_stream.formats.named_fields import FieldNames
from taco_stream.formats.samples import ProblemRecords, Prompts, SampleText, group_records, number_samples
from taco_stream.plug_ins import PlugIn, PlugInKind, find_plug_in
from taco_stream.store.run_directory import RecordIndex, RunFiles
from taco_stream.types import ComparisonMode, Completion, ExportFormat


def read_completions(
    path: Path,
    *,
    names: FieldNames | None = None,
    prompts: Mapping[str, str] | None = None,
    positions: Mapping[int, str] | None = None,
) -> Iterator[Completion]:
    """The completions of a file of any known format; the text is the whole answer, ids are text whatever they were.

    `names` says what the fields of plain JSON lines are called; given, no other format is tried. `prompts` (by problem)
    complete samples in HumanEval's `completion` form; `positions` are the problems by their row in the dataset, for
    files without ids. Raises `UsageError` that names the file and the line: for a file
    that cannot be read or has no known format from the call, for a later line when it comes.
    """
    if names is None and inspect_log.recognise(path):
        return number_samples(_not_empty(inspect_log.read(path), path), f"replay:{path.name}")
    entries = read_entries(path)
    first = next(entries, None)
    if first is None:
        raise UsageError(f"{path} holds no completions")
    entries = chain([first], entries)
    if names is not None:
        samples = named_fields.read(entries, named_fields.find(names, first))
    # A file may have the fields of several formats: the one that asks for most comes first.
    elif own.recognise(first.value):
        return own.read(entries)
    elif lm_eval.recognise(first.value):
        samples = lm_eval.read(entries)
    elif bigcode.recognise(first.value):
        samples = bigcode.read(entries, positions or {})
    elif taco_files.recognise(first.value):
        samples = taco_files.read_generations(entries)
    elif livecodebench.recognise(first.value):
        samples = livecodebench.read(entries)
    elif evalplus.recognise(first.value):
        samples = evalplus.read(entries, prompts or {})
    else:
        samples = named_fields.read(entries, named_fields.find(FieldNames(), first))
    return number_samples(samples, f"replay:{path.name}")


def _not_empty(samples: Iterator[SampleText], path: Path) -> Iterator[SampleText]:
    """The samples, the first of which is read now. Raises `UsageError` if there is none."""
    first = next(samples, None)
    if first is None:
        raise UsageError(f"{path} holds no completions")
    return chain([first], samples)


def find_format(name: str) -> ExportFormat | PlugIn:
    """The format of that name. Raises `UsageError` if neither taco-stream nor a plug-in has one."""
    if name in [*ExportFormat]:  # of a name that is none, Python 3.11 raises `TypeError`
        return ExportFormat(name)
    if (plug_in := find_plug_in(PlugInKind.FORMAT, name)) is None:
        raise UsageError(f"--format cannot be {name!r}: it is {', '.join(ExportFormat)} or the name of a plug-in")
    return plug_in


def export(
    run: RunFiles,
    kind: ExportFormat | PlugIn,
    folder: Path,
    *,
    prompts: Prompts,
    mode: ComparisonMode,
    ks: Sequence[int],
) -> tuple[Path, ...]:
    """Writes the run's records into `folder`, which is made; the files written. `mode` is the verdict that counts.
    A plug-in is called with the problems, the folder, and the mode.

    One problem's records are in memory at a time (for Inspect all of them, its writer takes a whole log). Raises
    `StoreError` if a file cannot be written or the run holds problems that `prompts` does not have.
    """
    index = RecordIndex(run.path).read()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made: {error.strerror}") from error

    def problems() -> Iterator[ProblemRecords]:
        return group_records(index, prompts)

    match kind:
        case PlugIn():
            return tuple(kind.watch(kind.call(problems(), folder, mode=mode)))
        case ExportFormat.TACO:
            return (
                taco_files.write_generations(problems(), folder / "generations.json"),
                taco_files.write_results(problems(), mode, folder / "taco_results.json"),
                taco_files.write_metrics(problems(), mode, ks, folder / "taco_metrics.json"),
            )
        case ExportFormat.EVALPLUS:
            return (evalplus.write(problems(), folder / "samples.jsonl"),)
        case ExportFormat.LIVECODEBENCH:
            return (livecodebench.write(problems(), folder / "livecodebench.json"),)
        case ExportFormat.PARQUET:
            return (parquet_table.write(problems(), folder / "results.parquet"),)
        case ExportFormat.INSPECT:
            return (inspect_log.write(run, problems(), folder / "inspect.eval", mode=mode, ks=ks),)
