"""What the filters answer, call by call and on both machines, by interpreting them as the kernel does."""

import errno
import platform
import re
from pathlib import Path

import pytest

from taco_stream.evaluator.sandbox import seccomp
from taco_stream.evaluator.sandbox.seccomp import ALLOW, KILL_PROCESS, Instruction
from taco_stream.evaluator.sandbox.syscall_numbers import MACHINES

NOT_PERMITTED, NO_SUCH_CALL, NO_TERMINAL = (0x50000 | number for number in (errno.EPERM, errno.ENOSYS, errno.ENOTTY))
LONGEST = 4096
"""Instructions that the kernel takes in one filter."""


@pytest.fixture(params=MACHINES)
def numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    monkeypatch.setattr(seccomp, "of_this_machine", lambda: MACHINES[request.param])
    return MACHINES[request.param][1]


def answer(instructions: list[Instruction], number: int, *arguments: int, machine: int | None = None) -> int:
    """What a filter answers to a call."""
    found = seccomp.of_this_machine()
    assert found is not None
    data = {0: number, 4: found[0] if machine is None else machine}
    data |= {16 + 8 * place: argument & 0xFFFFFFFF for place, argument in enumerate((*arguments, 0, 0, 0)[:6])}
    position = accumulator = 0
    while True:
        code, if_true, if_false, value = instructions[position]
        position += 1
        if code == seccomp.RETURN:
            return value
        if code == seccomp.LOAD:
            accumulator = data[value]
        elif code == seccomp.AND:
            accumulator &= value
        else:
            holds = {
                seccomp.EQUAL: accumulator == value,
                seccomp.AT_LEAST: accumulator >= value,
                seccomp.ANY_BIT: bool(accumulator & value),
            }[code]
            position += if_true if holds else if_false


@pytest.mark.parametrize(
    "name",
    ["ptrace", "bpf", "mount", "unshare", "io_uring_setup", "keyctl", "process_vm_readv", "userfaultfd", "execve"],
)
def test_what_only_an_attack_calls_ends_the_process(numbers: dict[str, int], name: str) -> None:
    assert answer(seccomp.zygote_filter(), numbers[name]) == KILL_PROCESS


def test_a_pair_of_sockets_is_local_and_of_streams(numbers: dict[str, int]) -> None:
    local, internet, stream, datagram = 1, 2, 1, 2
    assert answer(seccomp.zygote_filter(), numbers["socketpair"], local, stream) == ALLOW
    assert answer(seccomp.zygote_filter(), numbers["socketpair"], local, datagram) == NOT_PERMITTED
    assert answer(seccomp.zygote_filter(), numbers["socketpair"], internet, stream) == NOT_PERMITTED


@pytest.mark.parametrize("command", [5, 6, 7, 8, 36, 37, 38, 1024, 1033])
def test_fcntl_sets_no_lock_lease_owner_or_seal(numbers: dict[str, int], command: int) -> None:
    assert answer(seccomp.zygote_filter(), numbers["fcntl"], 0, command) == NOT_PERMITTED


@pytest.mark.parametrize(
    "name",
    [
        *("socket", "connect", "flock", "mkdirat", "symlinkat", "setuid", "memfd_create", "tkill"),
        *("setsockopt", "set_tid_address"),
    ],
)
def test_what_a_careless_program_tries_is_not_permitted(numbers: dict[str, int], name: str) -> None:
    assert answer(seccomp.zygote_filter(), numbers[name]) == NOT_PERMITTED


@pytest.mark.parametrize("name", ["read", "write", "openat", "mmap", "futex", "exit_group", "recvmsg", "wait4"])
def test_what_an_interpreter_needs_is_allowed_by_both_filters(numbers: dict[str, int], name: str) -> None:
    assert answer(seccomp.zygote_filter(), numbers[name]) == ALLOW
    assert answer(seccomp.per_test_filter(7), numbers[name]) == ALLOW


def test_a_call_that_nobody_thought_of_is_no_such_call(numbers: dict[str, int]) -> None:
    assert answer(seccomp.zygote_filter(), 2000) == NO_SUCH_CALL


def test_clone3_is_no_such_call_for_its_flags_lie_in_memory(numbers: dict[str, int]) -> None:
    assert answer(seccomp.zygote_filter(), numbers["clone3"]) == NO_SUCH_CALL


def test_another_machine_s_calls_end_the_process(numbers: dict[str, int]) -> None:
    assert answer(seccomp.zygote_filter(), numbers["read"], machine=0x40000003) == KILL_PROCESS


