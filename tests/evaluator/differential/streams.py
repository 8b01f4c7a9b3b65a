"""Reading standard input and printing, in all the ways that people do it."""

from differential.case import case

CASES = (
    case("input", "n = int(input()); print(n, sum(map(int, input().split())), input())"),
    case("input with a prompt", "print(repr(input('name? ')))"),
    case("input until its end", "try:\n    while True: print(input())\nexcept EOFError: print('end')"),
    case("input beyond its end", "for _ in range(9): print(input())"),
    case("input is sys.stdin.readline", "import sys\ninput = sys.stdin.readline\nprint(repr(input()), repr(input()))"),
    case("input from the buffer", "import sys\ninput = sys.stdin.buffer.readline\nprint(input(), input().split())"),
    case("input by a lambda", "import sys\ninput = lambda: sys.stdin.readline().rstrip('\\r\\n')\nprint([input() for _ in range(4)])"),
    case("read everything", "import sys\nprint(sys.stdin.read().split())"),
    case("read everything as bytes", "import sys\nprint(sys.stdin.buffer.read())"),
    case("read twice", "import sys\nprint(repr(sys.stdin.read()), repr(sys.stdin.read()))"),
    case("read a number of characters", "import sys\nprint([sys.stdin.read(4) for _ in range(7)])"),
    case("readlines", "import sys\nprint(sys.stdin.readlines())"),
    case("readlines with a hint", "import sys\nprint(sys.stdin.readlines(3))"),
    case("iterate over the lines", "import sys\nfor number, line in enumerate(sys.stdin): print(number, line, end='')"),
    case("next of the lines", "import sys\nprint(next(sys.stdin), sys.stdin.readline())"),
    case("iter with a sentinel", "print(list(iter(input, 'hello world')))"),
    case("map over stdin", "import sys\nprint(*map(str.strip, sys.stdin), sep='|')"),
    case("iterate over the buffer", "import sys\nprint([*sys.stdin.buffer])"),
    case("read1 and peek", "import sys\nprint(sys.stdin.buffer.peek(2)[:2], sys.stdin.buffer.read1(3))"),
    case("readinto", "import sys\nb = bytearray(5)\nprint(sys.stdin.buffer.readinto(b), b)"),
    case("text after bytes", "import sys\nprint(sys.stdin.buffer.readline(), sys.stdin.readline())"),
    case("bytes after text", "import sys\nprint(input(), sys.stdin.buffer.read())"),
    case("the raw stream", "import sys\nprint(sys.stdin.buffer.raw.read())"),
    case("open descriptor 0", "print(open(0).read().split())"),
    case("open descriptor 0 in binary", "print(open(0, 'rb').read())"),
    case("open descriptor 0 twice", "a = open(0, closefd=False).readline()\nprint(a, open(0).read())"),
    case("open /dev/stdin", "print(open('/dev/stdin').read())"),
    case("open /proc/self/fd/0", "print(open('/proc/self/fd/0').read())"),
    case("os.read", "import os\nprint(os.read(0, 5), os.read(0, 1 << 20), os.read(0, 5))"),
    case("os.read of the file's size", "import os\nprint(os.read(0, os.fstat(0).st_size).split())"),
    case("io.BytesIO of os.read", "import io, os\ninput = io.BytesIO(os.read(0, os.fstat(0).st_size)).readline\nprint(int(input()), input().decode())"),
    case("io.open with a size", "import io\nprint(io.open(0, 'rb', 16).readline())"),
    case("fdopen", "import os\nprint(os.fdopen(0, 'r', 1 << 16).read())"),
    case("mmap", "import mmap\nm = mmap.mmap(0, 0, access=mmap.ACCESS_READ)\nprint(m.readline(), m[:4], len(m))"),
    case("fileinput", "import fileinput\nfor line in fileinput.input(): print(fileinput.lineno(), line, end='')"),
    case("fileinput's own names", "import fileinput\nwith fileinput.input() as f:\n    print(f.readline(), f.isstdin(), f.filename())"),
    case("seek and tell", "import sys\nprint(sys.stdin.seekable(), sys.stdin.readline()); sys.stdin.seek(0); print(sys.stdin.read())"),
    case("stdin as a file", "import os, stat\nprint(stat.S_ISREG(os.fstat(0).st_mode), os.isatty(0), os.lseek(0, 0, 1))"),
    case("stdin replaced by a StringIO", "import sys, io\nsys.stdin = io.StringIO('9 9\\n')\nprint(input(), sys.__stdin__.read())"),
    case("stdin replaced by a file object", "import sys\nsys.stdin = open(0, closefd=False)\nprint(input(), input())"),
    case("stdin replaced by one's own", "import sys\nclass S:\n    def readline(self): return 'own\\n'\nsys.stdin = S()\nprint(input())"),
    case("stdin wrapped again", "import sys, io\nsys.stdin = io.TextIOWrapper(sys.stdin.buffer, 'latin-1')\nprint(input())"),
    case("stdin detached", "import sys, io\nb = sys.stdin.detach()\nprint(b.read())"),
    case("stdin reconfigured", "import sys\nsys.stdin.reconfigure(encoding='latin-1', newline='\\n')\nprint(ascii(sys.stdin.read()))", "é\r\n".encode()),
    case("stdin closed", "import sys\nsys.stdin.close()\nprint(sys.stdin.closed, open(0).read())"),
    case("stdin closed and read", "import sys\nsys.stdin.close()\nprint('before')\ninput()"),
    case("descriptor 0 closed", "import os\nos.close(0)\ntry: input()\nexcept OSError as e: print(e)"),
    case("dup of the descriptors", "import os, sys\nd = os.dup(1); os.write(d, b'dup\\n'); print(os.read(os.dup(0), 3))"),
    case("dup2 over stdout", "import os, sys\nos.dup2(os.open('/dev/null', os.O_WRONLY), 1)\nprint('nowhere')"),
    case("select on stdin", "import select, sys\nprint(bool(select.select([sys.stdin], [], [], 0)[0]))"),
    case("attributes of stdin", "import sys\ns = sys.stdin\nprint(s.name, s.mode, s.encoding, s.errors, s.newlines, s.line_buffering, s.fileno(), s.isatty(), s.readable(), s.writable(), s.closed)"),
    case("attributes of stdout", "import sys\ns = sys.stdout\nprint(s.name, s.mode, s.encoding, s.errors, s.newlines, s.line_buffering, s.write_through, s.fileno(), s.isatty(), s.seekable(), s.writable())"),
    case("attributes of stderr", "import sys\ns = sys.stderr\nprint(s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.fileno(), s.buffer.name)"),
    case("attributes of the layers", "import sys\nfor s in (sys.stdin, sys.stdout):\n    print(type(s.buffer).__name__, s.buffer.mode, s.buffer.name, type(s.buffer.raw).__name__, s.buffer.raw.closefd, s.buffer.raw.mode)"),
    case("repr of the streams", "import sys\nprint(sys.stdin, sys.stdout, sys.stderr, sys.stdin.buffer.raw)"),
    case("the dunder streams", "import sys\nprint(sys.__stdin__ is sys.stdin, sys.__stdout__ is sys.stdout, sys.__stderr__ is sys.stderr)"),
    case("write returns a count", "import sys\nprint(sys.stdout.write('abc\\n'), sys.stdout.buffer.write(b'xyz\\n'))"),
    case("print in the order of the layers", "import sys\nprint('one'); sys.stdout.flush(); sys.stdout.buffer.write(b'two\\n'); print('three')"),
    case("print in the order of the buffers", "import sys\nprint('one'); sys.stdout.buffer.write(b'two\\n'); sys.stdout.buffer.flush(); print('three')"),
    case("os.write before the buffer", "import os\nprint('late'); os.write(1, b'early\\n')"),
    case("os.write after a flush", "import os\nprint('first', flush=True); os.write(1, b'second\\n')"),
    case("print with everything", "print(1, 'a', None, sep='--', end='!\\n')\nprint()\nprint('x', end='')"),
    case("print to stderr", "import sys\nprint('err', file=sys.stderr); print('out')"),
    case("print to a StringIO", "import io\nb = io.StringIO(); print('x', file=b); print(repr(b.getvalue()))"),
    case("print by partial", "from functools import partial\nprint = partial(print, sep=',')\nprint(1, 2)"),
    case("print at the end by join", "out = []\nfor i in range(5): out.append(str(i))\nprint('\\n'.join(out))"),
    case("writelines", "import sys\nsys.stdout.writelines(f'{i}\\n' for i in range(5))"),
    case("stdout replaced by a StringIO", "import sys, io\nold, sys.stdout = sys.stdout, io.StringIO()\nprint('caught')\nold.write(sys.stdout.getvalue().upper())"),
    case("stdout replaced and left", "import sys, io\nprint('before')\nsys.stdout = io.StringIO()\nprint('lost')"),
    case("stdout replaced by a file", "import sys\nprint('one')\nsys.stdout = open(1, 'w', closefd=False)\nprint('two')"),
    case("stdout replaced by a buffered file", "import sys, io\nsys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, 'w', closefd=False), 1 << 20))\nprint('x' * 10)"),
    case("stdout without a flush", "import sys\nclass W:\n    def write(self, s): sys.__stdout__.write(s.upper())\nsys.stdout = W()\nprint('abc')"),
    case("stdout whose flush fails", "import sys\nclass W:\n    def write(self, s): sys.__stdout__.write(s)\n    def flush(self): raise OSError('no')\nsys.stdout = W()\nprint('abc')"),
    case("stdout with a flush of one's own", "import sys\nclass W:\n    held = []\n    def write(self, s): self.held.append(s)\n    def flush(self): sys.__stdout__.write(''.join(self.held)); self.held.clear()\nsys.stdout = W()\nprint('held')"),
    case("stdout None", "import sys\nprint('a'); sys.stdout = None\nprint('b')"),
    case("stdout deleted", "import sys\nprint('a')\ndel sys.stdout"),
    case("stdout closed", "import sys\nprint('a'); sys.stdout.close()"),
    case("stdout closed and printed to", "import sys\nprint('a'); sys.stdout.close(); print('b')"),
    case("descriptor 1 closed", "import os\nprint('a', flush=True); os.close(1)\nprint('b')"),
    case("stderr closed", "import sys\nsys.stderr.close(); print('a')"),
    case("stderr closed and an error", "import sys\nsys.stderr.close(); print('a')\n1/0"),
    case("stderr None and an error", "import sys\nsys.stderr = None; print('a')\n1/0"),
    case("stdout opened again unbuffered", "import sys, os\nsys.stdout = os.fdopen(sys.stdout.fileno(), 'wb', 0)\nsys.stdout.write(b'raw\\n')"),
    case("stdout line buffered", "import sys, os\nsys.stdout.reconfigure(line_buffering=True)\nprint('line'); sys.stdout.write('lost'); os._exit(0)"),
    case("stdout written through", "import sys, os\nsys.stdout.reconfigure(write_through=True)\nsys.stdout.write('kept'); os._exit(0)"),
    case("redirect_stdout", "import contextlib, io\nb = io.StringIO()\nwith contextlib.redirect_stdout(b): print('x')\nprint(repr(b.getvalue()))"),
    case("a large output", "for i in range(30000): print(i)"),
    case("a large line", "print('x' * 3_000_000)"),
    case("a large input", "import sys\nd = sys.stdin.buffer.read(); print(len(d), sum(map(int, d.split())))", b"\n".join(b"%d" % i for i in range(100000))),
    case("a large input by lines", "n = 0\nwhile True:\n    try: n += len(input())\n    except EOFError: break\nprint(n)", b"0123456789\n" * 20000),
    case("a line longer than any buffer", "print(len(input()), input())", b"y" * 100_000 + b"\nend\n"),
    case("empty input", "import sys\nprint(repr(sys.stdin.read()), repr(sys.stdin.readline()))", b""),
    case("empty input asked for", "input()", b""),
    case("input without a last line end", "print([input(), input()])", b"one\ntwo"),
    case("blank lines", "import sys\nprint(sys.stdin.read().split('\\n'))", b"\n\na\n\n\n"),
    case("FastIO", """
        import os, sys
        from io import BytesIO, IOBase
        class FastIO(IOBase):
            newlines = 0
            def __init__(self, file):
                self._fd = file.fileno()
                self.buffer = BytesIO()
                self.writable = "x" in file.mode or "r" not in file.mode
                self.write = self.buffer.write if self.writable else None
            def read(self):
                while True:
                    b = os.read(self._fd, max(os.fstat(self._fd).st_size, 8192))
                    if not b: break
                    ptr = self.buffer.tell()
                    self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
                self.newlines = 0
                return self.buffer.read()
            def readline(self):
                while self.newlines == 0:
                    b = os.read(self._fd, max(os.fstat(self._fd).st_size, 8192))
                    self.newlines = b.count(b"\\n") + (not b)
                    ptr = self.buffer.tell()
                    self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
                self.newlines -= 1
                return self.buffer.readline()
            def flush(self):
                if self.writable:
                    os.write(self._fd, self.buffer.getvalue())
                    self.buffer.truncate(0), self.buffer.seek(0)
        class IOWrapper(IOBase):
            def __init__(self, file):
                self.buffer = FastIO(file)
                self.flush = self.buffer.flush
                self.writable = self.buffer.writable
                self.write = lambda s: self.buffer.write(s.encode("ascii"))
                self.read = lambda: self.buffer.read().decode("ascii")
                self.readline = lambda: self.buffer.readline().decode("ascii")
        sys.stdin, sys.stdout = IOWrapper(sys.stdin), IOWrapper(sys.stdout)
        input = lambda: sys.stdin.readline().rstrip("\\r\\n")
        def main():
            n = int(input()); print(n, sum(map(int, input().split())))
        main()
    """),
    case("FastIO with its end at exit", """
        import sys, io, atexit
        buffer = io.BytesIO()
        sys.stdout = io.TextIOWrapper(buffer, "utf-8", write_through=True)
        @atexit.register
        def write():
            sys.__stdout__.buffer.write(buffer.getvalue()); sys.__stdout__.flush()
        print("by", "atexit")
    """),
)  # fmt: skip
