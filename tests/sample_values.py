"""Completions, records and manifests for tests: one call each, everything that does not matter left out."""

from collections.abc import Mapping
from typing import Any

import msgspec

from taco_stream.events import RunFinished, RunGauges
from taco_stream.statistics import RunStatistics
from taco_stream.store.manifest import Manifest
from taco_stream.types import ComparisonMode, Completion, ExtractionMethod, FinishReason, Record, Status, Verdict


def completion(problem_id: str = "p", sample_index: int = 0, text: str = "print(1)\n") -> Completion:
    return Completion(problem_id=problem_id, sample_index=sample_index, text=text, finish_reason=FinishReason.STOP)


def record(
    problem_id: str = "p",
    sample_index: int = 0,
    status: Status = Status.PASSED,
    *,
    program: str | None = "print(1)\n",
    extraction: ExtractionMethod = ExtractionMethod.WHOLE_TEXT,
    verdicts: Mapping[ComparisonMode, Verdict] | None = None,
    **others: Any,
) -> Record:
    return Record(
        problem_id=problem_id,
        sample_index=sample_index,
        program=program,
        extraction=extraction,
        finish_reason=FinishReason.STOP,
        verdicts=verdicts or dict.fromkeys(ComparisonMode, Verdict(status=status)),
        **others,
    )


def manifest(**results: Any) -> Manifest:
    return Manifest(
        results=results or {"model": "demo", "temperature": 0.2, "stop": ()},
        settings={"workers": 2},
        sandbox_tier="none",
        versions={"python": "3.11"},
        hardware={"cores": "2"},
        git_commit=None,
        created_at=1.0,
    )


def statistics(**known: Any) -> RunStatistics:
    zeros = {field.name: 0 for field in msgspec.structs.fields(RunStatistics) if field.required}
    return RunStatistics(
        **zeros
        | {"samples_expected": None, "draining": False, "loading": False, "engine": None, "evaluator": None}
        | known
    )


def gauges(**known: Any) -> RunGauges:
    return RunGauges(at=0.0, statistics=statistics(**known))


def finished(**known: Any) -> RunFinished:
    return RunFinished(at=0.0, statistics=statistics(**known))