def test_x32_calls_end_the_process(numbers: dict[str, int]) -> None:
    assert answer(seccomp.zygote_filter(), numbers["read"] | 0x40000000) == KILL_PROCESS


def test_the_zygote_forks_but_opens_no_namespace(numbers: dict[str, int]) -> None:
    assert answer(seccomp.zygote_filter(), numbers["clone"], 0x01200011) == ALLOW
    assert answer(seccomp.zygote_filter(), numbers["clone"], 0x10000011) == KILL_PROCESS


def test_a_test_starts_threads_but_no_process(numbers: dict[str, int]) -> None:
    assert answer(seccomp.per_test_filter(7), numbers["clone"], 0x003D0F00) == ALLOW
    assert answer(seccomp.per_test_filter(7), numbers["clone"], 0x01200011) == NOT_PERMITTED


def test_a_thread_shares_its_table_of_files(numbers: dict[str, int]) -> None:
    assert answer(seccomp.zygote_filter(), numbers["clone"], 0x003D0F00) == ALLOW
    assert answer(seccomp.zygote_filter(), numbers["clone"], 0x003D0B00) == NOT_PERMITTED
    assert answer(seccomp.zygote_filter(), numbers["close_range"], 3, 9, 0) == ALLOW
    assert answer(seccomp.zygote_filter(), numbers["close_range"], 3, 9, 2) == NOT_PERMITTED


def test_a_process_waits_for_others_at_an_address_and_wakes_only_itself(numbers: dict[str, int]) -> None:
    private, by_the_wall_clock = 128, 256
    wait, wait_for_bits, others = 0, 9, {*range(14)} - {0, 9}
    for operation in (wait, wait_for_bits, wait_for_bits | by_the_wall_clock):
        assert answer(seccomp.zygote_filter(), numbers["futex"], 0, operation) == ALLOW
    for operation in others:
        assert answer(seccomp.zygote_filter(), numbers["futex"], 0, operation | private) == ALLOW
        for flags in (0, by_the_wall_clock, 1 << 30):
            assert answer(seccomp.zygote_filter(), numbers["futex"], 0, operation | flags) == NOT_PERMITTED


@pytest.mark.parametrize("name", ["mincore", "fadvise64"])
def test_no_call_reads_or_empties_the_page_cache(numbers: dict[str, int], name: str) -> None:
    assert answer(seccomp.zygote_filter(), numbers[name]) == NO_SUCH_CALL


@pytest.mark.parametrize("name", ["kill", "tgkill", "prlimit64"])
def test_a_test_reaches_itself_and_no_other_process(numbers: dict[str, int], name: str) -> None:
    assert answer(seccomp.per_test_filter(7), numbers[name], 7) == ALLOW
    assert [answer(seccomp.per_test_filter(7), numbers[name], other) for other in (1, 6, 8, -1, -7)] == [
        NOT_PERMITTED
    ] * 5


def test_a_test_signals_no_group(numbers: dict[str, int]) -> None:
    assert answer(seccomp.per_test_filter(7), numbers["kill"], 0) == NOT_PERMITTED


def test_a_test_changes_no_flag_of_its_process(numbers: dict[str, int]) -> None:
    assert answer(seccomp.per_test_filter(7), numbers["prctl"], 15) == ALLOW
    assert [answer(seccomp.per_test_filter(7), numbers["prctl"], option) for option in (1, 4, 22)] == [
        NOT_PERMITTED
    ] * 3


def test_only_questions_may_be_asked_of_devices(numbers: dict[str, int]) -> None:
    assert answer(seccomp.zygote_filter(), numbers["ioctl"], 0, 0x5401) == ALLOW
    assert answer(seccomp.zygote_filter(), numbers["ioctl"], 0, 0x5412) == NO_TERMINAL


def test_the_filter_of_each_test_is_short_for_it_is_paid_per_test(numbers: dict[str, int]) -> None:
    assert len(seccomp.per_test_filter(7)) < 40
    assert len(seccomp.zygote_filter()) < LONGEST


def test_the_tables_agree_with_this_system_s_headers() -> None:
    header = Path("/usr/include/asm-generic/unistd.h" if platform.machine() == "aarch64" else "/usr/include")
    header = header if header.is_file() else header / "x86_64-linux-gnu/asm/unistd_64.h"
    if not header.is_file() or platform.machine() not in MACHINES:
        pytest.skip("this system has no kernel headers to compare with")
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    table = MACHINES[platform.machine()][1]
    assert {name: int(defined[name]) for name in table if name in defined} == {
        name: number for name, number in table.items() if name in defined
    }
    assert len(table.keys() & defined.keys()) > 200
