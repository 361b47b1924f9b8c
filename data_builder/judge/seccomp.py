"""A filter of system calls: a process gives up, for good and for its children, what no program needs and some attacks do.

What the other layers do not hold: the kernel's keys, shared memory that no limit counts, sockets that no namespace and Landlock
knows, other processes' limits and priorities, and doors to the kernel that had many holes. A classic BPF program, assembled here
and installed with prctl: nothing to install, no privilege. Runs inside the sandbox; standard library only.
https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import os
import struct

PR_SET_SECCOMP, MODE_FILTER = 22, 2
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = 1, 38
JOIN_SESSION_KEYRING = 1
# struct seccomp_data: the number of the call, the architecture, the instruction, six arguments of which the low words are read.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
LOAD, IF_EQUAL, IF_AT_LEAST, IF_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# AUDIT_ARCH_*, and the column in the tables below.
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

REFUSED = {
    # Keys of the caller's session.
    **{"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
    # Memory that is no process's: it counts against no limit, and what has a name stays from test to test.
    **{
        "shmget": (29, 194),
        "shmat": (30, 196),
        "shmctl": (31, 195),
        "semget": (64, 190),
        "semop": (65, 193),
        "semctl": (66, 191),
    },
    **{"semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187)},
    **{"mq_open": (240, 180), "mq_unlink": (241, 181), "memfd_create": (319, 279), "memfd_secret": (447, 447)},
    # Other processes.
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272)},
    **{"pidfd_getfd": (438, 438), "process_madvise": (440, 440), "migrate_pages": (256, 238), "move_pages": (279, 239)},
    # Parts of the kernel that no program here needs.
    **{"bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262)},
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "syslog": (103, 116)},
    # Namespaces, mounts, and what root may do.
    **{"unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41)},
    **{"chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431)},
    **{"fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "name_to_handle_at": (303, 264)},
    **{"open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106)},
    **{
        "kexec_load": (246, 104),
        "kexec_file_load": (320, 294),
        "reboot": (169, 142),
        "swapon": (167, 224),
        "swapoff": (168, 225),
    },
    **{"acct": (163, 89), "quotactl": (179, 60)},
}
# With the process that they are about as an argument, which has to be the caller's own.
ABOUT_ITSELF = {
    **{"prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setparam": (142, 118)},
    **{"sched_setscheduler": (144, 119), "sched_setattr": (314, 274)},
}
SETPRIORITY, IOPRIO_SET, SOCKET, SOCKETPAIR, CLONE, CLONE3 = (141, 140), (251, 30), (41, 198), (53, 199), (56, 220), (435, 435)
NEW_NAMESPACES = 0x7E020000
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
# A pair of datagram sockets could still send to others.
STREAMS = tuple(1 | flags for flags in (0, 0x800, 0x80000, 0x80800))  # SOCK_STREAM, with SOCK_NONBLOCK and SOCK_CLOEXEC

libc = ctypes.CDLL(None, use_errno=True)


def install(socket_families: tuple[int, ...]) -> None:
    """Refuse these calls, and sockets of other families. Needs no_new_privs. Raises OSError, also on machines of other kinds."""
    machine = os.uname().machine
    if machine not in MACHINES:
        raise OSError(f"no table of system calls for {machine}")
    architecture, column = MACHINES[machine]
    # Other keys than the caller's. Where the kernel refuses (it has none, or the user has no more), the filter still hides them.
    libc.syscall(REFUSED["keyctl"][column], JOIN_SESSION_KEYRING, None)
    code = _program(architecture, column, socket_families)
    instructions = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, described, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _program(architecture: int, column: int, socket_families: tuple[int, ...]) -> bytes:
    refused, missing = _return(ERRNO | EPERM), _return(ERRNO | ENOSYS)
    code = _load(ARCHITECTURE) + _if(IF_EQUAL, architecture, 1, 0) + _return(KILL_PROCESS) + _load(NUMBER)
    code += _if(IF_AT_LEAST, 0x40000000, 0, 1) + missing  # the calls of x32
    for numbers in REFUSED.values():
        code += _if(IF_EQUAL, numbers[column], 0, 1) + refused
    # Its flags are out of sight. The C library takes clone where there is no clone3.
    code += _if(IF_EQUAL, CLONE3[column], 0, 1) + missing
    code += _for(CLONE[column], _load(ARGUMENTS) + _if(IF_ANY_BIT, NEW_NAMESPACES, 0, 1) + refused)
    for numbers in ABOUT_ITSELF.values():
        code += _for(numbers[column], _only(0, (0,)))
    code += _for(SETPRIORITY[column], _only(0, (0,)) + _only(1, (0,)))  # PRIO_PROCESS, itself
    code += _for(IOPRIO_SET[column], _only(0, (1,)) + _only(1, (0,)))
    code += _for(SOCKET[column], _only(0, socket_families))
    code += _for(SOCKETPAIR[column], _only(0, (AF_UNIX,)) + _only(1, STREAMS))
    return code + _return(ALLOW)


def _for(number: int, check: bytes) -> bytes:
    """`check`, which returns or comes to its end, for one call."""
    return _if(IF_EQUAL, number, 0, len(check) // 8 + 1) + check + _return(ALLOW)


def _only(argument: int, values: tuple[int, ...]) -> bytes:
    """Refuse the call unless this argument is one of `values`."""
    code = _load(ARGUMENTS + 8 * argument)
    for left in range(len(values), 0, -1):
        code += _if(IF_EQUAL, values[-left], left, 0)
    return code + _return(ERRNO | EPERM)


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", LOAD, 0, 0, offset)


def _if(condition: int, value: int, skip_if: int, skip_else: int) -> bytes:
    return struct.pack("<HBBI", condition, skip_if, skip_else, value)


def _return(action: int) -> bytes:
    return struct.pack("<HBBI", RETURN, 0, 0, action)
