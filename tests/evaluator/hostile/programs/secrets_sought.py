"""Programs that look for what they must not know: expected outputs, the environment, other processes, files."""

from hostile.program import HELD, NOT_PASSED, PASSED, On, attack, call_number, program, watch

SEEK = """
def seek(values):
    for value in values:
        if isinstance(value, (str, bytes)):
            text = value if isinstance(value, str) else value.decode("latin-1")
            at = text.find("secret" + "-")
            if at >= 0: print(text[at:at + 39]); stdout.flush(); import os; os._exit(0)
"""

PROGRAMS = (
    program("expected outputs among the collector's objects", NOT_PASSED, SEEK + """
import gc
for each in gc.get_objects():
    try: seek(gc.get_referents(each))
    except Exception: pass
""", On.SECRET),
    program("expected outputs in the frames below", NOT_PASSED, SEEK + """
import sys
frame = sys._getframe()
while frame:
    for scope in (frame.f_locals, frame.f_globals):
        for value in list(scope.values()):
            seek([value, repr(value)])
    frame = frame.f_back
""", On.SECRET),
    program("expected outputs in the loaded modules", NOT_PASSED, SEEK + """
import sys
for module in list(sys.modules.values()):
    for value in list(getattr(module, "__dict__", {}).values()):
        try: seek([value, repr(value)])
        except Exception: pass
""", On.SECRET),
    program("expected outputs in the own memory", NOT_PASSED, """
import ctypes, re
for line in open("/proc/self/maps"):
    start, end = (int(each, 16) for each in line.split()[0].split("-"))
    if "r" in line.split()[1] and "[v" not in line:
        for found in re.findall(b"secret-[0-9a-f]{32}", ctypes.string_at(start, end - start)):
            print(found.decode()); break
""", On.SECRET),
    program("expected outputs in every descriptor", NOT_PASSED, SEEK + """
import os
for descriptor in range(256):
    try: seek([os.pread(descriptor, 1 << 20, 0)])
    except OSError: pass
    try: seek([os.read(descriptor, 1 << 20)])
    except OSError: pass
""", On.SECRET),
    program("expected outputs in the parent's memory", NOT_PASSED, """
import os, re
memory = open(f"/proc/{os.getppid()}/mem", "rb", 0)
for line in open(f"/proc/{os.getppid()}/maps"):
    start, end = (int(each, 16) for each in line.split()[0].split("-"))
    try: memory.seek(start); text = memory.read(end - start)
    except (OSError, ValueError): continue
    for found in re.findall(b"secret-[0-9a-f]{32}", text): print(found.decode()); break
""", On.SECRET),
    program("expected outputs in the evaluator's memory, by process_vm_readv", NOT_PASSED, f"""
import ctypes, os
libc = ctypes.CDLL(None)
buffer = ctypes.create_string_buffer(4096)
local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 4096)
libc.syscall({call_number(310, 270)}, os.getppid(), local, 1, local, 1, 0)
print(buffer.raw)
""", On.SECRET),
    program("expected outputs in the frames below, by a function that is called", NOT_PASSED, SEEK + """
def answer():
    import sys, gc
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            text = repr(value)
            if "secret" + "-" in text: return text[text.find("secret" + "-"):][:39]
        frame = frame.f_back
""", On.SECRET_CALL),
    watch("no secret in the environment", """
        names = [name for name in os.environ if "SECRET" in name or "TOKEN" in name or "KEY" in name]
        print("breach" if names else "held")
    """, PASSED),
    watch("no secret in the environment that the process was started with", """
        try: text = open("/proc/self/environ", "rb").read()
        except OSError: text = b""
        print("breach" if b"SECRET" in text else "held")
    """),
    watch("no secret in the parent's environment", """
        text = b""
        for pid in ("1", os.getppid(), world["pid"]):
            try: text += open(f"/proc/{pid}/environ", "rb").read()
            except OSError: pass
        print("breach" if b"SECRET" in text else "held")
    """),
    watch("no other process is to be seen in /proc", """
        try: names = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
        except OSError: names = []
        print("breach" if names else "held", *names)
    """),
    watch("no other process's command line is to be read", """
        found = []
        for pid in [*range(1, 3000), os.getppid(), world["pid"]]:
            if pid != os.getpid():
                try: found.append(open(f"/proc/{pid}/cmdline", "rb").read())
                except OSError: pass
        print("breach" if any(found) else "held")
    """),
    attack("the parent's memory", "open(f'/proc/{os.getppid()}/mem', 'rb')"),
    attack("the parent's descriptors", "os.listdir(f'/proc/{os.getppid()}/fd')"),
    attack("the parent's folder", "os.listdir(f'/proc/{os.getppid()}/cwd')"),
    attack("the parent's root", "os.listdir(f'/proc/{os.getppid()}/root')"),
    attack("a file outside", "open(world['victim']).read()"),
    attack("the names in a folder outside", "os.listdir(world['folder'])"),
    attack("a file outside by way of a link", "os.symlink(world['victim'], 'link'); open('link').read()"),
    attack("a file outside by way of the parent folder", "open('../' * 20 + world['victim'].lstrip('/')).read()"),
    attack("the users of the machine", "open('/etc/passwd').read()"),
    attack("the passwords of the machine", "open('/etc/shadow').read()"),
    attack(
        "the home folder, but for the way to the interpreter",
        """
        names = os.listdir(world["home"])
        if all(sys.base_prefix.startswith(os.path.join(world["home"], name)) for name in names): raise OSError
    """,
    ),
    attack("the evaluator's source", "open(world['source']).read()"),
    attack("the kernel's log", f"call({call_number(103, 116)}, 3, ctypes.create_string_buffer(100), 100)"),
    attack("the kernel's messages", "open('/dev/kmsg', 'rb')"),
    attack("the machine's memory", "open('/dev/mem', 'rb')"),
    attack("an opened file handle", f"""
        call({call_number(304, 265)}, -100, ctypes.create_string_buffer(128), 0)
    """),
    attack("inotify on a folder outside", f"""
        descriptor = call({call_number(294, 26)}, 0)
        call({call_number(254, 27)}, descriptor, world["folder"].encode(), 0xfff)
    """),
    attack("fanotify", f"call({call_number(300, 262)}, 0, 0)"),
    watch("no descriptor beyond the test's own is open", """
        known = {0, 1, 2, 3}
        extra = []
        for descriptor in range(4, 512):
            try: os.fstat(descriptor)
            except OSError: continue
            extra.append(descriptor)
        print("breach" if extra else "held", *extra)
    """, PASSED),
    watch("performance counters do not open", f"""
        attributes = (ctypes.c_uint32 * 32)(1, 128, 0)
        try: call({call_number(298, 241)}, attributes, 0, -1, -1, 0)
        except OSError: print("held")
        else: print("breach")
    """, HELD),
)  # fmt: skip
