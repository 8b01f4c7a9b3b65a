"""The text report: every number in it, plain in a pipe, names as they are."""

import io
from collections.abc import Sequence

from rich.console import Console
from sample_values import finished, gauges, record
from test_summary import summarise_records

from taco_stream.events import (
    CoresDivided,
    DamagedEvent,
    DeviceDropped,
    PromptTooLong,
    RunResumed,
    UnknownEvent,
    WorkerRestarted,
    WrittenEvent,
)
from taco_stream.report.text import print_report
from taco_stream.statistics import EngineStatistics, Tail
from taco_stream.types import Record, Status


def printed(records: Sequence[Record], events: Sequence[WrittenEvent] = (), ks: tuple[int, ...] = (1,)) -> str:
    """What a pipe would get."""
    out = io.StringIO()
    print_report(summarise_records(records, events, ks), Console(file=out, width=120, highlight=False))
    return out.getvalue()


def test_scores_stand_with_their_interval_and_the_other_modes_beside() -> None:
    """The mid-P interval of 9 of 12."""
    records = [record(f"p{number}", 0, Status.WRONG_ANSWER if number < 3 else Status.PASSED) for number in range(12)]
    text = printed(records)
    (line,) = [line for line in text.splitlines() if line.startswith("strict (scored)")]
    assert line.split()[2:] == ["75.0", "%", "(45.9–93.2)", "12"]
    assert "official" in text
    assert "spj" in text


def test_a_pipe_gets_no_colour() -> None:
    assert "\x1b" not in printed([record()])


def test_difficulties_and_skills_are_split_where_there_are_several() -> None:
    records = [record("a", difficulty="EASY"), record("b", difficulty="HARD", skills=("Sorting", "Greedy algorithms"))]
    text = printed(records)
    assert [name for name in ("EASY", "HARD", "Sorting", "Greedy algorithms") if name in text] != []
    assert text.index("EASY") < text.index("HARD") < text.index("Sorting")
    assert "difficulty" not in printed(records[:1])


def test_names_in_brackets_are_not_taken_for_markup() -> None:
    text = printed([record("[red]p", 0, difficulty="[bold]"), record("b", 0), record("b", 1)], ks=(1, 2))
    assert "[red]p" in text
    assert "[bold]" in text


def test_what_is_missing_is_said() -> None:
    records = [record("a", 0), record("a", 1), record("a", 1), record("b", 0, Status.INFRASTRUCTURE_ERROR)]
    text = printed(records, [gauges(samples_expected=10)])
    assert "not complete: 3 of 10 samples are judged" in text
    assert "1 problems have fewer samples than the others: b" in text
    assert "1 duplicate samples" in text
    assert "1 samples were not scored (evaluator errors, no checker): b" in text


def test_a_run_without_a_verdict_has_no_tables() -> None:
    assert printed([], [gauges(samples_expected=10)]).splitlines()[0] == "not complete: 0 of 10 samples are judged"


def test_a_complete_run_has_no_complaints() -> None:
    text = printed([record("a", 0)], [gauges(samples_expected=1)])
    assert "not complete" not in text
    assert "fewer" not in text


def test_speed_and_overlap_are_said() -> None:
    event = finished(
        elapsed_seconds=100,
        generating_seconds=80,
        judging_seconds=70,
        overlapped_seconds=60,
        engine=EngineStatistics(completion_tokens=8000, row_seconds=9, row_seconds_available=10),
    )
    assert (
        "0:01:40 in total; 100 tokens/s while generating; occupancy 90 %; generating 80.0 s, judging 70.0 s; "
        "overlapping 60.0 s" in printed([record()], [event])
    )


def test_the_critical_path_and_the_tail_are_said() -> None:
    event = finished(
        elapsed_seconds=100,
        startup_seconds=10.0,
        first_token_seconds=10.5,
        first_verdict_seconds=12.0,
        generating_seconds=80,
        judging_seconds=70,
        overlapped_seconds=60,
        judging_idle_seconds=5.0,
        tail=Tail(seconds=20.0, mean_rows=1.5, problem_id="taco/9", sample_index=3, completion_tokens=2048),
    )
    lines = printed([record()], [event]).splitlines()[-3:]
    assert lines == [
        (
            "critical path: start-up 10.0 s, then generating alone 20.0 s, both 60.0 s, judging alone 10.0 s, neither "
            "0.0 s; bound by generating, overlap efficiency 88.9 %"
        ),
        "first token after 10.5 s; first verdict after 12.0 s; idle between samples: generating 0.0 s, judging 5.0 s",
        (
            "tail: no sample was left to begin in the last 20.0 s of generating (25 %), 1.5 were decoding on average, "
            "the last of them sample 3 of taco/9 (2,048 tokens)"
        ),
    ]


def test_a_short_tail_is_not_worth_a_line() -> None:
    tail = Tail(seconds=3.0, mean_rows=1.5, problem_id="taco/9", sample_index=3, completion_tokens=2048)
    assert "tail" not in printed([record()], [finished(elapsed_seconds=100, generating_seconds=80, tail=tail)])


def test_extraction_and_finish_reasons_are_counted() -> None:
    text = printed([record("a"), record("b")])
    assert "extraction: whole_text 2" in text
    assert "finish reason: stop 2" in text


