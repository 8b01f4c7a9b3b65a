"""A run as a log of inspect_ai, written by inspect_ai's own `write_eval_log`, so that `inspect view` opens it.

A problem is an Inspect sample, a sample of ours one of its epochs, counted from 1 as Inspect counts. The score is `C`
or `I`; a sample that could not be judged has none. The whole log is in memory while it is written: Inspect's writer
takes one value.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from taco_stream.errors import UsageError
from taco_stream.formats.grouping import Group
from taco_stream.metrics import Tally
from taco_stream.store.manifest import Manifest
from taco_stream.store.run import RunFiles
from taco_stream.types import ComparisonMode, FinishReason, Record, Status


def write_log(run: RunFiles, groups: Iterable[Group], path: Path, *, mode: ComparisonMode, ks: Sequence[int]) -> Path:
    """Writes the log; the path. Raises `UsageError` where inspect_ai is not installed.

    Must not be called from a running event loop: Inspect's writer starts one of its own.
    """
    try:
        from inspect_ai import log
    except ImportError as error:
        raise UsageError(
            "an Inspect log needs the package inspect_ai: pip install 'taco-stream[inspect]', or choose another format"
        ) from error
    manifest = run.manifest
    tally, samples = Tally(), list[Any]()
    for group in groups:
        for record in group.records:
            tally.add(record)
            samples.append(_sample(manifest, group, record, mode))
    # Under another name first: a kill while the log is written must not leave half of one in its place.
    fresh = path.with_name(f".{path.name}")
    ended_at = max((event.at for event in run.events()), default=manifest.created_at)
    whole = log.EvalLog(
        status="success",
        eval=_spec(manifest, tally),
        results=_results(tally, mode, ks),
        stats=log.EvalStats(started_at=_written(manifest.created_at), completed_at=_written(ended_at)),
        samples=samples,
    )
    log.write_eval_log(whole, str(fresh), format="eval")
    fresh.replace(path)
    return path


def _spec(manifest: Manifest, tally: Tally) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalSpec

    dataset = str(manifest.settings.get("dataset", ""))
    ids = list(next(iter(tally.problems.values())))
    return EvalSpec(
        created=_written(manifest.created_at),
        task="taco-stream",
        dataset=EvalDataset(name=dataset, location=dataset, samples=len(ids), sample_ids=ids),
        model=_model(manifest),
        config=EvalConfig(epochs=max(1, max(_samples_per_problem(tally), default=1))),
        packages=dict(manifest.versions),
        metadata=dict(manifest.results),
    )


def _results(tally: Tally, mode: ComparisonMode, ks: Sequence[int]) -> Any:
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore

    scores = tally.scores(mode, ks).overall
    metrics = {f"pass@{k}": EvalMetric(name=f"pass@{k}", value=estimate.value) for k, estimate in scores.items()}
    return EvalResults(
        total_samples=tally.samples,
        completed_samples=tally.samples,
        scores=[EvalScore(name=_scorer(mode), scorer=_scorer(mode), metrics=metrics)],
    )


def _sample(manifest: Manifest, group: Group, record: Record, mode: ComparisonMode) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage
    from inspect_ai.scorer import CORRECT, INCORRECT, Score

    verdict = record.verdicts[mode]
    cut = record.finish_reason is FinishReason.LENGTH
    output = ModelOutput.from_content(
        _model(manifest), record.program or "", stop_reason="max_tokens" if cut else "stop"
    )
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
        id=group.problem_id,
        epoch=record.sample_index + 1,
        input=group.prompt,
        target="",
        messages=[ChatMessageUser(content=group.prompt), output.message],
        output=output,
        model_usage={_model(manifest): usage},
        total_time=record.generate_seconds + record.judge_seconds,
        scores={_scorer(mode): score} if verdict.status.is_scored else {},
        metadata={
            "difficulty": record.difficulty,
            "skills": list(record.skills),
            "extraction": str(record.extraction),
            "finish_reason": str(record.finish_reason),
        },
    )


def _model(manifest: Manifest) -> str:
    """What generated: the model, or the engine where there is none."""
    engine = str(manifest.settings.get("engine", "local"))
    return str(manifest.settings.get("model", "unknown")) if engine == "local" else engine


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _scorer(mode: ComparisonMode) -> str:
    return f"taco_stream_{mode}"


def _samples_per_problem(tally: Tally) -> list[int]:
    return [count.samples for count in next(iter(tally.problems.values())).values()]
