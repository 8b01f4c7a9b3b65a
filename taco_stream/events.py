"""Everything that may happen to a run beside completions and records: the lines of `events.jsonl`.

`Event` is a closed set: a frozen struct for each kind, whose tag is the line's `kind`. A component with something to
report builds one and hands it on; readers match on their types. Figures are fields, so that none is looked up by a name
that may be misspelt. `message` is a sentence for a person; events without one are for programs.

A field that is added later has a default, and no kind is renamed: `store.event_line` reads files of every version.
`docs/events.md` is made from the docstrings below.
"""

import time

import msgspec

from taco_stream.statistics import RunStatistics


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """The field of every event: `at`, when it was built, in seconds since the epoch."""

    at: float = msgspec.field(default_factory=time.time)


class _Notice(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """An event for a person to read: `message` is the sentence."""

    message: str


class RunStarted(_Event, frozen=True, tag="run_started"):
    """Sent first, when a run begins in a new directory."""


class RunResumed(_Event, frozen=True, tag="run_resumed"):
    """Sent first, when a run resumes in a directory that an earlier start made. All counters begin again at zero."""


class RunMerged(_Notice, frozen=True, kw_only=True, tag="run_merged"):
    """Sent first, when a run directory is made of others, whose paths are `runs`.

    Of their events it has those about prompts; the others are about machines, and stay where they are.
    """

    runs: tuple[str, ...]


class RunGauges(_Event, frozen=True, kw_only=True, tag="gauges"):
    """Sent every second at first, then less often, at last every five seconds: the run as it is then.

    For a start that was killed, the last one counts.
    """

    statistics: RunStatistics


class RunFinished(_Event, frozen=True, kw_only=True, tag="run_finished"):
    """Sent last, however a start ends, unless it is killed or its disk fails: its totals."""

    statistics: RunStatistics


class CoresDivided(_Notice, frozen=True, kw_only=True, tag="cores_divided"):
    """Sent when the number of evaluator workers in use changes: at first when generating begins, which needs cores.

    `workers` is the number from then on, and `claimed_cores` are those that generating needs. In the window before,
    nothing was generated for the share `generating_idle`, the workers judged for `judging_busy`, and `programs_waiting`
    had no worker at its end. Not sent if the number was given.
    """

    workers: int
    claimed_cores: int
    generating_idle: float
    judging_busy: float
    programs_waiting: int


class PromptTooLong(_Notice, frozen=True, kw_only=True, tag="prompt_too_long"):
    """Sent once for a problem and a worker or server, when the prompt leaves fewer new tokens than were asked for.

    With `new_tokens_left` of 0 the problem's samples are answered as errors; otherwise they end at that length.
    """

    problem_id: str
    prompt_tokens: int
    context_length: int
    new_tokens_wanted: int
    new_tokens_left: int


class SamplingRecommended(_Notice, frozen=True, kw_only=True, tag="sampling_recommended"):
    """Sent when a model is loaded whose generation_config.json says how its authors would sample.

    The run samples as its own settings say. Values that the file leaves open are None.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None


class WeightsUnused(_Notice, frozen=True, kw_only=True, tag="weights_unused"):
    """Sent when a model is loaded whose files hold weights that it does not have; `weights` counts them."""

    weights: int


class SlotsFailed(_Notice, frozen=True, tag="slots_failed"):
    """Sent when computing through slots failed while a model was loaded; `message` is the traceback.

    Followed by `generate_fallback`, or, if the run is to be reproducible, by its refusal.
    """


class GenerateFallback(_Notice, frozen=True, tag="generate_fallback"):
    """Sent when a model is loaded that slots cannot serve, and that transformers' `generate` serves instead."""


class OneRowAtATime(_Notice, frozen=True, tag="one_row_at_a_time"):
    """Sent after `generate_fallback` when samples of the model would depend on those that share their batch."""


class GraphsOff(_Notice, frozen=True, tag="graphs_off"):
    """Sent when a model's decoding cannot be captured as a CUDA graph and continues, more slowly, without."""


class PrefillHalved(_Notice, frozen=True, kw_only=True, tag="prefill_halved"):
    """Sent when a worker ran out of memory and computes prompts in smaller pieces from then on.

    `tokens` is the largest piece; None in lines of the first version.
    """

    tokens: int | None = None


class SlotsHalved(_Notice, frozen=True, kw_only=True, tag="slots_halved"):
    """Sent when a worker ran out of memory and decodes fewer samples at once from then on.

    `slots` is how many; None in lines of the first version.
    """

    slots: int | None = None


class WorkerRestarted(_Notice, frozen=True, tag="worker_restarted"):
    """Sent when a generation worker died and another takes its place; what it had not answered is asked again."""


class DeviceDropped(_Notice, frozen=True, kw_only=True, tag="device_dropped"):
    """Sent when the generation workers of a device kept dying and the run goes on with the other devices.

    The others answer its open requests.
    """

    device: str


class RequestCondemned(_Notice, frozen=True, kw_only=True, tag="request_condemned"):
    """Sent when generation workers died of one request, of which the remaining samples are answered as errors."""

    problem_id: str


class ServerUp(_Notice, frozen=True, kw_only=True, tag="server_up"):
    """Sent when a server answers, at the start and after it was down. What it does not say of its model is None."""

    url: str
    model: str
    root: str | None = None
    context_length: int | None = None


class ServerDown(_Notice, frozen=True, kw_only=True, tag="server_down"):
    """Sent when a server no longer answers, or serves another model; its samples wait, or go to another server."""

    url: str


class ServerOverloaded(_Notice, frozen=True, kw_only=True, tag="server_overloaded"):
    """Sent when a server refuses requests, at most every two seconds; `limit` is how many it is sent at once then."""

    url: str
    limit: int


class ServerLimit(_Event, frozen=True, kw_only=True, tag="server_limit"):
    """Sent when the number of requests that a server is sent at once has changed by a tenth, at most once a second."""

    url: str
    limit: int


class ServerFieldDropped(_Notice, frozen=True, kw_only=True, tag="server_field_dropped"):
    """Sent when a server rejects a field of requests and is asked without it. The samples' `engine` names it."""

    url: str
    field: str


class ServerFieldIgnored(_Notice, frozen=True, kw_only=True, tag="server_field_ignored"):
    """Sent when a server takes `temperature` or `seed` and answers as if it had not. The samples' `engine` names it."""

    url: str
    field: str


class ServerChanged(_Notice, frozen=True, kw_only=True, tag="server_changed"):
    """Sent when the fingerprint in a server's answers, its version or configuration, is another than before."""

    url: str
    fingerprint: str


class NodeJoined(_Notice, frozen=True, kw_only=True, tag="node_joined"):
    """Sent when a node of the cluster is ready to generate or to judge, which `role` says: engine or evaluator.

    `sandbox_tier` is how an evaluator confines programs there, with `workers` processes; `versions` are the node's.
    """

    node: str
    role: str
    workers: int
    sandbox_tier: str
    versions: dict[str, str] = {}


class NodeLost(_Notice, frozen=True, kw_only=True, tag="node_lost"):
    """Sent when a node of the cluster has left or does not answer; what it had not finished is given to others."""

    node: str
    role: str


class NodeRefused(_Notice, frozen=True, kw_only=True, tag="node_refused"):
    """Sent when a node of the cluster cannot be used: another version, too weak a sandbox, no such model there."""

    node: str
    role: str


class ClockCountsLoad(_Notice, frozen=True, tag="clock_counts_load"):
    """Sent at the start when the kernel does not count how long a process waits for a core.

    On a busy machine a slow program may then run out of time on the clock.
    """


class EvaluatorRestarted(_Notice, frozen=True, kw_only=True, tag="evaluator_restarted"):
    """Sent when an evaluator worker died or did not answer while it judged a program, and another takes its place.

    `problem_id` is the program's problem; empty for a program that was only executed, and in lines of the first
    version, where it begins the message.
    """

    problem_id: str = ""


class JudgingFailed(_Notice, frozen=True, kw_only=True, tag="judging_failed"):
    """Sent when a worker reports that it could not judge a program, the first time and the second.

    After the second the sample's status is `infrastructure_error`.

    `problem_id` is the program's problem; empty for a program that was only executed, and in lines of the first
    version, where it begins the message.
    """

    problem_id: str = ""


class VerdictCacheClosed(_Notice, frozen=True, tag="verdict_cache_closed"):
    """Sent when the file of the verdict cache can no longer be used; the run continues without it."""


EngineEvent = (
    PromptTooLong
    | SamplingRecommended
    | WeightsUnused
    | SlotsFailed
    | GenerateFallback
    | OneRowAtATime
    | GraphsOff
    | PrefillHalved
    | SlotsHalved
    | WorkerRestarted
    | DeviceDropped
    | RequestCondemned
    | ServerUp
    | ServerDown
    | ServerOverloaded
    | ServerLimit
    | ServerFieldDropped
    | ServerFieldIgnored
    | ServerChanged
)
"""The events that an engine sends."""

EvaluatorEvent = ClockCountsLoad | EvaluatorRestarted | JudgingFailed | VerdictCacheClosed
"""The events that the evaluator sends."""

ClusterEvent = NodeJoined | NodeLost | NodeRefused
"""The events that a cluster's engine and evaluator send beside those of their nodes."""

Event = (
    RunStarted
    | RunResumed
    | RunMerged
    | RunGauges
    | RunFinished
    | CoresDivided
    | EngineEvent
    | EvaluatorEvent
    | ClusterEvent
)
"""Everything that can happen."""


class UnknownEvent(msgspec.Struct, frozen=True):
    """A line of a kind unknown to this version: a newer one wrote the file. Only read, never sent."""

    kind: str
    at: float


class DamagedEvent(msgspec.Struct, frozen=True):
    """A line, counted from one, that cannot be read: something other than taco-stream wrote to the file. Never sent."""

    line: int


WrittenEvent = Event | UnknownEvent | DamagedEvent
"""The lines of `events.jsonl` as they are read."""
