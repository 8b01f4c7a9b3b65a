"""A run as a log of inspect_ai, written by inspect_ai's own `write_eval_log`, so that `inspect view` opens it.

A problem is an Inspect sample, a sample of ours one of its epochs, counted from 1 as Inspect counts. The score is `C`
or `I`; a sample that could not be judged has none. The whole log is in memory while it is written: Inspect's writer
takes one value. The format cannot hold the difference between no program and an empty one.

A log is read without inspect_ai: it is a zip archive with a member of JSON for each sample and epoch, compressed with
deflate by older versions of Inspect and with zstd by newer ones (seen: 0.3.285). Python's own `zipfile` knows zstd from
3.14 on; pyarrow does everywhere. The text of a sample is that of its answer (`output.completion`). A sample that ended
with an error before there was an answer is left out.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from taco_stream.errors import UsageError
from taco_stream.events import DamagedEvent
from taco_stream.formats.json_files import STANDARD_INPUT, Entry
from taco_stream.formats.samples import ProblemRecords, SampleText
from taco_stream.metrics import Tally
from taco_stream.store.run_directory import RunFiles
from taco_stream.types import ComparisonMode, FinishReason, Record, Status

SAMPLES = "samples/"
"""The folder of the archive that holds a member for each sample and epoch."""

ZSTD = 93
"""The compression method's number in an archive."""

LOCAL_HEADER = struct.Struct("<26xHH")
"""The header before a member's name: 30 bytes that end with the lengths of the name and of further fields."""


def recognise(path: Path) -> bool:
    """Whether a file is one, by its first bytes; a pipe or a device, which cannot be read twice, never is."""
    if path == STANDARD_INPUT:
        return False
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False  # reading it says why


def read(path: Path) -> Iterator[SampleText]:
    """A sample for each epoch of each of Inspect's samples, in the order of the archive.

    Raises `UsageError` that names the file, and the sample if one is at fault.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # A sample that was run again has a second member of the same name, which counts.
            for name, member in archive.NameToInfo.items():
                if name.startswith(SAMPLES) and name.endswith(".json"):
                    entry = _read_entry(f"{path}, {name}", _content(path, archive, member))
                    if (text := _answer(entry)) is not None:
                        yield SampleText(entry.read_id("id"), text, _sample_index(entry))
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} cannot be read as a log of Inspect: {error}") from error


def _content(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.compress_type != ZSTD:
        return archive.read(member)
    import pyarrow

    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(LOCAL_HEADER.size)
        if len(header) < LOCAL_HEADER.size:
            raise EOFError("it is cut short")
        file.seek(sum(LOCAL_HEADER.unpack(header)), 1)
        packed = file.read(member.compress_size)
    content: bytes = pyarrow.CompressedInputStream(pyarrow.BufferReader(packed), "zstd").read()
    if zlib.crc32(content) != member.CRC:
        raise ValueError(f"{member.filename} is damaged")
    return content


def _read_entry(place: str, content: bytes) -> Entry:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{place} is {type(value).__name__}, not an object")
    return Entry(value, place)


def _answer(entry: Entry) -> str | None:
    """The text of the answer; None if the sample failed before there was one."""
    output = entry.value.get("output")
    if not isinstance(output, dict):
        raise UsageError(f"{entry.place}: output is not an object")
    if entry.value.get("error") and not output.get("choices"):
        return None
    return Entry(output, entry.place).read_text("completion")


def _sample_index(entry: Entry) -> int:
    """Epochs count from 1."""
    if epoch := entry.read_sample_index("epoch"):
        return epoch - 1
    raise UsageError(f"{entry.place}: epoch is 0, and the first is 1")


def write(
    run: RunFiles, problems: Iterable[ProblemRecords], path: Path, *, mode: ComparisonMode, ks: Sequence[int]
) -> Path:
    """Writes the log; the path. Raises `UsageError` if inspect_ai is not installed.

    Must not be called from a running event loop: Inspect's writer starts one of its own.
    """
    try:
        from inspect_ai import log
    except ImportError as error:
        raise UsageError(
            "an Inspect log needs the package inspect_ai: pip install 'taco-stream[inspect]', or choose another format"
        ) from error
    manifest, scorer = run.manifest, f"taco_stream_{mode}"
    model = manifest.answered_by
    tally, samples = Tally(), list[Any]()
    for problem in problems:
        for record in problem.records:
            tally.add(record)
            samples.append(_log_sample(problem, record, mode, model, scorer))
    dataset = str(manifest.settings.get("dataset", ""))
    counts = tally.problems[mode]
    estimates = tally.scores(mode, ks).overall
    metrics = {f"pass@{k}": log.EvalMetric(name=f"pass@{k}", value=each.value) for k, each in estimates.items()}
    ended_at = max(
        (event.at for event in run.events() if not isinstance(event, DamagedEvent)), default=manifest.created_at
    )
    whole = log.EvalLog(
        status="success",
        eval=log.EvalSpec(
            created=_format_time(manifest.created_at),
            task="taco-stream",
            dataset=log.EvalDataset(name=dataset, location=dataset, samples=len(counts), sample_ids=list(counts)),
            model=model,
            config=log.EvalConfig(epochs=max(1, max((each.samples for each in counts.values()), default=1))),
            packages=dict(manifest.versions),
            metadata=dict(manifest.results),
        ),
        results=log.EvalResults(
            total_samples=tally.samples,
            completed_samples=tally.samples,
            scores=[log.EvalScore(name=scorer, scorer=scorer, metrics=metrics)],
        ),
        stats=log.EvalStats(started_at=_format_time(manifest.created_at), completed_at=_format_time(ended_at)),
        samples=samples,
    )
    # Under another name first: a kill while the log is written must not leave half of one in its place.
    fresh = path.with_name(f".{path.name}")
    log.write_eval_log(whole, str(fresh), format="eval")
    fresh.replace(path)
    return path


def _log_sample(problem: ProblemRecords, record: Record, mode: ComparisonMode, model: str, scorer: str) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage
    from inspect_ai.scorer import CORRECT, INCORRECT, Score

    verdict = record.verdicts[mode]
    cut = record.finish_reason is FinishReason.LENGTH
    output = ModelOutput.from_content(model, record.program or "", stop_reason="max_tokens" if cut else "stop")
    usage = ModelUsage(
        input_tokens=record.prompt_tokens,
        output_tokens=record.completion_tokens,
        total_tokens=record.prompt_tokens + record.completion_tokens,
    )
    score = Score(
        value=CORRECT if verdict.status is Status.PASSED else INCORRECT,
        answer=record.program,
        explanation=f"{verdict.status} {verdict.detail}".strip(),
    )
    return EvalSample(
        id=problem.problem_id,
        epoch=record.sample_index + 1,
        input=problem.prompt,
        target="",
        messages=[ChatMessageUser(content=problem.prompt), output.message],
        output=output,
        model_usage={model: usage},
        total_time=record.generate_seconds + record.judge_seconds,
        scores={scorer: score} if verdict.status.is_scored else {},
        metadata={
            "difficulty": record.difficulty,
            "skills": list(record.skills),
            "extraction": str(record.extraction),
            "finish_reason": str(record.finish_reason),
        },
    )


def _format_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
