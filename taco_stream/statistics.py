"""Statistics of the parts of a run: immutable, and cheap enough to take ten times a second.

Counters start at zero with their owner; observers take differences. A field that is added later has a default,
so that the lines of `events.jsonl` from before can be read, and none is renamed.
"""

from collections.abc import Mapping

import msgspec


class EngineStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A glance at an engine.

    `rows_busy` of `rows_total` batch rows are decoding now; `samples_waiting` have been accepted but hold no row.
    `busy_seconds` is wall time with at least one row busy, `row_seconds` the sum over rows of the time each was busy
    and `row_seconds_available` the same had every row been busy while any was, so that their ratio is the occupancy.
    Engines without a batch leave the row figures zero. A local engine generates on `devices`, and has given up
    `devices_dropped`, whose workers kept dying. While it is open it needs `cores`: one for each thread on a CPU, one
    for each other device.
    """

    rows_busy: int = 0
    rows_total: int = 0
    samples_waiting: int = 0
    samples_finished: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    busy_seconds: float = 0.0
    row_seconds: float = 0.0
    row_seconds_available: float = 0.0
    restarts: int = 0
    devices: int = 0
    devices_dropped: int = 0
    cores: int = 0


class EvaluatorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A glance at the evaluator: `busy` of its `workers` are judging now, and `waiting` programs have no worker yet.

    `workers` are those in use; more may be busy for a moment after their number was lowered.

    `busy_seconds` is the sum over workers of the time each was judging.
    """

    workers: int = 0
    busy: int = 0
    waiting: int = 0
    judged: int = 0
    tests_run: int = 0
    restarts: int = 0
    infrastructure_errors: int = 0
    cache_hits: int = 0
    busy_seconds: float = 0.0


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """The time between the beginning of the last sample and the end of the last to end, in which a batch runs empty.

    `mean_rows` samples were decoding in it on average; the last to end was `sample_index` of `problem_id`.
    """

    seconds: float
    mean_rows: float
    problem_id: str
    sample_index: int
    completion_tokens: int


class DeviceStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """An accelerator as its driver sees it: its memory, the most that was in use, and its mean utilisation, 0 to 1.

    Whatever else runs on the device counts too. The utilisation is the driver's, the share of time with any kernel at
    work, averaged over the time observed.
    """

    name: str
    memory_bytes: int
    peak_memory_bytes: int
    utilisation: float


class RunStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The run as it is now; figures of this start only, except that `samples_expected` counts the whole run.

    `samples_expected` is None until it is counted. `samples_resumed` were complete on disk before this start, and
    `samples_left_over` were there without a verdict; `completions_waiting` have no verdict yet. Of the `generated`
    samples `reused` were taken over from another run. `generating_seconds`,
    `judging_seconds` and `overlapped_seconds` are wall time with the respective stage (or both) busy, from the times at
    which samples began and ended; `generating_idle_seconds` and `judging_idle_seconds` are the gaps in it, between the
    stage's first sample and its last. In `held_back_seconds` finished completions waited for room before the evaluator,
    and `completion_seconds_waiting` sums up how long each one waited there. `startup_seconds`, `first_token_seconds`
    and `first_verdict_seconds` run from the start's beginning to the first work of either stage, to the first token and
    to the first verdict; None until there is one. `peak_memory_bytes` is the largest resident size of all processes of
    the run, sampled every few seconds, and `peak_process_bytes` the kernel's peak of the largest process of each kind.
    `devices` are NVIDIA devices, if the extra `gpu` is installed. `engine` is None in a run that generates nothing,
    `evaluator` in one that judges nothing. `loading` says that the engine is being opened.
    """

    elapsed_seconds: float
    samples_expected: int | None
    samples_resumed: int
    samples_left_over: int
    generated: int
    judged: int
    infrastructure_errors: int
    completions_waiting: int
    draining: bool
    loading: bool
    generating_seconds: float
    judging_seconds: float
    overlapped_seconds: float
    reused: int = 0
    generating_idle_seconds: float = 0.0
    judging_idle_seconds: float = 0.0
    held_back_seconds: float = 0.0
    completion_seconds_waiting: float = 0.0
    startup_seconds: float | None = None
    first_token_seconds: float | None = None
    first_verdict_seconds: float | None = None
    tail: Tail | None = None
    peak_memory_bytes: int
    peak_process_bytes: Mapping[str, int] = {}
    devices: tuple[DeviceStatistics, ...] = ()
    engine: EngineStatistics | None
    evaluator: EvaluatorStatistics | None
