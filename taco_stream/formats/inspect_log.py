"""A run as a log of inspect_ai, written by inspect_ai's own `write_eval_log`, so that `inspect view` opens it.

A problem is an Inspect sample, a sample of ours one of its epochs, counted from 1 as Inspect counts. The score is `C`
or `I`; a sample that could not be judged has none. The whole log is in memory while it is written: Inspect's writer
takes one value. Only written; the format cannot hold the difference between no program and an empty one.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from taco_stream.errors import UsageError
from taco_stream.events import DamagedEvent
from taco_stream.formats.samples import ProblemRecords
from taco_stream.metrics import Tally
from taco_stream.store.run_directory import RunFiles
from taco_stream.types import ComparisonMode, FinishReason, Record, Status


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
    engine = str(manifest.settings.get("engine", "local"))
    model = str(manifest.settings.get("model", "unknown")) if engine == "local" else engine
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
