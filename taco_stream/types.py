"""The values that cross stages.

Every value here is an immutable `msgspec.Struct`: the same definition is the value in memory, the MessagePack frame
between a worker and its parent, and, but for a `Record`, the JSON line on disk. A value is parsed and checked once, at
the edge where it enters; everything inward trusts it.

Times are seconds, sizes are bytes, and both say so in their names. Indices count from zero.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

CHANGES_RESULTS = {"changes_results": True}
"""Marks a setting that must be the same when a run is resumed (`taco_stream.settings.setting` marks the others)."""


class SampleKey(NamedTuple):
    """Names one sample of a run: the problem and which of its samples."""

    problem_id: str
    sample_index: int


class SpecialJudge(StrEnum):
    """The class of a problem in the published list `output_spj.jsonl`."""

    NONE = "none"
    SEVERAL_ANSWERS = "several_answers"  # case 1: more than one output is right
    LETTER_CASE = "letter_case"  # case 2: compare case-folded
    FLOAT_TOLERANCE = "float_tolerance"  # case 3: 1e-6, absolute or relative


class ComparisonMode(StrEnum):
    """Which rule turns an execution into a verdict; all of them are in every record."""

    STRICT = "strict"
    OFFICIAL = "official"
    SPJ = "spj"


class Status(StrEnum):
    """The outcome of one program. The set is closed."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong_answer"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    RUNTIME_ERROR = "runtime_error"
    COMPILE_ERROR = "compile_error"
    NO_PROGRAM = "no_program"
    SANDBOX_VIOLATION = "sandbox_violation"
    NO_CHECKER = "no_checker"
    """Only under `spj`: several answers are right and this problem has no checker. Reported apart, never scored."""
    INFRASTRUCTURE_ERROR = "infrastructure_error"
    """The evaluator failed, not the program. Retried once, reported apart, never scored."""

    @property
    def is_scored(self) -> bool:
        """Whether the status says anything about the program, so that it counts towards pass@k."""
        return self not in (Status.INFRASTRUCTURE_ERROR, Status.NO_CHECKER)


class FinishReason(StrEnum):
    """Why a completion ended. The set is closed."""

    STOP = "stop"  # the model emitted an end-of-sequence token
    STOP_STRING = "stop_string"  # a stop string appeared; the text is cut before it
    LENGTH = "length"  # max_new_tokens were generated, or the model's context is full
    ERROR = "error"  # this one request failed; `Completion.error` says why
    CANCELLED = "cancelled"  # the run stopped before the sample was finished; never written to disk


class ExtractionMethod(StrEnum):
    """How the program was found in a completion's text."""

    WHOLE_TEXT = "whole_text"  # base models: everything before the first stop string
    FENCED_BLOCK = "fenced_block"  # the last complete Markdown code block
    UNCLOSED_BLOCK = "unclosed_block"  # a code block that the answer ends in: cut off, perhaps in the program
    TAGGED_CODE = "tagged_code"  # between tags such as <code> or [PYTHON]
    BARE_CODE = "bare_code"  # a chat answer without a fence that is itself code
    NONE = "none"  # no program was found


class ExportFormat(StrEnum):
    """The formats that a run can be written in."""

    TACO = "taco"  # generations.json, taco_results.json and taco_metrics.json of the original scripts
    EVALPLUS = "evalplus"  # samples.jsonl
    LIVECODEBENCH = "livecodebench"  # its custom evaluator's output file
    PARQUET = "parquet"  # one row per sample
    INSPECT = "inspect"  # a log that `inspect view` opens; needs the extra `inspect`


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One programming problem in TACO's columns.

    `tests` and `solutions` stay the JSON text of the source (`input_output` and `solutions` of TACO) until somebody
    needs them: tests are parsed inside an evaluator worker, solutions only by the replay engine and `audit`.
    `position` is the row's index in its dataset, by which `generations.json` and `output_spj.jsonl` count.
    `time_limit_seconds` and `memory_limit_bytes` are None if the source states none.
    """

    problem_id: str
    position: int
    question: str
    tests: str
    starter_code: str = ""
    fn_name: str | None = None
    difficulty: str = "UNKNOWN"
    skills: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    source: str = ""
    time_limit_seconds: float | None = None
    memory_limit_bytes: int | None = None
    special_judge: SpecialJudge = SpecialJudge.NONE
    solutions: str = "[]"


class TextPrompt(msgspec.Struct, frozen=True, tag="text"):
    """A prompt for a base model: tokenised unchanged."""

    text: str


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn of a conversation; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


class ChatPrompt(msgspec.Struct, frozen=True, tag="chat"):
    """A prompt for a chat model: rendered by the tokenizer's own chat template inside the generation worker."""

    messages: tuple[ChatMessage, ...]
    thinking: bool | None = None
    """Passed to templates that support `enable_thinking`; None leaves the template's default."""


Prompt = TextPrompt | ChatPrompt


