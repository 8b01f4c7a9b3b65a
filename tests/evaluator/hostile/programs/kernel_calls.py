"""Programs that reach for the kernel's own tools. Those the design names must kill; the others may be refused."""

from hostile.program import ERROR, HELD, NOT_PASSED, VIOLATION, On, attack, call_number, program, watch


def system_call(name: str, x86_64: int, aarch64: int, arguments: str, *, kills: bool = False):
    """A program that makes one system call, with arguments that an unconfined process may well succeed with."""
    return attack(name, f"call({call_number(x86_64, aarch64)}, {arguments})", VIOLATION if kills else HELD)


BUFFER = "ctypes.create_string_buffer(256)"

PROGRAMS = (
    watch("ctypes itself works, so that the others are refused and not broken", f"print('held' if call({call_number(39, 172)}) == os.getpid() else 'broken')"),
    system_call("ptrace of oneself", 101, 117, "0, 0, 0, 0", kills=True),
    system_call("ptrace of the parent", 101, 117, "16, os.getppid(), 0, 0", kills=True),
    system_call("process_vm_readv", 310, 270, "os.getpid(), 0, 0, 0, 0, 0", kills=True),
    system_call("process_vm_writev", 311, 271, "os.getpid(), 0, 0, 0, 0, 0", kills=True),
    system_call("unshare of the user namespace", 272, 97, "0x10000000", kills=True),
    system_call("unshare of nothing", 272, 97, "0", kills=True),
    system_call("setns", 308, 268, "0, 0"),
    system_call("mount", 165, 40, "b'none', b'.', b'tmpfs', 0, None", kills=True),
    system_call("umount", 166, 39, "b'/', 2"),
    system_call("the new mount calls", 430, 430, "b'tmpfs', 0"),
    system_call("open_tree", 428, 428, "-100, b'/', 1"),
    system_call("pivot_root", 155, 41, "b'.', b'.'"),
    system_call("io_uring_setup", 425, 425, f"1, {BUFFER}", kills=True),
    system_call("io_uring_enter", 426, 426, "0, 0, 0, 0, None, 0", kills=True),
    system_call("bpf", 321, 280, f"0, {BUFFER}, 72", kills=True),
    system_call("keyctl", 250, 219, "0, -3, 0", kills=True),
    system_call("add_key", 248, 217, "b'user', b'taco', b'x', 1, -3"),
    system_call("request_key", 249, 218, "b'user', b'taco', None, 0"),
    system_call("userfaultfd", 323, 282, "1"),
    system_call("kexec_load", 246, 104, "0, 0, None, 0"),
    system_call("init_module", 175, 105, "None, 0, b''"),
    system_call("delete_module", 176, 106, "b'no_such_module', 0"),
    system_call("swapon", 167, 224, "b'/none', 0"),
    system_call("sethostname", 170, 161, "b'hostile', 7"),
    system_call("the clock set", 227, 112, "0, None"),
    system_call("the clock adjusted", 159, 171, BUFFER),
    system_call("accounting", 163, 89, "b'./none'"),
    system_call("quotactl", 179, 60, f"0x80000700, None, 0, {BUFFER}"),
    system_call("a personality without address randomisation", 135, 92, "0x0040000"),
    system_call("memory secret to the kernel", 447, 447, "0"),
    system_call("a message queue", 68, 186, "0x7AC0, 0o1666"),
    system_call("semaphores", 64, 190, "0x7AC0, 1, 0o1666"),
    system_call("shared memory", 29, 194, "0x7AC0, 4096, 0o1666"),
    system_call("a POSIX message queue", 240, 180, "b'taco', 0x42, 0o666, None"),
    system_call("a name for all file handles", 303, 264, f"-100, b'/', {BUFFER}, {BUFFER}, 0"),
    system_call("capabilities taken back", 126, 91, "(ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)"),
    system_call("user 0 again", 105, 146, "0, 0 if os.getuid() else call(-1)"),
    system_call("group 0 again", 106, 144, "0, 0 if os.getgid() else call(-1)"),
    system_call("a filter of the program's own that answers for the kernel", 317, 277, f"1, 8, {BUFFER}"),
    attack("a call of the 32-bit interface under the 64-bit numbers", f"call(0x40000000 + {call_number(39, 172)})"),
    system_call("a call that does not exist", 999, 999, "0"),
    attack("a filter in the kernel's byte code on a socket of one's own", """
        import socket
        accept = ctypes.create_string_buffer(bytes([6, 0, 0, 0, 255, 255, 0, 0]), 8)
        attached = (ctypes.c_long * 2)(1, ctypes.addressof(accept))
        socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, 26, bytes(attached))
    """),
    attack("what of a library is in memory", f"""
        import mmap
        library = mmap.mmap(os.open(os.__file__, os.O_RDONLY), 4096, mmap.MAP_PRIVATE)
        call({call_number(27, 232)}, ctypes.addressof(ctypes.c_char.from_buffer(library)), 4096, bytes(16))
    """),
    attack("a library taken out of memory", """
        os.posix_fadvise(os.open(os.__file__, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
    """),
    program("32-bit system calls by machine code", NOT_PASSED, """
        import ctypes, mmap
        code = mmap.mmap(-1, 4096, prot=7)
        code.write(bytes.fromhex("b814000000cd80c3"))
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        print(function(), file=__import__("sys").stderr)
    """, On.SECRET),
    program("a jump to nowhere", ERROR, "import ctypes; ctypes.string_at(1)"),
    program("wild writes through memory", ERROR, """
        import ctypes, sys
        ctypes.memset(id(sys.modules) - 64, 0xFF, 4096)
        print(sys.modules)
    """),
)  # fmt: skip
