"""What a hostile program tries from inside a run. Prints one line of JSON: what came of each attempt."""

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import threading

libc = ctypes.CDLL(None, use_errno=True)
outside = int(os.environ["OUTSIDE_PID"])
arm = platform.machine() == "aarch64"
# x86_64, aarch64; the newer ones are the same everywhere.
NUMBERS = {
    "add_key": (248, 217), "keyctl": (250, 219), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "perf_event_open": (298, 241), "bpf": (321, 280),
    "userfaultfd": (323, 282), "ptrace": (101, 117), "process_vm_readv": (310, 270), "kexec_load": (246, 104),
    "init_module": (175, 105), "open_by_handle_at": (304, 265), "clone": (56, 220), "ioctl": (16, 29),
    "personality": (135, 92), "io_uring_setup": (425, 425), "open_tree": (428, 428), "clone3": (435, 435),
}
tried = {}


def name(number):
    return errno.errorcode.get(number, str(number))


def call(what, syscall, *arguments):
    number = NUMBERS[syscall][arm] if syscall in NUMBERS else int(syscall)
    answer = libc.syscall(number, *(ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments))
    tried[what] = name(ctypes.get_errno()) if answer == -1 else "done"


def attempt(what, action):
    try:
        action()
        tried[what] = "done"
    except OSError as error:
        tried[what] = name(error.errno)
    except ValueError:
        # What `setrlimit` makes of EPERM.
        tried[what] = "EPERM"


def write(path, text="x"):
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with open(path, "rb") as file:
        return file.read(1)


def fill(path, mebibytes):
    try:
        with open(path, "wb") as file:
            for _ in range(mebibytes):
                file.write(bytes(1 << 20))
    finally:
        os.unlink(path)


children = []


def forked():
    child = os.fork()
    if child == 0:
        signal.pause()
    children.append(child)


NEWUSER, NEWNS = 0x10000000, 0x20000

# Keys.
call("reading the session keyring", "keyctl", 6, -3, 0, 0)
call("searching keys", "keyctl", 10, -3, b"user", b"secret", 0)
call("adding a key", "add_key", b"user", b"channel", b"x", 1, -4)
attempt("listing keys", lambda: read("/proc/keys"))
# Namespaces and mounts.
call("a user namespace by unshare", "unshare", NEWUSER)
call("a user namespace by clone", "clone", NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
call("a mount namespace", "unshare", NEWNS)
call("a process by clone3", "clone3", 0, 0)
call("the namespace of process 1", "setns", 0, 0)
call("mounting", "mount", b"none", b"/tmp", b"tmpfs", 0, 0)
call("unmounting", "umount2", b"/proc/keys", 2)
call("another root", "pivot_root", b"/tmp", b"/tmp")
call("chroot", "chroot", b"/tmp")
call("open_tree", "open_tree", -100, b"/", 1)
call("open_by_handle_at", "open_by_handle_at", -100, 0, 0)
# Large parts of the kernel.
call("io_uring", "io_uring_setup", 1, 0)
call("perf", "perf_event_open", 0, 0, -1, -1, 0)
call("bpf", "bpf", 0, 0, 0)
call("userfaultfd", "userfaultfd", 0)
call("kexec", "kexec_load", 0, 0, 0, 0)
call("a module", "init_module", 0, 0, b"")
call("another personality", "personality", 0x0040000)
call("an unknown call", "600")
for family, what in ((38, "a socket of AF_ALG"), (40, "a socket of AF_VSOCK")):
    attempt(what, lambda: socket.socket(family, socket.SOCK_STREAM))
# Other processes.
call("tracing a process outside", "ptrace", 16, outside, 0, 0)
there = (ctypes.c_ulong * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
call("reading memory outside", "process_vm_readv", outside, ctypes.byref(there), 1, ctypes.byref(there), 1, 0)
attempt("a signal to a process outside", lambda: os.kill(outside, 0))
attempt("/proc of a process outside", lambda: read(f"/proc/{outside}/environ"))
attempt("the root of process 1", lambda: os.listdir("/proc/1/root/root"))
# Rights.
attempt("becoming root", lambda: os.setuid(0))
attempt("the group of root", lambda: os.setgid(0))
attempt("other groups", lambda: os.setgroups([0]))
attempt("a device", lambda: os.mknod("/tmp/sda", 0o60600, os.makedev(8, 0)))
# Terminals.
call("typing into a terminal", "ioctl", 0, 0x5412, b"x")
attempt("the terminal", lambda: read("/dev/tty"))
# Files.
for what, path in (
    ("a file in /dev", "/dev/x"), ("a file in /", "/x"), ("a file in /usr", "/usr/x"), ("a file in /proc/sys", "/proc/sys/kernel/core_pattern"),
    ("sysrq", "/proc/sysrq-trigger"), ("the name of process 1", "/proc/1/comm"), ("less chance to be killed", "/proc/self/oom_score_adj"),
):
    attempt(what, lambda: write(path, "-1000"))
attempt("/etc/shadow", lambda: read("/etc/shadow"))
attempt("memory of the kernel", lambda: read("/proc/kcore"))
attempt("the state directory", lambda: os.listdir(os.environ["STATE"]))
attempt("replacing the result", lambda: os.rename("/run/longshore/result", "/run/longshore/other"))
attempt("filling /dev/shm", lambda: fill("/dev/shm/x", 65))
attempt("filling /tmp", lambda: fill("/tmp/x", 5))
# Limits.
attempt("core files", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)))
attempt("a real-time priority", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("a higher priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -1))
# Processes. What is waited for below ends them.
attempt("too many processes", lambda: [forked() for _ in range(400)])
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
# The network.
attempt("the server", lambda: socket.create_connection(("127.0.0.1", 9), 1))

# What must work.
thread = threading.Thread(target=lambda: tried.update(thread="done"))
thread.start()
thread.join()
tried["process"] = "done" if subprocess.run(["true"]).returncode == 0 else "failed"

status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
umask = os.umask(0)
has = {
    "capabilities": sorted({status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}),
    "no new privileges": status["NoNewPrivs"],
    "filter": status["Seccomp"],
    # Python ignores SIGPIPE and SIGXFSZ itself, and nobody can change 32 and 33, which the C library reserves.
    "ignored signals": int(status["SigIgn"], 16) & ~sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ, 32, 33)),
    "blocked signals": int(status["SigBlk"], 16),
    "umask": oct(umask),
    "priority": os.getpriority(os.PRIO_PROCESS, 0),
    "oom score": int(open("/proc/self/oom_score_adj").read()),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "locked memory": resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] <= 8 << 20,
    "stack": resource.getrlimit(resource.RLIMIT_STACK)[0],
    "open files": sorted(int(number) for number in os.listdir("/proc/self/fd"))[:3],
    "more open files": len(os.listdir("/proc/self/fd")) - 4,
}
print(json.dumps({"tried": tried, "has": has}))
