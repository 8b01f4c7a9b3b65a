"""A summary as numbers with flat names, for experiment trackers: `pass@1`, `pass@1/EASY`, `statuses/wrong_answer`, …"""

from taco_stream.report.summary import Summary


def flatten(summary: Summary) -> dict[str, float]:
    """The numbers by name; scores are shares, times seconds. A number that there is none of yet is left out."""
    coverage, speed = summary.coverage, summary.throughput
    numbers: dict[str, float] = {f"pass@{k}": estimate.value for k, estimate in summary.pass_at_k.items()}
    for kind in (summary.by_difficulty, summary.by_skill, summary.other_modes):
        for name, estimates in kind.items():
            numbers |= {f"pass@{k}/{name}": estimate.value for k, estimate in estimates.items()}
    numbers |= {f"statuses/{status}": float(count) for status, count in summary.statuses.items()}
    numbers |= {f"finish_reasons/{reason}": float(count) for reason, count in summary.finish_reasons.items()}
    numbers |= {
        "samples": float(coverage.samples),
        "problems": float(coverage.problems),
        "unscored_samples": float(coverage.unscored_samples),
        "throughput/wall_seconds": speed.wall_seconds,
        "throughput/generating_seconds": speed.generating_seconds,
        "throughput/judging_seconds": speed.judging_seconds,
        "throughput/overlapped_seconds": speed.overlapped_seconds,
        "throughput/completion_tokens": float(speed.completion_tokens),
        "throughput/tokens_per_second": speed.tokens_per_second,
    }
    if coverage.samples_expected is not None:
        numbers["samples_expected"] = float(coverage.samples_expected)
    return numbers
