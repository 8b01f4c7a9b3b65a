"""Programs that make processes, signal others, or change how others are scheduled."""

from hostile.program import (
    CAN_RUN_MACHINE_CODE,
    NOT_PASSED,
    PASSED,
    THREAD_BY_MACHINE_CODE,
    TIME,
    attack,
    call_number,
    program,
    watch,
)

FORK_BOMB = """
import os
while True:
    {fork}
"""

PROGRAMS = (
    program("a fork bomb", NOT_PASSED, FORK_BOMB.format(fork="os.fork()")),
    program("a fork bomb that swallows errors", TIME, """
        import os
        while True:
            try: os.fork()
            except OSError: pass
    """),
    program("a double-forked daemon", NOT_PASSED, """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        os.wait()
    """),
    attack("fork", "os.fork()"),
    attack("vfork and clone without threads", f"call({call_number(56, 220)}, 17, 0, 0, 0, 0)"),
    attack("clone3", """
        arguments = (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17)
        call(435, arguments, ctypes.sizeof(arguments))
    """),
    attack("clone into a new user namespace", f"call({call_number(56, 220)}, 0x10000000 | 17, 0, 0, 0, 0)"),
    attack("clone with the parent's parent", f"call({call_number(56, 220)}, 0x8000 | 17, 0, 0, 0, 0)"),
    attack("posix_spawn", "os.posix_spawn('/bin/true', ['true'], {})"),
    attack("subprocess", "import subprocess; subprocess.run(['/bin/echo', 'breach'])"),
    watch("os.system", "print('held' if os.system('echo breach') != 0 else 'breach')"),
    attack("exec of the interpreter", "os.execv(sys.executable, [sys.executable, '-c', 'print(\"breach\")'])"),
    attack("exec of a memory file", """
        descriptor = os.memfd_create("program", 0)
        os.write(descriptor, b"#!/bin/sh\\necho breach\\n")
        os.execve(descriptor, ["program"], {})
    """),
    attack("execveat", f"""
        call({call_number(322, 281)}, -100, b"/bin/true", (ctypes.c_char_p * 2)(b"true", None), None, 0)
    """),
    watch("multiprocessing", """
        import multiprocessing
        try:
            process = multiprocessing.get_context("fork").Process(target=print, args=("breach",))
            process.start(); process.join()
        except (OSError, ImportError):
            print("held")
        else:
            print("held" if process.exitcode else "breach")
    """),
    attack("pty.fork", "import pty; pty.fork()"),
    attack("kill the parent", "os.kill(os.getppid(), 9); time.sleep(0.2)"),
    attack("stop the parent", "os.kill(os.getppid(), 19)"),
    attack("interrupt the parent", "os.kill(os.getppid(), 2)"),
    attack("kill process 1", "os.kill(1, 9)"),
    attack("kill the evaluator's own parent", "os.kill(world['pid'], 15)"),
    attack("probe the evaluator's parent with signal 0", "os.kill(world['pid'], 0)"),
    watch("kill the own group and everything", """
        try: os.kill(world["pid"], 0)
        except OSError:
            for target in (0, -1):
                try: os.kill(target, 9)
                except OSError: pass
            print("held")
        else: print("breach")  # and the machine that the suite runs on lives on
    """),
    watch("no process in the first 2,000 can be signalled", """
        found = []
        for pid in [*range(1, 2000), *range(max(2, os.getppid() - 300), os.getpid() + 300)]:
            if pid != os.getpid():
                try: os.kill(pid, 0)
                except OSError: continue
                found.append(pid)
        print("breach" if found else "held", *found)
    """),
    attack("tgkill of the parent", f"call({call_number(234, 131)}, os.getppid(), os.getppid(), 10)"),
    attack("tkill of the parent", f"call({call_number(200, 130)}, os.getppid(), 10)"),
    attack("a queued signal to the parent", f"""
        information = (ctypes.c_int * 32)(10, 0, -1)
        call({call_number(129, 138)}, os.getppid(), 10, information)
    """),
    attack("a signal through a pidfd", f"""
        descriptor = call({call_number(434, 434)}, os.getppid(), 0)
        call({call_number(424, 424)}, descriptor, 10, 0, 0)
    """),
    attack("descriptors of another process through a pidfd", """
        descriptor = call(434, os.getppid(), 0)
        call(438, descriptor, 0, 0)
    """),
    attack("a signal to the parent by way of a pipe's owner", """
        import fcntl
        reader, writer = os.pipe()
        fcntl.fcntl(reader, fcntl.F_SETOWN, os.getppid())
        fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
        os.write(writer, b"x")
    """),
    attack("the parent's priority", "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)"),
    attack("everybody's priority", "os.setpriority(os.PRIO_USER, 0, 19)"),
    attack("the own priority raised", "os.nice(-5)"),
    attack("real-time scheduling", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"),
    attack("the parent's processors", "os.sched_setaffinity(os.getppid(), {0})"),
    attack("the parent's input and output priority", f"call({call_number(251, 30)}, 1, os.getppid(), (3 << 13))"),
    attack("the parent's limits", "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))"),
    attack("an own session, to outlive the kill of the group", "os.setsid()"),
    attack("the parent's process group", "os.setpgid(os.getpid(), os.getppid())"),
    attack("a death signal taken back", f"""
        if call({call_number(157, 167)}, 1, 0, 0, 0, 0) == 0:
            signal_number = ctypes.c_int(0)
            call({call_number(157, 167)}, 2, ctypes.byref(signal_number), 0, 0, 0)
            if signal_number.value: raise OSError
    """),
    watch("threads, pools of them and an event loop work", """
        import asyncio, concurrent.futures, queue, threading
        items, sums = queue.Queue(), []
        def add():
            while (item := items.get()) is not None: sums.append(item)
        threads = [threading.Thread(target=add) for _ in range(3)]
        for each in threads: each.start()
        for item in [*range(100), None, None, None]: items.put(item)
        for each in threads: each.join(timeout=60)
        with concurrent.futures.ThreadPoolExecutor(4) as pool: sums += pool.map(abs, range(-100, 0))
        sums.append(asyncio.run(asyncio.to_thread(sum, [1, 2])))
        print("held" if sum(sums) == 4950 + 5050 + 3 else sums)
    """, PASSED),
    attack("a shared wake, which reaches other processes", f"""
        call({call_number(202, 98)}, ctypes.byref(ctypes.c_int()), 1, 1, None, None, 0)
    """),
    attack("a wake at the thread's end", f"call({call_number(218, 96)}, None)"),
    attack("a table of files of one's own by way of closing some", "call(436, 60, 60, 2)"),
    *([
        watch("a thread with a table of files of its own", THREAD_BY_MACHINE_CODE + """
with_files, without = clone(FULL_THREAD), clone(FULL_THREAD & ~0x400)
print("held" if with_files > 0 > without else f"breach: {with_files} {without}")
"""),
    ] if CAN_RUN_MACHINE_CODE else []),
)  # fmt: skip
