"""Programs that take more than their share: memory, output, disk, threads."""

from hostile.program import ERROR, MEMORY, NOT_PASSED, OUTPUT, PASSED, TIME, attack, call_number, program, watch

PROGRAMS = (
    program("a list that grows", MEMORY | TIME, "x = [0]\nwhile True: x += x"),
    program("one huge bytearray", MEMORY, "bytearray(1 << 40)"),
    program("a huge integer", MEMORY | TIME, "x = 3\nwhile True: x *= x"),
    program("a shift to a huge integer", MEMORY, "1 << int('9' * 12)"),
    program("a huge text", MEMORY, "n = 10**12\nprint('a' * n)"),
    program("a huge range made a list", MEMORY | TIME, "list(range(10**12))"),
    program("memory mapped and touched", ERROR | MEMORY | TIME, """
        import mmap
        kept = []
        while True:
            kept.append(mmap.mmap(-1, 16 << 20)); kept[-1].write(b'x' * (16 << 20))
    """),
    program("shared memory mapped without end", ERROR | MEMORY, """
        import mmap
        kept = [mmap.mmap(-1, 64 << 20, flags=mmap.MAP_SHARED) for _ in range(10**6)]
    """),
    program("memory held by threads", NOT_PASSED, """
        import threading
        def hold():
            kept = []
            while True: kept.append(bytearray(1 << 20))
        threads = [threading.Thread(target=hold) for _ in range(8)]
        for each in threads: each.start()
        for each in threads: each.join()
        while True: bytearray(1 << 40)
    """),
    program("memory errors swallowed", TIME, """
        kept = []
        while True:
            try: kept.append(bytearray(1 << 20))
            except MemoryError: pass
    """),
    watch("threads without end meet a limit", """
        import threading
        waiting = threading.Event()
        started = 0
        try:
            while started < 5000:
                threading.Thread(target=waiting.wait, daemon=True).start(); started += 1
        except (RuntimeError, MemoryError):
            pass
        print("held" if started < 1000 else f"breach: {started} threads")
    """),
    watch("a few threads are allowed", """
        import threading
        threads = [threading.Thread(target=sum, args=([1, 2],)) for _ in range(4)]
        for each in threads: each.start()
        for each in threads: each.join()
        print("held")
    """, PASSED),
    attack("memory files without end", "[os.write(os.memfd_create(str(n)), b'x' * (1 << 20)) for n in range(10**5)]"),
    attack("the address space limit cannot be raised", """
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        try: resource.setrlimit(resource.RLIMIT_AS, (hard + 4096, hard + 4096))
        except ValueError: raise OSError
    """),
    attack("no limit can be raised through prlimit of another process", """
        import resource
        try: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))
        except ValueError: raise OSError
    """),
    program("a raised CPU limit does not lengthen the time", TIME, """
        import resource
        for pair in ((-1, -1), (1000, 1000), (1000, resource.getrlimit(resource.RLIMIT_CPU)[1])):
            try: resource.setrlimit(resource.RLIMIT_CPU, pair)
            except (OSError, ValueError): pass
        while True: pass
    """),
    program("a flood of standard output", OUTPUT, "while True: print('x' * 100000)"),
    program("a flood of standard error", OUTPUT | ERROR, "import sys\nwhile True: print('x' * 100000, file=sys.stderr)"),
    program("a flood with its errors swallowed", OUTPUT | TIME, """
        import os
        while True:
            try: os.write(1, b'x' * 100000)
            except OSError: pass
    """),
    program("a flood of every descriptor", OUTPUT | ERROR | TIME, """
        import os
        while True:
            for descriptor in range(64):
                try: os.write(descriptor, b'x' * 100000)
                except OSError: pass
    """),
    program("a sparse output of a terabyte", NOT_PASSED, "import os; os.pwrite(1, b'x', 1 << 40)"),
    program("an output stretched to a terabyte", NOT_PASSED, "import os; os.ftruncate(1, 1 << 40)"),
    program("an output allocated to a terabyte", NOT_PASSED, "import os; os.posix_fallocate(1, 0, 1 << 40)"),
    watch("the disk cannot be filled", """
        written, kept = 0, []
        try:
            for number in range(4096):
                kept.append(open(f"taco-stream-hostile-{number}", "wb"))
                written += kept[-1].write(b"x" * (1 << 19))
                kept[-1].flush()
                if number >= 32: kept.pop(0).close()
        except OSError:
            pass
        print("held" if written < 300 << 20 else f"breach: {written >> 20} MiB")
    """, PASSED),
    watch("a million files cannot be made", """
        made = 0
        try:
            for made in range(60_000): os.close(os.open(f"taco-stream-hostile-{made}", os.O_CREAT | os.O_WRONLY))
        except OSError:
            pass
        print("held" if made < 50_000 else f"breach: {made} files")
    """),
    watch("folders without end meet a limit", """
        made = 0
        try:
            for made in range(60_000): os.mkdir(f"taco-stream-hostile-{made}")
        except OSError:
            pass
        print("held" if made < 50_000 else f"breach: {made} folders")
    """),
    watch("open files are limited", """
        opened = []
        try:
            while len(opened) < 5000: opened.append(os.dup(1))
        except OSError:
            pass
        print("held" if len(opened) < 1000 else "breach")
    """),
    watch("signals queued to oneself without end meet a limit", """
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [40])
        for _ in range(3000): os.kill(os.getpid(), 40)
        queued = 0
        while signal.sigtimedwait([40], 0): queued += 1
        print("held" if queued < 200 else f"breach: {queued} signals")
    """),
    attack("a timer out of the user's quota", f"call({call_number(222, 107)}, 1, None, ctypes.byref(ctypes.c_int()))"),
    attack("memory cannot be locked", "call(151, 1) if os.uname().machine == 'x86_64' else call(230, 1)"),
)  # fmt: skip
