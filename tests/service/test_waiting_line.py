"""Admission, turns and deadlines of the service, on a clock that the test sets."""

import math
from collections.abc import Hashable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from taco_stream.service.waiting_line import NotAdmitted, Ticket, TicketState, WaitingLine


def line_with(
    *, places: int = 2, max_waiting: int = 10, max_wait_seconds: float = 100.0, mean: float = 0.0
) -> WaitingLine:
    line = WaitingLine(places=places, max_waiting=max_waiting, max_wait_seconds=max_wait_seconds)
    if mean:
        (ticket,) = admit(line, "earlier", 1, now=0.0)
        line.take_turns(0.0)
        line.leave(ticket, mean, is_finished=True)
    return line


def admit(
    line: WaitingLine, client: Hashable, count: int, *, now: float, deadline: float = math.inf, is_patient: bool = False
) -> Sequence[Ticket]:
    admitted = line.admit(client, count, now, deadline=deadline, is_patient=is_patient)
    assert not isinstance(admitted, NotAdmitted), admitted
    return admitted


def refused(line: WaitingLine, client: Hashable, count: int, *, now: float, deadline: float = math.inf) -> NotAdmitted:
    refusal = line.admit(client, count, now, deadline=deadline)
    assert isinstance(refusal, NotAdmitted)
    return refusal


def test_no_more_run_than_there_are_places() -> None:
    line = line_with(places=2)
    tickets = admit(line, "a", 3, now=0.0)
    assert line.take_turns(0.0) == tickets[:2]
    assert line.take_turns(0.0) == []
    line.leave(tickets[0], 1.0, is_finished=True)
    assert line.take_turns(1.0) == tickets[2:]


def test_clients_take_turns_whatever_the_length_of_their_lines() -> None:
    line = line_with(places=4)
    first = admit(line, "a", 5, now=0.0)
    second = admit(line, "b", 2, now=0.0)
    assert line.take_turns(0.0) == [first[0], second[0], first[1], second[1]]


def test_a_full_line_refuses_the_whole_request_and_says_when_to_come_back() -> None:
    line = line_with(places=1, max_waiting=2, mean=4.0)
    admit(line, "a", 1, now=0.0)
    line.take_turns(0.0)
    admit(line, "a", 1, now=0.0)
    refusal = refused(line, "b", 2, now=0.0)
    assert refusal == NotAdmitted("1 programs are waiting, and at most 2 may", 4)
    admit(line, "b", 1, now=0.0)
    assert line.waiting == 2


def test_free_places_are_room_too() -> None:
    line = line_with(places=2, max_waiting=1)
    tickets = admit(line, "a", 3, now=0.0)
    assert len(line.take_turns(0.0)) == 2
    assert line.waiting == 1
    line.leave(tickets[0], 1.0, is_finished=True)
    assert line.take_turns(1.0) == tickets[2:]


def test_a_request_that_would_wait_for_too_long_is_refused_when_it_arrives() -> None:
    line = line_with(places=2, max_waiting=100, max_wait_seconds=10.0, mean=2.0)
    admit(line, "a", 2 + 10, now=0.0)
    line.take_turns(0.0)
    assert line.predict_wait("a") == 11.0
    assert refused(line, "a", 1, now=0.0) == NotAdmitted("it would be about 11 s until a program is begun", 1)


def test_a_newcomers_wait_is_predicted_by_its_turn_and_not_by_the_length_of_other_lines() -> None:
    line = line_with(places=2, max_waiting=100, max_wait_seconds=10.0, mean=2.0)
    admit(line, "a", 2 + 20, now=0.0)
    line.take_turns(0.0)
    assert line.predict_wait("a") == 21.0
    assert line.predict_wait("b") == 2.0
    admit(line, "b", 1, now=0.0)


def test_with_a_deadline_the_last_program_counts() -> None:
    line = line_with(places=1, max_waiting=100, mean=1.0)
    admit(line, "a", 1, now=0.0)
    line.take_turns(0.0)
    assert refused(line, "b", 5, now=0.0, deadline=5.0).retry_seconds == 1
    admit(line, "b", 4, now=0.0, deadline=5.0)


def test_a_patient_caller_is_never_refused() -> None:
    line = line_with(places=1, max_waiting=1, max_wait_seconds=1.0, mean=10.0)
    assert len(admit(line, "a", 50, now=0.0, deadline=20.0, is_patient=True)) == 50


def test_work_that_could_not_be_done_in_time_is_not_begun() -> None:
    line = line_with(places=1, mean=2.0)
    (running,) = admit(line, "a", 1, now=0.0)
    line.take_turns(0.0)
    (hopeless,) = admit(line, "b", 1, now=0.0, deadline=10.0, is_patient=True)
    (hopeful,) = admit(line, "c", 1, now=0.0, deadline=20.0, is_patient=True)
    line.leave(running, 9.0, is_finished=True)
    assert line.take_turns(9.0) == [hopeless, hopeful]
    assert (hopeless.state, hopeful.state) == (TicketState.LATE, TicketState.RUNNING)
    assert (line.late, line.running, line.waiting) == (1, 1, 0)


