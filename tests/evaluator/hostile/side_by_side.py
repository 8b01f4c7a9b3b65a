"""Pairs of programs that run at the same time in two workers: the first strikes, the second must not notice.

Each is one of the things that a program must not do to its neighbour. Both print `held` where all is well.
"""

from typing import NamedTuple

from hostile.program import (
    CAN_RUN_MACHINE_CODE,
    HELD,
    NOT_PASSED,
    PASSED,
    THREAD_BY_MACHINE_CODE,
    HostileProgram,
    On,
    call_number,
    watch,
)


class Pair(NamedTuple):
    """A striking program and its neighbour."""

    name: str
    striking: HostileProgram
    neighbour: HostileProgram


PEOPLE = "[*range(1, 400), *range(max(2, os.getpid() - 300), os.getpid() + 300)]"
"""Process numbers near one's own: inside a namespace of its own, and outside."""

FUTEX = call_number(202, 98)
LIBRARY_PAGE = """
            libc.mmap.restype = ctypes.c_void_p
            page = ctypes.c_void_p(libc.mmap(None, ctypes.c_long(4096), 1, 1, os.open(os.__file__, os.O_RDONLY), 0))
"""
"""Text: a page of a file that both programs may read and none write, which is the same page for both."""

PAIRS = (
    Pair(
        "a neighbour is not seen",
        watch("look for the neighbour", f"""
            found, until = set(), time.monotonic() + 0.3
            while time.monotonic() < until:
                for pid in {PEOPLE}:
                    try: found.add(open(f"/proc/{{pid}}/cmdline").read() and pid)
                    except OSError: pass
            print("held" if found <= {{os.getpid()}} else "breach")
        """, HELD),
        watch("be there to be seen", "time.sleep(0.5); print('held')", PASSED),
    ),
    Pair(
        "a neighbour is not signalled",
        watch("signal everybody near", f"""
            reached, until = 0, time.monotonic() + 0.3
            while time.monotonic() < until:
                for pid in {PEOPLE}:
                    if pid != os.getpid():
                        try: os.kill(pid, 18); reached += 1
                        except OSError: pass
            print("held" if not reached else "breach")
        """, HELD),
        watch("count signals", """
            import signal
            heard = []
            signal.signal(18, lambda *_: heard.append(1))
            until = time.monotonic() + 0.5
            while time.monotonic() < until: time.sleep(0.05)
            print("breach" if heard else "held")
        """, PASSED),
    ),
    Pair(
        "a neighbour is not slowed beyond its limit",
        watch("keep every core busy", """
            import hashlib, threading
            block = bytes(1 << 24)
            def work():
                while True: hashlib.sha256(block)
            threads = [threading.Thread(target=work) for _ in range(32)]
            for each in threads: each.start()
        """, NOT_PASSED),
        watch("work for a quarter of a second", """
            while time.process_time() < 0.25: pass
            print("held")
        """, PASSED),
    ),
    Pair(
        "a neighbour's scratch folder is not filled up",
        watch("fill the scratch folder", """
            try:
                for number in range(4096):
                    with open(f"taco-stream-hostile-{number}", "wb") as file: file.write(bytes(1 << 19))
            except OSError: pass
            time.sleep(0.3)
            print("held")
        """, PASSED),
        watch("use the scratch folder", """
            until = time.monotonic() + 0.4
            try:
                while time.monotonic() < until:
                    with open("notes", "wb") as file: file.write(bytes(100_000))
                    time.sleep(0.01)
            except PermissionError: pass  # where no test may write, none can be kept from it
            print("held")
        """, PASSED),
    ),
    Pair(
        "a neighbour finds nothing in its scratch folder that is not its own",
        watch("leave something", """
            try: open("left-for-the-neighbour", "w").write("x")
            except OSError: pass
            time.sleep(0.4)
            print("held")
        """, PASSED),
        watch("look for it", """
            until = time.monotonic() + 0.3
            while time.monotonic() < until and not os.path.exists("left-for-the-neighbour"): time.sleep(0.01)
            print("breach" if os.path.exists("left-for-the-neighbour") else "held")
        """, PASSED),
    ),
    Pair(
        "a neighbour's memory is not taken",
        watch("take memory", """
            kept, until = [], time.monotonic() + 0.3
            while time.monotonic() < until:
                try: kept.append(b"x" * (1 << 20))
                except MemoryError: time.sleep(0.01)
            print("held")
        """, PASSED),
        watch("use memory", """
            kept = bytearray(b"x") * (128 << 20)
            time.sleep(0.3)
            print("held")
        """, PASSED),
    ),
    Pair(
        "a neighbour that waits at a page of a library is not woken",
        watch("wake everybody at the page", f"""{LIBRARY_PAGE}
            until, woken = time.monotonic() + 0.4, 0
            while time.monotonic() < until:
                for operation in (1, 10):
                    woken += max(0, libc.syscall(ctypes.c_long({FUTEX}), page, operation, 1, None, None, -1))
                time.sleep(0.001)
            print("breach" if woken else "held")
        """, HELD),
        watch("wait at the page", f"""{LIBRARY_PAGE}
            word = ctypes.c_int.from_address(page.value).value
            soon, until, woken = (ctypes.c_long * 2)(0, 50_000_000), time.monotonic() + 0.6, 0
            while time.monotonic() < until:
                woken += libc.syscall(ctypes.c_long({FUTEX}), page, 0, word, soon, None, 0) == 0
            print("breach" if woken else "held")
        """, PASSED),
    ),
    *([Pair(
        "the processes that a user may have are not used up by threads without a stack",
        watch("start threads without a stack", THREAD_BY_MACHINE_CODE + """
started = 0
while started < 6000 and clone(FULL_THREAD) > 0 and os.getuid(): started += 1  # the kernel exempts root
print("held" if started < 6000 else "breach")
stdout.flush(); os._exit(0)
        """, HELD),
        watch("do nothing meanwhile", "time.sleep(0.1); print('held')", PASSED),
    )] if CAN_RUN_MACHINE_CODE else []),
)  # fmt: skip

assert all(each.problem is On.ATTACK for pair in PAIRS for each in (pair.striking, pair.neighbour))