class SamplingParameters(msgspec.Struct, frozen=True, kw_only=True):
    """How to sample, in transformers' own names: a group of `taco_stream.settings`.

    The first of the `stop` strings to appear in the generated text (never in the prompt) ends a sample; the text is cut
    before it.
    """

    temperature: Annotated[float, Meta(description="0 is greedy.", extra=CHANGES_RESULTS, ge=0)] = 0.2
    top_p: Annotated[float, Meta(description="Nucleus sampling; 1 is off.", extra=CHANGES_RESULTS, gt=0, le=1)] = 0.95
    top_k: Annotated[int, Meta(description="Keep the k likeliest tokens; 0 is off.", extra=CHANGES_RESULTS, ge=0)] = 0
    min_p: Annotated[
        float,
        Meta(description="Drop tokens below this share of the likeliest; 0 is off.", extra=CHANGES_RESULTS, ge=0, lt=1),
    ] = 0.0
    max_new_tokens: Annotated[int, Meta(description="Longest completion, in tokens.", extra=CHANGES_RESULTS, ge=1)] = (
        2048
    )
    stop: Annotated[tuple[str, ...], Meta(description="Further stop string; repeatable.", extra=CHANGES_RESULTS)] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the samples `sample_indices` of one problem's prompt.

    `seed` is the run's seed. The random numbers of a sample depend on (seed, problem_id, sample_index, token index) and
    nothing else, so a sample comes out the same whatever shares its batch.
    """

    problem_id: str
    prompt: Prompt
    sample_indices: tuple[int, ...]
    sampling: SamplingParameters
    seed: int = 0


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """One finished sample, a line of `completions.jsonl`.

    `text` has its stop string removed. `queue_seconds` runs from the request's arrival in the engine to its prefill,
    `generate_seconds` from there to its last token, which was there at `finished_at`, in seconds since the epoch (0 if
    it was not noted). `engine` names engine, model and settings that change the samples (dtype, quantisation). `error`
    says why if `finish_reason` is `error`.

    `reasoning` is the part that a server returns apart from the answer; a local model's is in `text`.
    `reasoning_tokens` are among `completion_tokens`; None if they were not counted. `reused_from` is the run that
    generated the sample, if it was another.
    """

    problem_id: str
    sample_index: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seed: int = 0
    engine: str = ""
    queue_seconds: float = 0.0
    generate_seconds: float = 0.0
    finished_at: float = 0.0
    error: str | None = None
    reasoning: str = ""
    reasoning_tokens: int | None = None
    reused_from: str = ""

    @property
    def key(self) -> SampleKey:
        """Names the sample this completes."""
        return SampleKey(self.problem_id, self.sample_index)


class Observations(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The observations from running a program's tests, up to the failing test that counts.

    `failed_test` is the original index of the first failing test, None if none failed. `test_statuses` has one
    status per test in the original order, and `test_cpu_seconds` the CPU time of each; both are there only if full
    results were asked for. `cpu_seconds` and `wall_seconds` are sums over the tests that ran; `peak_cpu_seconds` and
    `peak_memory_bytes` are the largest of them. `detail` is one sentence for a person (`ZeroDivisionError: division by
    zero (line 7)`, `line 2: printed 4, expected 5`). `stderr_tail` is the end of the failing test's standard error, and
    `output_head` the beginning of a wrong answer. `judged_in_program` says that the tests are code that had to run in
    the program's process, so that a program written to cheat could have forged this verdict.
    """

    failed_test: int | None = None
    tests_run: int = 0
    tests_total: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    detail: str = ""
    stderr_tail: str = ""
    output_head: str = ""
    test_statuses: tuple[Status, ...] | None = None
    test_cpu_seconds: tuple[float, ...] | None = None
    sandbox_tier: str = ""
    judged_in_program: bool = False


class Verdict(Observations, frozen=True, kw_only=True, omit_defaults=True):
    """The result of judging one program under one comparison mode."""

    status: Status


class ExecutionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one program did with one standard input, compared with nothing.

    `status` is a test's before its output is looked at: `passed` if the program ended within its limits with exit code
    0. `exit_code` is negative for a signal, and None if nothing ran (`compile_error`) or nothing is known
    (`infrastructure_error`); `detail` then has the reason. `stdout` is cut at the limit of output; of `stderr` the last
    64 KiB are kept. `wall_seconds` counts waiting for a core.
    """

    status: Status
    exit_code: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    detail: str = ""
    sandbox_tier: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One judged sample. A line of `results.jsonl` holds it in the shape of `store.record_line`.

    `program` is None if no program was found in the completion; `cut_before` and `cut_after` count the characters of
    the completion before it and after it, reasoning and repairs apart. `difficulty` and `skills` repeat the
    problem's, so that the file can be analysed on its own. `judge_seconds` runs from hand-over to verdict, queueing
    included.
    """

    problem_id: str
    sample_index: int
    program: str | None
    extraction: ExtractionMethod
    finish_reason: FinishReason
    verdicts: Mapping[ComparisonMode, Verdict]
    difficulty: str = "UNKNOWN"
    skills: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    generate_seconds: float = 0.0
    judge_seconds: float = 0.0
    engine: str = ""
    cut_before: int = 0
    cut_after: int = 0

    @property
    def key(self) -> SampleKey:
        """Names the sample this judges."""
        return SampleKey(self.problem_id, self.sample_index)

    @property
    def statuses(self) -> Mapping[ComparisonMode, Status]:
        """The status under each comparison mode."""
        return {mode: verdict.status for mode, verdict in self.verdicts.items()}