def test_a_mean_beyond_the_deadline_does_not_shut_everybody_out_for_ever() -> None:
    line = line_with(places=1, mean=60.0)
    (ticket,) = admit(line, "a", 1, now=100.0, deadline=110.0)
    line.take_turns(101.0)
    assert ticket.state is TicketState.RUNNING
    line.leave(ticket, 102.0, is_finished=True)
    assert line.mean_seconds < 60.0


def test_four_times_too_much_work_does_not_keep_the_service_from_finishing_any() -> None:
    """Patient callers, each with a deadline of ten seconds, ask for 16 programs a second where four can be done."""
    line = line_with(places=4)
    seconds, deadline_seconds = 1.0, 10.0
    waiting: list[Ticket] = []
    running: list[Ticket] = []
    for step in range(16 * 60):
        now = step / 16
        for ticket in [each for each in running if now >= min(each.began_at + seconds, each.deadline)]:
            running.remove(ticket)
            line.leave(ticket, now, is_finished=now >= ticket.began_at + seconds)
        for ticket in [each for each in waiting if now >= each.deadline]:
            waiting.remove(ticket)
            line.leave(ticket, now, is_finished=False)
        waiting += admit(line, step, 1, now=now, deadline=now + deadline_seconds, is_patient=True)
        for ticket in line.take_turns(now):
            waiting.remove(ticket)
            if ticket.state is TicketState.RUNNING:
                running.append(ticket)
    assert line.finished >= 4 * 58
    assert line.late + line.finished + line.running + line.waiting == 16 * 60 - line.withdrawn
    assert line.waiting <= 16 * deadline_seconds


def test_the_mean_follows_what_programs_take() -> None:
    line = line_with(mean=1.0)
    for _ in range(40):
        (ticket,) = admit(line, "a", 1, now=0.0)
        line.take_turns(0.0)
        line.leave(ticket, 5.0, is_finished=True)
    assert 4.9 < line.mean_seconds < 5.0


def test_programs_that_were_cut_short_do_not_lower_the_mean() -> None:
    line = line_with(places=1, mean=2.0)
    for seconds, mean in ((0.01, 2.0), (12.0, 3.0)):
        (ticket,) = admit(line, "a", 1, now=0.0)
        line.take_turns(0.0)
        line.leave(ticket, seconds, is_finished=False)
        assert line.mean_seconds == mean
    assert line.withdrawn == 2


def test_what_is_left_after_its_deadline_is_late_whether_it_ran_or_not() -> None:
    line = line_with(places=1)
    tickets = admit(line, "a", 2, now=0.0, deadline=5.0)
    line.take_turns(0.0)
    for ticket in tickets:
        line.leave(ticket, 5.0, is_finished=False)
    assert (line.late, line.withdrawn, line.finished) == (2, 0, 0)


def test_withdrawn_work_makes_room_and_leaves_once() -> None:
    line = line_with(places=1, max_waiting=2)
    tickets = admit(line, "a", 3, now=0.0)
    line.take_turns(0.0)
    for _ in range(2):
        line.leave(tickets[1], 1.0, is_finished=False)
    assert (line.waiting, line.running, line.withdrawn) == (1, 1, 1)
    assert len(admit(line, "b", 1, now=1.0)) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60))
def test_whatever_happens_every_program_is_in_one_place_and_predictions_match_the_turns(
    steps: list[tuple[int, int]],
) -> None:
    line = line_with(places=2, max_waiting=20, mean=1.0)
    open_tickets: list[Ticket] = []
    for now, (action, number) in enumerate(steps, start=1):
        if action <= 1:
            admitted = line.admit(number % 3, number, now)
            open_tickets += [] if isinstance(admitted, NotAdmitted) else admitted
        elif action == 2:
            line.take_turns(now)
        elif open_tickets:
            line.leave(open_tickets.pop(number % len(open_tickets)), now, is_finished=number % 2 == 0)
        states = [ticket.state for ticket in open_tickets]
        assert line.waiting == states.count(TicketState.WAITING) <= 20
        assert line.running == states.count(TicketState.RUNNING) <= 2
    lengths = {
        client: sum(t.client == client and t.state is TicketState.WAITING for t in open_tickets) for client in range(3)
    }
    ahead = {client: sum(min(other, length + 1) for other in lengths.values()) for client, length in lengths.items()}
    for client, before in ahead.items():
        assert line.predict_wait(client) == max(0, before + line.running - 1) * line.mean_seconds / 2
