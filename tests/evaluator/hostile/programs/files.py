"""Programs that write where they must not. `victim` is a file that anybody may write, so only the sandbox protects it."""

from hostile.program import PASSED, attack, call_number, program, watch

PROGRAMS = (
    attack("write to a file outside", "open(world['victim'], 'w').write('changed')"),
    attack("append to a file outside", "open(world['victim'], 'a').write('changed')"),
    attack("truncate a file outside", "os.truncate(world['victim'], 0)"),
    attack("delete a file outside", "os.unlink(world['victim'])"),
    attack("rename a file outside", "os.rename(world['victim'], world['victim'] + '-taken')"),
    attack("take a file outside by a hard link", "os.link(world['victim'], 'taken')"),
    attack("change the mode of a file outside", "os.chmod(world['victim'], 0)"),
    attack("change the owner of a file outside", "os.chown(world['victim'], os.getuid(), os.getgid())"),
    attack("change the times of a file outside", "os.utime(world['victim'], (0, 0))"),
    attack("change the attributes of a file outside", "os.setxattr(world['victim'], 'user.hostile', b'1')"),
    attack("lock a file outside", "import fcntl; fcntl.flock(os.open(world['victim'], os.O_RDONLY), fcntl.LOCK_EX)"),
    attack("lock a library for another program to see", """
        import fcntl
        fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    """),
    attack("lock a part of a library for another program to see", """
        import fcntl
        fcntl.lockf(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)
    """),
    attack("create a file outside", "open(world['folder'] + '/made', 'w')"),
    attack("create a folder outside", "os.mkdir(world['folder'] + '/made-folder')"),
    attack("create a link outside", "os.symlink('/etc/passwd', world['folder'] + '/made-link')"),
    attack("create a pipe outside", "os.mkfifo(world['folder'] + '/made-pipe')"),
    attack("create a device", "os.mknod('made-device', 0o20666, os.makedev(1, 1))"),
    attack("write to the machine's temporary folder", "open('/tmp/taco-stream-hostile', 'w')"),
    attack("write to another temporary folder", "open('/var/tmp/taco-stream-hostile', 'w')"),
    attack("write to shared memory", "open('/dev/shm/taco-stream-hostile', 'w')"),
    attack("write to the home folder", "open(world['home'] + '/taco-stream-hostile', 'w')"),
    attack("write to the evaluator's source", "open(world['source'], 'a')"),
    attack("write to the interpreter", "open(os.path.realpath(sys.executable), 'ab')"),
    attack("write to the interpreter by way of /proc", "open('/proc/self/exe', 'ab')"),
    attack("write to the interpreter's library", "open(os.__file__, 'a')"),
    attack("write beside the interpreter's library", "open(os.path.dirname(os.__file__) + '/hostile.py', 'w')"),
    attack("change the mode of the interpreter's library", "os.chmod(os.__file__, 0o777)"),
    attack("write to a disk", """
        for name in ("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0"):
            try: os.open(name, os.O_WRONLY)
            except OSError: continue
            break
        else: raise OSError
    """),
    attack("write to the kernel's settings", "open('/proc/sys/kernel/core_pattern', 'w')"),
    attack("open the kernel's request key", "open('/proc/sysrq-trigger', 'w')"),
    attack("write to the kernel's control groups", "os.mkdir('/sys/fs/cgroup/taco-stream-hostile')"),
    attack("the own out-of-memory score lowered", "open('/proc/self/oom_score_adj', 'w').write('-1000')"),
    attack("a new root", "os.chroot('.')"),
    attack("a terminal", "open('/dev/ptmx', 'r+b', 0)"),
    attack("the controlling terminal", "open('/dev/tty', 'r+b', 0)"),
    attack("terminal input pushed to standard input", "import fcntl; fcntl.ioctl(0, 0x5412, b'x')"),
    attack("openat2", f"""
        how = (ctypes.c_uint64 * 3)(1, 0, 0)
        call({call_number(437, 437)}, -100, world["victim"].encode(), how, 24)
    """),
    watch("the scratch folder can be used, or not at all", """
        try:
            with open("notes.txt", "w") as file: file.write("held")
            print(open("notes.txt").read())
        except PermissionError:
            print("held" if not os.listdir(".") else "breach")
    """, PASSED),
    program("a file of one test is not there in the next", PASSED, """
        import os
        print(sum(map(int, input().split())) if not os.path.exists("left") else "seen")
        try:
            open("left", "w").write("x")
            open(".left", "w").write("x")
            os.makedirs("left-folder/deeper"); os.chmod("left-folder", 0)
        except OSError: pass
    """),
    program("a shared memory of one test is not there in the next", PASSED, f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        found = libc.syscall({call_number(29, 194)}, 0x7AC0, 4096, 0o666)
        seen = found != -1
        print("seen" if seen else sum(map(int, input().split())))
        libc.syscall({call_number(29, 194)}, 0x7AC0, 4096, 0o1666)
    """),
)  # fmt: skip
