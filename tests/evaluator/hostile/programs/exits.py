"""Programs that end, or refuse to end, in ways an interpreter's own script would not."""

from hostile.program import ERROR, PASSED, TIME, WRONG, program

ANSWER = "print(sum(map(int, input().split())))"

PROGRAMS = (
    program("sys.exit(0) before the answer is no answer", WRONG, "import sys; sys.exit(0)"),
    program("os._exit(0) before the answer is no answer", WRONG, "import os; os._exit(0)"),
    program("os._exit(0) after a flushed answer keeps it", PASSED, f"import os; {ANSWER}; stdout.flush(); os._exit(0)"),
    program("os._exit(0) loses what was not flushed", WRONG, f"import os; {ANSWER}; os._exit(0)"),
    program("sys.exit with a text is an error", ERROR, f"import sys; {ANSWER}; sys.exit('bye')"),
    program("os._exit(3) after the answer is an error", ERROR, f"import os; {ANSWER}; stdout.flush(); os._exit(3)"),
    program("a closed file in the place of standard output loses no answer", PASSED, f"import os, sys; {ANSWER}; sys.stdout = open(os.devnull, 'w'); sys.stdout.close()"),
    program("abort is an error", ERROR, f"import os; {ANSWER}; stdout.flush(); os.abort()"),
    program("atexit may answer", PASSED, "import atexit\natexit.register(lambda: print(sum(map(int, input().split()))))"),
    program("atexit that ends the process loses the answer", WRONG, f"import atexit, os\natexit.register(os._exit, 0)\n{ANSWER}"),
    program("a file over descriptor 1 left unflushed still counts", PASSED, "f = open(1, 'w', closefd=False); f.write(str(sum(map(int, input().split()))))"),
    program("an os._exit that does nothing forges no verdict", WRONG | ERROR, "import os; os._exit = lambda code: None; print('no')"),
    program("a closed standard output is no answer", WRONG, "import sys; sys.stdout.close()"),
    program("closed descriptors are no answer", WRONG | ERROR, "import os; os.closerange(0, 64)"),
    program("sys.stdout = None is no answer", WRONG | ERROR, "import sys; sys.stdout = sys.__stdout__ = None; print(3)"),
    program("catching everything does not outlast the clock", TIME, """
        while True:
            try:
                while True: pass
            except BaseException: pass
    """),
    program("ignored signals and cancelled alarms do not stop the clock", TIME, """
        import signal
        signal.alarm(0); signal.setitimer(signal.ITIMER_REAL, 0); signal.setitimer(signal.ITIMER_PROF, 0)
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        while True: pass
    """),
    program("blocked signals and sleep do not stop the wall clock", TIME, """
        import signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        time.sleep(1000)
    """),
    program("a process that stops itself is killed", TIME, "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
    program("a thread that outlives the program is killed", TIME, f"""
        import threading, time
        threading.Thread(target=time.sleep, args=(1000,)).start()
        {ANSWER}
    """),
    program("a daemon thread does not hold an answer up", PASSED, f"""
        import threading, time
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        {ANSWER}
    """),
    program("a __del__ that hangs is killed", TIME, f"""
        class Hang:
            def __del__(self):
                while True: pass
        hang = Hang()
        {ANSWER}
    """),
    program("an atexit that hangs is killed", TIME, f"""
        import atexit
        def hang():
            while True: pass
        atexit.register(hang)
        {ANSWER}
    """),
    program("a __str__ that hangs is killed", TIME, """
        class Hang:
            def __str__(self):
                while True: pass
        print(Hang())
    """),
    program("an excepthook that hangs is killed", TIME, """
        import sys
        def hang(*_):
            while True: pass
        sys.excepthook = hang
        raise ValueError
    """),
    program("an exception whose text raises is an error", ERROR, """
        class Bad(Exception):
            def __str__(self): raise Bad
        raise Bad
    """),
)  # fmt: skip