def long_prompt(problem_id: str, prompt_tokens: int, left: int) -> PromptTooLong:
    return PromptTooLong(
        message="the prompt is too long",
        problem_id=problem_id,
        prompt_tokens=prompt_tokens,
        context_length=4096,
        new_tokens_wanted=512,
        new_tokens_left=left,
    )


def test_problems_whose_prompts_leave_too_little_room_are_counted_and_the_tightest_named() -> None:
    events = [long_prompt(f"p{number}", 4000, 96) for number in range(11)] + [long_prompt("q", 5000, 0)]
    text = printed([record()], [*events, *events])
    assert "12 problems have prompts that leave fewer new tokens than were asked for in a context of 4,096" in text
    named = "q (prompt 5,000, left 0), p0 (prompt 4,000, left 96), p1 (prompt 4,000, left 96) and 9 more"
    assert f"1 of them none, which were not generated: {named}\n" in text


def test_a_score_of_fewer_problems_than_the_others_says_so() -> None:
    text = printed([record("a", 0), record("a", 1), record("b", 0)], ks=(1, 2))
    assert "pass@2 is of the 1 problems with at least 2 scored samples, of 2" in text


def test_a_score_of_fewer_problems_than_its_row_says_of_how_many() -> None:
    text = printed([record("a", 0), record("a", 1), record("b", 0)], ks=(1, 2))
    (line,) = [line for line in text.splitlines() if line.startswith("official")]
    assert line.split()[1:] == ["100.0", "%", "100.0", "%", "of", "1", "2"]


def test_scores_of_too_few_problems_are_noted() -> None:
    records = [
        record(f"p{number}", difficulty="EASY" if number else "HARD", skills=("Sorting",)) for number in range(6)
    ]
    assert "fewer than 5 problems, too few for a reliable score: HARD (1)\n" in printed(records)
    assert "the score is of only 4 problems" in printed(records[:4])
    assert "too few for a reliable score" not in printed(records[1:])
    assert "of only" not in printed(records[1:])


def test_chat_answers_taken_for_programs_are_noted() -> None:
    fenced = "Here it is:\n```python\nprint(1)\n```\n"
    records = [
        record("a", 0, Status.COMPILE_ERROR, program=fenced),
        record("a", 1, Status.COMPILE_ERROR, program="print("),
        record("a", 2, Status.PASSED, program='print("```")'),
    ]
    assert "1 programs that do not compile hold Markdown fences: --prompt chat" in printed(records)


def test_a_device_that_was_dropped_and_workers_that_were_replaced_are_reported() -> None:
    message = "the generation worker on cuda:1 died: signal 9; the run goes on without cuda:1, on 1 of 2 devices"
    died = WorkerRestarted(message="died")
    text = printed([record()], [died, died, DeviceDropped(device="cuda:1", message=message)])
    assert message in text
    assert "generation workers that died or hung and were replaced: 2" in text


def test_the_newest_starts_division_of_the_cores_is_reported_with_its_reasons() -> None:
    def divided(message: str) -> CoresDivided:
        figures = {"workers": 1, "claimed_cores": 1, "generating_idle": 0.0, "judging_busy": 0.0, "programs_waiting": 0}
        return CoresDivided(message=message, **figures)

    first = [divided("3 evaluator workers: of an earlier start"), gauges(elapsed_seconds=5), RunResumed()]
    second = [divided("1 evaluator worker: why"), divided("2 evaluator workers: because"), gauges(elapsed_seconds=5)]
    text = printed([record()], [*first, *second])
    assert "cores: 1 evaluator worker: why; 2 evaluator workers: because" in text
    assert "an earlier start" not in text


def test_events_of_a_newer_version_are_noted() -> None:
    text = printed([record()], [UnknownEvent("moved", 1.0), UnknownEvent("moved", 2.0)])
    assert "events of kinds unknown to this version were left out: moved (2)" in text
    assert "newer version" not in printed([record()])


def test_damaged_events_are_named_by_their_lines() -> None:
    text = printed([record()], [gauges(elapsed_seconds=5), DamagedEvent(2), DamagedEvent(7)])
    assert "events.jsonl is damaged (line 2, 7)" in text


def test_a_report_of_three_ks_fits_into_eighty_columns() -> None:
    """In the widest case every score has an interval of its own and is of fewer problems than its row."""
    samples = {number: 100 if number < 20 else 20 if number < 100 else 1 for number in range(120)}
    records = [
        record(
            f"p{number}",
            index,
            difficulty=("MEDIUM_HARD", "EASY")[number % 2],
            skills=("Dynamic programming", "Sorting"),
        )
        for number, count in samples.items()
        for index in range(count)
    ]
    out = io.StringIO()
    print_report(summarise_records(records, ks=(1, 10, 100)), Console(file=out, width=80, highlight=False))
    tables = out.getvalue().partition("\nextraction")[0]
    assert all(len(line) <= 80 for line in tables.splitlines())
    names = [line.split("  ")[0] for line in tables.splitlines() if line.strip() and line[0] not in " ─"]
    assert names[:7] == ["mode", "strict (scored)", "official", "spj", "difficulty", "EASY", "MEDIUM_HARD"]
    assert names[7:] == ["skill", "Dynamic programming", "Sorting", "status", "passed"]
    assert "100.0 % of 20" in tables
