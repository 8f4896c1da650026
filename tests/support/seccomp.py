"""Runs a program under a filter of system calls, as systemd's SystemCallFilter sets one up.

usage: seccomp.py errno|kill|no-locks PROGRAM ARGUMENT...

Denied is what the shipped unit denies with ~@resources: answered with EPERM, or with the end of the process. With no-locks every lock on a file is said
to be taken, and is not: as on some file systems.
"""
import ctypes
import os
import platform
import struct
import sys

# By number: nice has none on aarch64.
DENIED = {
    # setpriority, sched_setparam, sched_setscheduler, setrlimit, sched_setaffinity, mbind, set_mempolicy,
    # ioprio_set, migrate_pages, move_pages, sched_setattr
    "x86_64": (0xC000003E, [141, 142, 144, 160, 203, 237, 238, 251, 256, 279, 314]),
    "aarch64": (0xC00000B7, [140, 118, 119, 164, 122, 235, 237, 30, 238, 239, 274]),
}
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO_EPERM, KILL_PROCESS = 0x7FFF0000, 0x00050001, 0x80000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2

arch, denied = DENIED[platform.machine()]
if sys.argv[1] == "no-locks":
    # fcntl with F_SETLK, F_SETLKW, F_OFD_SETLK or F_OFD_SETLKW: its second argument, the lower half. Answered with 0.
    fcntl = {"x86_64": 72, "aarch64": 25}[platform.machine()]
    commands = [6, 7, 37, 38]
    program = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, arch), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 0)]
    program += [(JUMP_EQUAL, 1, 0, fcntl), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 24)]
    program += [(JUMP_EQUAL, len(commands) - i, 0, command) for i, command in enumerate(commands)]
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO_EPERM & 0xFFFF0000)]
else:
    answer = {"errno": ERRNO_EPERM, "kill": KILL_PROCESS}[sys.argv[1]]
    program = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, arch), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 0)]
    program += [(JUMP_EQUAL, len(denied) - i, 0, number) for i, number in enumerate(denied)]
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, answer)]

code = b"".join(struct.pack("HBBI", *step) for step in program)
buffer = ctypes.create_string_buffer(code, len(code))


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


libc = ctypes.CDLL(None, use_errno=True)
filter = Filter(len(program), ctypes.cast(buffer, ctypes.c_void_p))
for call in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(filter), 0, 0)]:
    if libc.prctl(*call) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
os.execv(sys.argv[2], sys.argv[2:])
